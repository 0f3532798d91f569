//! What the API does with requests that no client should send, and the headers of those it should.

use serde_json::{Value, json};
use shared::limits::LAMBDA_ANSWER_BYTES;
use tests::{ALL, Api, complete_flow};

const MISSING: &str = "5ca5c44c187c040010a9bb8b";

#[tokio::test]
async fn unknown_paths_other_methods_and_trailing_slashes() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for (method, path, status, header, value) in [
        ("GET", "/".to_owned(), 404, "allow", ""),
        ("GET", "/flows/a/b/c/d".into(), 404, "allow", ""),
        ("GET", "/docs".into(), 404, "allow", ""),
        ("PUT", "/flows".into(), 405, "allow", "GET, HEAD, POST"),
        ("POST", format!("/flows/{MISSING}"), 405, "allow", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", format!("/flows/{MISSING}/start"), 405, "allow", "POST"),
        ("GET", format!("/flows/{MISSING}/versions/1/restore"), 405, "allow", "POST"),
        ("POST", "/flows/bulk".into(), 405, "allow", "DELETE, GET, HEAD, PATCH, PUT"),
        ("DELETE", "/healthcheck".into(), 405, "allow", "GET, HEAD"),
        ("GET", format!("/flows/{MISSING}/?a=b"), 308, "location", "/flows/5ca5c44c187c040010a9bb8b?a=b"),
        (
            "POST",
            format!("/flows/{MISSING}/start/"),
            308,
            "location",
            "/flows/5ca5c44c187c040010a9bb8b/start",
        ),
        ("GET", "/flows/a%20b%3Fc/".into(), 308, "location", "/flows/a%20b%3Fc"),
        ("GET", "/flows//".into(), 404, "location", ""),
    ] {
        let answer = api.send(method, &path, &token, Value::Null).await;
        assert_eq!((answer.status, answer.header(header)), (status, value), "{method} {path}");
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.body["status"], status);
            assert_eq!(answer.body["instance"], path);
        }
    }
}

#[tokio::test]
async fn bodies_that_are_none() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let json = ("content-type", "application/json");
    let deep = format!("{{\"graph\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (headers, body, status) in [
        (vec![json], b"{bad".to_vec(), 400),
        (vec![json], b"\"x\"".to_vec(), 400),
        (vec![json], b"null".to_vec(), 400),
        (vec![json], b"{} {}".to_vec(), 400),
        (vec![json], b"{\"name\":\"\xff\xfe\"}".to_vec(), 400),
        (vec![json], b"{\"name\":\"\\ud800\"}".to_vec(), 400),
        (
            vec![json],
            b"{\"flowSettings\":[\"\\ud800\"],\"graph\":{\"nodes\":[{\"id\":\"a\"}]}}".to_vec(),
            400,
        ),
        (vec![json], b"{\"flowSettings\":1e999,\"graph\":{\"nodes\":[{\"id\":\"a\"}]}}".to_vec(), 400),
        (vec![json], deep.into_bytes(), 400),
        (vec![json], large.into_bytes(), 413),
        (vec![], b"{\"name\":\"x\"}".to_vec(), 400),
        (vec![("content-type", "text/plain")], b"{}".to_vec(), 415),
        (vec![("content-type", "application/x-www-form-urlencoded")], b"a=b".to_vec(), 415),
        (vec![("content-type", "application/jsonp")], b"{}".to_vec(), 415),
        (vec![("content-type", "application/merge-patch+json; charset=utf-8")], b"{}".to_vec(), 400),
        (vec![("content-type", "APPLICATION/JSON;charset=UTF-8")], b"{}".to_vec(), 400),
        (vec![json], b"".to_vec(), 400),
    ] {
        let shown = String::from_utf8_lossy(&body).chars().take(40).collect::<String>();
        let answer = api.send_raw("POST", "/flows", &token, &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?} {shown} {answer:?}");
        assert!(answer.body["errors"][0]["message"].is_string() && answer.text.len() < 1000, "{shown}");
    }
    for body in [json!([]), json!([{"name": "x"}])] {
        let answer = api.patch(&format!("/flows/{MISSING}"), &token, body).await;
        assert_eq!((answer.status, answer.messages()), (400, vec!["Expecting an object"]));
    }
}

