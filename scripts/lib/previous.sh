# The version before: what runs in the field until this one is deployed. Sourced by the others.
#
# integration-tests/previous-commit names it and moves when a version is deployed;
# WANWU_PREVIOUS=COMMIT measures against another. Its programs come to .local/previous/bin.

previous_commit() {
  git -C "$root" rev-parse --verify --quiet \
    "${WANWU_PREVIOUS:-$(cat "$root/integration-tests/previous-commit")}^{commit}"
}

# A clone without the history cannot build it; nothing else needs it.
has_previous() { previous_commit >/dev/null 2>&1; }

build_previous() {
  local commit folder
  if ! commit=$(previous_commit); then
    say "the version before is not in this clone: skew will not be measured"
    return 0
  fi
  folder=$place/previous
  if [ "$(cat "$folder/bin/COMMIT" 2>/dev/null)" = "$commit" ]; then return 0; fi
  say "building the version before, ${commit:0:12}"
  rm -rf "$folder"
  mkdir -p "$folder/source" "$folder/bin"
  git -C "$root" archive "$commit" | tar -x -C "$folder/source" || return
  # The same folder as for this version: what both need is built once. What differs must not be taken for
  # the other: cargo tells two trees of one workspace apart by the times of their files only.
  forget_ours
  # With examples, which need what tests need: without them cargo gives what both versions share other features
  # than for the tests of this one, and builds it twice. Our own packages as they come: nothing is measured here.
  local unoptimized=() name
  for name in $(names_of_ours "$folder/source"); do
    unoptimized+=(--config "profile.stack.package.$name.opt-level=0")
  done
  # From here: below this tree cargo would join the flags of both, and build what both need once more.
  (cd "$root" && cargo build --locked --manifest-path "$folder/source/Cargo.toml" --profile stack --workspace \
    --bins --examples --target-dir "$target" "${unoptimized[@]}") || return
  local service
  for service in privacy identity verification device-registry billing inference-routing edge; do
    install -m 755 "$target/stack/$service" "$folder/bin/$service" || return
  done
  forget_ours
  printf '%s\n' "$commit" >"$folder/bin/COMMIT"
}

# names_of_ours FOLDER: our own packages in a tree of the workspace.
names_of_ours() {
  local manifest
  for manifest in "$1"/{libs,services}/*/Cargo.toml "$1/integration-tests/Cargo.toml"; do
    sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1
  done
}

# Lets cargo build our own packages anew.
forget_ours() {
  local name
  for name in $(names_of_ours "$root"); do rm -rf "$target/stack/.fingerprint/$name"-*; done
}
