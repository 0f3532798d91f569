//! `cargo run`: the local server, and tokens for it.

use std::io::{Write, stdout};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use local::aws::{BUS, OtherDynamoDb, SECRETS_PREFIX, TABLE, UNREADABLE_QUEUE};
use local::issuer::{Claims, Issuer};
use local::{Options, Server, default_folder};
use shared::config;
use shared::telemetry::OURS;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const PERMISSIONS: &str = "flows.read,flows.write,flows.control,flows.bulk,secrets.write";
/// Settings of the functions that the environment may choose, and those of `AUTH_…`.
const SETTINGS: [&str; 11] = [
    "COMPONENT_CHECK",
    "CONFIRMATION_MINUTES",
    "CREDENTIAL_CHECK",
    "DELETED_DAYS",
    "REQUIRE_IF_MATCH",
    "RULE_LEVELS",
    "TENANT_ROLE",
    "SECRET_CREATION",
    "SECRET_RECOVERY_DAYS",
    "SECRET_RENEWAL",
    "VERSION_DAYS",
];
/// With these set, tokens are somebody else's.
const OF_TOKENS: [&str; 5] =
    ["AUTH_AUDIENCE", "AUTH_HS256_SECRET", "AUTH_ISSUER", "AUTH_JWKS", "AUTH_JWKS_URL"];
/// The printed token is good for a day's work.
const DAY: i64 = 24 * 60 * 60;

/// Runs the flow repository on this machine.
#[derive(Parser)]
#[command(name = "cargo run --", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The port to listen on; 0 for any free one
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = port)]
    port: u16,
    /// Where data is kept (default: .local in the checkout), or ":memory:"
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Store a standard set of flows for two tenants, if there are none
    #[arg(long)]
    seed: bool,
    /// Whether a stand-in answers starts and stops
    #[arg(long, value_enum, default_value_t = Orchestrator::Auto)]
    orchestrator: Orchestrator,
    /// Expose the embedded AWS services at this port, for functions in containers and the AWS CLI; 0
    /// for any free one
    #[arg(long, value_name = "N", value_parser = port)]
    aws_port: Option<u16>,
    /// The address of that port. There is no authentication: whoever reaches it reads and writes
    /// everything
    #[arg(long, value_name = "IP", default_value_t = IpAddr::from(Ipv4Addr::LOCALHOST), requires = "aws_port")]
    aws_host: IpAddr,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Orchestrator {
    /// It answers flow.starting with flow.started and flow.stopping with flow.stopped
    Auto,
    /// Nobody answers
    Off,
}

#[derive(Subcommand)]
enum Command {
    /// Print a token that every local server of this checkout accepts
    Token {
        /// The user
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        sub: String,
        /// The user's tenant
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        tenant: Option<String>,
        /// What the user may do, with commas
        #[arg(long, value_delimiter = ',', default_value = PERMISSIONS)]
        permissions: Vec<String>,
        /// Seconds until the token expires; negative for one that has expired
        #[arg(long, value_name = "SECONDS", default_value_t = DAY, value_parser = seconds, allow_negative_numbers = true)]
        expires_in: i64,
    },
    /// Print the public keys of these tokens as a JWKS
    Jwks,
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "it is not from 0 to 65535")
}

fn seconds(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "it is no whole number")
}

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            // In one line, and without the usage, which is long.
            let text = error.to_string();
            let fault = text.split("\n\n").next().unwrap_or_default().split_whitespace();
            eprintln!("{}; --help shows all options", fault.collect::<Vec<_>>().join(" "));
            return ExitCode::from(2);
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    match arguments.command {
        Some(Command::Token { sub, tenant, permissions, expires_in }) => {
            let permissions = permissions.into_iter().filter(|permission| !permission.is_empty()).collect();
            let claims = Claims { sub, tenant, permissions, expires_in };
            Ok(writeln!(stdout(), "{}", Issuer::open(&default_folder())?.token(&claims)?)?)
        }
        Some(Command::Jwks) => Ok(writeln!(stdout(), "{}", Issuer::open(&default_folder())?.jwks())?),
        None => serve(arguments).await,
    }
}

