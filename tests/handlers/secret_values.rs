//! What a secret keeps and what is said about it: masks, numbers, owners, and refusals.

use serde_json::{Value, json};
use tests::ALL;

use crate::stack::{Stack, event};

const READER: &str = "secrets.secret.readRaw";
const ROUTES: [(&str, &str); 2] =
    [("create-secret", "POST /secrets"), ("update-secret", "PATCH /secrets/{id}")];

/// Sends a body as it is written, and gives the answer's as it is.
async fn send(stack: &Stack, (function, route): (&str, &str), id: &str, body: &str) -> (u64, String) {
    let mut event = event(route, id, &stack.token("anna", "acme", ALL), &json!({}));
    event["body"] = body.into();
    let answer = stack.functions.invoke(function, event).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
}

async fn create(stack: &Stack, body: &str) -> String {
    let (status, answer) = send(stack, ROUTES[0], "", body).await;
    assert_eq!(status, 201, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["data"]["id"].as_str().unwrap().to_owned()
}

/// The whole value, as text.
async fn raw(stack: &Stack, id: &str) -> String {
    let event = event("GET /secrets/{id}", id, &stack.token("anna", "acme", READER), &Value::Null);
    let answer = stack.functions.invoke("get-secret", event).await.unwrap();
    answer["body"].as_str().unwrap().to_owned()
}

fn reasons(answer: &str) -> Vec<(String, String)> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let errors = answer["errors"].as_array().unwrap();
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    errors.iter().map(|error| (text(error, "pointer"), text(error, "reason"))).collect()
}

