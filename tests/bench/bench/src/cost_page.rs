//! docs/cost.md: what was counted, times the prices.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::AddAssign;

use crate::cost::{Costs, Measured};
use crate::dynamodb::Cost;
use crate::http::Error;
use crate::prices::{Assumptions, Installation, Prices, Stack};
use crate::scenes::{BULK, PAGE};

/// What nobody uses may cost in a month.
const FIXED_LIMIT: f64 = 2.0;
const MILLION: f64 = 1e6;
const GB: f64 = 1e9;

/// Dollars of one request by what they are paid for.
#[derive(Clone, Copy, Default)]
struct Usd {
    api: f64,
    lambda: f64,
    dynamodb: f64,
    /// EventBridge and Secrets Manager.
    services: f64,
    logs: f64,
    egress: f64,
    /// What it sets off.
    follows: f64,
}

impl Usd {
    fn total(&self) -> f64 {
        self.api + self.lambda + self.dynamodb + self.services + self.logs + self.egress + self.follows
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.api += other.api;
        self.lambda += other.lambda;
        self.dynamodb += other.dynamodb;
        self.services += other.services;
        self.logs += other.logs;
        self.egress += other.egress;
        self.follows += other.follows;
    }
}

/// All that a page needs.
pub(crate) struct Book<'a> {
    pub(crate) prices: &'a Prices,
    pub(crate) stack: &'a Stack,
    pub(crate) costs: &'a Costs,
}

/// A line of a month's bill.
type Bill = Vec<(String, f64)>;

