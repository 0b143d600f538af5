use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Process, ProcessSpec, files};

/// The version of the format; a reader refuses another.
pub(crate) const FORMAT: u32 = 1;

/// `stack.json`: every address and process of a stack. It holds secrets, and only its owner
/// reads it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// The version of this format: 1.
    pub format: u32,
    /// The folder of the stack.
    pub dir: PathBuf,
    /// The folder of our binaries.
    pub binaries: PathBuf,
    /// The region that configuration and databases are marked with.
    pub region: String,
    /// The public address: `http://127.0.0.1:port`.
    pub edge: String,
    /// The certificate of the development authority (PEM).
    pub ca_file: PathBuf,
    /// The database cluster.
    pub database: Database,
    /// The broker.
    pub broker: Broker,
    /// The services by name.
    pub services: BTreeMap<String, ServiceAddresses>,
    /// Base addresses of the simulators by name: `sms`, `wechat-pay`, `alipay`, `agency` and, where it
    /// runs, `engine`.
    pub simulators: BTreeMap<String, String>,
    /// The receiver of traces.
    pub traces: Traces,
    /// The models that can be called.
    pub models: Vec<Model>,
    /// Every port by what it is for, kept for the next run.
    pub ports: BTreeMap<String, u16>,
    /// How each process is started, in the order in which they are.
    pub processes: Vec<ProcessSpec>,
}

/// The private PostgreSQL cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Database {
    /// The superuser on database `postgres`.
    pub superuser_url: String,
    /// Each service's own role on its own database.
    pub urls: BTreeMap<String, String>,
}

/// The private RabbitMQ node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Broker {
    /// AMQP address with user and password.
    pub url: String,
    /// The node's name.
    pub node: String,
    /// The administration tool; it wants `env`.
    pub ctl: PathBuf,
    /// The environment for `ctl`.
    pub env: BTreeMap<String, String>,
}

/// Where a service is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceAddresses {
    /// gRPC with mutual TLS: `https://127.0.0.1:port`. For edge: its public address.
    pub grpc: String,
    /// `/live`, `/ready` and `/metrics`: `http://127.0.0.1:port`.
    pub admin: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Its certificate and key (PEM), which prove its name.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
}

/// The receiver of traces.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Traces {
    /// OTLP/gRPC: `http://127.0.0.1:port`.
    pub otlp: String,
    /// `GET /traces/{trace_id}` answers JSON.
    pub query: String,
    /// `spans.ndjson` and its predecessor.
    pub folder: PathBuf,
}

/// A model of the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The name that calls use.
    pub name: String,
    /// What the engine calls it.
    pub engine_name: String,
    /// The engine's address.
    pub engine: String,
    /// What it is for: `chat`, `embedding`.
    #[serde(default = "chat")]
    pub capability: String,
    /// The kinds of requests that its engine knows.
    #[serde(default)]
    pub shapes: Vec<String>,
    /// Its context window in tokens.
    pub context_tokens: u32,
    /// It is the simulator's, scripted by the request, for tests.
    pub scripted: bool,
    /// Its `tokenizer.json`, where there is one.
    #[serde(default)]
    pub tokenizer: Option<PathBuf>,
}

fn chat() -> String {
    "chat".to_owned()
}

/// A running stack, as tests and tools see it.
#[derive(Clone, Debug)]
pub struct Stack {
    description: Description,
}

/// The description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// There is none.
    #[error("cannot read {}; is the stack up (scripts/up)?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is of another version, or no description.
    #[error("{} is not a stack description of format {FORMAT}", .0.display())]
    Format(PathBuf),
}

impl Stack {
    /// Reads `stack.json`.
    ///
    /// # Errors
    /// When it is not there or of another format.
    pub fn load(path: &Path) -> Result<Self, StackError> {
        let text = fs::read(path).map_err(|source| StackError::Read {
            path: path.to_owned(),
            source,
        })?;
        let description: Description =
            serde_json::from_slice(&text).map_err(|_| StackError::Format(path.to_owned()))?;
        if description.format != FORMAT {
            return Err(StackError::Format(path.to_owned()));
        }
        Ok(Self { description })
    }

    /// Reads the description that the environment variable `WANWU_STACK` names.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn from_environment() -> Result<Self, StackError> {
        let path = std::env::var_os("WANWU_STACK").unwrap_or_else(|| ".local/stack.json".into());
        Self::load(Path::new(&path))
    }

    /// Everything that `stack.json` says.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The URL of a database, as its superuser.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        let superuser = &self.description.database.superuser_url;
        let base = superuser.rsplit_once('/').map_or("", |(base, _)| base);
        format!("{base}/{database}")
    }

    /// A process by its name.
    ///
    /// # Panics
    /// When the stack has no process of that name.
    #[must_use]
    pub fn process(&self, name: &str) -> Process {
        let spec = self
            .description
            .processes
            .iter()
            .find(|spec| spec.name == name);
        Process::new(
            spec.unwrap_or_else(|| panic!("the stack has no process {name}"))
                .clone(),
        )
    }

    /// Every process, in the order in which they are started.
    pub fn processes(&self) -> impl DoubleEndedIterator<Item = Process> + '_ {
        self.description.processes.iter().cloned().map(Process::new)
    }

    /// The base address of a simulator.
    ///
    /// # Panics
    /// When the stack runs no such simulator.
    #[must_use]
    pub fn simulator(&self, name: &str) -> &str {
        let address = self.description.simulators.get(name);
        address.unwrap_or_else(|| panic!("the stack runs no simulator {name}"))
    }

    /// A service's addresses.
    ///
    /// # Panics
    /// When there is no such service.
    #[must_use]
    pub fn service(&self, name: &str) -> &ServiceAddresses {
        let service = self.description.services.get(name);
        service.unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// The scripted model's name.
    ///
    /// # Panics
    /// When the stack runs without the scripted engine.
    #[must_use]
    pub fn scripted_model(&self) -> &str {
        let model = self.description.models.iter().find(|model| model.scripted);
        &model.expect("the stack runs the scripted engine").name
    }
}

impl From<Description> for Stack {
    fn from(description: Description) -> Self {
        Self { description }
    }
}

impl Description {
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a description is plain data");
        files::write_private(path, &text)
    }
}
