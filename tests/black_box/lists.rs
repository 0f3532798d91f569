//! Lists.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{ALL, Answer, Api, complete_flow};

fn names(answer: &Answer) -> Vec<&str> {
    let data = answer.body["data"].as_array().unwrap_or_else(|| panic!("no list: {answer:?}"));
    data.iter().map(|flow| flow["name"].as_str().unwrap_or("none")).collect()
}

async fn create(api: &Api, token: &str, name: &str, more: Value) -> String {
    let mut flow = complete_flow(name);
    for (member, value) in more.as_object().into_iter().flatten() {
        flow[member] = value.clone();
    }
    api.post("/flows", token, flow).await.id()
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_searched() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    let template = "5ca5c44c187c040010a9bb8d";
    create(&api, &token, "Alpha", json!({"description": "Desc 0 (x.y)", "fromTemplate": template})).await;
    create(&api, &token, "beta", json!({"type": "long_running"})).await;
    create(&api, &token, "Gamma", json!({"description": "ALPHA too"})).await;
    let delta = create(&api, &token, "delta", json!({"type": "realtime"})).await;
    create(&api, &token, "Épsilon", json!({"description": "Größe, ЗАКАЗ"})).await;
    api.patch(&format!("/flows/{delta}"), &token, json!({"description": "changed last, ΟΔΟΣΑ"})).await;
    api.post(&format!("/flows/{delta}/start"), &token, Value::Null).await;
    api.wait_for_status(&delta, &token, "active").await;

    let all = ["Alpha", "beta", "Gamma", "delta", "Épsilon"];
    let of_anna = format!("filter[user]={}", api.name("anna"));
    let of_acme = format!("filter[user]={}&filter[type]=long_running", api.name("acme"));
    for (query, expected) in [
        ("", all.to_vec()),
        ("sort=-createdAt", vec!["Épsilon", "delta", "Gamma", "beta", "Alpha"]),
        ("sort=name", vec!["Alpha", "Gamma", "beta", "delta", "Épsilon"]),
        ("sort=-name", vec!["Épsilon", "delta", "beta", "Gamma", "Alpha"]),
        ("sort=-updatedAt&page[size]=1", vec!["delta"]),
        ("sort=", all.to_vec()),
        ("page[size]=2&page[number]=2", vec!["Gamma", "delta"]),
        ("page%5Bsize%5D=2&page%5Bnumber%5D=3", vec!["Épsilon"]),
        ("page[number]=9", vec![]),
        ("filter[status]=active", vec!["delta"]),
        ("filter[status]=1", vec!["delta"]),
        ("filter[status]=0", vec!["Alpha", "beta", "Gamma", "Épsilon"]),
        ("filter[status]=stopping", vec![]),
        ("filter[type]=realtime", vec!["delta"]),
        ("filter[type]=constructor", vec![]),
        ("filter[fromTemplate]=5CA5C44C187C040010A9BB8D", vec!["Alpha"]),
        (&*of_anna, all.to_vec()),
        (&*of_acme, vec!["beta"]),
        ("filter[user]=nobody", vec![]),
        ("filter[foo]=1&page=3&foo", all.to_vec()),
        ("search=alpha", vec!["Alpha", "Gamma"]),
        ("search=%20%20alPHa%20", vec!["Alpha", "Gamma"]),
        ("search=(x.y)", vec!["Alpha"]),
        ("search=.*", vec![]),
        ("search=%C3%89PSILON", vec!["Épsilon"]),
        ("search=gr%C3%B6%C3%9Fe", vec!["Épsilon"]),
        ("search=%D0%B7%D0%B0%D0%BA%D0%B0%D0%B7", vec!["Épsilon"]),
        ("search=%CE%9F%CE%94%CE%9F%CE%A3", vec!["delta"]),
        ("search=%00", all.to_vec()),
        ("search={1}", vec![]),
        ("search=", all.to_vec()),
        ("search=alpha&sort=-name&filter[type]=ordinary", vec!["Gamma", "Alpha"]),
    ] {
        let answer = api.get(&format!("/flows?{query}"), &token).await;
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        assert_eq!(names(&answer), expected, "{query}");
    }
    let page = api.get("/flows?page[size]=2&page[number]=2", &token).await;
    for (member, value) in [("total", 5), ("page", 2), ("perPage", 2), ("totalPages", 3)] {
        assert_eq!(page.body["meta"][member], value);
    }
}

