use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// Lines that say what is going on and how long it took.
#[derive(Debug)]
pub struct Progress {
    begin: Instant,
    terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Begins to count now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begin: Instant::now(),
            terminal: std::io::stdout().is_terminal(),
        }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Says one thing.
    pub fn say(&self, text: &str) {
        println!("[{:>6.1}s] {text}", self.begin.elapsed().as_secs_f64());
    }

    /// Says what is done while it is done, and how long it took. On a terminal the waiting is
    /// visible.
    ///
    /// # Errors
    /// Those of the work.
    pub async fn step<T, E>(
        &self,
        text: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begin = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut tick =
            tokio::time::interval(Duration::from_secs(if self.terminal { 1 } else { 10 }));
        tick.tick().await;
        loop {
            tokio::select! {
                done = &mut work => {
                    self.clear();
                    let result = if done.is_ok() { "" } else { " FAILED" };
                    self.say(&format!("{text}{result} ({:.1}s)", begin.elapsed().as_secs_f64()));
                    return done;
                }
                _ = tick.tick() => self.wait(text, begin.elapsed()),
            }
        }
    }

    fn wait(&self, text: &str, waited: Duration) {
        if self.terminal {
            print!("\r\x1b[2K           {text} ... {}s", waited.as_secs());
            std::io::stdout().flush().ok();
        } else {
            self.say(&format!("{text} ... {}s", waited.as_secs()));
        }
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[2K");
        }
    }
}