#[tokio::test]
async fn whatever_comes_is_answered_and_never_with_a_5xx() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let junk = [
        json!({"graph": {"nodes": {"nodes": []}}}),
        json!({"graph": {"nodes": [[], 1, "x", null, true], "edges": [[], 1, "x", null]}}),
        json!({"graph": [], "owners": "x", "cron": {}, "name": [], "fromTemplate": 1, "flowSettings": null}),
        json!({"graph": {"nodes": [{"id": "\u{0}\u{ffff}", "fields": {"": {"": []}}}]}, "owners": [[], {"id": {}, "type": []}]}),
        json!({"graph": {"nodes": [{"id": "a"}]}, "owners": [{"id": "x".repeat(5000), "type": "user"}]}),
        json!({"graph": {"nodes": [{"id": "a"}]}, "owners": [{"id": "#OWNER#", "type": "ALL#0"}]}),
        json!({"__proto__": {"admin": true}, "constructor": 1, "graph": {"nodes": [{"id": "__proto__"}]}}),
        json!({"status": ["inactive"], "graph": {"nodes": [{"id": "a"}]}}),
    ];
    for body in &junk {
        for (method, path) in [
            ("POST", "/flows".to_owned()),
            ("PATCH", format!("/flows/{id}")),
            ("PATCH", "/flows/bulk".into()),
        ] {
            for body in [body.clone(), json!([body])] {
                let answer = api.send(method, &path, &token, body).await;
                assert!(answer.status < 500 && !answer.text.is_empty(), "{method} {path} {answer:?}");
            }
        }
    }
    for path in [
        "/flows/%00",
        "/flows/%ff%fe",
        "/flows/%2e%2e%2fx",
        "/flows/'%20or%201=1",
        "/flows/..%2f..%2fx/start",
        "/flows/%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80",
    ] {
        for method in ["GET", "PATCH", "DELETE", "POST"] {
            let answer = api.send(method, path, &token, json!({})).await;
            assert!((400..500).contains(&answer.status), "{method} {path} {answer:?}");
        }
    }
    for query in [
        "search=<x>\"{}|^`\\",
        "search=%00",
        "search=%ff",
        "page[after]=%00",
        "&&&===",
        "filter[user]=%23",
        "sort=%F0%9F%98%80",
    ] {
        let answer = api.get(&format!("/flows?{query}"), &token).await;
        assert!(matches!(answer.status, 200 | 400), "{query} {answer:?}");
    }
}

#[tokio::test]
async fn every_answer_has_its_headers() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    for path in [
        "/flows".to_owned(),
        format!("/flows/{id}"),
        "/flows/xx".into(),
        "/healthcheck".into(),
        "/nowhere".into(),
    ] {
        let get = api.get(&path, &token).await;
        assert_eq!(get.header("x-api-version"), "1", "{path}");
        assert!(!get.header("x-request-id").is_empty(), "{path}");
        assert_eq!(get.header("x-content-type-options"), "nosniff");
        let head = api.send("HEAD", &path, &token, Value::Null).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
    }
    let problem = api.get("/flows/xx", &token).await;
    assert_eq!(problem.body["requestId"], problem.header("x-request-id"));
    assert_eq!(problem.body["type"], "/problems/invalid-parameter");
}

#[tokio::test]
async fn browsers_of_known_origins_are_let_in() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for (origin, allowed) in
        [("http://localhost:3001", "http://localhost:3001"), ("http://evil.example", ""), ("null", "")]
    {
        let preflight = api
            .send_raw(
                "OPTIONS",
                "/flows",
                "",
                &[("origin", origin), ("access-control-request-method", "PATCH")],
                "",
            )
            .await;
        assert_eq!(preflight.header("access-control-allow-origin"), allowed);
        assert!(preflight.status == 204 || allowed.is_empty(), "{preflight:?}");
        let answer = api.send_raw("GET", "/flows", &token, &[("origin", origin)], "").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, allowed));
    }
}

