use std::path::{Path, PathBuf};

/// Where everything of a stack lies: one folder, and the binaries that it runs.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
    binaries: PathBuf,
}

impl Layout {
    /// A stack in `dir` that runs the binaries of another folder. Both paths are absolute.
    #[must_use]
    pub fn new(dir: PathBuf, binaries: PathBuf) -> Self {
        Self { dir, binaries }
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A binary of ours.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// The description of the running stack.
    #[must_use]
    pub fn description(&self) -> PathBuf {
        self.dir.join("stack.json")
    }

    /// The configuration of a service.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        self.dir.join("config").join(format!("{name}.toml"))
    }

    /// What a process printed.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Which process runs under a name.
    #[must_use]
    pub fn pid_file(&self, name: &str) -> PathBuf {
        self.dir.join("run").join(format!("{name}.pid"))
    }

    /// A folder of the stack.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The certificate of the development authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }

    /// Certificate and key of a service.
    #[must_use]
    pub fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.dir.join("tls").join(name);
        (folder.join("cert.pem"), folder.join("key.pem"))
    }

    /// The keys of a service's `KeyProvider`.
    #[must_use]
    pub fn keys(&self, name: &str) -> PathBuf {
        self.dir.join("keys").join(format!("{name}.json"))
    }
}
