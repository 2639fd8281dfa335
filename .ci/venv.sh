#!/bin/sh
# Makes .venv and installs into it what a make target needs.
#
#   venv.sh demo    imgctl with the sandbox
#   venv.sh dev     that, and everything for tests, lint and builds: exactly the files
#                   that .ci/dev.lock has hashes of, unless IMGCTL_UNLOCKED=1 asks for the
#                   newest, or this Python is none that the lock was made for
#   venv.sh build   only what builds a wheel, from .ci/tools.lock in the same way
#   venv.sh proto   only what generates code from the .proto (in a VENV of its own: it
#                   needs an older protobuf)
#   venv.sh lock    only what writes the locks; from .ci/tools.lock, too
#   venv.sh audit   only what looks them up among known vulnerabilities; likewise
#
# Uses uv when it is on PATH, else python3's own venv and pip. PYTHON=… names the Python
# to use, VENV=… another folder. Leaves .venv/.installed-<what> behind for make.
set -eu

cd "$(dirname "$0")/.."
what=$1
venv=${VENV:-.venv}
python=$venv/bin/python
needs='import sys; sys.exit(sys.version_info < (3, 11))'

say() { printf '%s\n' "$*" >&2; }
die() { for line; do say "$line"; done; exit 1; }

# The first Python that is new enough; python3 itself may be an older one.
find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
        # A version manager's shim may be there without the version behind it: run it.
        if "$name" -c "$needs" </dev/null 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    found=$("${PYTHON:-python3}" --version 2>&1 </dev/null) || found="${PYTHON:-python3} does not run"
    die "imgctl needs Python 3.11 or newer, and there is none here ($found)." \
        "Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or install uv," \
        "which brings its own, or name one: make PYTHON=/path/to/python3.12 …"
}

with_uv() {
    if ! "$python" -c "$needs" 2>/dev/null; then
        uv venv --quiet --clear --python "${PYTHON:->=3.11}" "$venv" ||
            uv venv --quiet --python "${PYTHON:->=3.11}" "$venv"  # before --clear existed
    fi
    install() { uv pip install --quiet --python "$python" "$@"; }
}

with_pip() {
    # Without its pip the venv is the remains of an attempt that failed.
    if ! "$python" -c "import pip; $needs" 2>/dev/null; then
        base=$(find_python)
        "$base" -c 'import venv, ensurepip' 2>/dev/null ||
            die "$("$base" --version) is here, but its venv module is not complete." \
                "Debian, Ubuntu: apt-get install python3-venv. Or install uv."
        "$base" -m venv --clear "$venv"
    fi
    install() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
}

# Why to do without the locks; empty when there is no reason to.
unlocked() {
    if [ -n "${IMGCTL_UNLOCKED:-}" ]; then
        echo "IMGCTL_UNLOCKED is set"
    else
        "$python" .ci/requirements.py locked
    fi
}

install_hashed() {
    # No wheel, no installation: what builds a package would come without a hash.
    install --require-hashes --only-binary :all: --requirement "$1" || die \
        "The packages of $1 can't be installed: the reason is above." \
        "IMGCTL_UNLOCKED=1 make … takes the newest that pyproject.toml allows, unchecked."
}

install_newest() {
    say "WARNING: $reason: packages are installed without the lock and its hashes."
    "$python" .ci/requirements.py "$1" >"$venv/$1.txt"
    shift
    install "$@"
}

install_dev() {
    if [ -n "$reason" ]; then
        install_newest dev --editable ".[$("$python" .ci/requirements.py extras)]" \
            --requirement "$venv/dev.txt"
        return
    fi
    missing=$("$python" .ci/requirements.py unlocked)
    [ -z "$missing" ] || die "pyproject.toml asks for what .ci/dev.lock has not: $missing" \
        "Run: make lock"
    install_hashed .ci/dev.lock
    install --no-deps --no-build-isolation --editable .
}

install_tools() {
    if [ -n "$reason" ]; then
        install_newest tools --requirement "$venv/tools.txt"
    else
        install_hashed .ci/tools.lock
    fi
}

say "Setting up $venv for \`$what\`, once: this downloads packages and may take some minutes."
if command -v uv >/dev/null 2>&1; then with_uv; else with_pip; fi

case $what in
demo)
    install --editable '.[sandbox]'
    ;;
dev)
    reason=$(unlocked)
    install_dev
    ;;
build | lock | audit)
    reason=$(unlocked)
    install_tools
    ;;
proto)
    "$python" .ci/proto.py --requirements >"$venv/proto.txt"
    install --requirement "$venv/proto.txt"
    ;;
*)
    die "venv.sh: no such set of packages: $what"
    ;;
esac
touch "$venv/.installed-$what"
