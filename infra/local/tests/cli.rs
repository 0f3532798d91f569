//! The program as a person starts it.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// One clear line on standard error, nothing on standard output, and exit code 1.
fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len(), error.lines().count()),
        (Some(1), 0, 1),
        "{error}"
    );
    error
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("flow-repository-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Starts a server and reads what it says until it has said everything.
fn start(arguments: &[&str]) -> (Child, Vec<String>) {
    let mut child = program(arguments).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().ends_with("Ctrl-C ends it.") {
            break;
        }
    }
    (child, lines)
}

/// What a server answers to a GET with the token that it printed.
#[cfg(unix)]
fn get(lines: &[String], path: &str) -> String {
    let host = lines[0].split("http://").nth(1).unwrap().split(';').next().unwrap();
    let token = lines.iter().find_map(|line| line.strip_prefix("export TOKEN=")).unwrap();
    let answer = exchange(
        host,
        &format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
        ),
    );
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

/// Sends a request and reads until the other side ends.
#[cfg(unix)]
fn exchange(host: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(host).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[cfg(unix)]
fn wait_for_events(lines: &[String], count: usize) {
    let there = |_| get(lines, "/_local/events").matches("flowrepo.flow.created\"").count() >= count;
    assert!((0..2000).any(there));
}

#[cfg(unix)]
fn interrupt(mut child: Child) -> Option<i32> {
    let killed = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success());
    child.wait().unwrap().code()
}