impl Book<'_> {
    fn assumed(&self) -> &Assumptions {
        &self.prices.assumptions
    }

    fn measured(&self, function: &str) -> Result<&Measured, Error> {
        let measured = self.costs.functions.get(function);
        measured.ok_or_else(|| format!("costs.json has no {function}: run tests/bench/run cost").into())
    }

    /// The route of a function.
    fn route(&self, function: &str) -> Option<String> {
        let routes = self.stack.template.routes.iter();
        let routes = routes.filter(|route| route.function == function && route.method != "HEAD");
        // Secrets have longer paths too.
        let route = routes.min_by_key(|route| route.path.len())?;
        Some(if route.path == "$default" {
            "any other".into()
        } else {
            format!("{} {}", route.method, route.path)
        })
    }

    fn gigabytes_of(&self, function: &str) -> f64 {
        f64::from(self.stack.memory.get(function).copied().unwrap_or_default()) / 1024.0
    }

    /// An invocation that is billed for so long.
    fn lambda(&self, function: &str, millis: f64) -> Result<f64, Error> {
        let duration = self.prices.of("lambda_gb_second")? * self.gigabytes_of(function) * millis / 1000.0;
        Ok(self.prices.of("lambda_request")? + duration)
    }

    /// One invocation of a function that makes these calls, without what follows.
    fn invocation(&self, function: &str, cost: &Cost) -> Result<Usd, Error> {
        let Assumptions { cold_share, platform_log_bytes, log_overhead_bytes, .. } = self.assumed();
        let measured = self.measured(function)?;
        let times = measured.times;
        let millis = times.warm * (1.0 - cold_share) + (times.init.ceil() + times.first) * cold_share;
        let secrets = cost.calls.iter().filter(|(call, _)| call.starts_with("secretsmanager."));
        let secrets: u32 = secrets.map(|(_, count)| count).sum();
        // Lambda's own three lines, and the function's.
        let lines = 3.0 + count(measured.log_lines);
        let log = platform_log_bytes + count(measured.log_bytes) + lines * log_overhead_bytes;
        Ok(Usd {
            lambda: self.lambda(function, millis)?,
            dynamodb: cost.read * self.prices.of("dynamodb_read")?
                + (cost.write + cost.index) * self.prices.of("dynamodb_write")?,
            services: count(cost.events) * self.prices.of("event")?
                + f64::from(secrets) * self.prices.of("secret_call")?,
            logs: log / GB * self.prices.of("log_gb")?,
            ..Usd::default()
        })
    }

    /// One request or event, with everything that follows.
    fn request(&self, function: &str) -> Result<Usd, Error> {
        let measured = self.measured(function)?;
        let mut usd = self.invocation(function, &measured.cost)?;
        for (consumer, invocations) in &measured.follows {
            for cost in invocations {
                usd.follows += self.invocation(consumer, cost)?.total();
            }
        }
        if measured.answers > 0 {
            let answer = self.prices.of("event")? + self.request("on-flow-status")?.total();
            usd.follows += count(measured.answers) * answer;
        }
        if self.route(function).is_some() {
            let Assumptions { access_log_bytes, log_overhead_bytes, header_bytes, .. } = self.assumed();
            usd.api = self.prices.of("api_request")?;
            usd.logs += (access_log_bytes + log_overhead_bytes) / GB * self.prices.of("log_gb")?;
            usd.egress = (count(measured.answer_bytes) + header_bytes) / GB * self.prices.of("egress_gb")?;
        }
        Ok(usd)
    }

    /// A function on the same route that does nothing for a millisecond.
    fn floor(&self, function: &str) -> Result<f64, Error> {
        let api = if self.route(function).is_some() { self.prices.of("api_request")? } else { 0.0 };
        Ok(api + self.lambda(function, 1.0)?)
    }

    /// What a month without a single request costs.
    fn fixed(&self) -> Result<Bill, Error> {
        let stack = self.stack;
        let mut bill = vec![
            (format!("{} alarms", stack.alarms), f64::from(stack.alarms) * self.prices.of("alarm")?),
            (
                format!("{} dashboards", stack.dashboards),
                f64::from(stack.dashboards) * self.prices.of("dashboard")?,
            ),
            (format!("{} KMS keys", stack.keys), f64::from(stack.keys) * self.prices.of("kms_key")?),
        ];
        for schedule in &stack.template.schedules {
            let hours = self.assumed().hours_in_a_month;
            let times = hours * 3600.0 / schedule.every.as_secs_f64();
            // It mostly finds nothing to do, as reconcile-flows; what it costs when somebody is deleted is told
            // beside.
            let like = match schedule.function.as_str() {
                "on-identity-deleted" => "reconcile-flows",
                function => function,
            };
            let each = self.request(like)?.total() + self.prices.of("schedule")?;
            let minutes = schedule.every.as_secs() / 60;
            bill.push((format!("{}, every {minutes} min", schedule.function), times * each));
        }
        Ok(bill)
    }

    /// What a month of an installation costs beyond that.
    fn month(&self, installation: &Installation) -> Result<Bill, Error> {
        let assumed = self.assumed();
        let mut usd = Usd::default();
        let mut log_gb = 0.0;
        // Metrics by the hours in which they have data.
        let mut metric_hours = 0.0;
        let hours = installation.active_hours_a_day * assumed.days_in_a_month;
        let with_data = |requests: f64| hours * (1.0 - (1.0 - 1.0 / hours).powf(requests));
        let mut published = 0.0;
        for (function, a_day) in &installation.requests_a_day {
            let requests = a_day * assumed.days_in_a_month;
            let measured = self.measured(function)?;
            let each = self.request(function)?;
            let Usd { api, lambda, dynamodb, services, logs, egress, follows } = each;
            usd += Usd {
                api: api * requests,
                lambda: lambda * requests,
                dynamodb: dynamodb * requests,
                services: services * requests,
                logs: logs * requests,
                egress: egress * requests,
                follows: follows * requests,
            };
            log_gb += logs * requests / self.prices.of("log_gb")?;
            metric_hours += count(measured.metrics) * with_data(requests);
            metric_hours += with_data(requests * assumed.cold_share);
            published += requests * count(measured.follows.get("publish-changes").map_or(0, Vec::len));
        }
        metric_hours += count(self.measured("publish-changes")?.metrics) * with_data(published);
        let flow = count(self.measured("create-flow")?.stored_bytes)
            + assumed.versions_of_a_flow * count(self.measured("update-flow")?.stored_bytes);
        let stored = installation.flows * flow / GB;
        let kept = stored * (self.prices.of("dynamodb_storage")? + self.prices.of("dynamodb_recovery")?);
        Ok(vec![
            ("API Gateway".into(), usd.api),
            ("Lambda".into(), usd.lambda),
            ("DynamoDB, requests".into(), usd.dynamodb),
            ("DynamoDB, storage and recovery".into(), kept),
            ("Secrets Manager, secrets".into(), installation.secrets * self.prices.of("secret")?),
            ("Secrets Manager and EventBridge, calls".into(), usd.services),
            ("what changes set off: events, their functions".into(), usd.follows),
            ("logs".into(), usd.logs + log_gb * assumed.log_compression * self.prices.of("log_storage")?),
            (
                "metrics of routes and events".into(),
                metric_hours / assumed.hours_in_a_month * self.prices.of("metric")?,
            ),
            ("data out".into(), usd.egress),
        ])
    }

    /// docs/cost.md, with what it says of memory.
    pub(crate) fn page(&self, memory: &str) -> Result<String, Error> {
        let assumed = self.assumed();
        let fixed = self.fixed()?;
        let at_rest = total(&fixed);
        let mut page = format!(
            "# Cost\n\nWritten by `tests/bench/run cost`; no figure is typed. Every function runs once, its calls, capacity units, log \
             and answer are\ncounted, and `tests/bench/prices.json` has the prices and all that is assumed: US dollars, {}, on demand, \
             arm64. **Free tiers are not\ncounted**; taxes, support and discounts neither.\n\n",
            self.prices.region
        );
        writeln!(page, "## Nobody uses it\n\n| a month | $ |\n|---|---|")?;
        write_bill(&mut page, &fixed)?;
        let verdict = if at_rest < FIXED_LIMIT { "" } else { " **missed**" };
        writeln!(page, "| **all** (gate: under {FIXED_LIMIT:.2}) | **{at_rest:.2}**{verdict} |\n")?;
        writeln!(
            page,
            "The table, the bus, queues, bucket, stream and its two readers cost nothing while nothing happens, and neither do metrics \
             without data.\nA dashboard (parameter `DashboardEnabled`) would be {:.2} more, unless it is one of the account's three free ones.\n",
            self.prices.of("dashboard")?
        )?;
        self.write_months(&mut page, &fixed)?;
        self.write_requests(&mut page)?;
        page += memory;
        self.write_calls(&mut page)?;
        writeln!(page, "## How it is computed\n")?;
        let throttled = if self.costs.throttled {
            "with the part of a core that Lambda gives with the function's memory"
        } else {
            "with a whole core, because this machine has no cgroups"
        };
        writeln!(
            page,
            "- **Duration**: warm requests to the built function, {throttled}, each rounded up to a millisecond. DynamoDB and the other \
             services answer\n  after the time assumed for each call ({}). {:.0} % of the requests are the first of their sandbox and pay for \
             INIT too. Measured on x86_64.",
            assumed
                .service_ms
                .iter()
                .map(|(call, ms)| format!("{call} {ms} ms"))
                .collect::<Vec<_>>()
                .join(", "),
            assumed.cold_share * 100.0
        )?;
        writeln!(
            page,
            "- **Requests**: a flow of 4 KB with two owners; a page of {PAGE}; {BULK} flows in a request for many; events one by one, \
             although up to ten\n  changes share an invocation under load.\n\
             - **What follows**: the records that a request's writes leave in the stream, through the filters of the template, into \
             `publish-changes` and\n  `purge-flows`, run with those records; for a start or stop also the orchestrator's answer: its event, `on-flow-status` \
             and what that changes.\n  The orchestrator's own cost is not in it. That TTL erases deleted flows and old versions costs no writes; \
             `purge-flows` then reads.\n\
             - **Floor**: the API's request, an invocation of a function of the same memory and one millisecond. No installation pays less for an \
             answer.\n\
             - **Logs**: the function's lines as written, {:.0} bytes of Lambda's own, {:.0} of the access log.\n\
             - **A month**: {} days, with the requests a day of `prices.json`; a health check each minute; {:.0} former versions of each flow; \
             metrics for the\n  hours in which their route is used.",
            assumed.platform_log_bytes,
            assumed.access_log_bytes,
            assumed.days_in_a_month,
            assumed.versions_of_a_flow
        )?;
        writeln!(
            page,
            "\n## Prices\n\nSeen {}.\n\n| what | $ | for | source |\n|---|---|---|---|",
            self.prices.seen
        )?;
        for price in self.prices.all() {
            let per = if price.per > 1.0 { format!("{} × ", thousands(price.per)) } else { String::new() };
            writeln!(page, "| {} | {} | {per}1 | <{}> |", price.unit, price.usd, price.source)?;
        }
        Ok(page)
    }

    fn write_months(&self, page: &mut String, fixed: &Bill) -> Result<(), Error> {
        let all = &self.prices.installations;
        // From small to large.
        let mut names: Vec<_> = all.iter().collect();
        names.sort_by(|(_, a), (_, b)| a.flows.total_cmp(&b.flows));
        writeln!(page, "## A month\n")?;
        let mut columns = Vec::new();
        for (_, installation) in &names {
            columns.push(self.month(installation)?);
        }
        write!(page, "| |")?;
        for (name, _) in &names {
            write!(page, " {name} |")?;
        }
        writeln!(page, "\n|---|{}", "---|".repeat(names.len()))?;
        let requests = |installation: &Installation| installation.requests_a_day.values().sum::<f64>();
        for (what, figure) in
            [("flows", (|i: &Installation| i.flows) as fn(&Installation) -> f64), ("secrets", |i| i.secrets)]
        {
            row(page, what, names.iter().map(|(_, installation)| thousands(figure(installation))))?;
        }
        row(page, "requests a day", names.iter().map(|(_, installation)| thousands(requests(installation))))?;
        for (line, (what, _)) in columns.first().into_iter().flatten().enumerate() {
            row(page, &format!("$ {what}"), columns.iter().map(|bill| amount(bill.get(line))))?;
        }
        row(page, "$ fixed, as above", columns.iter().map(|_| format!("{:.2}", total(fixed))))?;
        row(page, "**$ all**", columns.iter().map(|bill| format!("**{:.2}**", total(bill) + total(fixed))))?;
        row(
            page,
            "$ for a million requests, secrets and fixed cost apart",
            columns.iter().zip(&names).map(|(bill, (_, installation))| {
                let secrets: f64 =
                    bill.iter().filter(|(what, _)| what.ends_with("secrets")).map(|(_, usd)| usd).sum();
                let requests = requests(installation) * self.assumed().days_in_a_month;
                format!("{:.2}", (total(bill) - secrets) / requests * MILLION)
            }),
        )?;
        writeln!(page)?;
        Ok(())
    }

    fn write_requests(&self, page: &mut String) -> Result<(), Error> {
        writeln!(
            page,
            "## A million requests\n\nDollars. *Services* are EventBridge and Secrets Manager, *follows* is what the stream and the \
             orchestrator make of the change.\n\n\
             | route | API | Lambda | DynamoDB | services | logs | data out | follows | all | floor | times |\n\
             |---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        let mut routes = BTreeMap::new();
        let mut events = Vec::new();
        for function in self.costs.functions.keys() {
            match self.route(function) {
                // By path.
                Some(route) => {
                    let path = route.split(' ').next_back().unwrap_or_default().to_owned();
                    routes.insert((route == "any other", path, route), function);
                }
                None => events.push(function),
            }
        }
        for ((_, _, route), function) in &routes {
            self.write_request(page, &format!("`{route}`"), function)?;
        }
        writeln!(
            page,
            "\nThe same of what no request but an event or a schedule runs:\n\n\
             | function | API | Lambda | DynamoDB | services | logs | data out | follows | all | floor | times |\n\
             |---|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for function in events {
            self.write_request(page, function, function)?;
        }
        writeln!(page)?;
        Ok(())
    }

    fn write_request(&self, page: &mut String, name: &str, function: &str) -> Result<(), Error> {
        let usd = self.request(function)?;
        let floor = self.floor(function)?;
        let many =
            if function.ends_with("flows") && self.route(function).is_some() && function != "list-flows" {
                format!(" ({BULK} flows)")
            } else {
                String::new()
            };
        row(
            page,
            &format!("{name}{many}"),
            [usd.api, usd.lambda, usd.dynamodb, usd.services, usd.logs, usd.egress, usd.follows]
                .map(|part| if part == 0.0 { String::new() } else { format!("{:.2}", part * MILLION) })
                .into_iter()
                .chain([
                    format!("**{:.2}**", usd.total() * MILLION),
                    format!("{:.2}", floor * MILLION),
                    format!("{:.1}", usd.total() / floor),
                ]),
        )
    }

    fn write_calls(&self, page: &mut String) -> Result<(), Error> {
        writeln!(
            page,
            "## What was counted\n\n\
             | function | MB | billed ms: warm, first, init | calls | read units | write units, with the index | log bytes | answer bytes | sets off |\n\
             |---|---|---|---|---|---|---|---|---|"
        )?;
        for (function, measured) in &self.costs.functions {
            let Measured { cost, times, follows, .. } = measured;
            let calls = cost.calls.iter().map(|(call, count)| {
                format!("{count} × {}", call.split('.').next_back().unwrap_or_default())
            });
            let calls = calls.collect::<Vec<_>>().join(", ");
            let mut sets_off: Vec<_> =
                follows.iter().map(|(consumer, costs)| format!("{} × {consumer}", costs.len())).collect();
            let events: usize = follows.values().flatten().map(|cost| cost.events).sum();
            if events > 0 {
                sets_off.push(format!("{events} events"));
            }
            if measured.answers > 0 {
                sets_off.push(format!("{} × on-flow-status", measured.answers));
            }
            row(
                page,
                function,
                [
                    self.stack.memory.get(function).copied().unwrap_or_default().to_string(),
                    format!("{:.1}, {:.0}, {:.0}", times.warm, times.first, times.init.ceil()),
                    calls,
                    cost.read.to_string(),
                    (cost.write + cost.index).to_string(),
                    measured.log_bytes.to_string(),
                    measured.answer_bytes.to_string(),
                    sets_off.join(", "),
                ],
            )?;
        }
        writeln!(page)?;
        Ok(())
    }
}

fn write_bill(page: &mut String, bill: &Bill) -> Result<(), Error> {
    for (what, usd) in bill {
        writeln!(page, "| {what} | {usd:.2} |")?;
    }
    Ok(())
}

fn row(page: &mut String, name: &str, cells: impl IntoIterator<Item = String>) -> Result<(), Error> {
    let cells: Vec<_> = cells.into_iter().collect();
    Ok(writeln!(page, "| {name} | {} |", cells.join(" | "))?)
}

fn total(bill: &Bill) -> f64 {
    bill.iter().map(|(_, usd)| usd).sum()
}

fn amount(line: Option<&(String, f64)>) -> String {
    line.map(|(_, usd)| format!("{usd:.2}")).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "counts of some thousands")]
fn count(number: usize) -> f64 {
    number as f64
}

/// `1,000`
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
