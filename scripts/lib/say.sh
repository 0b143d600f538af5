# What scripts say. Sourced by the others.

say() { printf '[%7s] %s\n' "${SECONDS}s" "$*"; }

# Says what is wrong and what to do about it, a line each, and ends.
die() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  printf '  %s\n' "$@" >&2
  exit 1
}

# Runs something that takes long, and shows its last words if it fails.
quietly() {
  local what=$1 log
  shift
  log=$(mktemp)
  say "$what"
  if ! "$@" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}
