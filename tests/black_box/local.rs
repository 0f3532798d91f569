//! What only a local server has. These tests start one, whatever the others run against.

use ::local::aws::OtherDynamoDb;
use ::local::{Options, Server};
use serde_json::{Value, json};
use shared::limits::EVENTBRIDGE_BYTES;
use tests::{ALL, Api, complete_flow, other_dynamodb};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_run_that_a_server_left_behind_is_taken_up_by_the_next() {
    let folder = std::env::temp_dir().join(format!("flow-repository-runs-{}", std::process::id()));
    let options = Options { folder: Some(folder.clone()), dynamodb: other_dynamodb(), ..Options::default() };
    let first = Api::start_local(Options { orchestrator: false, ..options.clone() }).await;
    let token = first.token("anna", "acme", ALL);
    let id = first.post("/flows", &token, complete_flow("x")).await.id();
    first.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
    first.stop().await;

    let second = Api::start_local(options).await;
    second.wait_for_status(&id, &token, "active").await;
    second.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn an_event_that_says_nothing_is_set_aside() {
    let api = Api::start_local(Options::default()).await;
    api.put("flow.started", json!({"flow": "none"})).await;
    let letters = api
        .until(|| async {
            let letters = api.get("/_local/dead-letters", "").await.body["deadLetters"].clone();
            if letters == json!([]) { Err(letters.to_string()) } else { Ok(letters) }
        })
        .await;
    assert_eq!(letters[0]["detail"], json!({"flow": "none"}));
}

#[tokio::test]
async fn an_event_is_shown_as_it_was_written() {
    let api = Api::start_local(Options::default()).await;
    let detail = r#"{"z":12345678901234567890.10,"a":1E2,"none":1.0}"#;
    let event = |detail: &str| format!(r#"[{{"source":"s","detail-type":"t","detail":{detail}}}]"#);
    let put = api.send_raw("POST", "/_local/events", "", &[], event(detail)).await;
    assert_eq!(put.status, 200);
    let shown = api.get("/_local/events", "").await;
    assert!(shown.text.contains(&format!(r#""detail":{detail}"#)), "{}", shown.text);

    // As large as EventBridge takes it, and a byte more: the source is one, and the type another.
    let most = EVENTBRIDGE_BYTES - 1 - 2;
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    for (bytes, status) in [(most, 200), (most + 1, 400)] {
        let put = api.send_raw("POST", "/_local/events", "", &[], event(&text(bytes))).await;
        assert_eq!(put.status, status, "{bytes}: {}", put.text);
    }
}

#[tokio::test]
async fn what_only_a_local_server_has_is_not_for_pages() {
    let api = Api::start_local(Options::default()).await;
    let page = api.send_raw("GET", "/_local/events", "", &[("origin", "http://localhost:3001")], "").await;
    assert_eq!(page.status, 403);
    let rebound = api.send_raw("GET", "/_local/events", "", &[("host", "evil.example")], "").await;
    assert_eq!(rebound.status, 403);
}

// The emulator of the deployment test loses slashes around a path of one segment.
#[tokio::test]
async fn slashes_around_one_segment_lead_nowhere_else() {
    let api = Api::start_local(Options::default()).await;
    for (path, status, location) in
        [("/flows/?page[size]=2", 308, "/flows?page[size]=2"), ("//evil.example/", 404, "")]
    {
        let answer = api.get(path, "").await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{path}");
    }
}

#[tokio::test]
async fn another_dynamodb_is_asked_in_the_region_of_the_environment_and_heard_in_one_line() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\nConnection: close\r\n\r\n<h1>\n</h1>";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let region = Some("eu-central-1".into());
    let dynamodb = Some(OtherDynamoDb { endpoint, region, table: "flows".into() });
    let error = Server::start(Options { dynamodb, ..Options::default() }).await.err().unwrap().to_string();
    assert!(asked.await.unwrap().contains("/eu-central-1/dynamodb/"));
    assert_eq!(
        error,
        "cannot make the table: HTTP 400; the region is eu-central-1, AWS_REGION names another"
    );
    // Where nobody listens, that is said.
    let endpoint = "http://127.0.0.1:1".into();
    let dynamodb = Some(OtherDynamoDb { endpoint, region: None, table: "flows".into() });
    let error = Server::start(Options { dynamodb, ..Options::default() }).await.err().unwrap().to_string();
    assert!(error.contains("refused") && !error.contains('\n') && error.len() < 120, "{error}");
}

#[tokio::test]
async fn references_lead_back_to_where_they_were_made() {
    let api = Api::start_local(Options { dynamodb: other_dynamodb(), ..Options::default() }).await;
    let token = api.token("anna", "acme", ALL);
    // Any twelve ASCII characters are an id.
    for (number, id) in ["a?b#c%d&e/f+", "\"<b>\\c d{}|x", "%2Fc%25d&e;f"].into_iter().enumerate() {
        let encoded = id.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        let path = format!("/flows/{encoded}");
        let only_new = [("content-type", "application/json"), ("if-none-match", "*")];
        let created = api.send_raw("PUT", &path, &token, &only_new, complete_flow("x").to_string()).await;
        assert_eq!(created.status, 201, "{number}: {created:?}");
        api.patch(&path, &token, json!({"name": "y"})).await;
        let first = api.get(&format!("{path}/versions?page[size]=1"), &token).await;
        let link = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
        assert!(link.starts_with('/') && link.bytes().all(|byte| byte.is_ascii_graphic()), "{link}");
        let second = api.get(&link, &token).await;
        assert_eq!((second.status, &second.body["data"][0]["summary"]), (200, &json!("Created")), "{link}");
        let refused = api.get(&format!("{path}/versions/9"), &token).await;
        let instance = refused.body["instance"].as_str().unwrap();
        assert_eq!(api.get(instance, &token).await.body["instance"], *instance, "it leads there again");
        assert!(!instance.contains(['?', '#', '"', '<', ' ', 'é']), "{instance}");
    }
    let long = api.get(&format!("/{}", "%C3%A9".repeat(300)), &token).await;
    let instance = long.body["instance"].as_str().unwrap();
    assert!(instance.len() <= 256 && instance.len() > 250, "{instance}");
    let escapes = instance.trim_start_matches('/').split('%').skip(1);
    assert!(escapes.into_iter().all(|escape| escape.len() == 2), "{instance}");
}
