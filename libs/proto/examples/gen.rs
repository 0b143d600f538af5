//! Makes `src/gen/` from `proto/`: `cargo run -p wanwu-proto --example gen`. The result is
//! committed, so that nobody needs a compiler of protocol buffers to build a service.

mod compiler;

use std::{error::Error, fmt::Write as _, fs, path::Path};

use compiler::compiled;
use prost::Message as _;
use prost_reflect::{DescriptorPool, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let descriptors = compiled(true)?.file_descriptor_set();

    fs::remove_dir_all(&out).ok();
    fs::create_dir_all(&out)?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    config.bytes([
        ".wanwu.inference.v1.CreateChatCompletionRequest",
        ".wanwu.inference.v1.CreateChatCompletionResponse",
        ".wanwu.inference.v1.CreateCompletionRequest",
        ".wanwu.inference.v1.CreateCompletionResponse",
        ".wanwu.inference.v1.CreateResponseRequest",
        ".wanwu.inference.v1.CreateResponseResponse",
        ".wanwu.inference.v1.CreateEmbeddingRequest",
        ".wanwu.inference.v1.CreateEmbeddingResponse",
    ]);
    tonic_prost_build::configure()
        .out_dir(&out)
        .compile_fds_with_config(descriptors, config)?;
    // The bytes come from protox, not from prost: options (access rules, consumers) survive. Comments
    // do not: every process has these in memory, and nobody reads comments there.
    let bare = compiled(false)?;
    fs::write(
        out.join("descriptors.bin"),
        bare.encode_file_descriptor_set(),
    )?;
    fs::write(out.join("tables.rs"), tables(&bare.descriptor_pool())?)?;
    Ok(())
}

/// What every process needs of the descriptors, so that it need not decode them.
fn tables(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let rule = extension(pool, "wanwu.access.v1.rule")?;
    let event = extension(pool, "wanwu.events.v1.event")?;
    let mut text = "pub static METHODS: &[Method] = &[\n".to_owned();
    for method in pool
        .services()
        .flat_map(|one| one.methods().collect::<Vec<_>>())
    {
        let (service, name) = (method.parent_service().full_name(), method.name());
        let streaming = method.is_server_streaming();
        let value = method.options().get_extension(&rule).into_owned();
        let encoded = value.as_message().map(|rule| rule.encode_to_vec());
        let encoded = encoded.filter(|_| method.options().has_extension(&rule));
        writeln!(
            text,
            "    Method {{ path: \"/{service}/{name}\", server_streaming: {streaming}, rule: {} }},",
            encoded.map_or("None".to_owned(), |rule| format!("Some(&{rule:?})"))
        )?;
    }
    text += "];\npub static EVENTS: &[Event] = &[\n";
    for message in pool.all_messages() {
        if !message.options().has_extension(&event) {
            continue;
        }
        let value = message.options().get_extension(&event).into_owned();
        let consumers = value.as_message().ok_or("an event is a message")?;
        let consumers = consumers
            .get_field_by_name("consumers")
            .ok_or("consumers")?;
        let consumers = consumers.as_list().ok_or("consumers are a list")?;
        let consumers: Vec<&str> = consumers.iter().filter_map(Value::as_str).collect();
        let name = message.full_name();
        writeln!(
            text,
            "    Event {{ name: {name:?}, consumers: &{consumers:?} }},"
        )?;
    }
    Ok(text + "];\n")
}

fn extension(
    pool: &DescriptorPool,
    name: &str,
) -> Result<prost_reflect::ExtensionDescriptor, String> {
    let found = pool.get_extension_by_name(name);
    found.ok_or_else(|| format!("the contracts do not define {name}"))
}
