//! Bodies that are much for what they are.

/// Where something may be in a body; `@` is the place.
pub(crate) const PLACES: [&str; 32] = [
    "@",
    "[@]",
    r#"{"any":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"name":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"description":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"type":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"tenant":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"cron":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"status":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"fromTemplate":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"flowSettings":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"flowSettings":{"deep":{"deeper":[@]}},"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"owners":@,"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"owners":[@],"graph":{"nodes":[{"id":"a"}]}}"#,
    r#"{"graph":@}"#,
    r#"{"graph":{"nodes":@}}"#,
    r#"{"graph":{"nodes":[@]}}"#,
    r#"{"graph":{"nodes":[{"id":@}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a","function":@}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a","componentId":@}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a","fields":@}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a","fields":{"token":@}}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a","nodeSettings":@}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a"}],"edges":@}}"#,
    r#"{"graph":{"nodes":[{"id":"a"}],"edges":[@]}}"#,
    r#"{"graph":{"nodes":[{"id":"a"}],"edges":[{"source":"a","target":"a","config":{"mapper":@}}]}}"#,
    r#"{"graph":{"nodes":[{"id":"a"}],"edges":[{"source":@,"target":@}]}}"#,
    r#"[{"op":"add","path":"/flowSettings","value":@}]"#,
    r#"[{"op":"replace","path":"/graph/nodes","value":@}]"#,
    r#"[{"op":"test","path":"/flowSettings","value":@}]"#,
    r#"{"name":"s","type":"MIXED","value":{"payload":@}}"#,
    r#"{"name":@,"type":"API_KEY","value":{"key":@}}"#,
];

/// What may be there, about as large as it is told.
pub(crate) const FILLINGS: [fn(usize) -> String; 19] = [
    |bytes| list(bytes, |_| "0".into()),
    |bytes| list(bytes, |_| "[]".into()),
    |bytes| list(bytes, |_| "{}".into()),
    |bytes| list(bytes, |_| "null".into()),
    |bytes| list(bytes, |_| r#""""#.into()),
    |bytes| list(bytes, |n| format!(r#"{{"id":"{n}"}}"#)),
    |bytes| list(bytes, |n| format!(r#"{{"id":"{n}","function":1e20,"name":1e20,"description":1e20}}"#)),
    |bytes| list(bytes, |_| r#"{"source":"a","target":"a"}"#.into()),
    |bytes| list(bytes, |_| r#"{"source":"\u0001\"\\","target":"b","id":[[]]}"#.into()),
    |bytes| list(bytes, |_| r#"{"token":"x"}"#.into()),
    |bytes| list(bytes, |_| r#"{"op":"add","path":"/name","value":0}"#.into()),
    |bytes| list(bytes, |_| r#""5ca5c44c187c040010a9bb8b""#.into()),
    |bytes| list(bytes, |_| format!("{}{}", "[".repeat(80), "]".repeat(80))),
    |bytes| members(bytes, |n| (format!("{n:x}"), "0".into())),
    |bytes| members(bytes, |n| (format!("{n:x}token"), r#""\"""#.into())),
    |bytes| format!("{{\"{}\":{}}}", "n".repeat(bytes / 2), list(bytes / 2, |_| r#"{"token":"x"}"#.into())),
    |bytes| text(bytes, "x"),
    |bytes| text(bytes, r"\u0001"),
    |bytes| text(bytes, r#"\""#),
];

fn list(bytes: usize, element: impl Fn(usize) -> String) -> String {
    let mut list = String::with_capacity(bytes + 256);
    list.push('[');
    for n in 0.. {
        let element = element(n);
        if list.len() + element.len() + 2 > bytes.max(16) {
            break;
        }
        if n > 0 {
            list.push(',');
        }
        list.push_str(&element);
    }
    list.push(']');
    list
}

fn members(bytes: usize, member: impl Fn(usize) -> (String, String)) -> String {
    let pairs = list(bytes, |n| {
        let (name, value) = member(n);
        format!("\"{name}\":{value}")
    });
    format!("{{{}}}", &pairs[1..pairs.len() - 1])
}

fn text(bytes: usize, letter: &str) -> String {
    format!("\"{}\"", letter.repeat(bytes / letter.len()))
}

/// Something in a place, of at most a megabyte.
pub(crate) fn body(place: usize, filling: usize, bytes: usize) -> String {
    let place = PLACES[place % PLACES.len()];
    let places = place.matches('@').count();
    place.replace('@', &FILLINGS[filling % FILLINGS.len()](bytes / places - 400))
}

/// Bodies that were, or could be, larger inside than outside.
pub(crate) fn worst() -> Vec<String> {
    let nodes = list(1_000_000, |n| format!(r#"{{"id":"{n:x}"}}"#));
    let item =
        |nodes: &str| format!(r#"{{"graph":{{"nodes":{nodes},"edges":[{{"source":"0","target":"0"}}]}}}}"#);
    let hundred = |item: &str| format!("[{}]", vec![item; 100].join(","));
    let named = |name: &str, tokens: usize| {
        let tokens = vec![r#"{"token":"x"}"#; tokens].join(",");
        format!(r#"{{"graph":{{"nodes":[{{"id":"a","fields":{{"{name}":[{tokens}]}}}}]}}}}"#)
    };
    vec![
        named(&"n".repeat(900_000), 1100),
        named(&"\\\"".repeat(450_000), 1100),
        named(&"/".repeat(900_000), 1100),
        item(&nodes),
        hundred(&item(&list(10_000, |n| format!(r#"{{"id":"{n:x}"}}"#)))),
        hundred(&item(&list(10_000, |_| "0".into()))),
        hundred(&item(&list(10_000, |_| r#""\"""#.into()))),
        hundred(&named("n", 600)),
        format!(
            r#"{{"graph":{{"nodes":[{{"id":"{}","componentId":1,"credentials_id":1}}]}}}}"#,
            "i".repeat(1_000_000)
        ),
        format!(
            "[{}]",
            vec![r#""\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"""#; 1000].join(",")
        ),
    ]
}