#[test]
fn a_token_is_all_that_is_printed() {
    let output = run(&[
        "token",
        "--sub",
        "anna",
        "--tenant",
        "acme",
        "--permissions",
        "flows.read",
        "--expires-in",
        "-120",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!((text.lines().count(), text.trim().split('.').count()), (1, 3));
}

#[test]
fn the_public_keys_are_all_that_is_printed() {
    let output = run(&["jwks"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(text.lines().count(), 1);
    assert!(text.starts_with(r#"{"keys":[{"#) && text.contains(r#""kid":"local""#), "{text}");
    assert!(!text.contains(r#""d":"#), "the private key is nobody's business");
}

#[test]
fn a_busy_port_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = complaint(&["--port", &port, "--data", ":memory:"]);
    assert_eq!(error, format!("error: port {port} is in use; choose another one with --port\n"));
}

#[test]
fn a_busy_aws_port_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = complaint(&["--port", "0", "--data", ":memory:", "--aws-port", &port]);
    assert!(error.starts_with(&format!("error: cannot listen on 127.0.0.1:{port}: ")), "{error}");
    assert!(error.ends_with("; choose another address with --aws-port or --aws-host\n"), "{error}");
}

#[test]
#[cfg(unix)]
fn aws_services_answer_at_one_port_and_no_page_gets_in() {
    let (child, lines) = start(&["--port", "0", "--data", ":memory:", "--aws-port", "0"]);
    let host = lines.iter().find(|line| line.starts_with("export AWS_ENDPOINT_URL=http://127.0.0.1:"));
    let host = host.unwrap().split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let ask = |target: &str, origin: &str, body: &str| {
        let head =
            format!("POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: {target}\r\nconnection: close\r\n");
        let signed = "authorization: AWS4-HMAC-SHA256 Credential=local/20261122/local/dynamodb/aws4_request, SignedHeaders=host, Signature=0\r\nx-amz-date: 20261122T000000Z\r\ncontent-type: application/x-amz-json-1.0\r\n";
        let length = body.len();
        exchange(host, &format!("{head}{signed}{origin}content-length: {length}\r\n\r\n{body}"))
    };
    let table = r#"{"TableName":"flow-repository"}"#;
    for (target, body, expected) in [
        ("DynamoDB_20120810.DescribeTable", table, r#""TableStatus":"ACTIVE""#),
        ("DynamoDBStreams_20120810.ListStreams", table, r#""StreamArn""#),
        ("AWSEvents.DescribeEventBus", "{}", r#""Name":"flow-repository""#),
        ("AmazonSQS.SendMessage", r#"{"MessageBody":"7"}"#, r#""MessageId""#),
    ] {
        let answer = ask(target, "", body);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{target}: {answer}");
    }
    assert_eq!(get(&lines, "/_local/dead-letters"), r#"{"deadLetters":[7]}"#);
    let page = ask("DynamoDB_20120810.DescribeTable", "origin: https://example.com\r\n", table);
    assert!(page.starts_with("HTTP/1.1 403"), "{page}");
    assert_eq!(interrupt(child), Some(0));
}

#[test]
#[cfg(unix)]
fn an_open_aws_address_comes_with_a_warning() {
    let (child, lines) =
        start(&["--port", "0", "--data", ":memory:", "--aws-port", "0", "--aws-host", "0.0.0.0"]);
    assert!(lines.iter().any(|line| line.contains("there is no authentication")), "{lines:?}");
    assert_eq!(interrupt(child), Some(0));
    let alone = run(&["--aws-host", "0.0.0.0"]);
    assert_eq!(alone.status.code(), Some(2), "an address alone opens nothing");
}

#[test]
fn a_folder_that_cannot_be_written_is_said_in_one_line() {
    let file = folder("no-folder");
    std::fs::write(&file, "a file").unwrap();
    let error = complaint(&["--port", "0", "--data", file.join("below").to_str().unwrap()]);
    assert!(error.starts_with("error: cannot write to ") && error.contains("--data"), "{error}");
}

#[test]
#[cfg(unix)]
fn data_is_kept_and_a_folder_is_one_servers() {
    let folder = folder("data");
    let data = folder.to_str().unwrap();
    let (first, lines) = start(&["--port", "0", "--data", data, "--seed"]);
    assert!(lines[0].ends_with(&format!("; data is kept in {data}")), "{lines:?}");
    wait_for_events(&lines, 8);
    let error = complaint(&["--port", "0", "--data", data]);
    assert!(error.contains("is in use by another server"), "{error}");
    assert_eq!(interrupt(first), Some(0));

    let (second, lines) = start(&["--port", "0", "--data", data, "--seed"]);
    let flows = get(&lines, "/flows");
    assert!(flows.contains("\"total\":5"), "{flows}");
    assert_eq!(
        get(&lines, "/_local/events"),
        r#"{"events":[]}"#,
        "what was announced is not announced again"
    );
    assert_eq!(interrupt(second), Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
#[cfg(unix)]
fn what_is_printed_fits_a_screen_and_can_be_pasted() {
    let shells =
        [("bash", ["--norc", "--noprofile", "--noediting", "-i"].as_slice()), ("zsh", &["-f", "-i"])];
    for (shell, arguments) in shells {
        let (server, lines) = start(&["--port", "0", "--data", ":memory:"]);
        let (tokens, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.contains("eyJ"));
        assert_eq!(tokens.len(), 1, "the token once");
        assert!(others.iter().all(|line| line.len() <= 100) && lines.len() <= 20, "{lines:#?}");

        let mut pasted = "PS1= PS2= PROMPT= PROMPT2=\n".to_owned();
        for paragraph in lines.join("\n").split("\n\n") {
            if paragraph.starts_with("export ") || paragraph.starts_with("ID=") {
                pasted.extend([paragraph, "\n"]);
            }
        }
        // From any folder, as nobody who has settings.
        let mut command = Command::new(shell);
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A machine may have no zsh.
        let Ok(mut child) = command.spawn() else { continue };
        child.stdin.take().unwrap().write_all(pasted.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let [printed, stored] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let is_stored = stored.matches(r#"{"data":{"name":"Orders","#).count() == 1;
        let complains = ["not found", "no matches", "error"].iter().any(|word| stored.contains(word));
        assert!(is_stored && !complains, "{shell}: {stored}");
        let printed: Vec<_> = printed.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(printed.len(), 3, "{shell}: {printed:?}");
        let expected = [r#""total":1,"#, r#""status":"starting"}"#, r#""status":"stopping"}"#];
        assert!(
            expected.iter().zip(&printed).all(|(part, line)| line.contains(part)),
            "{shell}: {printed:?}"
        );
        assert_eq!(interrupt(server), Some(0));
    }
}

#[test]
fn every_setting_that_makes_no_sense_is_named_in_one_line() {
    let main = include_str!("../src/main.rs");
    let taken = main.split("const SETTINGS: ").nth(1).unwrap().split("];").next().unwrap();
    let is_taken = |name: &str| {
        let others = ["AWS_REGION", "DYNAMODB_ENDPOINT", "LOG_LEVEL"];
        name.starts_with("AUTH_") || others.contains(&name) || taken.contains(&format!("{name:?}"))
    };
    let lines =
        include_str!("../../../tests/wrong-settings.txt").lines().filter_map(|line| line.split_once(' '));
    let cases: Vec<_> = lines.filter(|(name, value)| is_taken(name) && *value != "any text").collect();
    let settings = taken.matches(',').count();
    assert!(cases.len() > settings, "{cases:?}");
    for (name, value) in cases {
        let output = program(&["--port", "0", "--data", ":memory:"]).env(name, value).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{name}={value}: {error}");
        let is_one_line = error.lines().count() == 1;
        assert!(is_one_line && error.starts_with(&format!("error: {name} ")), "{name}={value}: {error}");
    }
}

#[test]
fn every_option_that_makes_no_sense_is_named_in_one_line() {
    let wrong: [(&str, &[&str]); 14] = [
        ("--port", &["--port", "x"]),
        ("--port", &["--port", "65536"]),
        ("--data", &["--data", ""]),
        ("--seed", &["--seed=yes"]),
        ("--orchestrator", &["--orchestrator", "on"]),
        ("--aws-port", &["--aws-port", "x"]),
        ("--aws-host", &["--aws-port", "0", "--aws-host", "here"]),
        ("--aws-port", &["--aws-host", "127.0.0.1"]),
        ("--sub", &["token"]),
        ("--sub", &["token", "--sub", ""]),
        ("--tenant", &["token", "--sub", "anna", "--tenant", ""]),
        ("--expires-in", &["token", "--sub", "anna", "--expires-in", "soon"]),
        ("--prot", &["--prot", "3001"]),
        ("tokens", &["tokens"]),
    ];
    for (name, arguments) in wrong {
        let output = run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}: {error}");
        let is_one_line = error.lines().count() == 1 && error.starts_with("error: ");
        assert!(is_one_line && error.contains(name), "{arguments:?}: {error}");
    }
    for arguments in [["--help"].as_slice(), &["token", "--help"], &["jwks", "--help"]] {
        let help = String::from_utf8(run(arguments).stdout).unwrap();
        let options = help
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--").or_else(|| line.split("-h, --").nth(1)));
        for option in options.map(|line| format!("--{}", line.split([' ', '=']).next().unwrap())) {
            // Names of permissions are the identity provider's, so any will do.
            let any = ["--permissions", "--help"].contains(&option.as_str());
            assert!(any || wrong.iter().any(|(name, _)| *name == option), "{option} has no wrong value here");
        }
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it_with_a_word() {
    let (child, lines) = start(&["--port", "0", "--data", ":memory:"]);
    assert!(lines[0].contains("http://127.0.0.1:") && lines[0].contains("in memory"), "{}", lines[0]);
    let mut child = child;
    let mut errors = child.stderr.take().unwrap();
    assert_eq!(interrupt(child), Some(0));
    let mut text = String::new();
    errors.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("Stopping.\n"), "{text}");
}
