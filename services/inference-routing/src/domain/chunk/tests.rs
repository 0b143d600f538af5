use super::*;

#[test]
fn a_chunk_tells_its_text_its_units_and_its_end() {
    let raw = Bytes::from_static(
        br#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}},
        {"index":1,"delta":{"content":"a\n","reasoning_content":"b"},"finish_reason":"stop"},
        {"index":2,"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":null}],
        "usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
    );
    let chunk = Chunk::parse(Shape::Chat, &raw).unwrap();
    let pieces: Vec<_> = chunk
        .pieces()
        .map(|p| (p.place, p.text.to_owned()))
        .collect();
    assert_eq!(
        pieces,
        [
            ((1, 0), "a\n".into()),
            ((1, 1), "b".into()),
            ((2, 4), "{}".into())
        ]
    );
    assert_eq!(
        (chunk.units(), chunk.finished(), chunk.is_usage_only()),
        (2, 1, false)
    );
    assert_eq!(chunk.usage(), Some(Tokens::of(3, 4)));
    assert!(!chunk.is_error);
}

#[test]
fn an_error_inside_a_stream_is_seen_and_nonsense_is_refused() {
    let raw = Bytes::from_static(br#"{"error":{"message":"x"}}"#);
    assert!(Chunk::parse(Shape::Chat, &raw).unwrap().is_error);
    assert!(Chunk::parse(Shape::Chat, &Bytes::from_static(b"[]x")).is_err());
}

#[test]
fn a_list_is_no_chunk_though_its_members_would_fit() {
    let cases = [
        (Shape::Chat, r#"[[], {"prompt_tokens": 1}, "m"]"#),
        (Shape::Responses, "[null, null]"),
        (
            Shape::Responses,
            r#"{"type": "response.completed", "response": [{"input_tokens": 1}, "m"]}"#,
        ),
        (Shape::Responses, r#"{"response": [""]}"#),
    ];
    for (shape, json) in cases {
        let raw = Bytes::copy_from_slice(json.as_bytes());
        assert!(Chunk::parse(shape, &raw).is_err(), "{json}");
    }
}

#[test]
fn an_event_tells_its_name_its_text_and_its_end() {
    let read = |json: &str| Bytes::copy_from_slice(json.as_bytes());
    let raw = read(
        r#"{"type":"response.output_text.delta","output_index":1,"content_index":2,"delta":"a\n","sequence_number":7}"#,
    );
    let chunk = Chunk::parse(Shape::Responses, &raw).unwrap();
    let pieces: Vec<_> = chunk
        .pieces()
        .map(|p| (p.place, p.text.to_owned()))
        .collect();
    assert_eq!(pieces, [((0x102, 0), "a\n".to_owned())]);
    assert_eq!(chunk.event_name(), Some("response.output_text.delta"));
    assert_eq!((chunk.units(), chunk.finished()), (1, 0));
    assert_eq!(chunk.event_number(), Some(7));

    let raw = read(r#"{"type":"response.output_text.done","output_index":1,"text":"ab"}"#);
    let chunk = Chunk::parse(Shape::Responses, &raw).unwrap();
    assert_eq!(
        (chunk.units(), chunk.finished(), chunk.ends_text()),
        (0, 0, true)
    );
    assert!(chunk.finishes(0x102) && !chunk.finishes(0x202));
    assert_eq!(chunk.texts(), ["ab"]);

    let raw = read(
        r#"{"type":"response.completed","response":{"model":"/m","instructions":"x","output":[{"type":"message","content":[{"type":"output_text","text":"ab"}]}],"usage":{"input_tokens":3,"output_tokens":4}}}"#,
    );
    let chunk = Chunk::parse(Shape::Responses, &raw).unwrap();
    assert_eq!(
        (chunk.finished(), chunk.texts()),
        (1, vec!["ab".to_owned()])
    );
    assert_eq!(chunk.usage(), Some(Tokens::of(3, 4)));
    let edits = Edits {
        model: Some("\"m\""),
        label: Some("{}"),
        without_usage: false,
    };
    let out = String::from_utf8(chunk.edited(edits).to_vec()).unwrap();
    assert!(
        out.contains(r#""response":{"model":"m","#) && out.ends_with(r#"}},"aigc":{}}"#),
        "{out}"
    );
}

#[test]
fn an_event_that_tells_of_a_failure_is_an_error() {
    let cases = [
        r#"{"type":"error","message":"x"}"#,
        r#"{"type":"response.failed","response":{"error":{"code":"x"}}}"#,
        r#"{"object":"response","status":"failed","output":[]}"#,
    ];
    for json in cases {
        let raw = Bytes::copy_from_slice(json.as_bytes());
        assert!(
            Chunk::parse(Shape::Responses, &raw).unwrap().is_error,
            "{json}"
        );
    }
    let raw = Bytes::from_static(
        br#"{"object":"response","status":"completed","error":null,"output":[{"content":[{"text":"a"}]}]}"#,
    );
    let whole = Chunk::parse(Shape::Responses, &raw).unwrap();
    assert_eq!(
        (whole.is_error, whole.texts()),
        (false, vec!["a".to_owned()])
    );
}

#[test]
fn a_chunk_tells_its_id_and_which_answers_end_with_it_and_why() {
    use crate::domain::finish::FinishReason::{ContentFilter, Length, Other, Stop};
    let long = format!(r#"{{"id":"{}","choices":[]}}"#, "c".repeat(129));
    let cases = [
        (
            Shape::Chat,
            r#"{"id":"c-1","choices":[{"index":0,"finish_reason":null},
                {"index":2,"finish_reason":"length"},{"index":1,"finish_reason":"odd"}]}"#,
            Some("c-1"),
            vec![(2, Length), (1, Other)],
        ),
        (
            Shape::Completions,
            r#"{"id":7,"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#,
            None,
            vec![(0, Stop)],
        ),
        (Shape::Chat, long.as_str(), None, vec![]),
        (
            Shape::Responses,
            r#"{"type":"response.created","response":{"id":"r-1","status":"in_progress"}}"#,
            Some("r-1"),
            vec![],
        ),
        (
            Shape::Responses,
            r#"{"type":"response.completed","response":{"id":"r-1","status":"completed"}}"#,
            Some("r-1"),
            vec![(0, Stop)],
        ),
        (
            Shape::Responses,
            r#"{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}"#,
            None,
            vec![(0, Length)],
        ),
        (
            Shape::Responses,
            r#"{"id":"r-1","status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
            Some("r-1"),
            vec![(0, ContentFilter)],
        ),
    ];
    for (shape, json, id, endings) in cases {
        let raw = Bytes::copy_from_slice(json.as_bytes());
        let chunk = Chunk::parse(shape, &raw).unwrap();
        assert_eq!(chunk.id().as_deref(), id, "{json}");
        assert_eq!(chunk.endings().collect::<Vec<_>>(), endings, "{json}");
    }
}

#[test]
fn an_error_is_one_whether_or_not_the_rest_is_read() {
    let chat = [
        (r#"{"error":{"message":"no"}}"#, Some(true)),
        (r#"{"error":null,"choices":[]}"#, Some(false)),
        (r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, Some(false)),
        (r#"{"choices":7}"#, None),
        ("[]", None),
    ];
    let responses = [
        (r#"{"status":"failed"}"#, Some(true)),
        (r#"{"status":"completed","output":[]}"#, Some(false)),
        ("nonsense", None),
    ];
    let chat = chat.map(|case| (Shape::Chat, case));
    let responses = responses.map(|case| (Shape::Responses, case));
    for (shape, (json, expected)) in chat.into_iter().chain(responses) {
        let raw = Bytes::from_static(json.as_bytes());
        assert_eq!(is_error(shape, &raw).ok(), expected, "{json}");
        let chunk = Chunk::parse(shape, &raw);
        assert_eq!(chunk.map(|chunk| chunk.is_error).ok(), expected, "{json}");
    }
}