async fn serve(arguments: Arguments) -> Result<(), Error> {
    log(config::environment().log_level()?);
    let folder = match arguments.data {
        Some(data) if data.as_os_str() == ":memory:" => None,
        data => Some(data.unwrap_or_else(default_folder)),
    };
    let settings = settings();
    let has_own_tokens = !settings.iter().any(|(name, _)| OF_TOKENS.contains(&name.as_str()));
    let options = Options {
        port: arguments.port,
        folder: folder.clone(),
        seed: arguments.seed,
        orchestrator: arguments.orchestrator == Orchestrator::Auto,
        settings,
        dynamodb: OtherDynamoDb::from_env(|| TABLE.into())?,
        aws: arguments.aws_port.map(|port| SocketAddr::new(arguments.aws_host, port)),
    };
    let server = Server::start(options).await?;
    // Before anything is said: whoever reads it may interrupt at once.
    let interrupted = interrupted()?;
    introduce(&server, folder, has_own_tokens)?;
    interrupted.await;
    eprintln!("\nStopping.");
    server.stop().await?;
    Ok(())
}

/// What the environment says of the functions' settings. What is empty is not set.
fn settings() -> Vec<(String, String)> {
    let all = std::env::vars_os()
        .map(|(name, value)| [name, value].map(|text| text.to_string_lossy().into_owned()));
    let ours = all.filter(|[name, value]| {
        !value.is_empty() && (name.starts_with("AUTH_") || SETTINGS.contains(&name.as_str()))
    });
    ours.map(|[name, value]| (name, value)).collect()
}

/// For people, on standard error: requests, and whatever goes wrong.
fn log(level: Level) {
    let ours = OURS.into_iter().chain(["local"]).map(|name| (name, level));
    let filter = Targets::new().with_default(LevelFilter::ERROR).with_targets(ours);
    let format = tracing_subscriber::fmt::layer().compact().with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(format).with(filter).init();
}

fn introduce(server: &Server, folder: Option<PathBuf>, has_own_tokens: bool) -> Result<(), Error> {
    let token = server.issuer.token(&Claims {
        sub: "developer".into(),
        tenant: Some("acme".into()),
        permissions: PERMISSIONS.split(',').map(Into::into).collect(),
        expires_in: DAY,
    })?;
    let address = server.address;
    let kept = folder.map_or_else(|| "memory".into(), |folder| folder.display().to_string());
    let aws = server.aws.map(introduce_aws).unwrap_or_default();
    let token = if has_own_tokens {
        format!("You are user developer of tenant acme, for a day:\n\nexport TOKEN={token}")
    } else {
        "Set TOKEN to a token of your identity provider first.\n".into()
    };
    writeln!(
        stdout(),
        r#"The flow repository listens on http://{address}; data is kept in {kept}
{aws}
Paste this into another terminal. {token}
api() {{ curl -gsS -H "Authorization: Bearer $TOKEN" -H Content-Type: "{address}$@"; echo; }}
FLOW='{{"name":"Orders","graph":{{"nodes":[{{"id":"a","componentId":"my-component","function":"f"}}]}}}}'

Store the flow, list all, start it, stop it:

ID=$(api /flows -d "$FLOW" | tee /dev/stderr | grep -o '[0-9a-f]\{{24\}}' | tail -n 1)
api /flows
api /flows/$ID/start -X POST
api /flows/$ID/stop -X POST

README.md has more to try. Ctrl-C ends it."#
    )?;
    Ok(())
}

/// What functions and tools need that use the embedded AWS services.
fn introduce_aws(address: SocketAddr) -> String {
    let warning = if address.ip().is_loopback() {
        ""
    } else {
        "\nAnybody who reaches this address can read and write everything: there is no authentication.\n"
    };
    format!(
        "
Its DynamoDB, EventBridge, SQS and Secrets Manager listen as well. For the AWS CLI:
export AWS_ENDPOINT_URL=http://{address} AWS_DEFAULT_REGION=local AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
The table is {TABLE}, the bus {BUS}, the queue of unreadable changes http://{address}/{UNREADABLE_QUEUE}, names of secrets begin with {SECRETS_PREFIX}.
{warning}"
    )
}

/// Ends when the process is asked to; it listens from now on.
#[cfg(unix)]
fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends when the process is asked to; it listens from now on.
#[cfg(windows)]
fn interrupted() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
