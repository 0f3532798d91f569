//! What the local server needs to know of the stack, read from template.yaml.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;
use serde_yaml_ng::Value;

/// What Lambda gives a function that is given nothing else, in seconds.
const LAMBDAS_TIMEOUT: u64 = 3;

/// Whose pages may call: those under development. No stage lets in any that it does not name.
const ORIGIN: &str = "http://localhost:3001";

/// A stack that the local server can run.
#[derive(Debug)]
pub struct Template {
    /// What API Gateway routes where.
    pub routes: Vec<Route>,
    /// What EventBridge delivers where.
    pub rules: Vec<Rule>,
    /// What runs from time to time.
    pub schedules: Vec<Schedule>,
    /// What the table's stream feeds.
    pub streams: Vec<Stream>,
    /// How long each function may take, by package.
    pub timeouts: BTreeMap<String, Duration>,
    /// Origins that browsers may call from, unless told otherwise.
    pub cors: Cors,
}

/// One route of the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `GET`, or `ANY` for the default route.
    pub method: String,
    /// With parameters in braces; `$default` for the default route.
    pub path: String,
    /// The package of the function.
    pub function: String,
}

/// One rule of the event bus.
#[derive(Debug)]
pub struct Rule {
    /// What events look like that it is for.
    pub pattern: Json,
    /// The package of the function.
    pub function: String,
}

/// One schedule.
#[derive(Debug)]
pub struct Schedule {
    /// How long from one time to the next.
    pub every: Duration,
    /// The package of the function.
    pub function: String,
}

/// One event source mapping.
#[derive(Debug)]
pub struct Stream {
    /// Records must match one of these.
    pub filters: Vec<Json>,
    /// Records in one event.
    pub batch_size: usize,
    /// The package of the function.
    pub function: String,
}

/// The gateway's CORS settings.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Filled from the parameter's default.
    #[serde(skip)]
    pub allow_origins: Vec<String>,
    /// Methods pages may use.
    pub allow_methods: Vec<String>,
    /// Headers pages may send.
    pub allow_headers: Vec<String>,
    /// Headers pages may read.
    pub expose_headers: Vec<String>,
    /// Seconds browsers may remember all that.
    pub max_age: u32,
}

/// The template is not one the local server can run.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("template.yaml is not valid YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
    /// Something in it is not as it should be.
    #[error("template.yaml: {0}")]
    Content(String),
}

impl Template {
    /// Reads the file.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TemplateError::Read { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a template.
    ///
    /// # Errors
    /// See [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let root: Value = serde_yaml_ng::from_str(text)?;
        let resources =
            get(&root, "Resources")?.as_mapping().ok_or_else(|| content("Resources is no mapping"))?;
        let (mut routes, mut rules, mut streams) = (Vec::new(), Vec::new(), Vec::new());
        let (mut schedules, mut timeouts) = (Vec::new(), BTreeMap::new());
        let timeout = |properties: &Value| properties.get("Timeout").and_then(Value::as_u64);
        let usual = root.get("Globals").and_then(|globals| timeout(globals.get("Function")?));
        for (name, resource) in resources {
            if resource.get("Type").and_then(Value::as_str) != Some("AWS::Serverless::Function") {
                continue;
            }
            let properties = get(resource, "Properties")?;
            let function = text_of(properties, "CodeUri")?.trim_end_matches('/');
            let function = function.strip_prefix("functions/").ok_or_else(|| {
                content(format!("{} has its code outside functions/", name.as_str().unwrap_or_default()))
            })?;
            let seconds = timeout(properties).or(usual).unwrap_or(LAMBDAS_TIMEOUT);
            timeouts.insert(function.to_owned(), Duration::from_secs(seconds));
            let events = properties.get("Events").and_then(Value::as_mapping);
            for event in events.into_iter().flat_map(|events| events.values()) {
                let properties = get(event, "Properties")?;
                let function = function.to_owned();
                match text_of(event, "Type")? {
                    "HttpApi" => {
                        let method = text_of(properties, "Method")?.to_uppercase();
                        let method =
                            if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".into() } else { method };
                        routes.push(Route { method, path: text_of(properties, "Path")?.into(), function });
                    }
                    "EventBridgeRule" => {
                        let pattern = with_defaults(get(properties, "Pattern")?, &root)?;
                        let pattern = serde_yaml_ng::from_value(pattern)?;
                        rules.push(Rule { pattern, function });
                    }
                    "Schedule" => {
                        let every = rate(text_of(properties, "Schedule")?)?;
                        schedules.push(Schedule { every, function });
                    }
                    "DynamoDB" => streams.push(stream(properties, function)?),
                    other => {
                        return Err(content(format!("events of type {other} are not known here")));
                    }
                }
            }
        }
        routes.sort();
        let mut cors: Cors = serde_yaml_ng::from_value(
            get(get(get(&root, "Resources")?, "Api")?, "Properties")
                .and_then(|api| get(get(api, "DefinitionBody")?, "x-amazon-apigateway-cors"))?
                // `!If [HasCors, …]`
                .get(1)
                .ok_or_else(|| content("x-amazon-apigateway-cors has no condition"))?
                .clone(),
        )?;
        cors.allow_origins = vec![ORIGIN.into()];
        Ok(Self { routes, rules, schedules, streams, timeouts, cors })
    }
}

