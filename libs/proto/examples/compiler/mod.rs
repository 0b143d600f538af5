//! Compiles the contracts in `proto/wanwu`.

use std::{error::Error, fs, path::Path};

/// A compiler that has read every contract; with the comments of their sources, or without.
pub fn compiled(comments: bool) -> Result<protox::Compiler, Box<dyn Error>> {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut files = Vec::new();
    collect(&protos.join("wanwu"), &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&protos, &protos.join("third_party")])?;
    compiler
        .include_source_info(comments)
        .include_imports(true)
        .open_files(&files)?;
    Ok(compiler)
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
