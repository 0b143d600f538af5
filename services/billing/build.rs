//! Builds again when a migration changes, and links the program with packed relocations.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    // An address to relocate costs a bit instead of 24 bytes that are read at the start: some MiB at rest.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
