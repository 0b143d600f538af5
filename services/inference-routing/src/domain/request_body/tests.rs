use super::*;

fn parse(body: &str) -> Result<RequestBody, BodyError> {
    RequestBody::parse(Shape::Chat, Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn what_is_not_a_chat_request_is_refused_with_its_place() {
    let cases = [
        ("[]", "body"),
        ("{", "body"),
        (r#"{"messages":[{}]}"#, "model"),
        (r#"{"model":7,"messages":[{}]}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
        (r#"{"model":"m","messages":[]}"#, "messages"),
        (r#"{"model":"m","messages":"x"}"#, "messages"),
        (
            r#"{"model":"m","messages":[{"content":7}]}"#,
            "messages.0.content",
        ),
        (
            r#"{"model":"m","messages":[{"content":"a","content":"b"}]}"#,
            "messages",
        ),
        (r#"{"model":"m","messages":[{}],"n":0}"#, "n"),
        (r#"{"model":"m","messages":[{}],"n":129}"#, "n"),
        (r#"{"model":"m","messages":[{}],"n":1.5}"#, "n"),
        (
            r#"{"model":"m","messages":[{}],"max_tokens":0}"#,
            "max_tokens",
        ),
        (
            r#"{"model":"m","messages":[{}],"max_tokens":-1}"#,
            "max_tokens",
        ),
        (
            r#"{"model":"m","messages":[{}],"max_tokens":1,"max_\u0074okens":9}"#,
            "body",
        ),
        (r#"{"model":"m","messages":[{}],"stream":"yes"}"#, "stream"),
        (
            r#"{"model":"m","messages":[{}],"stream_options":3}"#,
            "stream_options",
        ),
    ];
    for (body, at) in cases {
        match parse(body) {
            Err(BodyError::Invalid { field, .. }) => assert_eq!(field, at, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn a_part_without_a_bound_is_refused() {
    let cases = [
        (r#"{"type":"image_url"}"#, true),
        (r#"{"type":"input_audio"}"#, true),
        (r#"{"type":"text","text":"ok"}"#, false),
    ];
    for (part, refused) in cases {
        let body = format!(r#"{{"model":"m","messages":[{{"content":[{part}]}}]}}"#);
        let unbounded = matches!(parse(&body), Err(BodyError::UnboundedCost { .. }));
        assert_eq!(unbounded, refused, "{part}");
    }
    let template = r#"{"model":"m","messages":[{}],"chat_template":"{% for %}"}"#;
    assert!(matches!(
        parse(template),
        Err(BodyError::UnboundedCost { .. })
    ));
}

#[test]
fn an_image_is_bounded_by_its_model_and_not_by_its_bytes() {
    let with = |url: &str, more: &str| {
        let part = format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"}}}}"#);
        parse(&format!(
            r#"{{"model":"m","messages":[{{"content":[{part}]}}]{more}}}"#
        ))
    };
    let body = with("data:image/png;base64,AAAAAAAA", "").unwrap();
    assert!(matches!(
        body.image_tokens(None),
        Err(BodyError::UnboundedCost { .. })
    ));
    assert_eq!(body.image_tokens(Some(100)), Ok(100));
    let none = with("data:,", "").unwrap();
    assert_eq!(body.bytes(), none.bytes());
    assert_eq!(body.message_bytes(), none.message_bytes());
    let mut seen = Vec::new();
    body.each_text(&mut |text| {
        seen.push(text.to_owned());
        true
    })
    .unwrap();
    assert_eq!(seen, ["m", "image_url"], "an image is not read as text");

    let larger = with("data:,", r#","mm_processor_kwargs":{"max_pixels":9}"#).unwrap();
    assert!(larger.image_tokens(Some(100)).is_err());
    let remote = with("https://example.com/a.png", "");
    assert!(matches!(remote, Err(BodyError::RemoteImage { .. })));
    let without = parse(r#"{"model":"m","messages":[{}],"mm_processor_kwargs":{}}"#).unwrap();
    assert_eq!(without.image_tokens(None), Ok(0));
}

#[test]
fn other_shapes_have_their_own_prompt_and_limit() {
    let parse = |shape: Shape, body: &str| {
        RequestBody::parse(shape, Bytes::copy_from_slice(body.as_bytes()))
    };
    let sent = |body: &RequestBody| {
        String::from_utf8(body.engine_body("m", Some(7), true).to_vec()).unwrap()
    };
    let body = r#"{"model":"m","prompt":["a","b"],"n":2,"best_of":3}"#;
    let completion = parse(Shape::Completions, body).unwrap();
    let counts = (
        completion.prompts(),
        completion.answers(),
        completion.answers_made(),
    );
    assert_eq!(counts, (2, 4, 6));
    assert_eq!(
        sent(&completion),
        body.replacen('{', r#"{"max_tokens":7,"#, 1)
    );
    let echo = r#"{"model":"m","prompt":"a","max_tokens":0,"echo":true}"#;
    let echo = parse(Shape::Completions, echo).unwrap();
    assert_eq!(echo.max_tokens(), Some(0));

    let body = r#"{"model":"m","input":"a","stream":true}"#;
    let response = parse(Shape::Responses, body).unwrap();
    let inserted = r#"{"max_output_tokens":7,"store":false,"#;
    assert_eq!(sent(&response), body.replacen('{', inserted, 1));
    let body = r#"{"model":"m","input":"a","store":null,"max_output_tokens":null}"#;
    let response = parse(Shape::Responses, body).unwrap();
    let expected = r#"{"model":"m","input":"a","store":false,"max_output_tokens":7}"#;
    assert_eq!(sent(&response), expected);

    for (input, prompts, tokens) in [
        ("[[1,2],[3]]", 2, 3),
        ("[1,2]", 1, 2),
        (r#"["1","2"]"#, 2, 0),
        (r#""1""#, 1, 0),
    ] {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        let embeddings = parse(Shape::Embeddings, &body).unwrap();
        assert_eq!(
            (embeddings.prompts(), embeddings.prompt_token_ids()),
            (prompts, tokens)
        );
        assert_eq!(sent(&embeddings), body);
    }
    for (shape, body) in [
        (Shape::Completions, r#"{"model":"m"}"#),
        (Shape::Responses, r#"{"model":"m","messages":[{}]}"#),
        (Shape::Embeddings, r#"{"model":"m","prompt":"a"}"#),
    ] {
        assert!(parse(shape, body).is_err(), "{body}");
    }
}

#[test]
fn settings_are_numbers_and_a_kind_of_output_and_what_is_neither_is_none() {
    let read = |shape, fields: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{}}],"input":"a",{fields}}}"#);
        RequestBody::parse(shape, body.into()).unwrap().settings()
    };
    let numbers = r#""seed":-7,"temperature":1,"top_p":0.5,"frequency_penalty":-0.25,
        "stop":["END"],"presence_penalty":2.0"#;
    let expected = Settings {
        temperature: Some(1.0),
        top_p: Some(0.5),
        frequency_penalty: Some(-0.25),
        presence_penalty: Some(2.0),
        seed: Some(-7),
        output: None,
    };
    assert_eq!(read(Shape::Chat, numbers), expected);
    for (shape, fields, output) in [
        (
            Shape::Chat,
            r#""response_format":{"type":"json_schema","json_schema":{}}"#,
            Some("json"),
        ),
        (
            Shape::Chat,
            r#""response_format":{"type":"text"}"#,
            Some("text"),
        ),
        (
            Shape::Responses,
            r#""text":{"format":{"type":"json_object"}}"#,
            Some("json"),
        ),
        (
            Shape::Responses,
            r#""text":{"format":{"type":"odd"}}"#,
            None,
        ),
        (
            Shape::Chat,
            r#""temperature":"hot","seed":null,"response_format":[]"#,
            None,
        ),
    ] {
        let expected = Settings {
            output,
            ..Settings::default()
        };
        assert_eq!(read(shape, fields), expected, "{fields}");
    }
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let body = Bytes::from(vec![b' '; MAX_BYTES + 1]);
    assert_eq!(
        RequestBody::parse(Shape::Chat, body).unwrap_err(),
        BodyError::TooLarge
    );
}

#[test]
fn every_string_is_seen_without_its_escapes() {
    let body = parse(
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"\u4f60\n"}]}],"tools":[{"d":"e"}]}"#,
    )
    .unwrap();
    let mut seen = Vec::new();
    body.each_text(&mut |text| {
        seen.push(text.to_owned());
        true
    })
    .unwrap();
    assert_eq!(seen, ["m", "user", "text", "你\n", "e"]);
}
