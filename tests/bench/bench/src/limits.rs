//! What is as large or as fast as it may be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Places;
use crate::figures::Timed;
use crate::http::Error;
use crate::lambda;
use crate::measure::Function;
use crate::world::World;

/// Nodes of a flow of about 1 MiB, as much as a body may have.
const NODES: usize = 2000;
const MEBIBYTE: usize = 1024 * 1024;
const OWNERS: usize = 1000;
/// What list-flows is asked for.
const PAGE: usize = 20;
/// A flow is started as often each second, and stopped as often.
const HERTZ: u32 = 50;
const SECONDS: u32 = 10;

/// What was seen of the limits.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    /// The body of the large flow.
    pub(crate) bytes: usize,
    pub(crate) nodes: usize,
    #[serde(default)]
    pub(crate) validate: Timed,
    pub(crate) create: Timed,
    pub(crate) read: Timed,
    /// A page of as many of them as fit an answer.
    #[serde(default)]
    pub(crate) list: Timed,
    pub(crate) owners: Refusal,
    pub(crate) hot: Hot,
}

/// How a flow with too many owners is refused.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) owners: usize,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A flow that is started and stopped all the time.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Hot {
    pub(crate) hertz: u32,
    pub(crate) seconds: u32,
    /// How many answers had which status.
    pub(crate) statuses: BTreeMap<u16, u32>,
    pub(crate) p50_millis: f64,
    pub(crate) p99_millis: f64,
    /// Of the last second alone: how it goes on.
    pub(crate) p99_last_millis: f64,
}

impl Limits {
    pub(crate) async fn measure(places: &Places, world: &World) -> Result<Self, Error> {
        let flow = large(&world.flow)?;
        let body = flow.to_string();
        let id = world.copies(&flow, PAGE, "large", "larges").await?.pop().ok_or("no flow")?;
        let mut get = places.function("get-flow", &id);
        let mut validate = places.function("validate-flow", &id);
        let mut create = places.function("create-flow", &id);
        let mut list = places.function("list-flows", &id);
        for function in [&mut get, &mut validate, &mut create, &mut list] {
            function.asks.user = "large".into();
            function.asks.tenant = "larges".into();
        }
        Ok(Self {
            bytes: body.len(),
            nodes: NODES,
            validate: sent(&validate, &body, world).await?,
            create: sent(&create, &body, world).await?,
            read: get.timed(world).await?,
            list: list.timed(world).await?,
            owners: Refusal::see(world).await?,
            hot: Hot::measure(places).await?,
        })
    }
}

/// The usual flow's nodes again and again, each with something that no other has.
fn large(flow: &Value) -> Result<Value, Error> {
    let nodes = flow["graph"]["nodes"].as_array().ok_or("no nodes")?;
    let mut large = flow.clone();
    let filler: String =
        flow.to_string().chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ').collect();
    let with = |padding: usize| -> Vec<Value> {
        let nodes = nodes.iter().cycle().take(NODES).enumerate();
        nodes
            .map(|(number, node)| {
                let mut node = node.clone();
                let unlike = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                node["id"] = format!("node{number}").into();
                node["fields"]["key"] = format!("{unlike:016x}").into();
                node["description"] = filler
                    .chars()
                    .cycle()
                    .skip(number * 7 % filler.len())
                    .take(padding)
                    .collect::<String>()
                    .into();
                node
            })
            .collect()
    };
    let edges = (1..NODES)
        .map(|number| json!({"source": format!("node{}", number - 1), "target": format!("node{number}")}));
    large["graph"] = json!({"nodes": with(0), "edges": edges.collect::<Vec<_>>()});
    let rest = MEBIBYTE.checked_sub(large.to_string().len()).ok_or("the large flow is too large")?;
    large["graph"]["nodes"] = with(rest / NODES).into();
    Ok(large)
}

/// Sends the large flow to a function some times.
async fn sent(function: &Function, body: &str, world: &World) -> Result<Timed, Error> {
    let event = world.events(&function.name, &function.asks)?()?;
    let mut event: Value = serde_json::from_str(&event)?;
    event["headers"]["content-length"] = body.len().to_string().into();
    event["body"] = body.into();
    let event = event.to_string();
    let environment: Vec<_> =
        world.environment.iter().chain(&function.without_warm_up().settings).cloned().collect();
    let run = async |wanted| {
        let event = event.clone();
        let line = [function.binary.clone().into()];
        lambda::run(&line, &environment, Box::new(move || Ok(event.clone())), wanted).await
    };
    world.dynamodb.count();
    let counted = run(1).await;
    let cost = world.dynamodb.counted();
    counted?;
    Ok(Timed::of(cost, &run(6).await?))
}

impl Refusal {
    async fn see(world: &World) -> Result<Self, Error> {
        let mut flow = world.flow.clone();
        flow["owners"] =
            (0..OWNERS).map(|number| json!({"id": format!("user-{number}"), "type": "user"})).collect();
        let answer = world.request("POST", "/flows", ("anna", "acme"), Some(&flow)).await?;
        let body: Value = serde_json::from_slice(answer.body())?;
        let text = |name: &str| body["errors"][0][name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            owners: OWNERS,
            status: answer.status().as_u16(),
            reason: text("reason"),
            message: text("message"),
        })
    }
}

impl Hot {
    /// On a server of its own, which has an orchestrator that answers. Nobody waits for an answer before
    /// the next request.
    async fn measure(places: &Places) -> Result<Self, Error> {
        let world = Arc::new(World::with(&places.root, &places.server, "auto").await?);
        let id = world.create(1, "hot", "hot").await?.pop().ok_or("no flow")?;
        let mut clock = tokio::time::interval(Duration::from_secs(1) / (2 * HERTZ));
        let mut requests = JoinSet::new();
        for number in 0..2 * HERTZ * SECONDS {
            clock.tick().await;
            let world = Arc::clone(&world);
            let path = format!("/flows/{id}/{}", if number % 2 == 0 { "start" } else { "stop" });
            requests.spawn(async move {
                let begun = Instant::now();
                let answer = world.request("POST", &path, ("hot", "hot"), None).await;
                answer.map(|answer| (number, answer.status().as_u16(), begun.elapsed()))
            });
        }
        let answers = requests.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut hot = Self { hertz: HERTZ, seconds: SECONDS, ..Self::default() };
        for (_, status, _) in &answers {
            *hot.statuses.entry(*status).or_default() += 1;
        }
        let percentile = |part: usize, from: u32| {
            let late = answers.iter().filter(|(number, ..)| *number >= from);
            let mut times: Vec<_> = late.map(|(.., time)| 1000.0 * time.as_secs_f64()).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() * part / 100).copied().unwrap_or_default()
        };
        hot.p50_millis = percentile(50, 0);
        hot.p99_millis = percentile(99, 0);
        hot.p99_last_millis = percentile(99, 2 * HERTZ * (SECONDS - 1));
        Ok(hot)
    }
}
