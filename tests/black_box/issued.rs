//! Tokens that other libraries have made. `tests/tokens/run` makes them and runs this.

use ::local::Options;
use serde_json::{Value, json};
use tests::Api;

/// A request that only who has this permission is not refused for the lack of it.
const PROBES: [(&str, &str, &str); 5] = [
    ("flows.read", "GET", "/flows"),
    ("flows.write", "POST", "/flows"),
    ("flows.control", "POST", "/flows/5ca5c44c187c040010a9bb8b/start"),
    ("flows.bulk", "PATCH", "/flows/bulk"),
    ("secrets.write", "POST", "/secrets"),
];

#[tokio::test]
#[ignore = "tests/tokens/run makes the tokens"]
async fn issued_tokens_get_in_as_what_they_say_and_no_others() {
    let file = std::env::var("ISSUED_TOKENS").expect("the file that tests/tokens/run makes");
    let setups: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for setup in setups.as_array().unwrap() {
        let settings = setup["settings"].as_object().unwrap().iter();
        let settings = settings.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let api = Api::start_local(Options { settings: settings.collect(), ..Options::default() }).await;
        for case in setup["cases"].as_array().unwrap() {
            let what = format!("{}: {}", setup["name"], case["what"]);
            let token = case["token"].as_str().unwrap();
            if case["caller"].is_null() {
                refused(&api, token, &what).await;
            } else {
                taken(&api, token, &case["caller"], &what).await;
            }
        }
        api.stop().await;
    }
}

async fn refused(api: &Api, token: &str, what: &str) {
    let answer = api.get("/flows", token).await;
    assert_eq!((answer.status, answer.messages()), (401, vec!["Token invalid."]), "{what}");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#, "{what}");
}

async fn taken(api: &Api, token: &str, caller: &Value, what: &str) {
    let may = |permission: &str| caller["permissions"].as_array().unwrap().contains(&json!(permission));
    for (permission, method, path) in PROBES {
        let answer = api.send(method, path, token, Value::Null).await;
        let expected = if may(permission) { "" } else { r#"Bearer error="insufficient_scope""# };
        assert!(answer.status < 500 && answer.status != 401, "{what}: {answer:?}");
        assert_eq!(answer.status == 403, !may(permission), "{what}: {permission}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), expected, "{what}: {permission}");
    }
    if !may("flows.write") {
        return;
    }
    let flow = json!({"graph": {"nodes": [{"id": "a", "name": "a"}]}});
    let stored = api.post("/flows", token, flow).await;
    assert_eq!(stored.status, 201, "{what}: {}", stored.text);
    let (sub, tenant) = (&caller["sub"], &caller["tenant"]);
    let mut owners = vec![json!({"id": sub, "type": "user"})];
    if tenant.is_string() {
        owners.push(json!({"id": tenant, "type": "tenant"}));
        assert_eq!(&stored.body["data"]["tenant"], tenant, "{what}");
    }
    assert_eq!(stored.body["data"]["owners"], json!(owners), "{what}");
}
