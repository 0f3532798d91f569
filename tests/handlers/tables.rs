//! What becomes of a flow in each state by each command, and who gets how far on each route: two tables.

use std::collections::BTreeSet;

use local::template::{Route, Template};
use serde_json::{Value, json};
use shared::flow::ObjectId;
use tests::{ALL, complete_flow};

use crate::false_conditions::definition;
use crate::stack::{Stack, read};

/// Nobody's flow, and nobody's secret.
const NOWHERE: &str = "5ca5c44c187c040010a9bb8b";

/// What a flow can be, whoever it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It never was.
    Missing,
    Inactive,
    Starting,
    Active,
    Stopping,
    /// It can be restored.
    Deleted,
    /// It was, and cannot be restored.
    Erased,
}
use State::{Active, Deleted, Erased, Inactive, Missing, Starting, Stopping};

/// All that there are or were, in the order of the table.
const STATES: [State; 6] = [Inactive, Starting, Active, Stopping, Deleted, Erased];

/// What somebody sends who has all permissions but the administrator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Get,
    Patch,
    /// One that changes nothing.
    PatchSame,
    Put,
    /// Of what `GET` gave.
    PutSame,
    /// With `If-None-Match: *`, of another flow than the one that may be there.
    Create,
    /// The same of that flow.
    CreateSame,
    Delete,
    /// With `purge=true`.
    Purge,
    /// The same by an administrator.
    PurgeAsAdmin,
    Restore,
    Start,
    Stop,
    ListVersions,
    GetVersion,
    /// To the first of two.
    RestoreVersion,
    /// To the one that it is.
    RestoreSame,
    Diff,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// 404 `flow-not-found`.
    NotFound,
    /// 403 `missing-permission`.
    Forbidden,
    /// 409 `flow-not-inactive`.
    Runs,
    /// 409 `flow-stopping`.
    Stops,
    /// 412 `flow-exists`.
    Taken,
    /// 200, and all is as it was.
    Same,
    /// 200, and the flow has one version more.
    Revised,
    /// 200, and the flow is in this state.
    Becomes(State),
    /// 201, and there is a flow.
    Created,
    /// As with a flow of one's own in its state: for administrators there is no other.
    AsOwn,
}
use Outcome::{AsOwn, Becomes, Created, Forbidden, NotFound, Revised, Runs, Same, Stops, Taken};

/// By command: a flow that is missing, one that is somebody else's whatever its state, and one's own that
/// is inactive, starting, active, stopping, deleted and erased.
const COMMANDS: [(Command, [Outcome; 8]); 18] = [
    (Command::Get, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::Patch, [NotFound, NotFound, Revised, Runs, Runs, Runs, NotFound, NotFound]),
    (Command::PatchSame, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::Put, [NotFound, NotFound, Revised, Runs, Runs, Runs, NotFound, NotFound]),
    (Command::PutSame, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::Create, [Created, Taken, Taken, Taken, Taken, Taken, Taken, Taken]),
    (Command::CreateSame, [Created, Taken, Same, Same, Same, Same, Taken, Taken]),
    (Command::Delete, [NotFound, NotFound, Becomes(Deleted), Runs, Runs, Runs, NotFound, NotFound]),
    (Command::Purge, [Forbidden; 8]),
    (Command::PurgeAsAdmin, [NotFound, AsOwn, Becomes(Erased), Runs, Runs, Runs, Becomes(Erased), NotFound]),
    (Command::Restore, [NotFound, NotFound, Same, Same, Same, Same, Becomes(Inactive), NotFound]),
    (Command::Start, [NotFound, NotFound, Becomes(Starting), Same, Same, Stops, NotFound, NotFound]),
    (
        Command::Stop,
        [NotFound, NotFound, Same, Becomes(Stopping), Becomes(Stopping), Same, NotFound, NotFound],
    ),
    (Command::ListVersions, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::GetVersion, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::RestoreVersion, [NotFound, NotFound, Revised, Runs, Runs, Runs, NotFound, NotFound]),
    (Command::RestoreSame, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
    (Command::Diff, [NotFound, NotFound, Same, Same, Same, Same, NotFound, NotFound]),
];

impl Command {
    /// The function and its route.
    const fn route(self) -> (&'static str, &'static str) {
        match self {
            Self::Get => ("get-flow", "GET /flows/{id}"),
            Self::Patch | Self::PatchSame => ("update-flow", "PATCH /flows/{id}"),
            Self::Put | Self::PutSame | Self::Create | Self::CreateSame => {
                ("replace-flow", "PUT /flows/{id}")
            }
            Self::Delete => ("delete-flow", "DELETE /flows/{id}"),
            Self::Purge | Self::PurgeAsAdmin => ("delete-flow", "DELETE /flows/{id}?purge=true"),
            Self::Restore => ("restore-flow", "POST /flows/{id}/restore"),
            Self::Start => ("start-flow", "POST /flows/{id}/start"),
            Self::Stop => ("stop-flow", "POST /flows/{id}/stop"),
            Self::ListVersions => ("list-versions", "GET /flows/{id}/versions"),
            Self::GetVersion => ("get-version", "GET /flows/{id}/versions/1"),
            Self::RestoreVersion => ("restore-version", "POST /flows/{id}/versions/1/restore"),
            Self::RestoreSame => ("restore-version", "POST /flows/{id}/versions/2/restore"),
            Self::Diff => ("compare-versions", "GET /flows/{id}/diff"),
        }
    }

    fn headers(self) -> &'static [(&'static str, &'static str)] {
        if matches!(self, Self::Create | Self::CreateSame) { &[("if-none-match", "*")] } else { &[] }
    }

    /// The body, when the flow looks like this.
    fn body(self, flow: &Value) -> Value {
        match self {
            Self::Patch => json!({"name": "another"}),
            Self::PatchSame => json!({"name": "one"}),
            Self::Put | Self::Create => complete_flow("another"),
            Self::PutSame | Self::CreateSame if flow.is_null() => complete_flow("one"),
            Self::PutSame => flow.clone(),
            Self::CreateSame => {
                let mut flow = flow.clone();
                // What a new flow cannot have, and what nobody else can name.
                for name in ["status", "owners"] {
                    flow.as_object_mut().unwrap().remove(name);
                }
                flow
            }
            _ => Value::Null,
        }
    }
}