#[tokio::test]
async fn a_page_may_send_what_its_tracing_adds() {
    let api = Api::start().await;
    let origin = ("origin", "http://localhost:3001");
    let asked = ("access-control-request-headers", "authorization,traceparent,tracestate");
    let method = ("access-control-request-method", "POST");
    let preflight = api.send_raw("OPTIONS", "/flows", "", &[origin, method, asked], "").await;
    let allowed: Vec<_> =
        preflight.header("access-control-allow-headers").split(',').map(str::trim).collect();
    for name in ["authorization", "traceparent", "tracestate"] {
        assert!(allowed.contains(&name), "{allowed:?}");
    }
}

#[tokio::test]
async fn the_health_check_asks_every_dependency() {
    let api = Api::start().await;
    let answer = api.get("/healthcheck", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "pass");
    assert_eq!(
        answer.body["details"],
        json!({"dynamodb": {"status": "pass"}, "eventbridge": {"status": "pass"}, "secretsmanager": {"status": "pass"}})
    );
}

#[tokio::test]
async fn pointers_lead_into_the_body() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let pointers = |answer: &tests::Answer, path: &str| -> Vec<String> {
        let entries = answer.body.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["pointer"].as_str().unwrap().to_owned()).collect()
    };
    let mixed =
        api.post("/flows", &token, json!({"graph": {"nodes": ["x", {}, null], "edges": [1, {}]}})).await;
    assert_eq!(
        pointers(&mixed, "/errors"),
        [
            "/graph/nodes/0",
            "/graph/nodes/1/id",
            "/graph/nodes/2/id",
            "/graph/edges/0",
            "/graph/edges/1/target",
            "/graph/edges/1/source",
            "/graph/edges/1/source",
            "/graph/edges/1/target",
        ]
    );
    let single = api.post("/flows", &token, json!({"graph": {"nodes": {"name": "x"}}})).await;
    assert_eq!(pointers(&single, "/errors"), ["/graph/nodes/id"]);
    let bulk = api.post("/flows", &token, json!([complete_flow("x"), {"name": "bad"}])).await;
    assert_eq!(pointers(&bulk, "/data/1/errors"), ["/1/graph"]);
}

