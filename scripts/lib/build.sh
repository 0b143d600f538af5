# Builds. Sourced by the others.

build() {
  say "building with cargo (a first build takes some minutes)"
  (cd "$root" && cargo build --locked --profile stack --workspace --bins) || return
  place_binaries
  say "built"
}