#[tokio::test]
async fn a_mask_in_an_array_never_stands_for_another_element() {
    let stack = Stack::start().await;
    let shops = r#"[{"key":"KA","url":"alpha"},{"key":"KB","url":"beta"}]"#;
    let keys = r#"["FIRST","SECOND"]"#;
    for (kind, stored, sent, is_kept) in [
        ("MIXED", shops, r#"[{"url":"beta","key":"***"}]"#, false),
        ("MIXED", shops, r#"[{"url":"beta","key":"***"},{"url":"alpha","key":"***"}]"#, false),
        ("MIXED", shops, r#"[{"url":"alpha","key":"***"},{"url":"beta","key":"***"}]"#, true),
        ("MIXED", shops, r#"[{"url":"***","key":"***"},{"url":"***","key":"***"}]"#, true),
        ("MIXED", shops, r#"[{"url":"***","key":"***"},{"url":"***","key":"KC"}]"#, false),
        ("MIXED", shops, r#"[{"key":"***"},{"url":"***","key":"***"}]"#, false),
        ("MIXED", keys, r#"["***"]"#, false),
        ("MIXED", keys, r#"["***","***"]"#, true),
        ("MIXED", keys, r#"["***","***","THIRD"]"#, false),
        ("MIXED", keys, r#"{"0":"***"}"#, false),
        ("SESSION_AUTH", keys, r#"["***"]"#, false),
        ("SESSION_AUTH", keys, r#"["***","***"]"#, true),
    ] {
        let value = |tree: &str| match kind {
            "MIXED" => format!(r#"{{"payload":{{"deep":{tree}}}}}"#),
            _ => format!(r#"{{"authClientId":"5ca5c44c187c040010a9bb8b","inputFields":[["x"],{tree},"y"]}}"#),
        };
        let id =
            create(&stack, &format!(r#"{{"name":"n","type":"{kind}","value":{}}}"#, value(stored))).await;
        let before = raw(&stack, &id).await;
        let sent = value(sent).replace(r#""x""#, r#""***""#).replace(r#""y""#, r#""***""#);
        let (status, answer) = send(&stack, ROUTES[1], &id, &format!(r#"{{"value":{sent}}}"#)).await;
        if is_kept {
            assert_eq!(status, 200, "{sent}: {answer}");
        } else {
            let member = if kind == "MIXED" { "payload" } else { "inputFields" };
            let refusal = (format!("/value/{member}"), "secret.value.masked".to_owned());
            assert_eq!((status, reasons(&answer)), (400, vec![refusal]), "{sent}: {answer}");
        }
        assert_eq!(raw(&stack, &id).await, before, "{sent}");
    }
}

#[tokio::test]
async fn numbers_are_kept_as_they_were_sent() {
    let stack = Stack::start().await;
    let numbers = ["12345678901234567890123", "1e3", "1.10", "-0", "0.1234567890123456789012", "1E+2"];
    for number in numbers {
        let body = format!(
            r#"{{"name":{number},"type":"SIMPLE","value":{{"username":"u","passphrase":{number}}}}}"#
        );
        let id = create(&stack, &body).await;
        let shown = raw(&stack, &id).await;
        assert!(shown.contains(&format!(r#""passphrase":"{number}""#)), "{number}: {shown}");
        assert!(shown.contains(&format!(r#""name":"{number}""#)), "{number}: {shown}");

        let mixed =
            |payload: &str| format!(r#"{{"name":"n","type":"MIXED","value":{{"payload":{payload}}}}}"#);
        let tree = format!(r#"{{"account":{number},"more":[{number},"x"]}}"#);
        let id = create(&stack, &mixed(&tree)).await;
        assert!(raw(&stack, &id).await.contains(&tree), "{number}");
        // What goes to Secrets Manager.
        let values = stack.secrets_manager.all();
        let value = values.values().flat_map(|value| value.versions.values());
        assert!(value.clone().any(|version| version.value.contains(&tree)), "{number}: {values:?}");
        // A mask hides it and keeps it.
        let masked = r#"{"value":{"payload":{"account":"***","more":["***","***"]}}}"#;
        let (status, answer) = send(&stack, ROUTES[1], &id, masked).await;
        // A time can have the same signs in it.
        let told: Value = serde_json::from_str(&answer).unwrap();
        assert!(status == 200 && !told["data"]["value"].to_string().contains(number), "{number}: {answer}");
        assert!(raw(&stack, &id).await.contains(&tree), "{number}");
    }
    // The same number in another text is the same value, and the next one that no double tells from it is not.
    let id = create(&stack, r#"{"name":"n","type":"MIXED","value":{"payload":{"a":1.1}}}"#).await;
    let before = raw(&stack, &id).await;
    send(&stack, ROUTES[1], &id, r#"{"value":{"payload":{"a":1.10}}}"#).await;
    assert_eq!(raw(&stack, &id).await, before);
    send(&stack, ROUTES[1], &id, r#"{"value":{"payload":{"a":1.10000000000000000001}}}"#).await;
    assert!(raw(&stack, &id).await.contains(r#"{"a":1.10000000000000000001}"#));
}

#[tokio::test]
async fn no_refusal_repeats_what_was_sent() {
    let stack = Stack::start().await;
    let id =
        create(&stack, r#"{"name":"n","type":"SIMPLE","value":{"username":"u","passphrase":"p"}}"#).await;
    let long = format!("canary{}", "x".repeat(300));
    let wrong = [
        json!({"canary": "canary"}),
        json!(["canary"]),
        json!(long),
        json!([[["canary"]]]),
        json!([{"id": {"canary": 1}, "type": "canary"}, "canary", ["canary"]]),
        json!([{"id": long, "type": "USER"}]),
        json!([{"id": "canary", "type": "TENANT"}]),
        json!({"username": {"canary": 1}, "passphrase": ["canary"]}),
        json!({"key": "canary", "payload": "***", "inputFields": ["***", {"canary": "***"}]}),
    ];
    let mut bodies = Vec::new();
    for member in ["name", "type", "domain", "owners", "value", "data"] {
        for wrong in &wrong {
            for kind in ["SIMPLE", "MIXED", "API_KEY", "SESSION_AUTH", "OA2_AUTHORIZATION_CODE"] {
                let mut body = json!({"name": "n", "type": kind, "value": {"canary": "canary"}});
                body[member] = wrong.clone();
                bodies.push(json!({"data": body}).to_string());
                bodies.push(body.to_string());
            }
        }
    }
    // What the parser says.
    for text in [
        r#"{"canary"#,
        r#"{"canary": canary}"#,
        r#"{"name": "canary\x"}"#,
        r#"{"name": "canary" "canary"}"#,
        r#"{"name": "canary\ud800"}"#,
        r#"{"name": 1e400, "x": "canary"}"#,
        r#""canary""#,
        r#"["canary"]"#,
        "canary",
        &format!(r#"{{"canary":{}"canary"{}}}"#, "[".repeat(101), "]".repeat(101)),
    ] {
        bodies.push(text.to_owned());
    }
    let mut refused = 0;
    for body in &bodies {
        for route in ROUTES {
            let (status, answer) = send(&stack, route, &id, body).await;
            if status >= 400 {
                refused += 1;
                assert!(!answer.contains("canary"), "{body}: {answer}");
            }
        }
    }
    assert!(refused > bodies.len(), "{refused} of {}", bodies.len());
    // It is said what is wrong all the same.
    let (_, answer) =
        send(&stack, ROUTES[0], "", &json!({"name": {"x": 1}, "domain": long}).to_string()).await;
    assert_eq!(
        reasons(&answer)[..2],
        [("/name".into(), "cast".into()), ("/domain".into(), "too_long".into())],
        "{answer}"
    );
}

#[tokio::test]
async fn owners_are_all_there_or_refused() {
    let stack = Stack::start().await;
    let body = |owners: &[Value]| {
        json!({"name": "n", "type": "SIMPLE", "value": {"username": "u", "passphrase": "p"}, "owners": owners})
            .to_string()
    };
    let users = |count: usize| (0..count).map(|n| json!({"id": format!("u{n}"), "type": "USER"}));
    let too_many = |answer: &str| reasons(answer) == [("/owners".into(), "secret.owners.too_many".into())];

    // 19 others and the caller, each as often as one likes.
    let anna = json!({"id": "anna", "type": "USER"});
    let twice: Vec<_> = users(19).chain(users(19)).chain([anna.clone(), anna.clone()]).collect();
    let id = create(&stack, &body(&twice)).await;
    let stored: Value = serde_json::from_str(&raw(&stack, &id).await).unwrap();
    let stored = stored["data"]["owners"].as_array().unwrap().clone();
    assert_eq!(stored, [anna.clone()].into_iter().chain(users(19)).collect::<Vec<_>>());
    // What was shown can be sent back, and left out it is kept.
    for owners in [stored, users(19).collect()] {
        let (status, answer) = send(&stack, ROUTES[1], &id, &json!({"owners": owners}).to_string()).await;
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["data"]["owners"].as_array().unwrap().len(), 20);
    }
    // The caller is the 21st; 21 with a double; many more.
    for owners in [
        users(20).collect::<Vec<_>>(),
        users(21).chain(users(1)).collect(),
        users(1).chain(users(21)).collect(),
        users(300).collect(),
    ] {
        let (status, answer) = send(&stack, ROUTES[0], "", &body(&owners)).await;
        assert!(status == 400 && too_many(&answer), "{answer}");
        let (status, answer) = send(&stack, ROUTES[1], &id, &json!({"owners": owners}).to_string()).await;
        assert!(status == 400 && too_many(&answer), "{answer}");
    }
    // Places are those of the body.
    let foreign: Vec<_> = users(1)
        .chain(users(1))
        .chain([json!({"id": "globex", "type": "TENANT"}), json!({"type": "USER"})])
        .collect();
    let (status, answer) = send(&stack, ROUTES[0], "", &body(&foreign)).await;
    let mut faults = reasons(&answer);
    faults.sort();
    assert_eq!(status, 400);
    assert_eq!(
        faults,
        [
            ("/owners/2/id".into(), "owner.tenant.foreign".into()),
            ("/owners/3/id".into(), "owner.id.required".into())
        ]
    );
    // A body of faults is answered with some of them.
    let (status, answer) = send(&stack, ROUTES[0], "", &body(&vec![json!(0); 10_000])).await;
    assert!(status == 400 && answer.len() < 50_000 && answer.contains("more_faults"), "{}", answer.len());
}
