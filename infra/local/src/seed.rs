use serde::Deserialize;
use serde_json::value::RawValue;
use shared::flow::{ComponentCheck, Flow, Role, ShownDocument, read_fields};
use shared::identity::Caller;
use shared::store::{ListFilter, ListOrder, ListQuery, Paging, Scope, Store};

use crate::StartError;

/// Realistic flows of two tenants.
const FLOWS: &str = include_str!("../seed.json");

#[derive(Deserialize)]
struct Seed<'a> {
    sub: String,
    tenant: String,
    #[serde(borrow)]
    flow: &'a RawValue,
}

/// Stores the standard set of flows, unless there are flows already.
pub(crate) async fn store_flows(store: &Store) -> Result<(), StartError> {
    let failed = |error: &dyn std::error::Error| StartError::Seed(error.to_string());
    let query = ListQuery {
        scope: Scope::All,
        filter: ListFilter::default(),
        order: ListOrder::default(),
        size: 1,
        paging: Paging::After(None),
    };
    if !store.list::<ShownDocument>(&query).await.map_err(|error| failed(&error))?.flows.is_empty() {
        return Ok(());
    }
    let seeds: Vec<Seed<'_>> = serde_json::from_str(FLOWS).map_err(|error| failed(&error))?;
    for seed in seeds {
        let caller = Caller::new(&seed.sub, Some(&seed.tenant), []);
        let fields = read_fields(seed.flow).unwrap_or_default();
        let flow = Flow::create(&caller, fields, ComponentCheck::AtSave, Role::Owner).map_err(|invalid| {
            StartError::Seed(invalid.faults.into_iter().map(|fault| fault.message).collect())
        })?;
        store.insert(&flow, None).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}
