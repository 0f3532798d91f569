//! template.yaml, the packages under functions/, the default route's table and the local server are
//! held to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use answer_unknown_route::ROUTES;
use local::aws::{BUS, SECRETS_PREFIX, TABLE};
use local::functions::NAMES;
use local::issuer::{AUDIENCE, ISSUER};
use local::template::{Route, Template};
use serde_yaml_ng::Value;
use shared::config::Config;
use shared::limits::{HTTP_API_SECONDS, SQS_MESSAGE_BYTES};

fn template() -> Value {
    serde_yaml_ng::from_str(&fs::read_to_string(local::checkout().join("template.yaml")).unwrap()).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

fn resources(template: &Value, kind: &str) -> BTreeMap<String, Value> {
    let resources = template["Resources"].as_mapping().unwrap();
    let of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    of_kind
        .map(|(name, resource)| (name.as_str().unwrap().to_owned(), resource["Properties"].clone()))
        .collect()
}

/// The text of a `!Sub`.
fn substituted(value: &Value) -> &str {
    match value {
        Value::Tagged(tagged) if tagged.tag == "Sub" => tagged.value.as_str().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn pascal(name: &str) -> String {
    let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

#[test]
fn functions_packages_and_local_server_are_the_same() {
    let packages: BTreeSet<String> = fs::read_dir(local::checkout().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(packages, NAMES.map(String::from).into());
    let root = template();
    let functions = resources(&root, "AWS::Serverless::Function");
    assert_eq!(
        functions.keys().cloned().collect::<BTreeSet<_>>(),
        packages.iter().map(|name| pascal(name)).collect()
    );
    for package in &packages {
        let resource = &root["Resources"][pascal(package).as_str()];
        assert_eq!(resource["Metadata"]["BuildMethod"], "rust-cargolambda");
        assert_eq!(resource["Metadata"]["BuildProperties"]["Binary"], package.as_str());
        assert_eq!(resource["Properties"]["CodeUri"], format!("functions/{package}/"));
        let manifest =
            fs::read_to_string(local::checkout().join(format!("functions/{package}/Cargo.toml"))).unwrap();
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{package}");
    }
}

#[test]
fn the_default_route_knows_every_route() {
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    let mut routes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for route in template.routes.iter().filter(|route| route.path != "$default") {
        routes.entry(route.path.clone()).or_default().insert(route.method.clone());
    }
    let known: BTreeMap<String, BTreeSet<String>> = ROUTES
        .iter()
        .map(|(path, methods)| (path.to_string(), methods.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(routes, known);
    for (path, methods) in &routes {
        assert_eq!(methods.contains("GET"), methods.contains("HEAD"), "{path}");
    }
    let default: Vec<_> = template.routes.iter().filter(|route| route.path == "$default").collect();
    assert_eq!(default.len(), 1);
    assert_eq!((default[0].method.as_str(), default[0].function.as_str()), ("ANY", "answer-unknown-route"));
}

#[test]
fn cargo_lambda_watch_has_the_same_routes() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(local::checkout());
    let output = cargo.output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let router = metadata["metadata"]["lambda"]["watch"]["router"].as_array().unwrap();
    let mut watched = BTreeSet::new();
    for route in router {
        let path = route["path"].as_str().unwrap().replace("/{*rest}", "$default");
        let any = serde_json::json!(["ANY"]);
        for method in route.get("methods").unwrap_or(&any).as_array().unwrap() {
            let (method, function) = (method.as_str().unwrap().into(), route["function"].as_str().unwrap());
            watched.insert(Route { method, path: path.clone(), function: function.into() });
        }
    }
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    assert_eq!(watched, template.routes.into_iter().collect());
}

#[test]
fn the_settings_for_functions_elsewhere_are_those_of_the_local_server() {
    let file = fs::read_to_string(local::checkout().join("infra/local/watch.env")).unwrap();
    let settings: BTreeMap<&str, &str> = file.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(settings["TABLE_NAME"], TABLE);
    assert_eq!(settings["EVENT_BUS_NAME"], BUS);
    assert_eq!(settings["SECRETS_PREFIX"], SECRETS_PREFIX);
    assert_eq!(settings["AUTH_ISSUER"], ISSUER);
    assert_eq!(settings["AUTH_AUDIENCE"], AUDIENCE);
    let wrapper = fs::read_to_string(local::checkout().join("infra/local/sam-local")).unwrap();
    for name in ["TABLE_NAME", "EVENT_BUS_NAME", "SECRETS_PREFIX", "AUTH_ISSUER", "AUTH_AUDIENCE"] {
        assert!(wrapper.contains(&format!("\"{name}\": \"{}\"", settings[name])), "{name}");
    }
}

/// What each function may do, beyond writing its log.
pub(crate) const ACTIONS: [(&str, &[&str]); NAMES.len()] = [
    ("answer-unknown-route", &[]),
    ("check-health", &["dynamodb:GetItem", "events:DescribeEventBus", "secretsmanager:DescribeSecret"]),
    ("compare-versions", &["dynamodb:GetItem"]),
    (
        "create-flow",
        &["dynamodb:BatchGetItem", "dynamodb:ConditionCheckItem", "dynamodb:GetItem", "dynamodb:PutItem"],
    ),
    (
        "create-secret",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "secretsmanager:CreateSecret",
            "secretsmanager:DeleteSecret",
            "secretsmanager:TagResource",
        ],
    ),
    (
        "delete-flow",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "delete-secret",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "secretsmanager:DeleteSecret",
        ],
    ),
    ("get-flow", &["dynamodb:GetItem"]),
    ("get-secret", &["dynamodb:GetItem", "dynamodb:PutItem", "secretsmanager:GetSecretValue"]),
    ("get-version", &["dynamodb:GetItem"]),
    ("list-flows", &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]),
    ("list-secret-usages", &["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]),
    ("list-secrets", &["dynamodb:GetItem", "dynamodb:Query"]),
    ("list-versions", &["dynamodb:GetItem", "dynamodb:Query"]),
    ("on-flow-status", &["dynamodb:GetItem", "dynamodb:UpdateItem", "sqs:SendMessage"]),
    (
        "on-identity-deleted",
        &[
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "secretsmanager:DeleteSecret",
            "sqs:SendMessage",
        ],
    ),
    (
        "publish-changes",
        &[
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            "events:PutEvents",
            "s3:ListBucket",
            "s3:PutObject",
            "sqs:SendMessage",
        ],
    ),
    (
        "purge-flows",
        &[
            "dynamodb:DeleteItem",
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
            "dynamodb:ListStreams",
            "dynamodb:Query",
            "s3:ListBucket",
            "s3:PutObject",
        ],
    ),
    ("reconcile-flows", &["dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", "sqs:SendMessage"]),
    (
        "replace-flow",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "restore-flow",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "restore-version",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "start-flow",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "start-flows",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    ("stop-flow", &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]),
    ("stop-flows", &["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]),
    (
        "sweep-secrets",
        &[
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:Query",
            "secretsmanager:DeleteSecret",
            "secretsmanager:DescribeSecret",
            "secretsmanager:UpdateSecretVersionStage",
            "sqs:SendMessage",
        ],
    ),
    (
        "update-flow",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "update-flows",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
        ],
    ),
    (
        "update-secret",
        &[
            "dynamodb:BatchGetItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue",
            "secretsmanager:UpdateSecretVersionStage",
        ],
    ),
    ("validate-flow", &["dynamodb:BatchGetItem", "dynamodb:GetItem"]),
];

#[test]
fn every_function_may_do_just_what_it_does() {
    let expected = BTreeMap::from(ACTIONS);
    let root = template();
    assert_eq!(expected.keys().copied().collect::<Vec<_>>(), NAMES);
    let mut keys = BTreeMap::new();
    for (name, expected) in expected {
        let role = &root["Resources"][format!("{}Role", pascal(name)).as_str()]["Properties"];
        assert_eq!(
            role["ManagedPolicyArns"],
            yaml("!If [HasTracing, [!Ref TracingPolicy], !Ref AWS::NoValue]")
        );
        let boundary = "!If [HasPermissionsBoundary, !Ref PermissionsBoundary, !Ref AWS::NoValue]";
        assert_eq!(role["PermissionsBoundary"], yaml(boundary), "{name}");
        let mut actions = BTreeSet::new();
        for policy in role["Policies"].as_sequence().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_sequence().unwrap() {
                if let Value::Tagged(conditional) = statement {
                    keys.insert(name, conditional.value[1].clone());
                    continue;
                }
                assert!(statement["Sid"].is_string(), "{name}");
                let everything = Value::from("*");
                let resources = statement["Resource"].as_sequence().cloned();
                assert!(statement["Resource"] != everything, "{name}");
                assert!(!resources.unwrap_or_default().contains(&everything), "{name}");
                actions.extend(
                    statement["Action"].as_sequence().unwrap().iter().map(|a| a.as_str().unwrap().to_owned()),
                );
            }
        }
        assert!(actions.remove("logs:CreateLogStream") && actions.remove("logs:PutLogEvents"), "{name}");
        assert_eq!(actions, expected.iter().map(ToString::to_string).collect(), "{name}");
    }
    // Only these work with a key of the operator's own, and only through Secrets Manager.
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), ["create-secret", "get-secret", "update-secret"]);
    for (name, statement) in keys {
        let reads = name == "get-secret";
        let actions = if reads { "[kms:Decrypt]" } else { "[kms:Decrypt, kms:GenerateDataKey]" };
        assert_eq!(
            (&statement["Action"], &statement["Resource"]),
            (&yaml(actions), &yaml("!Ref SecretsKey"))
        );
        let service = yaml("!Sub secretsmanager.${AWS::Region}.amazonaws.com");
        assert_eq!(statement["Condition"]["StringEquals"]["kms:ViaService"], service, "{name}");
    }
}

/// The partitions of the table that a function may touch, by action.
pub(crate) fn partitions(name: &str) -> BTreeMap<String, Vec<String>> {
    let root = template();
    let role = &root["Resources"][format!("{}Role", pascal(name)).as_str()]["Properties"];
    let statements = role["Policies"][0]["PolicyDocument"]["Statement"].as_sequence().unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let of_table =
        statements.iter().filter(|statement| statement["Resource"] == yaml("!GetAtt FlowTable.Arn"));
    of_table
        .flat_map(|statement| {
            // It is true of no key at all: nothing that needs none may be among the actions.
            let keys = texts(&statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]);
            texts(&statement["Action"]).into_iter().map(move |action| {
                assert!(WITH_KEYS.contains(&action.as_str()), "{action}");
                (action, keys.clone())
            })
        })
        .collect()
}

/// Actions on the table that name the partitions they touch.
const WITH_KEYS: [&str; 7] = [
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
];

#[test]
fn a_line_of_the_access_log_is_json_whatever_happens() {
    let root = template();
    let api = &root["Resources"]["Api"]["Properties"];
    let format = api["AccessLogSettings"]["Format"].as_str().unwrap();
    let line: serde_json::Value = serde_json::from_str(format).unwrap();
    // Numbers, names that AWS gives, and routes of this template: none has a quotation mark, and what is not there
    // is `-`. Messages of errors are no such thing, and only some of them can be had escaped.
    let safe = [
        "requestTime",
        "requestId",
        "identity.sourceIp",
        "routeKey",
        "status",
        "responseLength",
        "responseLatency",
        "integration.status",
        "integration.integrationStatus",
        "integrationLatency",
        "error.responseType",
    ];
    for (name, value) in line.as_object().unwrap() {
        let variable = value.as_str().unwrap().strip_prefix("$context.").unwrap();
        assert!(safe.contains(&variable), "{name}: {variable}");
    }
}

#[test]
fn no_page_may_call_that_a_stage_does_not_name() {
    assert_eq!(template()["Parameters"]["CorsOrigins"]["Default"], "");
    let stages = fs::read_to_string(local::checkout().join("samconfig.toml")).unwrap();
    let origins: Vec<_> = stages.lines().filter(|line| line.starts_with("CorsOrigins")).collect();
    assert!(origins.len() == 2 && origins[1].starts_with("CorsOrigins = \"\" "), "{origins:?}");
}

#[test]
fn a_change_is_tried_until_it_is_too_old_however_often_that_is() {
    for (name, function) in resources(&template(), "AWS::Serverless::Function") {
        let Some(events) = function["Events"].as_mapping() else { continue };
        for event in events.values().filter(|event| event["Type"] == "DynamoDB") {
            let mapping = &event["Properties"];
            assert_eq!(
                (&mapping["MaximumRetryAttempts"], &mapping["MaximumRecordAgeInSeconds"]),
                (&Value::from(-1), &Value::from(82_800)),
                "{name}"
            );
        }
    }
}

#[test]
fn every_queue_takes_the_largest_message() {
    for (name, queue) in resources(&template(), "AWS::SQS::Queue") {
        assert_eq!(queue["MaximumMessageSize"], SQS_MESSAGE_BYTES, "{name}");
    }
}

/// The limits of AWS are in one place, and a page says where each is from.
#[test]
fn every_limit_of_aws_has_its_source() {
    let page = fs::read_to_string(local::checkout().join("docs/limits.md")).unwrap();
    let code = include_str!("../../shared/src/limits.rs");
    let names = code.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let names: Vec<_> = names.collect();
    assert!(names.len() > 10);
    for name in names {
        let row = page.lines().find(|line| line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} has no row"));
        assert!(row.contains("https://") || row.contains("botocore"), "{name}: {row}");
        assert!(row.contains("2026") || row.contains("2025"), "{name} has no date: {row}");
    }
}
/// A start connects for at most two seconds, and takes less than another for the rest.
const LONGEST_START: u64 = 3;

#[test]
fn a_cold_request_is_answered_before_the_gateway_gives_up() {
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    for route in &template.routes {
        let timeout = template.timeouts[&route.function].as_secs();
        assert!(LONGEST_START + timeout < HTTP_API_SECONDS, "{}: {timeout} s", route.function);
    }
    let seconds = |name: &str| template.timeouts[name].as_secs();
    assert_eq!(["get-flow", "create-flow", "on-identity-deleted"].map(seconds), [10, 26, 900]);
}

#[test]
fn events_are_taken_of_those_whose_they_are_to_tell() {
    let template = Template::read(&local::checkout().join("template.yaml")).unwrap();
    let root = self::template();
    assert!(!template.rules.is_empty());
    for rule in template.rules {
        let kinds = rule.pattern["detail-type"].as_array().unwrap();
        let source = tests::source_of(kinds[0].as_str().unwrap());
        assert_eq!(rule.pattern["source"], serde_json::json!([source]), "{}", rule.function);
        let (setting, parameter) = match source {
            tests::IDENTITY_SERVICE => ("IDENTITY_SOURCE", "!Ref IdentitySource"),
            _ => ("ORCHESTRATOR_SOURCE", "!Ref OrchestratorSource"),
        };
        let function = &root["Resources"][pascal(&rule.function).as_str()]["Properties"];
        assert_eq!(function["Environment"]["Variables"][setting], yaml(parameter));
        assert_eq!(
            function["Events"]["Rule"]["Properties"]["Pattern"]["source"],
            yaml(&format!("[{parameter}]"))
        );
    }
    let config = Config::new(|_| None);
    assert_eq!(config.orchestrator_source(), tests::ORCHESTRATOR);
    assert_eq!(config.identity_source(), tests::IDENTITY_SERVICE);
}

#[test]
fn whatever_is_to_run_from_time_to_time_is_missed_when_it_does_not() {
    let root = template();
    let alarms = resources(&root, "AWS::CloudWatch::Alarm");
    for schedule in Template::read(&local::checkout().join("template.yaml")).unwrap().schedules {
        let name = pascal(&schedule.function);
        let dimension = yaml(&format!("[{{Name: FunctionName, Value: !Ref {name}}}]"));
        let misses =
            |alarm: &&Value| alarm["Dimensions"] == dimension && alarm["MetricName"] == "Invocations";
        let alarm = alarms.values().find(misses).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(alarm["ComparisonOperator"], "LessThanThreshold", "{name}");
        assert_eq!(alarm["TreatMissingData"], "breaching", "{name}");
        let period = alarm["Period"].as_u64().unwrap() * alarm["EvaluationPeriods"].as_u64().unwrap();
        let every = schedule.every.as_secs();
        assert!(period >= 2 * every && period <= 10 * every, "{name}: {period} s");
        assert!(every > 60 || period == 600, "{name}: {period} s");
    }
}

#[test]
fn what_nobody_waits_for_is_missed_when_lambda_refuses_it() {
    let root = template();
    let alarms = resources(&root, "AWS::CloudWatch::Alarm");
    let mut checked = 0;
    for (name, function) in resources(&root, "AWS::Serverless::Function") {
        let events = function["Events"].as_mapping().unwrap();
        if events.values().any(|event| event["Type"] == "HttpApi") {
            continue;
        }
        let dimension = yaml(&format!("[{{Name: FunctionName, Value: !Ref {name}}}]"));
        let misses = |alarm: &&Value| alarm["Dimensions"] == dimension && alarm["MetricName"] == "Throttles";
        let alarm = alarms.values().find(misses).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((&alarm["Statistic"], &alarm["Threshold"]), (&yaml("Sum"), &yaml("1")), "{name}");
        assert_eq!(alarm["ComparisonOperator"], "GreaterThanOrEqualToThreshold", "{name}");
        // Nothing is counted where nothing is refused.
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn the_release_profile_lets_a_panic_be_answered() {
    let manifest = fs::read_to_string(local::checkout().join("Cargo.toml")).unwrap();
    let profile = manifest.split("[profile.release]").nth(1).unwrap();
    assert!(profile.contains("panic = \"unwind\""), "cargo-lambda sets abort where it is missing");
    let cargo = fs::read_to_string(local::checkout().join(".cargo/config.toml")).unwrap();
    assert!(cargo.contains("AWS_LC_SYS_NO_JITTER_ENTROPY = \"1\""));
}

#[test]
fn every_parameter_explains_itself_and_checks_what_it_is_given() {
    for (name, parameter) in template()["Parameters"].as_mapping().unwrap() {
        for member in ["Description", "Default", "AllowedPattern", "ConstraintDescription"] {
            assert!(parameter[member].is_string(), "{name:?} {member}");
        }
    }
}

#[test]
fn another_release_publishes_every_function_anew() {
    let root = template();
    assert_eq!(root["Globals"]["Function"]["Description"], yaml("!Sub Release ${Release}"));
    for (name, function) in resources(&root, "AWS::Serverless::Function") {
        assert_eq!(function["VersionDescription"], yaml("!Ref Release"), "{name}");
        assert!(function.get("Description").is_none(), "{name} would hide the release");
    }
}

#[test]
fn every_queue_has_its_alarm_and_every_alarm_its_section() {
    let root = template();
    let alarms = resources(&root, "AWS::CloudWatch::Alarm");
    for queue in resources(&root, "AWS::SQS::Queue").keys() {
        let dimension = yaml(&format!("[{{Name: QueueName, Value: !GetAtt {queue}.QueueName}}]"));
        assert!(alarms.values().any(|alarm| alarm["Dimensions"] == dimension), "{queue}");
    }
    let page = fs::read_to_string(local::checkout().join("docs/operations.md")).unwrap();
    let telemetry = include_str!("../../shared/src/telemetry.rs");
    let counted = resources(&root, "AWS::Logs::MetricFilter");
    let is_counted = |metric: &str| {
        counted.values().any(|filter| filter["MetricTransformations"][0]["MetricName"] == metric)
    };
    for (name, alarm) in alarms {
        if alarm["Namespace"] == yaml("!Sub FlowRepository/${AWS::StackName}") {
            let metric = alarm["MetricName"].as_str().unwrap();
            let is_measured = telemetry.contains(&format!("\n    {metric},\n"));
            assert!(is_measured || is_counted(metric), "{name}: nobody measures {metric}");
        }
        let (urgency, rest) = substituted(&alarm["AlarmDescription"]).split_once(": ").unwrap();
        let section = rest.split_once(" ${DocsUrl}/operations.md#").unwrap().1;
        assert!(page.contains(&format!("\n### {section}\n")), "{name}: {section}");
        let own = substituted(&alarm["AlarmName"]).strip_prefix("${AWS::StackName}-").unwrap();
        let row = page.lines().find(|line| {
            let names = line.strip_prefix("| [").and_then(|line| line.split_once("](#"));
            names.is_some_and(|(names, _)| names.split(", ").any(|name| name == own))
        });
        let row = row.unwrap_or_else(|| panic!("{own} is in no row"));
        assert!(["Now", "Today", "This week"].contains(&urgency), "{own}: {urgency}");
        let expected = format!("](#{section}) | {} | ", urgency.to_lowercase());
        assert!(row.contains(&expected), "{own}: {expected} is not in {row}");
        assert_eq!(
            alarm["AlarmActions"],
            yaml("!If [HasAlarmTarget, [!Ref AlarmTarget], !Ref AWS::NoValue]")
        );
    }
}
