//! An answer on its way from the engine to the client: screened, labelled, counted.
//!
//! Pure: events go in, frames come out, each with what the answer has used up to and including
//! it.

mod own_words;

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    chunk::{Chunk, Edits, NotAChunk, labelled},
    finish::FinishReasons,
    screen::{Screen, Window},
    shape::Shape,
    table::Table,
    told::Told,
    usage::{Source, Tokens},
};
use own_words::Known;
pub use own_words::withheld;

/// A frame for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// JSON of a chunk.
    pub data: Bytes,
    /// The name of its event, where events have names.
    pub event: Option<Box<str>>,
    /// What is used with it.
    pub spent: Spent,
}

/// What an answer used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens; of the prompt 0 while the engine does not say.
    pub tokens: Tokens,
    /// Who said so: the engine, up to here, or nobody.
    pub source: Source,
    /// How much of the answer's text this is, for a tokenizer: see [`Answer::told`].
    pub text: usize,
}

/// What the engine said of its answers, none of it content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Why they ended.
    pub reasons: FinishReasons,
    /// Its id of them, where that is kept.
    pub id: Option<String>,
}

/// What the client gets to see.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// What it asked for.
    pub shape: Shape,
    /// How many answers it wants.
    pub answers: u64,
    /// Usage at the end.
    pub usage: bool,
    /// Usage in every chunk.
    pub continuous_usage: bool,
    /// The name of the model, as JSON text, where it is not the engine's.
    pub model: Option<String>,
    /// The label, as JSON text.
    pub label: String,
}

/// Why a stream does not go on.
#[derive(Debug)]
pub enum Stop {
    /// A term of this class is in it.
    Violation(String),
    /// The engine reports an error.
    EngineError,
    /// The engine sent something else.
    Nonsense(NotAChunk),
}

/// An answer's index and the kind of text.
type Place = (u32, u8);
/// Texts and where each ends in its own place.
type Ends = Vec<(Place, usize)>;

/// A streamed answer.
pub struct Answer<'s> {
    screen: &'s Screen,
    wishes: Wishes,
    windows: Table<Place, Progress>,
    waiting: VecDeque<Waiting>,
    spent: Spent,
    /// What the engine said last.
    by_engine: Option<Tokens>,
    /// The text, where it may have to be counted.
    told: Option<Told>,
    said: Said,
    keeps_id: bool,
    /// The last event had a piece of an answer in it.
    spoke: bool,
    finished: u64,
    /// The event that ends a stream of typed events came.
    over: bool,
    labelled_first: bool,
    known: Known,
}

/// How far one text has been read.
struct Progress {
    window: Window,
    read: usize,
    /// Bytes at its end that could begin a term.
    pending: usize,
}

/// A frame that is not sent yet.
struct Waiting {
    frame: Frame,
    /// The texts in it and where each ends in its own place.
    ends: Ends,
}

impl<'s> Answer<'s> {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(screen: &'s Screen, wishes: Wishes) -> Self {
        Self {
            screen,
            wishes,
            windows: Table::default(),
            waiting: VecDeque::new(),
            spent: Spent::default(),
            by_engine: None,
            told: None,
            said: Said::default(),
            keeps_id: false,
            spoke: false,
            finished: 0,
            over: false,
            labelled_first: false,
            known: Known::default(),
        }
    }

    /// Keeps the text, so that it can be counted if the engine does not say what it used.
    #[must_use]
    pub fn keeping_text(mut self) -> Self {
        self.told = Some(Told::default());
        self
    }

    /// Keeps the engine's id of the answer.
    #[must_use]
    pub fn keeping_id(mut self) -> Self {
        self.keeps_id = true;
        self
    }

    /// The last event had a piece of an answer in it.
    #[must_use]
    pub const fn spoke(&self) -> bool {
        self.spoke
    }

    /// What the engine said of its answers so far.
    #[must_use]
    pub fn said(&self) -> Said {
        self.said.clone()
    }

    /// The text, where it is kept.
    #[must_use]
    pub fn told(&mut self) -> Option<Told> {
        self.told.take()
    }

