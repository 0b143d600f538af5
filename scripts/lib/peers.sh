# Installs what some figures measure beside the model path. Sourced by scripts/figure.
#
# Each has a folder of its own under $peers: two of them bring Python modules of one name. Versions are in
# scripts/ci/peers.txt; nothing is installed for the system but nginx. A figure does not go on without
# one of them, unless WANWU_WITHOUT_PEERS names it (nginx, sglang-router, vllm-router, smg, portkey,
# litellm; several with commas between).

ensure_peers() {
  peers=$place/peers
  mkdir -p "$peers"
  command -v nginx >/dev/null || /usr/sbin/nginx -v 2>/dev/null ||
    { is_root && apt-get install -y --no-install-recommends nginx-light >/dev/null; } ||
    say "nginx cannot be installed"
  local name registry version digest
  while read -r name registry version digest; do
    case $name in '' | '#'*) continue ;; esac
    [ "$(cat "$peers/${name##*/}/version" 2>/dev/null)" = "$version" ] && continue
    say "installing $name $version"
    rm -rf "${peers:?}/${name##*/}"
    "install_from_$registry" "$name" "$version" "$digest" "$peers/${name##*/}" &&
      printf '%s\n' "$version" >"$peers/${name##*/}/version" ||
      say "$name cannot be installed"
  done <"$root/scripts/ci/peers.txt"
}

# install_from_pypi NAME VERSION SHA256 FOLDER
install_from_pypi() {
  local extra=
  [ "$1" != litellm ] || extra='[proxy]'
  # The system's, where there is one: another may lie where the user of the stack cannot read it.
  "$(command -v /usr/bin/python3 || command -v python3)" -m venv "$4" || return
  if [ "$3" != - ]; then
    printf '%s==%s --hash=sha256:%s\n' "$1" "$2" "$3" >"$4/pinned.txt"
    "$4/bin/pip" install --quiet --no-deps --require-hashes -r "$4/pinned.txt" || return
  fi
  "$4/bin/pip" install --quiet "$1$extra==$2" || return
  # It forgets to ask for them.
  [ "$1" != vllm-router ] || "$4/bin/pip" install --quiet uvicorn fastapi
}

# install_from_npm NAME VERSION - FOLDER
install_from_npm() {
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$4" "$1@$2"
}
