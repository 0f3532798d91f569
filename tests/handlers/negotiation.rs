//! Headers: what is accepted, what a body is in, what is sent twice, and references that lead somewhere.

use serde_json::{Value, json};
use tests::{ALL, complete_flow};

use crate::stack::{Stack, event, read};

const PATCH: &str = "application/json-patch+json";

async fn stored(stack: &Stack) -> (String, String) {
    let anna = stack.token("anna", "acme", ALL);
    let (_, flow) = stack.request("create-flow", "POST /flows", "", &anna, complete_flow("one")).await;
    (flow["data"]["id"].as_str().unwrap().to_owned(), anna)
}

#[tokio::test]
async fn a_difference_comes_as_the_client_likes_it_best() {
    const JSON: &str = "application/json";
    let stack = Stack::start().await;
    let (id, anna) = stored(&stack).await;
    for (accept, expected) in [
        ("", JSON),
        (PATCH, PATCH),
        ("application/json-patch+json;q=0", JSON),
        ("application/json-patch+json;q=0, */*", JSON),
        ("application/json-patch+json; q=0.5, application/json", JSON),
        ("application/json;q=0.4,application/json-patch+json;q=0.5", PATCH),
        ("application/json, application/json-patch+json", JSON),
        ("application/json-patch+json, application/json", PATCH),
        ("application/json-patch+json, */*;q=0.1", PATCH),
        ("*/*, application/json-patch+json", PATCH),
        ("*/*, application/json-patch+json;q=0.9", JSON),
        ("application/*, application/json;q=0.1", PATCH),
        ("APPLICATION/JSON-PATCH+JSON;Q=1.000", PATCH),
        ("application/json-patch+json;profile=\"a,b;q=0\"", PATCH),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("image/png", JSON),
        ("*/*;q=0", JSON),
        ("application/json-patch+json;q=x", JSON),
        (",, ;", JSON),
    ] {
        let headers: &[_] = if accept.is_empty() { &[] } else { &[("accept", accept)] };
        let answer = stack
            .send_with("compare-versions", "GET /flows/{id}/diff", &id, &anna, headers, &Value::Null)
            .await;
        assert_eq!(
            (&answer["statusCode"], &answer["headers"]["content-type"]),
            (&json!(200), &json!(expected)),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn a_header_that_is_sent_twice_is_seen_though_gateways_join_it() {
    let stack = Stack::start().await;
    let anna = stack.token("anna", "acme", ALL);
    let body = complete_flow("x");
    for key in ["K,K", "K, K", "\"K\", \"K\"", "\"K\",\"K\"", "K,", "\"K", "K\"", "\"a\"b\"", ""] {
        let (status, told, _) = stack
            .request_with("create-flow", "POST /flows", "", &anna, ("idempotency-key", key), body.clone())
            .await;
        let message = &told["errors"][0]["message"];
        assert_eq!((status, message), (400, &json!("Invalid Idempotency-Key parameter")), "{key}");
    }
    let json = "application/json";
    for media in [
        "application/json,application/json",
        "application/json, application/merge-patch+json",
        "application/json;charset=utf-8, application/json",
        "text/plain, application/json",
    ] {
        for (function, route) in [("create-flow", "POST /flows"), ("update-flow", "PATCH /flows/{id}")] {
            let id = "5ca5c44c187c040010a9bb8b";
            let header = ("content-type", media);
            let (status, ..) = stack.request_with(function, route, id, &anna, header, body.clone()).await;
            assert_eq!(status, 415, "{route} {media}");
        }
    }
    for token in [format!("Bearer {anna},Bearer {anna}"), format!("Bearer {anna}, Bearer {anna}")] {
        let mut event = event("POST /flows", "", &anna, &body);
        event["headers"]["authorization"] = token.into();
        assert_eq!(read(&stack.functions.invoke("create-flow", event).await.unwrap()).0, 401);
    }
    assert!(stack.items().await.is_empty());
    // What only looks like two.
    for (header, value) in
        [("idempotency-key", "\"K, K\""), ("content-type", "application/json; profile=\"a,b\"")]
    {
        let (status, told, _) =
            stack.request_with("create-flow", "POST /flows", "", &anna, (header, value), body.clone()).await;
        assert_eq!(status, 201, "{header}: {value} {told}");
    }
    let (status, ..) =
        stack.request_with("create-flow", "POST /flows", "", &anna, ("content-type", json), body).await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_body_in_another_coding_is_refused_with_those_that_are_read() {
    let stack = Stack::start().await;
    let (id, anna) = stored(&stack).await;
    for (function, route) in [
        ("create-flow", "POST /flows"),
        ("update-flow", "PATCH /flows/{id}"),
        ("start-flows", "POST /flows/multiple/start"),
        ("create-secret", "POST /secrets"),
    ] {
        for coding in ["gzip", "GZIP, identity", "br", "x"] {
            let mut event = event(route, &id, &anna, &json!({}));
            event["headers"]["content-encoding"] = coding.into();
            // Of a real one.
            event["body"] = "H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA==".into();
            event["isBase64Encoded"] = true.into();
            let answer = stack.functions.invoke(function, event).await.unwrap();
            let (status, told) = read(&answer);
            assert_eq!(
                (status, &told["errors"][0]["reason"]),
                (415, &json!("body.coding")),
                "{route} {coding}"
            );
            assert_eq!(answer["headers"]["accept-encoding"], "identity", "{route} {coding}");
        }
    }
    let identity = ("content-encoding", "identity");
    let (status, ..) =
        stack.request_with("create-flow", "POST /flows", "", &anna, identity, complete_flow("x")).await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_body() {
    let stack = Stack::start().await;
    let (id, anna) = stored(&stack).await;
    let operations = json!([{"op": "replace", "path": "/name", "value": "three"}]);
    for (function, route, media, body) in [
        ("create-flow", "POST /flows", "application/json", complete_flow("x")),
        ("update-flow", "PATCH /flows/{id}", "application/json", json!({"name": "one"})),
        ("update-flow", "PATCH /flows/{id}", "application/merge-patch+json", json!({"name": "two"})),
        ("update-flow", "PATCH /flows/{id}", PATCH, operations),
    ] {
        let mut event = event(route, &id, &anna, &body);
        event["headers"]["content-type"] = media.into();
        event["body"] = format!("\u{feff}{body}").into();
        let (status, told) = read(&stack.functions.invoke(function, event).await.unwrap());
        assert!(matches!(status, 200 | 201), "{route} {media}: {status} {told}");
    }
    let (_, now) = stack.request("get-flow", "GET /flows/{id}", &id, &anna, Value::Null).await;
    assert_eq!(now["data"]["name"], "three");
}

#[tokio::test]
async fn an_empty_user_filters_nothing() {
    let stack = Stack::start().await;
    let (id, anna) = stored(&stack).await;
    for query in ["filter[user]=", "filter%5Buser%5D=", "filter[user]"] {
        let (status, page) =
            stack.request("list-flows", &format!("GET /flows?{query}"), "", &anna, Value::Null).await;
        assert_eq!((status, &page["data"][0]["id"]), (200, &json!(id)), "{query}");
    }
    for query in ["filter[status]=", "filter[type]=", "filter[user]=&filter[user]="] {
        let (status, _) =
            stack.request("list-flows", &format!("GET /flows?{query}"), "", &anna, Value::Null).await;
        assert_eq!(status, 400, "{query}");
    }
}
