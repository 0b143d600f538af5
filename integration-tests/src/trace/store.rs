use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use super::Span;

/// Traces that are kept in memory; older ones are on disk only.
const MAX_TRACES: usize = 20_000;
/// Spans that are kept of one trace.
const MAX_SPANS: usize = 2_000;
/// When the file has so many bytes, it becomes the predecessor of a new one.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Keeps spans: the newest traces in memory, all in files that are bounded.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: fs::File,
    written: u64,
    traces: HashMap<String, Vec<Span>>,
    order: VecDeque<String>,
}

impl Store {
    /// Opens a folder; what an earlier receiver wrote stays, and is not read again.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join("spans.ndjson");
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?;
        let written = file.metadata()?.len();
        let inner = Inner {
            path,
            file,
            written,
            traces: HashMap::new(),
            order: VecDeque::new(),
        };
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    pub(crate) fn add(&self, spans: Vec<Span>) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.write(&spans)?;
        for span in spans {
            inner.keep(span);
        }
        Ok(())
    }

    /// The spans of a trace, in the order of their beginning.
    pub(crate) fn trace(&self, trace_id: &str) -> Option<Vec<Span>> {
        let mut spans = self.inner.lock().traces.get(trace_id)?.clone();
        spans.sort_by_key(|span| span.start_unix_nanos);
        Some(spans)
    }

    /// The newest traces: id and number of spans.
    pub(crate) fn newest(&self, limit: usize) -> Vec<(String, usize)> {
        let inner = self.inner.lock();
        let newest = inner.order.iter().rev().take(limit);
        newest
            .map(|id| (id.clone(), inner.traces[id].len()))
            .collect()
    }
}

impl Inner {
    fn write(&mut self, spans: &[Span]) -> io::Result<()> {
        let mut lines = Vec::new();
        for span in spans {
            serde_json::to_writer(&mut lines, span)?;
            lines.push(b'\n');
        }
        if self.written > MAX_FILE {
            fs::rename(&self.path, self.path.with_extension("1.ndjson"))?;
            self.file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.path)?;
            self.written = 0;
        }
        self.file.write_all(&lines)?;
        self.written += lines.len() as u64;
        Ok(())
    }

    fn keep(&mut self, span: Span) {
        if !self.traces.contains_key(&span.trace_id) {
            self.order.push_back(span.trace_id.clone());
            self.traces.insert(span.trace_id.clone(), Vec::new());
            if self.order.len() > MAX_TRACES
                && let Some(oldest) = self.order.pop_front()
            {
                self.traces.remove(&oldest);
            }
        }
        if let Some(spans) = self.traces.get_mut(&span.trace_id)
            && spans.len() < MAX_SPANS
        {
            spans.push(span);
        }
    }
}
