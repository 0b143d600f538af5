# Builds. Sourced by the others.

# build [TARGETS]: the programs, or what cargo's option says.
build() {
  say "building with cargo (a first build takes some minutes)"
  (cd "$root" && cargo build --locked --profile stack --workspace "${1:---bins}") || return
  place_binaries
  say "built"
}
