# Where a stack lies and as whom it runs. Sourced by the others.
#
# PostgreSQL and RabbitMQ refuse root, and nothing here needs it: as root everything runs as a user of
# its own. Where that user cannot reach the repository (below /root, say), data and programs lie in
# /var/tmp and .local points there.

readonly stack_user=wanwu
target=${CARGO_TARGET_DIR:-$root/target}
binaries=$target/stack
source=$root

ensure_user() {
  is_root || return 0
  id "$stack_user" >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$stack_user"
}

as_user() {
  if is_root; then
    setpriv --reuid="$stack_user" --regid="$(id -g "$stack_user")" --clear-groups -- "$@"
  else
    "$@"
  fi
}

# Sets `place`: the folder that .local is, by a path that the user can go.
ensure_place() {
  umask 022
  ensure_user
  if is_root && ! as_user test -r "$root/scripts/up"; then
    elsewhere
  fi
  mkdir -p "$root/.local"
  place=$(realpath "$root/.local")
  ensure_folder "$place"
}

elsewhere() {
  local there
  there=/var/tmp/wanwu-$(printf '%s' "$root" | sha256sum | cut -c1-12)
  if [ -e "$there" ] && [ ! -O "$there" ] && [ "$(stat -c %U "$there")" != "$stack_user" ]; then
    die "$there belongs to somebody else" "remove it, or put the repository where user $stack_user can read it"
  fi
  mkdir -p "$there"
  if [ ! -L "$root/.local" ]; then
    [ ! -d "$root/.local" ] || { cp -a "$root/.local/." "$there/" && rm -rf "$root/.local"; }
    ln -s "$there" "$root/.local"
    say "user $stack_user cannot read $root: .local lies in $there"
  fi
  binaries=$there/bin
  source=$there/source
}

# After a build: what runs must be readable for the user.
place_binaries() {
  [ "$binaries" = "$target/stack" ] && return
  mkdir -p "$binaries"
  local program
  for program in privacy identity verification device-registry billing inference-routing edge stack simulator figure; do
    [ -x "$target/stack/$program" ] || continue
    cmp -s "$target/stack/$program" "$binaries/$program" && continue
    # Replaced, not written over: an old one may be running.
    install -m 755 -p "$target/stack/$program" "$binaries/.$program"
    mv "$binaries/.$program" "$binaries/$program"
  done
  local data
  for data in services/privacy/agreements services/billing/price-lists services/billing/products; do
    rm -rf "${source:?}/$data"
    mkdir -p "$source/$data"
    cp -r "$root/$data/." "$source/$data/"
  done
}

# A stack's folder, made so that the user can work in it.
ensure_folder() {
  mkdir -p "$1"
  is_root && chown "$stack_user:" "$1"
  return 0
}

# stack_up FOLDER ARGUMENT...
stack_up() {
  local folder=$1
  shift
  stack_tool up --dir "$folder" --source "$source" "$@"
}

stack_tool() {
  (cd "$place" && as_user env HOME="$place" "$binaries/stack" "$@")
}
