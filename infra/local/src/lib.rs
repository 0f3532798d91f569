//! The whole repository on one machine: the very functions of the stack behind HTTP, with embedded
//! AWS services, a development issuer and a stand-in for the orchestrator.

pub mod aws;
pub mod bus;
pub mod endpoint;
pub mod functions;
pub mod gateway;
pub mod issuer;
pub mod schedule;
pub mod secretsmanager;
pub mod stream;
pub mod template;

mod seed;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use shared::api::{App, SecretsApp};
use shared::config::{Config, ConfigError};
use shared::events::Publisher;
use shared::flow::{ShownDocument, Status};
use shared::identity::Verifier;
use shared::secrets::{Secrets, Vault};
use shared::store::{ListFilter, ListOrder, ListQuery, Paging, Scope, Store};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use aws::OtherDynamoDb;
use bus::Bus;
use endpoint::Endpoint;
use functions::Functions;
use gateway::Gateway;
use issuer::Issuer;
use secretsmanager::SecretsManager;
use stream::Follower;
use template::{Template, TemplateError};

/// The checkout this program was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap_or_else(|_| PathBuf::from("."))
}

/// Where a checkout keeps its local data.
#[must_use]
pub fn default_folder() -> PathBuf {
    checkout().join(".local")
}

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port; 0 for any.
    pub port: u16,
    /// Where data is kept; in memory without.
    pub folder: Option<PathBuf>,
    /// Whether to store a standard set of flows when there are none.
    pub seed: bool,
    /// Whether the stand-in answers starts and stops.
    pub orchestrator: bool,
    /// Settings that go before the defaults, by the names of the functions' environment variables.
    pub settings: Vec<(String, String)>,
    /// A DynamoDB to use instead of the embedded one.
    pub dynamodb: Option<OtherDynamoDb>,
    /// Where the embedded AWS services are to be reached from outside, if at all; port 0 for any.
    pub aws: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            folder: None,
            seed: false,
            orchestrator: true,
            settings: Vec::new(),
            dynamodb: None,
            aws: None,
        }
    }
}

/// Why a server does not start. Each says in one line what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port.
    #[error("port {0} is in use; choose another one with --port")]
    PortInUse(u16),
    /// The port, otherwise.
    #[error("cannot listen on port {0}: {1}")]
    Listen(u16, io::Error),
    /// The address of the AWS services.
    #[error("cannot listen on {0}: {1}; choose another address with --aws-port or --aws-host")]
    ListenAws(SocketAddr, io::Error),
    /// The address of another DynamoDB.
    #[error("DYNAMODB_ENDPOINT: {0}")]
    Endpoint(#[from] axum::http::uri::InvalidUri),
    /// The folder.
    #[error("cannot write to {}: {}; choose another folder with --data", .0.display(), .1)]
    Folder(PathBuf, io::Error),
    /// The folder of the signing key.
    #[error("cannot read or write the signing key in {}: {}", .0.display(), .1)]
    Key(PathBuf, io::Error),
    /// Somebody else's folder.
    #[error("{} is in use by another server; choose another one with --data", .0.display())]
    FolderInUse(PathBuf),
    /// The template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Two routes of the template.
    #[error("template.yaml: {0}")]
    Routes(#[from] matchit::InsertError),
    /// An embedded service.
    #[error(transparent)]
    Aws(#[from] aws::AwsError),
    /// A setting.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// Runs of the last server.
    #[error("cannot resume runs: {0}")]
    Runs(String),
    /// A flow of the standard set.
    #[error("cannot store the standard flows: {0}")]
    Seed(String),
}

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where its AWS services listen, if they were to be reached from outside.
    pub aws: Option<SocketAddr>,
    /// Signs tokens it accepts.
    pub issuer: Issuer,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<()>>,
    background: Vec<JoinHandle<()>>,
    _lock: Option<File>,
}

impl Server {
    /// Starts a server; it runs until [`Self::stop`].
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let template = Template::read(&checkout().join("template.yaml"))?;
        let listener =
            TcpListener::bind(("127.0.0.1", options.port)).await.map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => StartError::PortInUse(options.port),
                _ => StartError::Listen(options.port, error),
            })?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(options.port, error))?;
        let lock = options.folder.as_deref().map(lock).transpose()?;
        let key_folder = default_folder();
        let issuer = Issuer::open(&key_folder).map_err(|error| StartError::Key(key_folder, error))?;

        let (bus, arrivals) = Bus::new();
        let bus: &'static Bus = Box::leak(Box::new(bus));
        let (dynamodb, table) = match &options.dynamodb {
            Some(other) => (other.config(), other.table.clone()),
            None => {
                (aws::config(aws::start_dynamodb(options.folder.as_deref()).await?), aws::TABLE.to_owned())
            }
        };
        aws::create_table(&dynamodb, &table).await?;
        let messaging = aws::config(aws::start_messaging(bus).await?);
        let secrets_manager = aws::config(start_secrets_manager(options.folder.as_deref()).await?);

        let settings = settings(&options, &issuer, &table);
        let app = App::new(&settings, &dynamodb)?;
        let vault = Vault::new(&secrets_manager, settings.vault()?);
        let store = Store::open(&settings, &dynamodb)?;
        let secrets = Secrets::new(store.clone(), vault.clone());
        let secrets_app = SecretsApp {
            verifier: Verifier::new(settings.auth()?)?,
            secrets: secrets.clone(),
            everybody_stores: settings.everybody_stores_secrets()?,
            components_renew: settings.components_renew_secrets()?,
        };
        let publisher = Publisher::new(&messaging, aws::BUS.into());
        let functions: &'static Functions = Box::leak(Box::new(Functions {
            app,
            secrets_app,
            health: check_health::App { store: store.clone(), publisher: publisher.clone(), vault },
            publisher: publish_changes::App {
                publisher,
                queues: aws_sdk_sqs::Client::new(&messaging),
                unreadable_queue_url: format!(
                    "{}/{}",
                    messaging.endpoint_url().unwrap_or_default(),
                    aws::UNREADABLE_QUEUE
                ),
            },
            reconciler: reconcile_flows::App { store: store.clone(), limit: settings.confirmation_limit()? },
            status: on_flow_status::App::new(&settings, store.clone()),
            identity: on_identity_deleted::App::new(&settings, store.clone(), secrets.clone()),
            store: store.clone(),
            secrets,
            timeouts: template.timeouts,
            done: tokio::sync::Notify::new(),
        }));
        let aws = match options.aws {
            Some(address) => {
                let endpoint = Endpoint::new(&dynamodb, &messaging, &secrets_manager, functions)?;
                let listening = endpoint.listen(address).await;
                Some(listening.map_err(|error| StartError::ListenAws(address, error))?)
            }
            None => None,
        };
        if options.seed {
            seed::store_flows(&store).await?;
        }

        let mut background = Vec::new();
        let checkpoint = options.folder.as_ref().map(|folder| folder.join("stream-position"));
        for stream in template.streams {
            let follower = Follower::new(&dynamodb, &table, checkpoint.clone());
            background.push(tokio::spawn(async move {
                follower.run(&stream, functions).await;
            }));
        }
        for schedule in template.schedules {
            background.push(tokio::spawn(async move { schedule.run(functions).await }));
        }
        if options.orchestrator {
            resume_runs(&store, bus).await?;
        }
        let (rules, orchestrator) = (template.rules, options.orchestrator);
        background.push(tokio::spawn(async move {
            bus::deliver(bus, arrivals, &rules, functions, orchestrator).await;
        }));

        let gateway = Arc::new(Gateway::new(&template.routes, template.cors, functions, bus, address)?);
        let router =
            Router::new().fallback(move |request: Request| async move { gateway.answer(request).await });
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let stopped = async move {
                // A server that was dropped stops as well.
                let _ = stopped.await;
            };
            axum::serve(listener, router).with_graceful_shutdown(stopped).await
        });
        Ok(Self { address, aws, issuer, stop, serving, background, _lock: lock })
    }

    /// Ends the server after the requests under way.
    ///
    /// # Errors
    /// When it had failed before.
    pub async fn stop(self) -> io::Result<()> {
        // The other end is gone only when the server has failed, which is told below.
        let _ = self.stop.send(());
        for task in self.background {
            task.abort();
        }
        let grace = std::time::Duration::from_secs(2);
        match tokio::time::timeout(grace, self.serving).await {
            Ok(served) => served.map_err(io::Error::other)?,
            // Connections that are kept open for nothing are cut.
            Err(_) => Ok(()),
        }
    }
}