    /// Every answer has its finish reason.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished >= self.wishes.answers
    }

    /// The event came after which there is nothing, however long the engine leaves the stream open.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// What the engine said last about usage.
    #[must_use]
    pub const fn by_engine(&self) -> Option<Tokens> {
        self.by_engine
    }

    /// What all events so far used.
    #[must_use]
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// Takes an event; answers the frames that may go now.
    pub fn push(&mut self, event: &Bytes) -> Result<Vec<Frame>, Stop> {
        let chunk = Chunk::parse(self.wishes.shape, event).map_err(Stop::Nonsense)?;
        if chunk.is_error {
            return Err(Stop::EngineError);
        }
        if let Some(told) = &mut self.told {
            chunk.pieces().for_each(|piece| told.push(&piece));
            self.spent.text = told.len();
        }
        self.know(&chunk);
        self.count(&chunk);
        let finished = chunk.finished();
        if finished > 0 {
            for (index, reason) in chunk.endings() {
                self.said.reasons.ended(index, reason);
            }
        }
        self.finished += finished;
        self.over |= chunk.is_last();
        let ends = self.read(&chunk)?;
        self.spoke = !ends.is_empty();
        let last_usage = chunk.is_usage_only() || finished > 0;
        let keep_usage = self.wishes.continuous_usage || (self.wishes.usage && last_usage);
        if chunk.is_usage_only() && chunk.usage().is_some() && !keep_usage {
            return Ok(self.release());
        }
        let edits = Edits {
            without_usage: !keep_usage,
            model: self.wishes.model.as_deref(),
            label: None,
        };
        let frame = Frame {
            data: chunk.edited(edits),
            event: chunk.event_name().map(Box::from),
            spent: self.spent,
        };
        self.waiting.push_back(Waiting { frame, ends });
        Ok(self.release())
    }

    /// The engine is done: the frames that are left. The last one has the label.
    pub fn finish(&mut self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self.waiting.drain(..).map(|w| w.frame).collect();
        if frames.is_empty() {
            frames.push(Frame {
                data: self.known.empty_chunk(self.wishes.shape).into(),
                event: None,
                spent: self.spent,
            });
        }
        let only = frames.len() == 1 && !self.labelled_first;
        self.label(&mut frames);
        if let Some(last) = frames.last_mut().filter(|_| !only) {
            last.data = labelled(&last.data, &self.wishes.label);
        }
        frames
    }

    /// The engine broke off: the frames that are left, none of them the last.
    pub fn cut(&mut self) -> Vec<Frame> {
        let mut frames: Vec<Frame> = self.waiting.drain(..).map(|w| w.frame).collect();
        self.label(&mut frames);
        frames
    }

    /// The screen stopped it: the frame that says so.
    #[must_use]
    pub fn stopped(&self, spent: Spent) -> Frame {
        let (json, event) = self.known.stopped(&self.wishes);
        Frame {
            data: labelled(json.as_bytes(), &self.wishes.label),
            event: event.map(Box::from),
            spent,
        }
    }

    fn know(&mut self, chunk: &Chunk<'_>) {
        if self.keeps_id && self.said.id.is_none() {
            self.said.id = chunk.id();
        }
        let known = &mut self.known;
        if self.wishes.shape.has_typed_events() {
            if known.object.is_none() {
                known.object = chunk.object().map(str::to_owned);
            }
            known.number = chunk.event_number().or(known.number);
        } else if known.head.is_none() {
            known.head = Some(chunk.head(self.wishes.model.as_deref()));
        }
    }

    fn count(&mut self, chunk: &Chunk<'_>) {
        if let Some(tokens) = chunk.usage() {
            self.by_engine = Some(tokens);
            self.spent.tokens = tokens;
            self.spent.source = Source::Engine;
        } else if chunk.units() > 0 {
            self.spent.tokens.output += chunk.units();
            self.spent.source = Source::Estimate;
        }
    }

    /// Shows the texts to the screen.
    fn read(&mut self, chunk: &Chunk<'_>) -> Result<Ends, Stop> {
        let mut ends = Vec::new();
        for piece in chunk.pieces() {
            let progress = self.windows.entry(piece.place).or_insert_with(|| Progress {
                window: self.screen.window(),
                read: 0,
                pending: 0,
            });
            progress.pending = self
                .screen
                .read(&mut progress.window, piece.text)
                .map_err(|class| Stop::Violation(class.to_owned()))?;
            progress.read += piece.text.len();
            ends.push((piece.place, progress.read));
        }
        for text in chunk.texts() {
            let whole = self.screen.read(&mut self.screen.window(), &text);
            whole.map_err(|class| Stop::Violation(class.to_owned()))?;
        }
        if chunk.ends_text() {
            // What has ended cannot become a term any more.
            for (place, progress) in &mut self.windows {
                if chunk.finishes(place.0) {
                    progress.pending = 0;
                }
            }
        }
        Ok(ends)
    }

    /// Frames from the front whose text cannot be part of a term. Once every answer is finished
    /// the newest frame stays: it may be the last.
    fn release(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(waiting) = self.waiting.front() {
            let may_be_last = self.is_finished() && self.waiting.len() == 1;
            let held_back = waiting.ends.iter().any(|(place, end)| {
                self.windows
                    .get(place)
                    .is_some_and(|p| *end > p.read - p.pending)
            });
            if may_be_last || held_back {
                break;
            }
            frames.extend(self.waiting.pop_front().map(|waiting| waiting.frame));
        }
        self.label(&mut frames);
        frames
    }

    /// Labels the first frame of all.
    fn label(&mut self, frames: &mut [Frame]) {
        if let Some(first) = frames.first_mut().filter(|_| !self.labelled_first) {
            first.data = labelled(&first.data, &self.wishes.label);
            self.labelled_first = true;
        }
    }
}

#[cfg(test)]
mod tests;