impl Outcome {
    /// The status code, and the kind of problem if it is one.
    fn answer(self) -> (u16, Option<&'static str>) {
        match self {
            NotFound => (404, Some("/problems/flow-not-found")),
            Forbidden => (403, Some("/problems/missing-permission")),
            Runs => (409, Some("/problems/flow-not-inactive")),
            Stops => (409, Some("/problems/flow-stopping")),
            Taken => (412, Some("/problems/flow-exists")),
            Same | Revised | Becomes(_) => (200, None),
            Created => (201, None),
            AsOwn => panic!("a flow of one's own is as it is"),
        }
    }
}

/// All there is to see of a flow, for an administrator.
#[derive(Debug, PartialEq)]
struct Sight {
    state: State,
    /// As it is shown; null when it is not.
    flow: Value,
    etag: Value,
    versions: Vec<Value>,
}

impl Sight {
    /// The flow, without what its state makes of it.
    fn content(&self) -> Value {
        let mut flow = self.flow.clone();
        let members = flow.as_object_mut().unwrap();
        for name in ["status", "statusSince", "runId", "deletedAt", "expiresAt"] {
            members.remove(name);
        }
        flow
    }
}

/// Three callers: two strangers, and an administrator.
struct World {
    stack: Stack,
    anna: String,
    eve: String,
    root: String,
}

