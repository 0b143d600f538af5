//! An answer on its way from the engine to the client: screened, labelled, counted.
//!
//! Pure: events go in, frames come out, each with what the answer has used up to and including
//! it.

mod own_words;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use super::{
    chunk::{Chunk, Edits, NotAChunk, labelled},
    screen::{Screen, Window},
    shape::Shape,
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
    windows: HashMap<Place, Progress>,
    waiting: VecDeque<Waiting>,
    spent: Spent,
    /// What the engine said last.
    by_engine: Option<Tokens>,
    /// The text, where it may have to be counted.
    told: Option<Told>,
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
            windows: HashMap::new(),
            waiting: VecDeque::new(),
            spent: Spent::default(),
            by_engine: None,
            told: None,
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
        self.finished += chunk.finished();
        self.over |= chunk.is_last();
        let ends = self.read(&chunk)?;
        let last_usage = chunk.is_usage_only() || chunk.finished() > 0;
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
mod tests {
    use super::*;

    const LABEL: &str = r#"{"Label":"1"}"#;

    fn screen() -> Screen {
        Screen::parse("demo.a1\tforbidden\n").unwrap()
    }

    fn wishes() -> Wishes {
        let label = LABEL.to_owned();
        Wishes {
            shape: Shape::Chat,
            answers: 1,
            usage: false,
            continuous_usage: false,
            model: None,
            label,
        }
    }

    fn text(content: &str) -> Bytes {
        let content = serde_json::Value::from(content);
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":{content}}},"finish_reason":null}}]}}"#).into()
    }

    fn end() -> Bytes {
        Bytes::from_static(
            br#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        )
    }

    fn usage(input: u64, output: u64) -> Bytes {
        format!(r#"{{"id":"c","choices":[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output}}}}}"#).into()
    }

    fn has_label(json: &[u8]) -> bool {
        json.windows(8).any(|part| part == b"\"aigc\":{")
    }

    fn labels(frames: &[Frame]) -> Vec<bool> {
        frames.iter().map(|f| has_label(&f.data)).collect()
    }

    #[test]
    fn the_first_and_the_last_frame_are_labelled_and_unasked_usage_is_gone() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        let mut frames = Vec::new();
        for event in [text("a"), text("b"), end(), usage(7, 2)] {
            frames.extend(answer.push(&event).unwrap());
        }
        assert_eq!(frames.len(), 2);
        frames.extend(answer.finish());
        assert_eq!(labels(&frames), [true, false, true]);
        assert_eq!(frames[1].data, text("b"));
        assert!(
            frames
                .iter()
                .all(|f| !String::from_utf8_lossy(&f.data).contains("usage"))
        );
        assert_eq!(frames[1].spent.tokens.output, 2);
        assert_eq!(answer.by_engine(), Some(Tokens::of(7, 2)));
    }

    #[test]
    fn usage_that_was_asked_for_is_the_last_frame() {
        let screen = screen();
        let mut answer = Answer::new(
            &screen,
            Wishes {
                usage: true,
                ..wishes()
            },
        );
        let mut frames = Vec::new();
        for event in [text("a"), end(), usage(7, 1)] {
            frames.extend(answer.push(&event).unwrap());
        }
        frames.extend(answer.finish());
        assert_eq!(labels(&frames), [true, false, true]);
        assert!(String::from_utf8_lossy(&frames[2].data).contains("\"prompt_tokens\":7"));
    }

    #[test]
    fn a_single_frame_is_labelled_once_and_an_empty_stream_too() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        assert!(answer.push(&end()).unwrap().is_empty());
        let frames = answer.finish();
        assert_eq!(
            String::from_utf8_lossy(&frames[0].data)
                .matches("aigc")
                .count(),
            1
        );
        let frames = Answer::new(&screen, wishes()).finish();
        let json: serde_json::Value = serde_json::from_slice(&frames[0].data).unwrap();
        assert_eq!(json["aigc"]["Label"], "1");
    }

