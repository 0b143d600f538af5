//! The content screen: terms of a lexicon, found in one pass, also across the chunks of a
//! stream.
//!
//! A stream is not delayed by the screen unless its end could be the beginning of a term. Then
//! what could belong to the term waits: at most the longest term less one character.

use aho_corasick::{
    Anchored, MatchKind,
    automaton::{Automaton, StateID},
    nfa::contiguous::NFA,
};

use super::table::Table;

/// The most terms of a lexicon.
const MAX_TERMS: usize = 100_000;
/// The longest term, in characters: the bound of the hold-back.
const MAX_TERM_CHARS: usize = 64;

/// A lexicon, ready to search.
#[derive(Debug)]
pub struct Screen {
    automaton: NFA,
    start: StateID,
    /// How many bytes of some term each state has seen.
    depths: Table<StateID, usize>,
    classes: Vec<String>,
    longest: usize,
}

/// The place of one text in the screen.
#[derive(Clone, Copy, Debug)]
pub struct Window(StateID);

/// Why a lexicon is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LexiconError {
    /// A line is not `class <tab> term`.
    #[error(
        "line {0} is not a class code, a tab and a term of at most {MAX_TERM_CHARS} characters"
    )]
    Line(usize),
    /// Too many terms for one automaton.
    #[error("the lexicon has too many terms")]
    TooManyTerms,
}

impl Screen {
    /// Reads a lexicon: lines of a class code, a tab and a term; `#` begins a comment line.
    /// Terms are compared without regard to ASCII case.
    pub fn parse(text: &str) -> Result<Self, LexiconError> {
        let mut classes = Vec::new();
        let mut terms = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (class, term) = line.split_once('\t').ok_or(LexiconError::Line(at + 1))?;
            let term = term.trim();
            if class.is_empty() || term.is_empty() || term.chars().count() > MAX_TERM_CHARS {
                return Err(LexiconError::Line(at + 1));
            }
            classes.push(class.to_owned());
            terms.push(term.to_owned());
        }
        if terms.len() > MAX_TERMS {
            return Err(LexiconError::TooManyTerms);
        }
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(&terms)
            .map_err(|_| LexiconError::TooManyTerms)?;
        let start = automaton
            .start_state(Anchored::No)
            .map_err(|_| LexiconError::TooManyTerms)?;
        // After reading a beginning of a term the automaton is in that beginning's own state.
        let mut depths = Table::default();
        for term in &terms {
            let mut state = start;
            for (at, byte) in term.bytes().enumerate() {
                state = automaton.next_state(Anchored::No, state, byte);
                depths.insert(state, at + 1);
            }
        }
        let longest = terms
            .iter()
            .map(|term| term.chars().count())
            .max()
            .unwrap_or_default();
        Ok(Self {
            automaton,
            start,
            depths,
            classes,
            longest,
        })
    }

    /// The most characters that can ever be held back.
    #[must_use]
    pub const fn hold_back(&self) -> usize {
        self.longest.saturating_sub(1)
    }

    /// The beginning of a text.
    #[must_use]
    pub const fn window(&self) -> Window {
        Window(self.start)
    }

    /// Reads on. Answers how many of the last bytes read so far could begin a term, or the class
    /// code of the first term that is there.
    pub fn read<'s>(&'s self, window: &mut Window, text: &str) -> Result<usize, &'s str> {
        let mut state = window.0;
        for byte in text.bytes() {
            state = self.automaton.next_state(Anchored::No, state, byte);
            if self.automaton.is_special(state) && self.automaton.is_match(state) {
                let term = self.automaton.match_pattern(state, 0);
                return Err(&self.classes[term.as_usize()]);
            }
        }
        window.0 = state;
        Ok(self.depths.get(&state).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen() -> Screen {
        Screen::parse("# demo\ndemo.a1\t禁止词\ndemo.b2\tBadWord\n\ndemo.c3\twordy\n").unwrap()
    }

    #[test]
    fn a_term_is_found_however_the_text_is_cut() {
        let screen = screen();
        let cases = [
            ("一切正常 abc", None),
            ("前面禁止词后面", Some("demo.a1")),
            ("xxbAdwOrdyy", Some("demo.b2")),
            ("badwor badwordy", Some("demo.b2")),
            ("a wordy text", Some("demo.c3")),
            ("禁止禁止禁词", None),
        ];
        for (text, class) in cases {
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            for cut in ends {
                let mut window = screen.window();
                let (first, second) = text.split_at(cut);
                let found = screen
                    .read(&mut window, first)
                    .and_then(|_| screen.read(&mut window, second))
                    .err();
                assert_eq!(found, class, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn only_what_could_begin_a_term_is_held_back() {
        let screen = screen();
        let cases = [
            ("普通文字", 0),
            ("普通禁", 3),
            ("普通禁止", 6),
            ("bad", 3),
            ("badly", 0),
        ];
        for (text, held) in cases {
            assert_eq!(screen.read(&mut screen.window(), text), Ok(held), "{text}");
        }
        assert_eq!(screen.hold_back(), 6);
    }

    #[test]
    fn an_empty_lexicon_finds_nothing() {
        let screen = Screen::parse("").unwrap();
        assert_eq!(screen.read(&mut screen.window(), "anything"), Ok(0));
        assert_eq!(screen.hold_back(), 0);
    }

    #[test]
    fn a_line_without_a_class_is_refused() {
        assert_eq!(
            Screen::parse("demo.a1\tok\nnope").unwrap_err(),
            LexiconError::Line(2)
        );
    }
}