impl World {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let (anna, eve) = (stack.token("anna", "acme", ALL), stack.token("eve", "globex", ALL));
        let root = stack.token("root", "", "all");
        Self { stack, anna, eve, root }
    }

    async fn done(&self, function: &str, route: &str, id: &str, token: &str, body: Value) -> Value {
        let (status, body) = self.stack.request(function, route, id, token, body).await;
        assert!(matches!(status, 200 | 201), "{route}: {status} {body}");
        body
    }

    /// The id of a flow of this caller's with two versions, brought into this state.
    async fn flow(&self, owner: &str, state: State) -> String {
        if state == Missing {
            return ObjectId::generate().to_string();
        }
        let flow = self.done("create-flow", "POST /flows", "", owner, complete_flow("one")).await;
        let id = flow["data"]["id"].as_str().unwrap();
        let changed = json!({"description": "The second version."});
        self.done("update-flow", "PATCH /flows/{id}", id, owner, changed).await;
        if matches!(state, Starting | Active | Stopping) {
            self.done("start-flow", "POST /flows/{id}/start", id, owner, Value::Null).await;
        }
        if matches!(state, Active | Stopping) {
            self.stack.deliver("on-flow-status", "flow.started", json!({"id": id})).await.unwrap();
        }
        match state {
            Stopping => self.done("stop-flow", "POST /flows/{id}/stop", id, owner, Value::Null).await,
            Deleted => self.done("delete-flow", "DELETE /flows/{id}", id, owner, Value::Null).await,
            Erased => {
                let route = "DELETE /flows/{id}?purge=true";
                self.done("delete-flow", route, id, &self.root, Value::Null).await
            }
            _ => Value::Null,
        };
        id.to_owned()
    }

    async fn look(&self, id: &str) -> Sight {
        let get = async |function: &str, route: &str| {
            self.stack.send_with(function, route, id, &self.root, &[], &Value::Null).await
        };
        let got = get("get-flow", "GET /flows/{id}").await;
        if let (200, mut body) = read(&got) {
            let flow = body["data"].take();
            let state = match flow["status"].as_str().unwrap() {
                "inactive" => Inactive,
                "starting" => Starting,
                "active" => Active,
                "stopping" => Stopping,
                other => panic!("{other}"),
            };
            let (_, versions) = read(&get("list-versions", "GET /flows/{id}/versions").await);
            let versions = versions["data"].as_array().unwrap().clone();
            return Sight { state, flow, etag: got["headers"]["etag"].clone(), versions };
        }
        let nothing = |state, flow| Sight { state, flow, etag: Value::Null, versions: Vec::new() };
        let (_, deleted) = read(&get("list-flows", "GET /flows?filter[deleted]=true&page[size]=1000").await);
        let mut deleted = deleted["data"].as_array().unwrap().iter();
        if let Some(flow) = deleted.find(|flow| flow["id"] == id) {
            return nothing(Deleted, flow.clone());
        }
        // Only who wants the id can tell.
        let (route, headers) = ("PUT /flows/{id}?validateOnly=true", Command::Create.headers());
        let flow = complete_flow("x");
        let would = self.stack.send_with("replace-flow", route, id, &self.root, headers, &flow).await;
        match read(&would).0 {
            200 => nothing(Missing, Value::Null),
            412 => nothing(Erased, Value::Null),
            other => panic!("{other}"),
        }
    }

    /// Sends a command for a flow of this owner's in this state, and sees what comes of it. When it is only
    /// validated nothing does, but it is refused alike. Gives the whole answer, without the id, and the
    /// calls that it took.
    async fn check(
        &self,
        command: Command,
        owner: &str,
        state: State,
        expected: Outcome,
    ) -> (String, Vec<String>) {
        let whose = if owner == self.anna { "one's own" } else { "somebody else's" };
        let case = format!("{command:?}, {whose}, {state:?}");
        let id = self.flow(owner, state).await;
        let before = self.look(&id).await;
        assert_eq!(before.state, state, "{case}: brought there");
        let (function, route) = command.route();
        let token = if command == Command::PurgeAsAdmin { &self.root } else { &self.anna };
        let body = command.body(&before.flow);
        let send = async |route: &str| {
            self.stack.send_with(function, route, &id, token, command.headers(), &body).await
        };
        if !route.starts_with("GET") {
            let separator = if route.contains('?') { '&' } else { '?' };
            let (status, told) = read(&send(&format!("{route}{separator}validateOnly=true")).await);
            let (expected, problem) = expected.answer();
            let expected = if problem.is_none() { 200 } else { expected };
            assert_eq!(
                (status, told["type"].as_str()),
                (expected, problem),
                "{case}, only validated: {told}"
            );
            assert_eq!(self.look(&id).await, before, "{case}, only validated");
        }
        self.stack.calls.take();
        let answer = send(route).await;
        let calls = self.stack.calls.take();
        let after = self.look(&id).await;

        let (status, body) = read(&answer);
        assert_eq!((status, body["type"].as_str()), expected.answer(), "{case}: {body}");
        match expected {
            Revised => {
                assert_eq!((after.state, after.versions.len()), (state, 3), "{case}");
                assert_eq!(after.versions[1..], before.versions, "{case}");
                assert_ne!(after.etag, before.etag, "{case}");
            }
            Becomes(next) => {
                assert_eq!(after.state, next, "{case}");
                if next != Erased {
                    assert_eq!(after.content(), before.content(), "{case}");
                }
                if !matches!(next, Deleted | Erased) {
                    assert_eq!(after.versions.len(), 2, "{case}");
                    // The answer is another one, and what it is of is the same.
                    assert_ne!(after.etag, before.etag, "{case}");
                    let before = before.etag.as_str().map(definition);
                    assert!(state == Deleted || after.etag.as_str().map(definition) == before, "{case}");
                }
            }
            Created => assert_eq!((after.state, after.versions.len()), (Inactive, 1), "{case}"),
            _ => assert_eq!(after, before, "{case}"),
        }
        if let Some(told) = body.pointer("/data/status") {
            assert_eq!(*told, after.flow["status"], "{case}: {body}");
        }
        (answer.to_string().replace(&id, "<id>"), calls)
    }
}

