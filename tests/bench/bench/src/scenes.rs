//! What every function is asked when its price is measured: something usual, and each time something new where
//! once is enough.

use serde_json::{Value, json};

use crate::http::Error;
use crate::lambda::Events;
use crate::world::World;

/// Who asks.
const USER: &str = "anna";
const TENANT: &str = "acme";
/// The owner of the flows that are listed.
const LISTER: &str = "lister";
/// Flows of that owner, and how many of them are on a page.
const LISTED: usize = 100;
pub(crate) const PAGE: usize = 20;
/// Flows in one request for many.
pub(crate) const BULK: usize = 10;

/// The flows and secrets that the functions are asked about.
pub(crate) struct Scenes<'a> {
    world: &'a World,
    token: String,
    /// A flow with three versions, and one that uses the secret.
    flow: String,
    secret: String,
}

impl<'a> Scenes<'a> {
    pub(crate) async fn prepare(world: &'a World) -> Result<Self, Error> {
        let token = world.token(USER, TENANT, &["secrets.write"])?;
        let mut scenes = Self { world, token, flow: String::new(), secret: String::new() };
        world.fill(LISTED, LISTER, "listers").await?;
        scenes.flow = scenes.flow_with_versions().await?;
        for number in 0..PAGE {
            scenes.secret = scenes.new_secret(number).await?;
        }
        let mut user = world.flow.clone();
        user["graph"]["nodes"][0]["credentials_id"] = scenes.secret.as_str().into();
        scenes.call("POST /flows", &user).await?;
        Ok(scenes)
    }

    async fn call(&self, line: &str, body: &Value) -> Result<Value, Error> {
        self.world.call(&self.token, line, body).await
    }

    async fn new_flow(&self) -> Result<String, Error> {
        self.world.create(1, USER, TENANT).await?.pop().ok_or_else(|| "no flow".into())
    }

    async fn flow_with_versions(&self) -> Result<String, Error> {
        let id = self.new_flow().await?;
        for text in ["second", "third"] {
            self.call(&format!("PATCH /flows/{id}"), &json!({"description": text})).await?;
        }
        Ok(id)
    }

    async fn started_flow(&self) -> Result<String, Error> {
        let id = self.new_flow().await?;
        self.call(&format!("POST /flows/{id}/start"), &Value::Null).await?;
        Ok(id)
    }

    async fn new_secret(&self, number: usize) -> Result<String, Error> {
        let secret = json!({
            "name": format!("Order database {number}"), "type": "SIMPLE",
            "value": {"username": "orders", "passphrase": "correct horse battery staple"},
        });
        let answer = self.call("POST /secrets", &secret).await?;
        Ok(answer["data"]["id"].as_str().ok_or("no secret")?.to_owned())
    }

    async fn many(&self, started: bool) -> Result<Vec<String>, Error> {
        let ids = self.world.create(BULK, USER, TENANT).await?;
        if started {
            self.call("POST /flows/multiple/start", &json!(ids)).await?;
        }
        Ok(ids)
    }

    /// As many events for a function as are wanted.
    pub(crate) async fn events(&self, function: &str, wanted: usize) -> Result<Events, Error> {
        let mut texts = Vec::new();
        for number in 0..wanted {
            texts.push(self.event(function, number).await?.to_string());
        }
        Ok(Box::new(move || texts.pop().ok_or_else(|| "no event is left".into())))
    }

    async fn event(&self, function: &str, number: usize) -> Result<Value, Error> {
        let sample = if function == "hello" { "get-flow" } else { function };
        let file = self.world.samples.join(format!("{sample}.json"));
        let mut event: Value = serde_json::from_slice(&std::fs::read(file)?)?;
        if event["headers"].is_object() {
            let token = match function {
                "list-flows" => &self.world.token(LISTER, "listers", &[])?,
                _ => &self.token,
            };
            event["headers"]["authorization"] = format!("Bearer {token}").into();
            event["headers"].as_object_mut().ok_or("no headers")?.remove("idempotency-key");
        }
        let mut changed = self.world.flow.clone();
        changed["description"] = format!("Changed {number} times.").into();
        let (id, body) = match function {
            "get-flow" | "list-versions" | "get-version" | "compare-versions" => (self.flow.clone(), None),
            "list-flows" => {
                event["rawQueryString"] = format!("page%5Bsize%5D={PAGE}&page%5Bafter%5D=").into();
                event["queryStringParameters"] = json!({"page[size]": PAGE.to_string(), "page[after]": ""});
                (String::new(), None)
            }
            "create-flow" | "validate-flow" => (String::new(), Some(self.world.flow.clone())),
            "replace-flow" => (self.new_flow().await?, Some(changed)),
            "update-flow" => (self.new_flow().await?, Some(json!({"description": changed["description"]}))),
            "delete-flow" | "start-flow" => (self.new_flow().await?, None),
            "stop-flow" | "on-flow-status" => (self.started_flow().await?, None),
            "restore-flow" => {
                let id = self.new_flow().await?;
                self.call(&format!("DELETE /flows/{id}"), &Value::Null).await?;
                (id, None)
            }
            "restore-version" => (self.flow_with_versions().await?, None),
            "start-flows" => (String::new(), Some(json!(self.many(false).await?))),
            "stop-flows" => (String::new(), Some(json!(self.many(true).await?))),
            "update-flows" => {
                let ids = self.many(false).await?;
                let bodies = ids.iter().map(|id| json!({"id": id, "description": "Changed."}));
                (String::new(), Some(bodies.collect()))
            }
            "get-secret" | "list-secret-usages" => (self.secret.clone(), None),
            "update-secret" => {
                let value =
                    json!({"username": "orders", "passphrase": format!("correct horse battery {number}")});
                (self.new_secret(PAGE + number).await?, Some(json!({"value": value})))
            }
            "delete-secret" => (self.new_secret(PAGE + number).await?, None),
            "on-identity-deleted" => {
                let user = format!("leaver-of-{}", self.new_flow().await?);
                self.world.create(1, &user, TENANT).await?;
                event["detail"]["id"] = user.into();
                (String::new(), None)
            }
            _ => (String::new(), None),
        };
        if let Some(body) = body {
            let body = body.to_string();
            event["headers"]["content-length"] = body.len().to_string().into();
            event["body"] = body.into();
        }
        let place = event["pathParameters"]["id"].as_str().or(event["detail"]["id"].as_str());
        match place.map(ToOwned::to_owned) {
            Some(place) if !id.is_empty() => {
                Ok(serde_json::from_str(&event.to_string().replace(&place, &id))?)
            }
            _ => Ok(event),
        }
    }
}
