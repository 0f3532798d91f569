//! `POST /flows/validate`

use shared::api::{
    App, Problem, Request, Response, diagnostics_of_faults, read_body, validation_response, with_notes,
};
use shared::flow::{Flow, Invalid, Level, NodeIds, too_large};
use shared::identity::Permission;
use shared::store::Error;

/// Says everything there is to say about a flow, which is not stored.
///
/// # Errors
/// See [`Problem`].
pub async fn handle(app: &App, request: Request) -> Result<Response, Problem> {
    let caller = app.authorize(&request, Permission::Write).await?;
    let checks = app.checks(&request)?;
    let fields = read_body(&request)?.object()?;
    // Read only when something is wrong: it goes through the body once more.
    let say = |faults: &[_]| diagnostics_of_faults(faults, &NodeIds::read(&fields));
    let (faults, flow) = match Flow::create(&caller, fields.clone(), checks, app.tenant_role) {
        Ok(flow) => (Vec::new(), flow),
        Err(Invalid { faults, notes, draft: Some(draft) }) => (faults, Flow::draft(&caller, *draft, notes)),
        Err(Invalid { faults, draft: None, .. }) => return validation_response(&say(&faults)),
    };
    let mut found = if faults.is_empty() { Vec::new() } else { say(&faults) };
    // No more secrets are asked for than a flow may have.
    let asks = !faults.iter().any(|fault| fault.reason == "flow.credentials.too_many");
    let checked = if asks { app.store.check(None, &flow).await } else { Ok(()) };
    match checked {
        Ok(()) => {}
        Err(Error::UnknownSecrets(more) | Error::OwnersGone(more)) => found.extend(say(&more)),
        Err(Error::TooLarge) => found.extend(say(&[too_large()])),
        Err(error) => return Err(error.into()),
    }
    found.extend(with_notes(&flow, app.diagnose_beside(&faults, &flow.document, Level::Info)));
    validation_response(&found)
}