#[tokio::test]
async fn every_state_and_command() {
    let world = World::start().await;
    let mut taken = None;
    for (command, [missing, foreign, own @ ..]) in COMMANDS {
        let nothing = world.check(command, &world.anna, Missing, missing).await;
        for (state, own) in STATES.into_iter().zip(own) {
            let (answer, _) = world.check(command, &world.anna, state, own).await;
            if own == Taken {
                assert_eq!(answer, *taken.get_or_insert(answer.clone()), "{command:?}: by whatever it is");
            }
            let expected = if foreign == AsOwn { own } else { foreign };
            let seen = world.check(command, &world.eve, state, expected).await;
            match foreign {
                AsOwn => {}
                // That there is something has to be said, and no more.
                Taken => assert_eq!(Some(seen.0), taken, "{command:?}, {state:?}: by whomever"),
                _ => assert_eq!(seen, nothing, "{command:?}, {state:?}: nothing tells it from a missing one"),
            }
        }
    }
    assert!(!taken.unwrap().contains("etag"));
}

/// What a caller needs.
#[derive(Clone, Copy, Debug)]
enum Needs {
    /// Not even a token.
    Nothing,
    /// A token, whatever it says.
    Token,
    /// A token with all of these permissions, or the administrator's.
    Permissions(&'static [&'static str]),
}

/// A token's permissions, one each.
const PERMISSIONS: [&str; 8] = [
    "flows.read",
    "flows.write",
    "flows.control",
    "flows.bulk",
    "secrets.write",
    "secrets.secret.readRaw",
    "tenant.all",
    ADMINISTRATOR,
];
const ADMINISTRATOR: &str = "all";

impl Needs {
    /// The status by which a caller is refused; none if it is not. Without permissions there may still be a
    /// token.
    fn refusal(self, permissions: Option<&str>) -> Option<u16> {
        match (self, permissions) {
            (Self::Nothing, _) | (Self::Token, Some(_)) => None,
            (_, None) => Some(401),
            (Self::Permissions(needed), Some(permissions)) => {
                let has = |name: &str| permissions.split(',').any(|permission| permission == name);
                let passes = has(ADMINISTRATOR) || needed.iter().all(|name| has(name));
                (!passes).then_some(403)
            }
        }
    }
}

/// By route, as template.yaml has it: what a caller needs, a request that is right, and what answers it
/// then. `HEAD` is as `GET`.
fn routes() -> Vec<(&'static str, Needs, Value, u16)> {
    use Needs::{Nothing, Permissions, Token};
    let (read, write) = (Permissions(&["flows.read"]), Permissions(&["flows.write"]));
    let (control, bulk) = (Permissions(&["flows.control"]), Permissions(&["flows.bulk"]));
    let (flow, ids) = (complete_flow("x"), json!([NOWHERE]));
    let none = || Value::Null;
    vec![
        ("GET /flows", read, none(), 200),
        ("POST /flows", write, flow.clone(), 201),
        ("PATCH /flows/bulk", bulk, json!([{"id": NOWHERE, "name": "y"}]), 200),
        ("POST /flows/multiple/start", control, ids.clone(), 200),
        ("POST /flows/multiple/stop", control, ids, 200),
        ("POST /flows/validate", write, flow.clone(), 200),
        ("GET /flows/{id}", read, none(), 404),
        ("PUT /flows/{id}", write, flow, 404),
        ("PATCH /flows/{id}", write, json!({"name": "y"}), 404),
        ("DELETE /flows/{id}", write, none(), 404),
        ("GET /flows/{id}/diff", read, none(), 404),
        ("POST /flows/{id}/restore", write, none(), 404),
        ("POST /flows/{id}/start", control, none(), 404),
        ("POST /flows/{id}/stop", control, none(), 404),
        ("GET /flows/{id}/versions", read, none(), 404),
        ("GET /flows/{id}/versions/{version}", read, none(), 404),
        ("POST /flows/{id}/versions/{version}/restore", write, none(), 404),
        ("GET /secrets", Token, none(), 200),
        ("POST /secrets", Permissions(&["secrets.write"]), secret(), 201),
        ("GET /secrets/{id}", Token, none(), 404),
        ("PATCH /secrets/{id}", Token, json!({"name": "m"}), 404),
        ("DELETE /secrets/{id}", Token, none(), 404),
        ("GET /secrets/{id}/usages", Token, none(), 404),
        ("GET /healthcheck", Nothing, none(), 200),
        ("ANY $default", Nothing, none(), 404),
    ]
}

