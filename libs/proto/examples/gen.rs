//! Makes `src/gen/` from `proto/`: `cargo run -p wanwu-proto --example gen`. The result is
//! committed, so that nobody needs a compiler of protocol buffers to build a service.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let protos = root.join("proto");
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");

    let mut files = Vec::new();
    collect(&protos.join("wanwu"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&protos, &protos.join("third_party")])?;
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();

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
    // The bytes come from protox, not from prost: options (access rules, consumers) survive.
    fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
