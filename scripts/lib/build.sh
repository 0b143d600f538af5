# Builds. Sourced by the others.

# build [TARGETS]: the programs, or what cargo's option says.
build() {
  say "building with cargo (a first build takes some minutes)"
  (cd "$root" && cargo build --locked --profile stack --workspace "${1:---bins}") || return
  place_binaries
  say "built"
}

# What figures of speed measure, and what stands beside it. Sets `release`.
build_release() {
  say "building the model path for release (a first build takes a quarter of an hour)"
  (cd "$root" && cargo build --locked --release -p edge -p inference-routing -p integration-tests \
    --bin edge --bin inference-routing --bin simulator) || return
  release=$target/release
  [ "$binaries" != "$target/stack" ] || return 0
  release=$(dirname "$binaries")/release
  mkdir -p "$release"
  local program
  for program in edge inference-routing simulator; do
    install -m 755 -p "$target/release/$program" "$release/.$program"
    mv "$release/.$program" "$release/$program"
  done
}