fn secret() -> Value {
    json!({"name": "n", "type": "SIMPLE", "value": {"username": "anna", "passphrase": "open sesame"}})
}

/// The permissions of every caller of the table: none of them, each one, and all but the administrator's;
/// and no token.
fn callers() -> Vec<Option<String>> {
    let most: Vec<_> = PERMISSIONS.into_iter().filter(|name| *name != ADMINISTRATOR).collect();
    let some = ["", "flows.write,flows.bulk", &most.join(",")].map(str::to_owned);
    let each = PERMISSIONS.map(str::to_owned).into_iter().chain(some);
    each.map(Some).chain([None]).collect()
}

/// Sends a request as each caller: it is refused before anything is read, or answered like this.
async fn check_callers(
    stack: &Stack,
    function: &str,
    request: &str,
    needs: Needs,
    body: &Value,
    status: u16,
) {
    for caller in callers() {
        let token = token(stack, caller.as_deref());
        stack.calls.take();
        let (answered, told) = stack.request(function, request, NOWHERE, &token, body.clone()).await;
        let calls = stack.calls.take();
        let Some(refusal) = needs.refusal(caller.as_deref()) else {
            assert_eq!(answered, status, "{request} with {caller:?}: {told}");
            continue;
        };
        assert_eq!(answered, refusal, "{request} with {caller:?}: {told}");
        assert_eq!(calls, [""; 0], "{request} with {caller:?}");
        if !request.starts_with("HEAD") {
            let kind = if refusal == 401 { "unauthenticated" } else { "missing-permission" };
            assert_eq!(told["type"], format!("/problems/{kind}"), "{request} with {caller:?}");
        }
    }
}

/// Whoever is refused is not told what else is wrong.
async fn check_refusals(stack: &Stack, function: &str, request: &str, needs: Needs) {
    let request = format!("{request}?validateOnly=maybe&page[size]=none");
    for caller in callers() {
        let Some(refusal) = needs.refusal(caller.as_deref()) else { continue };
        let token = token(stack, caller.as_deref());
        let (answered, told) = stack.request(function, &request, "no id", &token, json!("no flow")).await;
        assert_eq!(answered, refusal, "{request} with {caller:?}: {told}");
    }
}

fn token(stack: &Stack, permissions: Option<&str>) -> String {
    permissions.map(|permissions| stack.token("anna", "acme", permissions)).unwrap_or_default()
}

#[tokio::test]
async fn every_permission_and_route() {
    let stack = Stack::start().await;
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    let rows = routes();
    // The other paths of secrets are the same routes.
    let key = |route: &Route| {
        format!("{} {}", route.method.replace("HEAD", "GET"), route.path.trim_start_matches("/api/v1"))
    };
    let known: BTreeSet<String> = rows.iter().map(|(route, ..)| (*route).to_owned()).collect();
    assert_eq!(template.routes.iter().map(key).collect::<BTreeSet<_>>(), known);
    for route in &template.routes {
        let (_, needs, body, status) = rows.iter().find(|(name, ..)| *name == key(route)).unwrap();
        let request = match route.method.as_str() {
            "ANY" => "$default /nowhere".to_owned(),
            method => format!("{method} {}", route.path.replace("{version}", "1")),
        };
        check_callers(&stack, &route.function, &request, *needs, body, *status).await;
        check_refusals(&stack, &route.function, &request, *needs).await;
    }

    // What a route does only for some of those who pass.
    let purge = Needs::Permissions(&[ADMINISTRATOR]);
    check_callers(&stack, "delete-flow", "DELETE /flows/{id}?purge=true", purge, &Value::Null, 404).await;
    let many = Needs::Permissions(&["flows.write", "flows.bulk"]);
    check_callers(&stack, "create-flow", "POST /flows", many, &json!([complete_flow("x")]), 201).await;
    let author = stack.token("anna", "acme", "secrets.write");
    let (_, stored) = stack.request("create-secret", "POST /secrets", "", &author, secret()).await;
    let id = stored["data"]["id"].as_str().unwrap();
    for permissions in callers().into_iter().flatten() {
        let token = token(&stack, Some(&permissions));
        let (status, got) = stack.request("get-secret", "GET /secrets/{id}", id, &token, Value::Null).await;
        let raw = Needs::Permissions(&["secrets.secret.readRaw"]).refusal(Some(&permissions)).is_none();
        let shown = if raw { "open sesame" } else { "***" };
        assert_eq!((status, &got["data"]["value"]["passphrase"]), (200, &json!(shown)), "{permissions}");
    }
}
