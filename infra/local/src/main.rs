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
/// The printed token is good for a day's work.
const DAY: i64 = 24 * 60 * 60;

/// Runs the flow repository on this machine.
#[derive(Parser)]
#[command(name = "cargo run --", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The port to listen on; 0 for any free one
    #[arg(long, value_name = "N", default_value_t = 3000)]
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
    #[arg(long, value_name = "N")]
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
        #[arg(long, value_name = "SECONDS", default_value_t = DAY, allow_negative_numbers = true)]
        expires_in: i64,
    },
    /// Print the public keys of these tokens as a JWKS
    Jwks,
}

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
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
    log();
    let folder = match arguments.data {
        Some(data) if data.as_os_str() == ":memory:" => None,
        data => Some(data.unwrap_or_else(default_folder)),
    };
    let options = Options {
        port: arguments.port,
        folder: folder.clone(),
        seed: arguments.seed,
        orchestrator: arguments.orchestrator == Orchestrator::Auto,
        settings: std::env::vars()
            .filter(|(name, _)| name.starts_with("AUTH_") || SETTINGS.contains(&name.as_str()))
            .collect(),
        dynamodb: OtherDynamoDb::from_env(|| TABLE.into()),
        aws: arguments.aws_port.map(|port| SocketAddr::new(arguments.aws_host, port)),
    };
    let server = Server::start(options).await?;
    // Before anything is said: whoever reads it may interrupt at once.
    let interrupted = interrupted()?;
    introduce(&server, folder)?;
    interrupted.await;
    eprintln!("\nStopping.");
    server.stop().await?;
    Ok(())
}

/// For people, on standard error: requests, and whatever goes wrong.
fn log() {
    let level = std::env::var("LOG_LEVEL").ok().and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let ours = OURS.into_iter().chain(["local"]).map(|name| (name, level));
    let filter = Targets::new().with_default(LevelFilter::ERROR).with_targets(ours);
    let format = tracing_subscriber::fmt::layer().compact().with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(format).with(filter).init();
}

fn introduce(server: &Server, folder: Option<PathBuf>) -> Result<(), Error> {
    let token = server.issuer.token(&Claims {
        sub: "developer".into(),
        tenant: Some("acme".into()),
        permissions: PERMISSIONS.split(',').map(Into::into).collect(),
        expires_in: DAY,
    })?;
    let url = format!("http://{}", server.address);
    let kept = folder.map_or_else(|| "in memory".into(), |folder| format!("in {}", folder.display()));
    let curl = r#"curl -sS -H "Authorization: Bearer $TOKEN""#;
    let flow = r#"{"name":"Orders","graph":{"nodes":[{"id":"orders","componentId":"5ca5c44c187c040010a9bb8b","function":"getOrders"}]}}"#;
    let newest = "grep -o '\"id\":\"[0-9a-f]*\"}]' | cut -d'\"' -f4";
    let aws = server.aws.map(introduce_aws).unwrap_or_default();
    writeln!(
        stdout(),
        "The flow repository listens on {url}; data is kept {kept}. Ctrl-C ends it.
{aws}
Paste this into another terminal first: a token of user developer, tenant acme, valid for a day.

export TOKEN={token}

Store a flow, list the flows, start the newest and stop it again:

{curl} -H 'Content-Type: application/json' -d '{flow}' {url}/flows
{curl} {url}/flows
ID=$({curl} '{url}/flows?sort=-createdAt&page%5Bsize%5D=1' | {newest})
{curl} -X POST {url}/flows/$ID/start
{curl} -X POST {url}/flows/$ID/stop

What went over the event bus: {url}/_local/events"
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
