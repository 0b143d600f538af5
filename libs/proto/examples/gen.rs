//! Makes `src/gen/` from `proto/`: `cargo run -p wanwu-proto --example gen`. The result is
//! committed, so that nobody needs a compiler of protocol buffers to build a service.

mod compiler;

use std::{error::Error, fs, path::Path};

use compiler::compiled;

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
    fs::write(
        out.join("descriptors.bin"),
        compiled(false)?.encode_file_descriptor_set(),
    )?;
    Ok(())
}