    #[test]
    fn text_is_held_back_only_while_it_could_begin_a_term() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        let steps = [("fine ", 1), ("for", 0), ("bid", 0), ("s it", 3), (" f", 0)];
        for (content, released) in steps {
            assert_eq!(
                answer.push(&text(content)).unwrap().len(),
                released,
                "{content}"
            );
        }
        assert_eq!(answer.push(&end()).unwrap().len(), 1);
        assert_eq!(answer.finish().len(), 1);
    }

    #[test]
    fn a_term_across_chunks_stops_the_stream_and_nothing_of_it_is_sent() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        let sent = answer.push(&text("ok")).unwrap();
        assert!(answer.push(&text(" FOR")).unwrap().is_empty());
        let Err(Stop::Violation(class)) = answer.push(&text("BIDDEN")) else {
            panic!()
        };
        assert_eq!(class, "demo.a1");
        let last = answer.stopped(sent[0].spent);
        let json: serde_json::Value = serde_json::from_slice(&last.data).unwrap();
        assert_eq!(json["choices"][0]["finish_reason"], "content_filter");
        assert_eq!(
            (json["id"].as_str(), has_label(&last.data)),
            (Some("c"), true)
        );
        assert_eq!(last.spent.tokens.output, 1);
    }

    #[test]
    fn running_usage_is_believed_before_chunks_are_counted() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        let running = Bytes::from_static(
            br#"{"choices":[{"delta":{"content":"ab"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        );
        let frames = answer.push(&running).unwrap();
        let spent = frames[0].spent;
        assert_eq!(
            (spent.tokens, spent.source),
            (Tokens::of(5, 2), Source::Engine)
        );
        let frames = answer.push(&text("c")).unwrap();
        let spent = frames[0].spent;
        assert_eq!(
            (spent.tokens, spent.source),
            (Tokens::of(5, 3), Source::Estimate)
        );
    }

    #[test]
    fn a_text_that_is_kept_says_how_much_of_it_each_frame_is() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes()).keeping_text();
        let mut frames = Vec::new();
        for content in ["你", "好", " for"] {
            frames.extend(answer.push(&text(content)).unwrap());
        }
        let sent: Vec<_> = frames.iter().map(|frame| frame.spent.text).collect();
        assert_eq!(sent, [3, 6], "what may begin a term waits");
        let told = answer.told().unwrap();
        assert_eq!(told.texts(6).unwrap(), ["你好"]);
        assert_eq!(answer.spent().text, told.len());
    }

    #[test]
    fn an_error_in_the_stream_ends_it() {
        let screen = screen();
        let mut answer = Answer::new(&screen, wishes());
        let error = Bytes::from_static(br#"{"error":{"message":"out of memory"}}"#);
        assert!(matches!(answer.push(&error), Err(Stop::EngineError)));
        assert!(matches!(
            answer.push(&Bytes::from_static(b"oops")),
            Err(Stop::Nonsense(_))
        ));
    }

    fn event(kind: &str, members: &str) -> Bytes {
        format!(r#"{{"type":"{kind}",{members}}}"#).into()
    }

    /// The events of an answer of the responses API that says these texts.
    fn response(texts: &[&str]) -> Vec<Bytes> {
        let mut events = vec![event(
            "response.created",
            r#""sequence_number":0,"response":{"id":"r","model":"/m","status":"in_progress","output":[]}"#,
        )];
        for text in texts {
            let text = serde_json::Value::from(*text);
            let delta =
                format!(r#""output_index":0,"content_index":0,"sequence_number":1,"delta":{text}"#);
            events.push(event("response.output_text.delta", &delta));
        }
        let whole = serde_json::Value::from(texts.concat());
        let done = format!(r#""output_index":0,"content_index":0,"text":{whole}"#);
        events.push(event("response.output_text.done", &done));
        let end = format!(
            r#""response":{{"id":"r","model":"/m","output":[{{"content":[{{"text":{whole}}}]}}],"usage":{{"input_tokens":7,"output_tokens":2}}}}"#
        );
        events.push(event("response.completed", &end));
        events
    }

    fn of_responses() -> Wishes {
        Wishes {
            shape: Shape::Responses,
            usage: true,
            continuous_usage: true,
            model: Some("\"m\"".to_owned()),
            ..wishes()
        }
    }

    #[test]
    fn typed_events_pass_with_their_names_and_the_first_and_the_last_are_labelled() {
        let screen = screen();
        let mut answer = Answer::new(&screen, of_responses());
        let events = response(&["a", " for", "b"]);
        let mut frames = Vec::new();
        for event in &events {
            frames.extend(answer.push(event).unwrap());
        }
        assert!(answer.is_finished() && answer.is_over());
        assert_eq!(
            frames.len(),
            events.len() - 1,
            "the last one waits for its row"
        );
        frames.extend(answer.finish());
        let names: Vec<_> = frames.iter().map(|f| f.event.as_deref().unwrap()).collect();
        assert_eq!(names[0], "response.created");
        assert_eq!(names[5], "response.completed");
        assert_eq!(labels(&frames), [true, false, false, false, false, true]);
        assert_eq!(frames[1].data, events[1]);
        assert!(String::from_utf8_lossy(&frames[0].data).contains(r#""model":"m""#));
        assert_eq!(frames[5].spent.tokens, Tokens::of(7, 2));
        assert_eq!(frames[5].spent.source, Source::Engine);
    }

    #[test]
    fn a_term_in_typed_events_stops_them_also_where_only_a_repetition_has_it() {
        let screen = screen();
        let mut answer = Answer::new(&screen, of_responses());
        let events = response(&["a ", "forbid", "den"]);
        assert_eq!(answer.push(&events[0]).unwrap().len(), 1);
        let sent = answer.push(&events[1]).unwrap();
        assert!(answer.push(&events[2]).unwrap().is_empty());
        assert!(matches!(answer.push(&events[3]), Err(Stop::Violation(_))));
        let last = answer.stopped(sent[0].spent);
        assert_eq!(last.event.as_deref(), Some("response.incomplete"));
        let json: serde_json::Value = serde_json::from_slice(&last.data).unwrap();
        let reason = &json["response"]["incomplete_details"]["reason"];
        assert_eq!(
            (reason.as_str(), json["sequence_number"].as_u64()),
            (Some("content_filter"), Some(2))
        );
        assert_eq!(json["response"]["model"], "m");
        assert_eq!(json["aigc"]["Label"], "1");

        let mut answer = Answer::new(&screen, of_responses());
        let last = response(&["forbidden"]).pop().unwrap();
        assert!(matches!(answer.push(&last), Err(Stop::Violation(_))));
    }

    #[test]
    fn a_completion_is_screened_and_ended_in_its_own_shape() {
        let screen = screen();
        let wishes = Wishes {
            shape: Shape::Completions,
            ..wishes()
        };
        let mut answer = Answer::new(&screen, wishes);
        let chunk = |text: &str| {
            Bytes::from(format!(
                r#"{{"id":"c","choices":[{{"index":0,"text":"{text}","finish_reason":null}}]}}"#
            ))
        };
        assert_eq!(answer.push(&chunk("ok")).unwrap()[0].spent.tokens.output, 1);
        assert!(answer.push(&chunk(" for")).unwrap().is_empty());
        assert!(matches!(
            answer.push(&chunk("bidden")),
            Err(Stop::Violation(_))
        ));
        let last = answer.stopped(Spent::default());
        let json: serde_json::Value = serde_json::from_slice(&last.data).unwrap();
        assert_eq!(json["object"], "text_completion");
        assert_eq!(json["choices"][0]["text"], "");
        assert_eq!(json["choices"][0]["finish_reason"], "content_filter");
    }
}
