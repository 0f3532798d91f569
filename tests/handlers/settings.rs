//! A setting that makes no sense keeps a function from starting, and is named.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

const WRONG: &str = include_str!("../wrong-settings.txt");
const CONFIG: &str = include_str!("../../shared/src/config.rs");
/// What a function needs, and none that has to be asked for anything.
const GOOD: [(&str, &str); 8] = [
    ("AUTH_AUDIENCE", "a"),
    ("AUTH_ISSUER", "i"),
    ("AUTH_JWKS_URL", "https://id.example/jwks"),
    ("AWS_REGION", "local"),
    ("EVENT_BUS_NAME", "bus"),
    ("SECRETS_PREFIX", "p/"),
    ("TABLE_NAME", "table"),
    ("UNREADABLE_QUEUE_URL", "https://sqs.example/1/queue"),
];

/// The lines of the table: a name, and a value if there is one.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = WRONG.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// Starts the function of canary.rs with these settings, without a runtime to ask for events.
fn start(changes: &[(&str, &str)]) -> Output {
    let mut function = Command::new(env!("CARGO_BIN_EXE_canary"));
    function.env_clear().envs(GOOD).env("CANARY_OPENS", "1").env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
    function
        .env("WARM_UP", "false")
        .env("AWS_LAMBDA_FUNCTION_NAME", "f")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1");
    function.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").envs(changes.iter().copied());
    function.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn every_setting_that_makes_no_sense_keeps_a_function_from_starting_and_is_named() {
    let cases = lines().filter(|(name, value)| *value != "any text" && *name != "DYNAMODB_ENDPOINT");
    for (name, value) in cases {
        // Of the sources of keys there is one.
        let other_source = matches!(name, "AUTH_JWKS" | "AUTH_HS256_SECRET");
        let mut changes = vec![(name, value)];
        changes.extend(other_source.then_some(("AUTH_JWKS_URL", "")));
        let output = start(&changes);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}={value}: {text}");
        assert!(
            text.starts_with(&format!("Error: {name} ")) && text.lines().count() == 1,
            "{name}={value}: {text}"
        );
    }
    let good = String::from_utf8(start(&[]).stderr).unwrap();
    assert!(good.contains("Connect"), "with the others it starts, and finds no runtime: {good}");
}

#[test]
fn every_setting_has_a_wrong_value_or_none() {
    let code = CONFIG.split("#[cfg(test)]\nmod tests").next().unwrap();
    let is_name = |text: &&str| {
        text.len() > 1
            && text.contains('_')
            && text.chars().all(|letter| matches!(letter, 'A'..='Z' | '0'..='9' | '_'))
    };
    let read: BTreeSet<_> = code.split('"').filter(is_name).collect();
    let listed: BTreeSet<_> = lines().map(|(name, _)| name).collect();
    assert_eq!(read, listed, "tests/wrong-settings.txt and shared/src/config.rs");
    let readme = include_str!("../../README.md");
    let table = readme.split("\n## Settings\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let described: BTreeSet<_> = rows.collect();
    let ours = |name: &&str| !name.starts_with("AWS_") && *name != "DYNAMODB_ENDPOINT";
    assert_eq!(described, read.into_iter().filter(ours).collect(), "README.md");
}
