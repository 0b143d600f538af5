# What the machine must have, and how it gets it. Sourced by the others.

is_root() { [ "$(id -u)" -eq 0 ]; }

postgres_programs() {
  local version
  for version in $(ls /usr/lib/postgresql 2>/dev/null | sort -rn); do
    if [ "$version" -ge 15 ] && [ -x "/usr/lib/postgresql/$version/bin/initdb" ]; then
      echo "/usr/lib/postgresql/$version/bin"
      return
    fi
  done
  return 1
}

# A Python that everybody on the machine may run, with what a virtual environment needs.
system_python() {
  local python
  for python in /usr/bin/python3 /usr/local/bin/python3 "$(command -v python3 || true)"; do
    if [ -x "$python" ] && "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  return 1
}

# The packages that are missing, by the names of Debian and Ubuntu.
missing_packages() {
  command -v cc >/dev/null || echo build-essential
  postgres_programs >/dev/null || echo postgresql
  { [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && command -v epmd >/dev/null; } || echo rabbitmq-server
  system_python >/dev/null || printf '%s\n' python3 python3-venv
  command -v setpriv >/dev/null || echo util-linux
}

check_system() {
  [ "$(uname -s)" = Linux ] && [ -r /etc/os-release ] && command -v apt-get >/dev/null || die \
    "this is not Debian or Ubuntu" \
    "The local stack is tried on Debian 12 and Ubuntu 24.04. Elsewhere it needs a C compiler," \
    "PostgreSQL 15 or later under /usr/lib/postgresql, RabbitMQ under /usr/lib/rabbitmq," \
    "Python 3.10 or later with venv, and a Rust toolchain."
  command -v cargo >/dev/null || die \
    "there is no Rust toolchain" \
    "apt-get install rustup && rustup default $(toolchain), or see rustup.rs"
}

toolchain() { sed -n 's/^channel = "\(.*\)"/\1/p' "$root/rust-toolchain.toml"; }

# Installs what is missing. No service is started: what the packages bring besides programs stays off.
ensure_packages() {
  local missing policy=/usr/sbin/policy-rc.d made=
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] && return
  is_root || die "these packages are missing: ${missing[*]}" \
    "sudo apt-get install -y --no-install-recommends ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made=yes
  fi
  export DEBIAN_FRONTEND=noninteractive
  local failed=
  quietly "apt-get update" apt-get update || failed=yes
  quietly "installing ${missing[*]}" apt-get install -y --no-install-recommends "${missing[@]}" || failed=yes
  [ -n "$made" ] && rm -f "$policy"
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -eq 0 ] || die "these packages are still missing: ${missing[*]}" \
    "PostgreSQL must be 15 or later: Debian 12, Ubuntu 24.04 or newer have it."
  [ -z "$failed" ] || say "apt-get complained, but everything is there"
}