/// The same with the defaults of the parameters that it refers to.
fn with_defaults(value: &Value, root: &Value) -> Result<Value, TemplateError> {
    Ok(match value {
        Value::Tagged(tagged) if tagged.tag == "Ref" => {
            let name = tagged.value.as_str().unwrap_or_default();
            text_of(get(get(root, "Parameters")?, name)?, "Default")?.into()
        }
        Value::Sequence(values) => {
            Value::Sequence(values.iter().map(|value| with_defaults(value, root)).collect::<Result<_, _>>()?)
        }
        Value::Mapping(members) => {
            let members = members.iter().map(|(name, value)| Ok((name.clone(), with_defaults(value, root)?)));
            Value::Mapping(members.collect::<Result<_, TemplateError>>()?)
        }
        other => other.clone(),
    })
}

/// `rate(1 minute)`, `rate(15 minutes)`.
fn rate(text: &str) -> Result<Duration, TemplateError> {
    let minutes = text.strip_prefix("rate(").and_then(|rest| rest.split_once(" minute"));
    let minutes = minutes.filter(|(_, rest)| matches!(*rest, ")" | "s)")).map(|(minutes, _)| minutes.parse());
    match minutes {
        Some(Ok(minutes @ 1..)) => Ok(Duration::from_mins(minutes)),
        _ => Err(content(format!("a schedule is not in minutes: {text}"))),
    }
}

fn stream(properties: &Value, function: String) -> Result<Stream, TemplateError> {
    let filters = properties
        .get("FilterCriteria")
        .and_then(|criteria| criteria.get("Filters"))
        .and_then(Value::as_sequence);
    let filters = filters.into_iter().flatten().map(|filter| {
        serde_json::from_str(text_of(filter, "Pattern")?)
            .map_err(|error| content(format!("a filter is no JSON: {error}")))
    });
    let batch_size = get(properties, "BatchSize")?.as_u64().and_then(|size| usize::try_from(size).ok());
    Ok(Stream {
        filters: filters.collect::<Result<_, _>>()?,
        batch_size: batch_size.filter(|size| *size > 0).ok_or_else(|| content("a BatchSize is no number"))?,
        function,
    })
}

fn get<'a>(value: &'a Value, name: &str) -> Result<&'a Value, TemplateError> {
    value.get(name).ok_or_else(|| content(format!("{name} is missing")))
}

fn text_of<'a>(value: &'a Value, name: &str) -> Result<&'a str, TemplateError> {
    get(value, name)?.as_str().ok_or_else(|| content(format!("{name} is no text")))
}

fn content(text: impl Into<String>) -> TemplateError {
    TemplateError::Content(text.into())
}

/// Whether an event matches a pattern as EventBridge and stream filters know them: every member
/// named must be there, with one of the values listed, a prefix of it, or
/// none of some; or, as the pattern says, must be there with any value, or not at all.
#[must_use]
pub fn matches(pattern: &Json, event: &Json) -> bool {
    fits(pattern, Some(event))
}

fn fits(pattern: &Json, event: Option<&Json>) -> bool {
    match pattern {
        Json::Object(members) => {
            members.iter().all(|(name, inner)| fits(inner, event.and_then(|event| event.get(name))))
        }
        Json::Array(values) => values.iter().any(|value| {
            if let Some(exists) = value.get("exists").and_then(Json::as_bool) {
                return event.is_some() == exists;
            }
            let Some(event) = event else { return false };
            if let Some(prefix) = value.get("prefix").and_then(Json::as_str) {
                return event.as_str().is_some_and(|text| text.starts_with(prefix));
            }
            match value.get("anything-but").and_then(Json::as_array) {
                Some(others) => !others.contains(event),
                None => value == event,
            }
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_without_resources_is_refused_in_one_line() {
        for (text, complaint) in [
            ("Resources: [", "template.yaml is not valid YAML"),
            ("Description: x", "template.yaml: Resources is missing"),
            (
                "Resources: {F: {Type: AWS::Serverless::Function, Properties: {CodeUri: elsewhere}}}",
                "template.yaml: F has its code outside functions/",
            ),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
    }

    #[test]
    fn patterns_name_members_and_list_values() {
        let pattern = json!({"detail-type": ["a", "b"], "detail": {"x": [1]}});
        assert!(matches(&pattern, &json!({"detail-type": "b", "detail": {"x": 1, "y": 2}})));
        assert!(!matches(&pattern, &json!({"detail-type": "c", "detail": {"x": 1}})));
        let pattern = json!({"sk": [{"prefix": "READ#"}, "HEAD"]});
        for (key, fits) in [("READ#1", true), ("HEAD", true), ("UNREAD#1", false), ("HEAD#1", false)] {
            assert_eq!(matches(&pattern, &json!({"sk": key})), fits, "{key}");
        }
        let pattern = json!({"source": [{"anything-but": ["a", "b"]}]});
        for (source, fits) in [("a", false), ("b", false), ("c", true)] {
            assert_eq!(matches(&pattern, &json!({"source": source})), fits, "{source}");
        }
        assert!(!matches(&pattern, &json!({"detail-type": "a"})));
        let pattern = json!({"image": {"deletedAt": {"N": [{"exists": true}]}, "document": {"B": [{"exists": false}]}}});
        for (image, fits) in [
            (json!({"deletedAt": {"N": "1"}}), true),
            (json!({"deletedAt": {"N": "1"}, "document": {"B": "YQ=="}}), false),
            (json!({"id": {"S": "a"}}), false),
        ] {
            assert_eq!(matches(&pattern, &json!({"image": image})), fits, "{image}");
        }
        assert!(!matches(&pattern, &json!({})));
    }
}
