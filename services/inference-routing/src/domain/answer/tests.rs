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
    Bytes::from_static(br#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#)
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

#[test]
fn reasons_are_kept_by_answer_and_an_id_where_it_is_wanted() {
    let screen = screen();
    let length = Bytes::from_static(
        br#"{"id":"c","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}"#,
    );
    for wanted in [true, false] {
        let two = Wishes {
            answers: 2,
            ..wishes()
        };
        let mut answer = Answer::new(&screen, two);
        if wanted {
            answer = answer.keeping_id();
        }
        answer.push(&text("a")).unwrap();
        answer.push(&length).unwrap();
        let said = answer.said();
        assert_eq!(said.id, wanted.then(|| "c".to_owned()));
        let words: Vec<_> = said.reasons.words(2).collect();
        assert_eq!(words, ["error", "length"]);
    }
}