#[tokio::test]
async fn wrong_parameters_are_all_named() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for (query, expected) in [
        ("filter[status]=2", vec!["Invalid filter[status] parameter"]),
        ("filter[status]=", vec!["Invalid filter[status] parameter"]),
        ("filter[type]=", vec!["Invalid filter[type] parameter"]),
        ("filter[fromTemplate]=zz", vec!["Invalid filter[fromTemplate] parameter"]),
        ("filter[user][$ne]=zzz", vec!["Invalid filter[user] parameter"]),
        ("sort=--name", vec!["Invalid sort parameter"]),
        ("sort=na-me", vec!["Invalid sort parameter"]),
        ("sort=toString", vec!["Invalid sort parameter"]),
        ("sort[]=name", vec!["Invalid sort parameter"]),
        ("sort=name&sort=name", vec!["Invalid sort parameter"]),
        ("search=a&search=b", vec!["Invalid search parameter"]),
        ("page[size]=0", vec!["Invalid page parameter"]),
        ("page[size]=-1", vec!["Invalid page parameter"]),
        ("page[size]=1001", vec!["Invalid page parameter"]),
        ("page[size]=2abc", vec!["Invalid page parameter"]),
        ("page[size]=99999999999999999999", vec!["Invalid page parameter"]),
        ("page[size][a]=1", vec!["Invalid page parameter"]),
        ("page[number]=0", vec!["Invalid page parameter"]),
        ("page[number]=abc", vec!["Invalid page parameter"]),
        ("page[number]=1.9", vec!["Invalid page parameter"]),
        (
            "page[size]=x&search=1&search=2&sort=a&sort=b",
            vec!["Invalid sort parameter", "Invalid search parameter", "Invalid page parameter"],
        ),
        ("page[after]=nonsense", vec!["Invalid page parameter"]),
        ("page[after]=&page[number]=1", vec!["Invalid page parameter"]),
        (
            "sort=x&filter[status]=x&page[size]=x",
            vec!["Invalid filter[status] parameter", "Invalid sort parameter", "Invalid page parameter"],
        ),
    ] {
        let answer = api.get(&format!("/flows?{query}"), &token).await;
        assert_eq!((answer.status, answer.messages()), (400, expected), "{query}");
    }
    // A page number past any end is a page without flows.
    let far = api.get(&format!("/flows?page[number]={}", usize::MAX), &token).await;
    assert_eq!((far.status, names(&far).len()), (200, 0));
}

#[tokio::test]
async fn a_list_merges_what_a_caller_owns_and_never_shows_more() {
    let api = Api::start().await;
    let anna = api.token("anna", "acme", ALL);
    let anna_alone = api.token("anna", "", ALL);
    let bert = api.token("bert", "acme", ALL);
    let carla = api.token("carla", "globex", ALL);
    let admin = api.token("root", "", "all");
    // An administrator sees the flows of all tests: these are told by their type.
    let kind = api.name("kind");
    let [of_anna, of_carla, of_globex] =
        ["anna", "carla", "globex"].map(|name| format!("filter[user]={}", api.name(name)));
    create(&api, &anna, "both", json!({"type": kind})).await;
    create(&api, &anna_alone, "own", json!({"type": kind})).await;
    create(&api, &bert, "peer", json!({"type": kind})).await;
    let owners = json!([{"id": api.name("anna"), "type": "user"}]);
    create(&api, &carla, "foreign", json!({"type": kind, "owners": owners})).await;
    let last = create(&api, &carla, "foreign two", json!({"type": kind})).await;

    for (token, query, expected) in [
        (&anna, "", vec!["both", "own", "peer", "foreign"]),
        (&anna, "sort=-name", vec!["peer", "own", "foreign", "both"]),
        (&anna_alone, "", vec!["both", "own", "foreign"]),
        (&bert, "", vec!["both", "peer"]),
        (&carla, "", vec!["foreign", "foreign two"]),
        (&admin, "", vec!["both", "own", "peer", "foreign", "foreign two"]),
        (&admin, "sort=-createdAt&page[size]=2", vec!["foreign two", "foreign"]),
        (&admin, "search=FOREIGN", vec!["foreign", "foreign two"]),
        (&admin, "filter[status]=inactive&page[size]=2&page[number]=2", vec!["peer", "foreign"]),
        (&admin, "filter[status]=active", vec![]),
        (&admin, &of_globex, vec!["foreign", "foreign two"]),
        (&bert, &of_anna, vec!["both"]),
        (&bert, &of_carla, vec![]),
        (&bert, &of_globex, vec![]),
    ] {
        let narrowed = if token == &admin { format!("{query}&filter[type]={kind}") } else { query.into() };
        let answer = api.get(&format!("/flows?{narrowed}"), token).await;
        assert_eq!(names(&answer), expected, "{query}");
        if !query.contains("page") {
            assert_eq!(answer.body["meta"]["total"], expected.len(), "{query}");
        }
    }
    let every = format!("/flows?filter[type]={kind}");
    assert_eq!(api.get(&every, &admin).await.body["meta"]["total"], 5);
    assert_eq!(api.delete(&format!("/flows/{last}"), &admin).await.status, 200);
    assert_eq!(api.get(&every, &admin).await.body["meta"]["total"], 4);
}

