//! Model engines: one of our own on this machine, or one that runs elsewhere.

use std::{io, path::PathBuf, time::Duration};

use super::{Layout, Model, ProcessSpec, Ready, files, process::StopSignal, services::environment};

/// Serves a model with llama.cpp; kept in one place with the other scripts.
const SCRIPT: &str = include_str!("../../../scripts/engine.py");
/// Serves the embedding model.
const EMBEDDING_SCRIPT: &str = include_str!("../../../scripts/embedding_engine.py");
/// Its name in the catalogue and in the price list.
const EMBEDDING: &str = "multilingual-e5-small";
/// What it reads of a text at once; longer texts are read in parts.
const EMBEDDING_TOKENS: u32 = 512;
/// Calls that it works on at the same time.
const PARALLEL: u32 = 2;
/// What llama.cpp's server knows of a chat model.
const LOCAL_SHAPES: [&str; 3] = ["chat", "completions", "responses"];
/// The context of each, in tokens: as in the script.
const CONTEXT_TOKENS: u32 = 4096;

/// Where answers come from.
#[derive(Clone, Debug)]
pub enum Engine {
    /// A model file that is served here.
    Local {
        /// A Python that has `xllamacpp`.
        python: PathBuf,
        /// The model (GGUF).
        file: PathBuf,
        /// Its name in the catalogue.
        name: String,
    },
    /// An OpenAI-compatible server that somebody runs: vLLM, SGLang, llama.cpp.
    Remote {
        /// Its address, without `/v1`.
        url: String,
    },
}

/// Where embeddings come from.
#[derive(Clone, Debug)]
pub enum Embedding {
    /// The local model.
    Local {
        /// A Python.
        python: PathBuf,
        /// The compiled model.
        library: PathBuf,
        /// Its weights.
        file: PathBuf,
    },
    /// A server that somebody runs, of the same model.
    Remote {
        /// Its address, without `/v1`.
        url: String,
    },
}

/// What the engine at an address cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot be asked.
    #[error("cannot ask {url} for its models")]
    Ask {
        /// The address.
        url: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// It lists none.
    #[error("{0} lists no model")]
    NoModel(String),
}

/// The process that serves a model file.
pub fn spec(
    layout: &Layout,
    port: u16,
    python: &std::path::Path,
    file: &std::path::Path,
    name: &str,
) -> io::Result<ProcessSpec> {
    let script = layout.folder("engine.py");
    files::write_private(&script, SCRIPT.as_bytes())?;
    let text = |path: &std::path::Path| path.display().to_string();
    Ok(ProcessSpec {
        name: "model".to_owned(),
        argv: vec![
            text(python),
            text(&script),
            text(file),
            name.to_owned(),
            port.to_string(),
            PARALLEL.to_string(),
        ],
        env: environment(layout.dir()),
        cwd: layout.dir().to_owned(),
        log: layout.log("model"),
        pid_file: layout.pid_file("model"),
        ready: Ready::Http {
            url: format!("http://127.0.0.1:{port}/health"),
        },
        inputs: vec![script],
        stop_signal: StopSignal::Term,
        stop_timeout_ms: 5_000,
        retry_start: false,
    })
}

/// The process that serves the embedding model.
pub fn embedding_spec(
    layout: &Layout,
    port: u16,
    python: &std::path::Path,
    library: &std::path::Path,
    file: &std::path::Path,
) -> io::Result<ProcessSpec> {
    let script = layout.folder("embedding_engine.py");
    files::write_private(&script, EMBEDDING_SCRIPT.as_bytes())?;
    let text = |path: &std::path::Path| path.display().to_string();
    Ok(ProcessSpec {
        name: "embedding".to_owned(),
        argv: vec![
            text(python),
            text(&script),
            text(library),
            text(file),
            EMBEDDING.to_owned(),
            port.to_string(),
        ],
        env: environment(layout.dir()),
        cwd: layout.dir().to_owned(),
        log: layout.log("embedding"),
        pid_file: layout.pid_file("embedding"),
        ready: Ready::Http {
            url: format!("http://127.0.0.1:{port}/health"),
        },
        inputs: vec![script],
        stop_signal: StopSignal::Term,
        stop_timeout_ms: 5_000,
        retry_start: false,
    })
}

/// The embedding model as the catalogue has it.
#[must_use]
pub fn embedding(engine: &str) -> Model {
    Model {
        name: EMBEDDING.to_owned(),
        engine_name: EMBEDDING.to_owned(),
        engine: engine
            .trim_end_matches('/')
            .trim_end_matches("/v1")
            .to_owned(),
        capability: "embedding".to_owned(),
        shapes: shapes(&["embeddings"]),
        context_tokens: EMBEDDING_TOKENS,
        scripted: false,
        tokenizer: None,
    }
}

fn shapes(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A local model as the catalogue has it, with the tokenizer that lies beside its file
/// (`x.gguf`, `x.tokenizer.json`) if one does.
#[must_use]
pub fn local(name: &str, file: &std::path::Path, port: u16) -> Model {
    let tokenizer = file.with_extension("tokenizer.json");
    Model {
        name: name.to_owned(),
        engine_name: name.to_owned(),
        engine: format!("http://127.0.0.1:{port}"),
        capability: "chat".to_owned(),
        shapes: shapes(&LOCAL_SHAPES),
        context_tokens: CONTEXT_TOKENS,
        scripted: false,
        tokenizer: tokenizer.is_file().then_some(tokenizer),
    }
}

/// The scripted engine's model.
#[must_use]
pub fn scripted(port: u16) -> Model {
    Model {
        name: "scripted".to_owned(),
        engine_name: "scripted".to_owned(),
        engine: format!("http://127.0.0.1:{port}"),
        capability: "chat".to_owned(),
        shapes: shapes(&["chat", "completions", "responses", "embeddings"]),
        context_tokens: 1_000_000,
        scripted: true,
        tokenizer: None,
    }
}

/// Asks an engine elsewhere what it serves.
pub async fn remote(url: &str) -> Result<Model, EngineError> {
    let base = url.trim_end_matches('/').trim_end_matches("/v1").to_owned();
    let ask = async {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .build()?;
        let answer = client.get(format!("{base}/v1/models")).send().await?;
        answer.error_for_status()?.json::<serde_json::Value>().await
    };
    let models = ask.await.map_err(|source| EngineError::Ask {
        url: base.clone(),
        source,
    })?;
    let first = &models["data"][0];
    let name = first["id"]
        .as_str()
        .ok_or_else(|| EngineError::NoModel(base.clone()))?;
    let context = first["max_model_len"]
        .as_u64()
        .or(first["meta"]["n_ctx"].as_u64());
    Ok(Model {
        // The price list knows it by this name, whatever it is.
        name: "custom".to_owned(),
        engine_name: name.to_owned(),
        engine: base,
        capability: "chat".to_owned(),
        // What every such server knows; others are a matter of its own configuration.
        shapes: shapes(&["chat", "completions"]),
        context_tokens: context
            .and_then(|tokens| tokens.try_into().ok())
            .unwrap_or(CONTEXT_TOKENS),
        scripted: false,
        tokenizer: None,
    })
}
