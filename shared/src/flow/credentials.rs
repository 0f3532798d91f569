//! Credentials of nodes: which secrets a change takes up, and literal ones that should be secrets.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeSeed;

use self::literal::Search;
use super::document::Document;
use super::parse::{Fault, MAX_FAULTS, bounded};
use super::{Flow, Node, SecretId, Status};

mod literal;

/// What becomes of a flow with literal credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialCheck {
    /// It is stored, with warnings.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

impl Flow {
    /// The nodes whose secrets whoever made this flow of `before` must be allowed to use, with their
    /// places: all when it starts, because a run reads secrets in the name of who started it, and
    /// otherwise those that are new or changed. A node that stays as it is keeps its secret, so a
    /// colleague who may not use it can still change the rest of the flow.
    fn taken_up(&self, before: Option<&Self>) -> impl Iterator<Item = (usize, SecretId)> {
        let starts = self.status == Status::Starting && before.is_some_and(|flow| flow.status != self.status);
        let known: BTreeMap<&str, &Node> = before
            .filter(|_| !starts)
            .into_iter()
            .flat_map(|flow| &flow.document.graph.nodes)
            .filter(|node| node.credentials_id.value().is_some())
            .map(|node| (node.id.as_str(), node))
            .collect();
        let nodes = self.document.graph.nodes.iter().enumerate();
        nodes.filter_map(move |(index, node)| {
            let secret = node.credentials_id.value()?;
            (known.get(node.id.as_str()) != Some(&node)).then_some((index, *secret))
        })
    }

    /// The secrets of these nodes, each once.
    pub(crate) fn secrets_taken_up(&self, before: Option<&Self>) -> BTreeSet<SecretId> {
        self.taken_up(before).map(|(_, secret)| secret).collect()
    }

    /// What is wrong with these nodes when these secrets are none that their user may use. Missing and
    /// foreign ones are the same.
    pub(crate) fn unknown_secrets(&self, before: Option<&Self>, unknown: &BTreeSet<SecretId>) -> Vec<Fault> {
        let faults = self.taken_up(before).filter(|(_, secret)| unknown.contains(secret));
        let faults = faults.map(|(index, secret)| Fault {
            message: format!("Secret with id \"{secret}\" could not be found."),
            reason: "node.credentials.unknown",
            pointer: format!("/graph/nodes/{index}/credentials_id"),
            help: None,
        });
        bounded(faults, MAX_FAULTS)
    }
}

impl Document {
    /// Members of nodes' `fields` that look like credentials, in document order. The faults name no
    /// value.
    #[must_use]
    pub fn literal_credentials(&self) -> Vec<Fault> {
        let mut found = Vec::new();
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let Some(fields) = node.fields.value() else { continue };
            let mut pointer = format!("/graph/nodes/{index}/fields");
            let search = Search::new(&mut pointer, &mut found);
            // It was valid JSON when it was taken in, so it ends early only with more than is told.
            if search.deserialize(&mut serde_json::Deserializer::from_str(fields.0.get())).is_err() {
                break;
            }
        }
        let faults = found.into_iter().map(|pointer| Fault {
            message: "This looks like a credential. Store it as a secret and refer to it by credentials_id."
                .into(),
            reason: "node.fields.credential",
            pointer,
            help: None,
        });
        bounded(faults, MAX_FAULTS)
    }
}

