//! Conversations as clients write them, with images, which engines get as they are.

/// Conversations with every field that a message and its parts have.
pub const MESSAGES: [&str; 12] = [
    r#"[{"role":"developer","content":"a", "name" : "boss"},{"role":"user","content":"hi","name":"u_1"}]"#,
    r#"[{"role":"user","content":[{"type":"text","text":"\u4f60"},{"text" : "b","type":"text","cache_control":{"type":"ephemeral"}}]}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\": 1.0}"}}]},{"role":"tool","tool_call_id":"c","content":"7"},{"role":"user","content":"b"}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"c","input":"x"}}]},{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"7"}]}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"7"}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b","refusal":null,"reasoning_content":"c","reasoning":"d","audio":null},{"role":"user","content":"e"}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]},{"role":"user","content":"b"}]"#,
    r#"[{"role":"user","content":"a"},{"role":"assistant","content":"so it be","prefix":true,"partial":true}]"#,
    r#"[{"role":"user","content":"hi","weight":1,"something_new":{"nested" : [1.50, null]}}]"#,
    r#"[{"role":"user","content":[{"type":"text","text":"what?"},{"image_url" : {"detail":"low","url":"data:image/png;base64,iVBORw0KGgo=","something_new":1.50},"type":"image_url"}]}]"#,
    r#"[{"role":"user","content":[{"type":"image_url","image_url":"data:image\/gif;base64,R0lGODlh\u003d" , "uuid":"\u4f60"}]}]"#,
    r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"DATA:image/jpeg;base64,/9j/4AAQ"}},{"type":"image_url","image_url":{ "url" : "data:,"}}]},{"role":"user","content":"b"}]"#,
];

/// The input of a response with every kind of item and part that passes.
pub const ITEMS: [&str; 7] = [
    r#""\u4f60 and\n \/""#,
    r#"[{"role":"developer","content":"a"},{"type":"message","role":"user","content":[{"type":"input_text","text":"\u4f60"}], "status" : "completed"}]"#,
    r#"[{"role":"user","content":"a"},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"x"},{"role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]},{"type":"refusal","refusal":"no"}]},{"role":"user","content":"c"}]"#,
    r#"[{"role":"user","content":"a"},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\": 1.0}"},{"type":"function_call_output","call_id":"c","output":"7"}]"#,
    r#"[{"role":"user","content":[{"type":"input_text","text":"what?"},{"image_url" : "data:image/png;base64,iVBORw0KGgo=","type":"input_image","detail":"high","something_new":1.50}]}]"#,
    r#"[{"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:image\/gif;base64,R0lGODlh\u003d"},{"type":"input_image","detail":"auto" , "image_url":"data:,"}]}]"#,
    r#"[{"role":"user","content":"a"},{"type":"custom_tool_call","call_id":"c","name":"c","input":"x"},{"type":"custom_tool_call_output","call_id":"c","output":[{"type":"input_text","text":"7"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]}]"#,
];