#[tokio::test]
async fn a_cursor_walks_every_flow_once_in_any_order() {
    let api = Api::start().await;
    let anna = api.token("anna", "acme", ALL);
    let admin = api.token("root", "", "all");
    let kind = api.name("kind");
    for batch in 0..3 {
        let flows = (0..25).map(|n| {
            let mut flow = complete_flow(&format!("flow {:02}", (batch * 25 + n) * 37 % 75));
            flow["type"] = json!(kind);
            flow
        });
        let flows: Vec<_> = flows.collect();
        assert_eq!(api.post("/flows", &anna, json!(flows)).await.status, 201);
    }
    let by_type = format!("sort=-name&filter[type]={kind}");
    for token in [&anna, &admin] {
        for query in [
            "",
            "sort=-createdAt",
            "sort=name",
            "sort=-updatedAt",
            "search=FLOW",
            "filter[status]=inactive",
            &by_type,
        ] {
            // An administrator sees the flows of all tests.
            let narrow = token == &admin && query != by_type;
            let query = if narrow { format!("{query}&filter[type]={kind}") } else { query.into() };
            let whole = api.get(&format!("/flows?{query}&page[size]=1000"), token).await;
            assert_eq!((names(&whole).len(), whole.body["meta"].get("next")), (75, None), "{query}");
            let mut walked = Vec::new();
            let mut after = String::new();
            loop {
                let page = api.get(&format!("/flows?{query}&page[size]=20&page[after]={after}"), token).await;
                assert_eq!(page.status, 200, "{page:?}");
                assert_eq!(page.body["meta"].get("total"), None);
                walked.extend(page.body["data"].as_array().unwrap().clone());
                let Some(next) = page.body["meta"]["next"].as_str() else {
                    break;
                };
                assert!(page.header("link").ends_with("; rel=\"next\""));
                after = next.to_owned();
            }
            assert_eq!(json!(walked), whole.body["data"], "{query}");
            assert_eq!(walked.iter().map(|flow| flow["id"].to_string()).collect::<BTreeSet<_>>().len(), 75);
        }
    }
    let first = api.get("/flows?page[size]=20&sort=name", &anna).await;
    let next = first.body["meta"]["next"].as_str().unwrap();
    let link = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert_eq!(names(&api.get(&link, &anna).await).len(), 20, "{link}");
    // A cursor is of one caller's one list.
    for (token, query) in [(&anna, "sort=-name"), (&anna, "sort=name&search=flow"), (&admin, "sort=name")] {
        let answer = api.get(&format!("/flows?{query}&page[after]={next}"), token).await;
        assert_eq!(answer.messages(), ["Invalid page parameter"], "{query}");
    }
}

#[tokio::test]
async fn what_was_just_written_is_in_the_next_list() {
    let api = Api::start().await;
    let token = api.token("anna", "acme", ALL);
    for round in 0..5 {
        let id = create(&api, &token, &format!("round {round}"), json!({})).await;
        assert_eq!(
            api.get(&format!("/flows?search=round%20{round}"), &token).await.body["data"][0]["id"],
            id
        );
        api.patch(&format!("/flows/{id}"), &token, json!({"name": "renamed"})).await;
        assert_eq!(names(&api.get("/flows?search=renamed", &token).await), ["renamed"]);
        api.post(&format!("/flows/{id}/start"), &token, Value::Null).await;
        assert_eq!(names(&api.get("/flows?filter[status]=inactive", &token).await).len(), 0);
        api.wait_for_status(&id, &token, "active").await;
        api.post(&format!("/flows/{id}/stop"), &token, Value::Null).await;
        assert_eq!(names(&api.get("/flows?filter[status]=active", &token).await).len(), 0);
        api.wait_for_status(&id, &token, "inactive").await;
        api.delete(&format!("/flows/{id}"), &token).await;
        assert_eq!(api.get("/flows", &token).await.body["meta"]["total"], 0);
    }
}
