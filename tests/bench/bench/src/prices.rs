//! The prices and assumptions of `prices.json`, and what the template has by itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_yaml_ng::Value;

use crate::dynamodb::Pace;
use crate::http::Error;
use crate::template::Template;

/// `prices.json`
#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "as in the file")]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) seen: String,
    prices: BTreeMap<String, Price>,
    pub(crate) assumptions: Assumptions,
    pub(crate) installations: BTreeMap<String, Installation>,
}

/// What something costs.
#[derive(Deserialize)]
pub(crate) struct Price {
    pub(crate) usd: f64,
    pub(crate) per: f64,
    pub(crate) unit: String,
    pub(crate) source: String,
}

/// What is neither counted nor a price.
#[derive(Deserialize)]
pub(crate) struct Assumptions {
    /// Requests that are the first of their sandbox.
    pub(crate) cold_share: f64,
    /// How long AWS takes for a call.
    pub(crate) service_ms: Pace,
    /// Memory that comes with a whole core.
    pub(crate) lambda_mb_of_a_core: f64,
    pub(crate) cfs_period_us: u32,
    /// Lambda's own lines about a request, and the gateway's.
    pub(crate) platform_log_bytes: f64,
    pub(crate) access_log_bytes: f64,
    /// What CloudWatch adds to each line.
    pub(crate) log_overhead_bytes: f64,
    pub(crate) log_compression: f64,
    /// Headers of an answer.
    pub(crate) header_bytes: f64,
    /// Former versions that a flow has on average.
    pub(crate) versions_of_a_flow: f64,
    pub(crate) hours_in_a_month: f64,
    pub(crate) days_in_a_month: f64,
}

/// What an installation is used for.
#[derive(Deserialize)]
pub(crate) struct Installation {
    pub(crate) flows: f64,
    pub(crate) secrets: f64,
    pub(crate) active_hours_a_day: f64,
    pub(crate) requests_a_day: BTreeMap<String, f64>,
}

impl Prices {
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        Ok(serde_json::from_slice(&std::fs::read(root.join("tests/bench/prices.json"))?)?)
    }

    /// The price of one.
    pub(crate) fn of(&self, name: &str) -> Result<f64, Error> {
        let price = self.prices.get(name).ok_or_else(|| format!("prices.json has no {name}"))?;
        Ok(price.usd / price.per)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Price> {
        self.prices.values()
    }
}

/// What there is to pay for in the stack.
pub(crate) struct Stack {
    pub(crate) template: Template,
    /// Memory in MB by the function's package.
    pub(crate) memory: BTreeMap<String, u32>,
    pub(crate) alarms: u32,
    pub(crate) dashboards: u32,
    pub(crate) keys: u32,
}

impl Stack {
    /// What is under a condition is not counted: each of them is for a parameter that is off by default.
    pub(crate) fn read(root: &Path) -> Result<Self, Error> {
        let file = root.join("template.yaml");
        let template = Template::read(&file)?;
        let yaml: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(file)?)?;
        let usual = &yaml["Globals"]["Function"]["MemorySize"];
        let mut stack = Self { template, memory: BTreeMap::new(), alarms: 0, dashboards: 0, keys: 0 };
        let resources = yaml["Resources"].as_mapping().ok_or("no resources")?;
        for resource in resources.values().filter(|resource| resource.get("Condition").is_none()) {
            let properties = &resource["Properties"];
            match resource["Type"].as_str().unwrap_or_default() {
                "AWS::Serverless::Function" => {
                    let folder = properties["CodeUri"].as_str().unwrap_or_default();
                    let name = folder.trim_start_matches("functions/").trim_end_matches('/');
                    let memory = properties.get("MemorySize").unwrap_or(usual).as_u64().ok_or("no memory")?;
                    stack.memory.insert(name.into(), u32::try_from(memory)?);
                }
                "AWS::CloudWatch::Alarm" => stack.alarms += 1,
                "AWS::CloudWatch::Dashboard" => stack.dashboards += 1,
                "AWS::KMS::Key" => stack.keys += 1,
                _ => {}
            }
        }
        Ok(stack)
    }
}