#[cfg(test)]
mod corpus;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::corpus::Rates;
    use super::*;
    use crate::flow::{ComponentCheck, Role, read_fields};
    use crate::identity::Caller;

    fn document(fields: &Value) -> Document {
        let body = json!({"graph": {"nodes": [{"id": "a", "fields": fields}]}}).to_string();
        let fields = read_fields(serde_json::from_str(&body).unwrap()).unwrap();
        Document::parse(fields, ComponentCheck::AtStart.into()).unwrap().document
    }

    pub(super) fn found(fields: &Value) -> Vec<String> {
        let faults = document(fields).literal_credentials();
        faults.into_iter().map(|fault| fault.pointer.replace("/graph/nodes/0/fields", "")).collect()
    }

    /// A key that is evidently invented, and looks drawn.
    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn names_that_end_like_credentials_are_found_wherever_they_are() {
        for (fields, pointers) in [
            (json!({"password": "hunter2"}), vec!["/password"]),
            (json!({"API-Key": KEY, "client_secret": KEY}), vec!["/API-Key", "/client_secret"]),
            (json!({"auth": {"accessToken": KEY}}), vec!["/auth/accessToken"]),
            (json!([{"pwd": "hunter2"}, {"smtpPass": "hunter2"}]), vec!["/0/pwd", "/1/smtpPass"]),
            (json!({"tokens": [KEY], "secret": [KEY, KEY]}), vec!["/secret/0", "/secret/1"]),
            (json!({"passcode": 1234}), vec!["/passcode"]),
            (json!({"a/b": {"c~token": KEY}}), vec!["/a~1b/c~0token"]),
            (
                json!({"HASURA_ADMIN_SECRET": KEY, "USER_PASSWORD": "hunter2"}),
                vec!["/HASURA_ADMIN_SECRET", "/USER_PASSWORD"],
            ),
            (json!({"Ocp-Apim-Subscription-Key": KEY}), vec!["/Ocp-Apim-Subscription-Key"]),
        ] {
            assert_eq!(found(&fields), pointers, "{fields}");
        }
    }

    #[test]
    fn pairs_of_name_and_value_are_found_in_any_order() {
        for (fields, pointers) in [
            (json!({"name": "X-Api-Key", "value": KEY}), vec!["/value"]),
            (json!([{"value": KEY, "key": "api_key"}]), vec!["/0/value"]),
            (json!({"Name": "DB_PASSWORD", "Value": "hunter2"}), vec!["/Value"]),
            (json!({"header": "Authorization", "value": format!("Token {KEY}")}), vec!["/value"]),
            (json!({"keyType": "other", "keyValue": "apikey", "valueValue": KEY}), vec!["/valueValue"]),
            (json!({"t": "set", "p": "payload.token", "to": KEY}), vec!["/to"]),
            (json!({"password": {"type": "string", "value": "hunter2"}}), vec!["/password/value"]),
            (json!({"name": "password", "value": "hunter2", "default": ""}), vec!["/value"]),
            (json!({"value": KEY, "Value": KEY, "name": "token"}), vec!["/Value", "/value"]),
            (json!({"name": "If-None-Match", "value": KEY}), vec![]),
            (json!({"name": "Authorization", "value": "Bearer {{ secret('SHOP') }}"}), vec![]),
            (json!({"name": "Forgot password", "value": "forgotten"}), vec![]),
        ] {
            assert_eq!(found(&fields), pointers, "{fields}");
        }
    }

    #[test]
    fn what_only_speaks_of_credentials_is_none() {
        for fields in [
            json!({"tokenUrl": "https://id.example.com/token", "passwordField": "pw", "maxTokens": 100}),
            json!({"password": "", "token": null, "secret": true}),
            json!({"text": "the password is with Anna", "url": "https://example.com:8080/a@b"}),
            json!({"nextPageToken": KEY, "sync_token": KEY, "header": "Bearer {token}", "scheme": "Basic", "sk": "sk-short"}),
            json!({"maxToken": 4096, "useToken": "true", "labelPassword": "Enter your password"}),
            json!({"token": "YOUR_API_TOKEN", "apiKey": "<token>", "ClientToken": "order-import", "bypass": "hunter2"}),
            json!({"class": "sk-circle-container-fluid-large"}),
            json!("plain"),
        ] {
            assert_eq!(found(&fields), Vec::<String>::new(), "{fields}");
        }
    }

    #[test]
    fn an_expression_is_no_credential_wherever_it_stands() {
        for text in [
            "{{credentials.passphrase}}",
            "${TOKEN}",
            "***",
            "Bearer {{ secret('SHOP') }}",
            "Basic {{ inputs.basic }}",
            "Bearer ${TOKEN}",
            "={{ $json.p }}",
            "postgresql://u:{{ secret('P') }}@db.example.com/orders",
            "amqp://{user}:{password}@rabbit.example.com",
            "https://api.example.com/v1?api_key={{ key1234 }}",
            "Server=db.example.com;Password=${PASSWORD1};",
            "msg.payload.token1",
            "$.token1",
            "$$.Execution.Input.token1",
            "States.Format('Bearer {}', $.token1)",
            "$lookup(body, 'token1')",
        ] {
            for name in ["password", "token", "Authorization", "url"] {
                assert_eq!(found(&json!({name: text})), Vec::<String>::new(), "{name}: {text}");
            }
        }
    }

    #[test]
    fn known_forms_of_keys_are_found_whatever_they_are_called() {
        let letters = "aB3".repeat(30);
        for text in [
            "AKIAQ3EGRS5XTU2WVZ7Y".to_owned(),
            format!("ghp_{}", &letters[..36]),
            format!("use ghp_{} until Monday", &letters[..36]),
            format!("xoxb-123456789012-{}", &letters[..12]),
            format!("eyJ{}.{}.{}", &letters[..30], &letters[..30], &letters[..20]),
            "Basic YW5uYTpzZWNyZXQ=".to_owned(),
            "postgres://anna:hunter2@db.example.com/orders".to_owned(),
            format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----", &letters[..64]),
            format!("https://api.example.com/v1?page=1&api_key={KEY}"),
            format!("https://api.example.com/v1?access_token={KEY}"),
            format!("AccountName=acme;AccountKey={}==;EndpointSuffix=core", &letters[..86]),
            format!("{{\"apiKey\": \"{KEY}\"}}"),
            format!("curl -H 'X-Api-Key: {KEY}' https://api.example.com"),
            format!("https://hooks.{}/services/T0/B0/{}", "slack.com", &letters[..24]),
            format!("https://api.telegram.org/bot123456789:AA{}/sendMessage", &letters[..33]),
        ] {
            assert_eq!(found(&json!({"x": [text]})), ["/x/0"], "{text}");
        }
    }

    /// The rates that docs/secrets.md tells.
    #[test]
    fn harmless_texts_are_left_alone_and_credentials_are_found() {
        for (name, corpus) in [
            ("held_out", include_str!("credentials/held_out.json")),
            ("tuned", include_str!("credentials/tuned.json")),
        ] {
            let rates = Rates::of(corpus);
            println!("{name}.json: {rates}");
            let is_good = rates.precision() >= 0.8 && rates.recall() >= 0.8;
            assert!(is_good, "{name}.json: {rates}; wrong at least once: {:#?}", rates.wrong);
        }
    }

    #[test]
    fn a_megabyte_of_credentials_is_reported_within_bounds() {
        let many: Vec<_> = (0..50_000).map(|_| json!({"password": "hunter2"})).collect();
        assert_eq!(document(&json!(many)).literal_credentials().len(), MAX_FAULTS + 1);
    }

    #[test]
    fn a_change_takes_up_the_secrets_of_nodes_that_it_changes_and_a_start_all() {
        let [a, b] = ["5ca5c44c187c040010a9bb8b", "5ca5c44c187c040010a9bb8c"];
        let node = |id: &str, secret: &str, function: &str| json!({"id": id, "credentials_id": secret, "function": function, "componentId": a});
        let graph = |nodes: Value| {
            json!({"graph": {"nodes": nodes, "edges": [{"source": "x", "target": "y"}]}}).to_string()
        };
        let anna = Caller::new("anna", None, []);
        let body = graph(json!([node("x", a, "f"), node("y", b, "f")]));
        let flow =
            Flow::create(&anna, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart, Role::Owner)
                .unwrap();
        let taken_up = |next: &Flow, before: Option<&Flow>| -> Vec<String> {
            next.secrets_taken_up(before).iter().map(ToString::to_string).collect()
        };
        assert_eq!(taken_up(&flow, None), [a, b]);
        for (nodes, secrets) in [
            (json!([node("y", b, "f"), node("x", a, "f")]), vec![]),
            (json!([node("x", a, "g"), node("y", b, "f")]), vec![a]),
            (json!([node("x", b, "f"), node("y", b, "f")]), vec![b]),
            (json!([node("x", a, "f"), node("z", b, "f"), node("y", b, "f")]), vec![b]),
        ] {
            let body = graph(nodes);
            let next =
                flow.patch(&anna, serde_json::from_str(&body).unwrap(), ComponentCheck::AtStart).unwrap();
            let next = next.unwrap_or_else(|| flow.clone());
            assert_eq!(taken_up(&next, Some(&flow)), secrets, "{body}");
        }
        let renamed =
            flow.patch(&anna, serde_json::from_str(r#"{"name":"n"}"#).unwrap(), ComponentCheck::AtStart);
        assert!(taken_up(&renamed.unwrap().unwrap(), Some(&flow)).is_empty());
        let started = flow.start(&anna).unwrap().unwrap();
        assert_eq!(taken_up(&started, Some(&flow)), [a, b]);
        let stopped = started.stop(&anna).unwrap();
        assert!(taken_up(&stopped, Some(&started)).is_empty());
        let faults = flow.unknown_secrets(None, &[b.parse().unwrap()].into());
        assert_eq!(
            (faults.len(), faults[0].pointer.as_str(), faults[0].reason),
            (1, "/graph/nodes/1/credentials_id", "node.credentials.unknown")
        );
    }
}