/// Starts Secrets Manager with what the folder keeps.
async fn start_secrets_manager(folder: Option<&Path>) -> Result<SocketAddr, StartError> {
    let failed = |error| StartError::Folder(folder.unwrap_or(Path::new("memory")).to_owned(), error);
    let secrets: &'static SecretsManager = Box::leak(Box::new(SecretsManager::open(folder).map_err(failed)?));
    Ok(secrets.listen().await.map_err(aws::AwsError::from)?)
}

/// Answers for the runs that were under way when the last server of this folder ended: its bus has
/// forgotten them.
async fn resume_runs(store: &Store, bus: &Bus) -> Result<(), StartError> {
    for status in [Status::Starting, Status::Stopping] {
        let mut query = ListQuery {
            scope: Scope::All,
            filter: ListFilter { status: Some(status), ..ListFilter::default() },
            order: ListOrder::default(),
            size: 1000,
            paging: Paging::After(None),
        };
        loop {
            let page = store
                .list::<ShownDocument>(&query)
                .await
                .map_err(|error| StartError::Runs(error.to_string()))?;
            for flow in page.flows {
                bus.confirm(status, flow.id, flow.run_id);
            }
            let Some(next) = page.next else { break };
            query.paging = Paging::After(Some(next));
        }
    }
    Ok(())
}

/// Makes the folder and takes it for this process alone: two servers would announce every change twice.
fn lock(folder: &Path) -> Result<File, StartError> {
    let failed = |error| StartError::Folder(folder.to_owned(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::create(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::FolderInUse(folder.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The functions' settings: those of this process where it has any, and the local services else.
fn settings(options: &Options, issuer: &Issuer, table: &str) -> Config {
    let (given, jwks, table) = (options.settings.clone(), issuer.jwks(), table.to_owned());
    let other_keys = given.iter().any(|(name, _)| name == "AUTH_JWKS_URL" || name == "AUTH_HS256_SECRET");
    Config::new(move |name: &str| {
        let given = given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        given.or_else(|| match name {
            "TABLE_NAME" => Some(table.clone()),
            "AUTH_ISSUER" => Some(issuer::ISSUER.into()),
            "SECRETS_PREFIX" => Some(aws::SECRETS_PREFIX.into()),
            "AUTH_AUDIENCE" => Some(issuer::AUDIENCE.into()),
            // Keys of its own are the only keys.
            "AUTH_JWKS" if !other_keys => Some(jwks.clone()),
            _ => None,
        })
    })
}