#[tokio::test]
async fn no_answer_is_larger_than_a_gateway_passes_on() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let many = |node: &str, count: usize| {
        format!(
            r#"{{"graph":{{"nodes":[{}],"edges":[{{"source":"0","target":"0"}}]}}}}"#,
            vec![node; count].join(",")
        )
    };
    let ids: Vec<_> = (0..60_000).map(|n| format!(r#"{{"id":"{n}"}}"#)).collect();
    let json = ("content-type", "application/json");
    for (body, status) in [
        (many("{}", 340_000), 400),
        (many("[]", 340_000), 400),
        (many(r#"{"id":"x"}"#, 80_000), 400),
        (many(&ids.join(","), 1), 201),
        (format!("[{}]", vec![many("{}", 3000); 100].join(",")), 400),
        (format!("[{}]", vec![many(&ids[..700].join(","), 1); 100].join(",")), 201),
        (
            format!(
                "{{\"owners\":[{}],\"graph\":{{\"nodes\":[{{\"id\":\"a\"}}]}}}}",
                vec!["{}"; 340_000].join(",")
            ),
            400,
        ),
    ] {
        assert!(body.len() < 1024 * 1024, "{}", body.len());
        for (path, status) in
            [("/flows?validateOnly=true", if status == 201 { 200 } else { status }), ("/flows", status)]
        {
            let answer = api.send_raw("POST", path, &token, &[json], body.clone()).await;
            assert_eq!(answer.status, status, "{}", answer.text.chars().take(300).collect::<String>());
            assert!(answer.text.len() < 5 * 1024 * 1024, "{path}: {} bytes", answer.text.len());
        }
    }
}

#[tokio::test]
async fn a_hundred_changes_with_more_to_say_than_fits_are_answered() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let members: serde_json::Map<String, Value> =
        (0..101).map(|n| (format!("{n:03}"), json!({"password": "hunter2"}))).collect();
    let fields = json!({ "\"".repeat(200): members });
    let flow = json!({"graph": {"nodes": [{"id": "a", "fields": fields}]}});
    let mut ids = Vec::new();
    for _ in 0..4 {
        let stored = api.post("/flows", &token, json!(vec![&flow; 25])).await;
        assert_eq!(stored.status, 201);
        ids.extend(stored.body["data"].as_array().unwrap().iter().map(|flow| flow["id"].clone()));
    }
    let changes: Vec<_> = ids.iter().map(|id| json!({"id": id, "description": "changed"})).collect();
    let answer = api.patch("/flows/bulk", &token, json!(changes)).await;
    assert_eq!(answer.status, 200, "{}", answer.text.chars().take(300).collect::<String>());
    assert!(answer_size(&answer) < LAMBDA_ANSWER_BYTES);
    let flows = answer.body["data"].as_array().unwrap();
    assert!(flows.len() == 100 && flows.iter().all(|flow| flow["description"] == "changed"));
    let warnings = answer.body["meta"]["warnings"].as_array().unwrap();
    assert_eq!((warnings.len(), &warnings[0]["count"]), (1, &json!(10_100)));
}

#[tokio::test]
async fn a_request_that_no_function_can_get_is_refused() {
    let api = Api::start_local(local::Options::default()).await;
    let token = api.token("anna", "acme", ALL);
    // The event has it as a text, in which each of these is two.
    let body = "\"".repeat(3 * 1024 * 1024);
    let answer = api.send_raw("POST", "/flows", &token, &[("content-type", "application/json")], body).await;
    assert_eq!((answer.status, &answer.body["message"]), (413, &json!("Request Entity Too Large")));
}

#[tokio::test]
async fn an_answer_without_a_body_does_not_say_that_it_is_empty() {
    let api = Api::start_local(local::Options::default()).await;
    let token = api.token("anna", "acme", ALL);
    let id = api.post("/flows", &token, complete_flow("x")).await.id();
    let path = format!("/flows/{id}");
    let whole = api.get(&path, &token).await;
    let tag = whole.header("etag").to_owned();
    for method in ["HEAD", "GET"] {
        let answer = api.send_raw(method, &path, &token, &[("if-none-match", &tag)], "").await;
        assert_eq!((answer.status, answer.header("content-length")), (304, ""), "{method}");
    }
    let head = api.send_raw("HEAD", &path, &token, &[], "").await;
    assert_eq!(head.header("content-length"), whole.text.len().to_string());
}

/// What a function's answer takes, in which the body is a string of its own.
fn answer_size(answer: &tests::Answer) -> usize {
    json!(answer.text).to_string().len()
}

#[tokio::test]
async fn many_large_flows_never_make_an_answer_too_large() {
    const LIMIT: usize = LAMBDA_ANSWER_BYTES;
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let mut ids = Vec::new();
    for n in 0..20 {
        let mut flow = complete_flow(&format!("large {n}"));
        flow["flowSettings"] = json!("\"quoted\" ".repeat(38_000));
        ids.push(api.post("/flows", &token, flow).await.id());
    }
    let bulk: Vec<_> = ids.iter().map(|id| json!({"id": id, "description": "changed"})).collect();
    let answer = api.patch("/flows/bulk", &token, json!(bulk)).await;
    assert!(
        answer.status == 200 && answer_size(&answer) < LIMIT,
        "{} {}",
        answer.status,
        answer_size(&answer)
    );
    let results = answer.body["data"].as_array().unwrap();
    let changed = results.iter().filter(|result| result.get("errors").is_none()).count();
    assert!(changed > 0 && changed < 20);
    assert_eq!(results[19]["errors"][0]["code"], 413);
    // What has no room in the answer was not changed either.
    let walked = async |query: &str| {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("/flows?page[size]=1000&page[after]={after}{query}"), &token).await;
            assert!(
                page.status == 200 && answer_size(&page) < LIMIT,
                "{} {}",
                page.status,
                answer_size(&page)
            );
            seen.extend(page.body["data"].as_array().unwrap().clone());
            let Some(next) = page.body["meta"]["next"].as_str() else { return seen };
            after = next.to_owned();
        }
    };
    assert_eq!(walked("").await.len(), 20);
    assert_eq!(walked("&search=changed").await.len(), changed);
    let whole = api.get("/flows?page[size]=1000", &token).await;
    assert_eq!((whole.status, &whole.body["errors"][0]["reason"]), (413, &json!("page.too_large")));
}
