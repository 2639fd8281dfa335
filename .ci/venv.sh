#!/bin/sh
# Makes .venv and installs into it what a make target needs.
#
#   venv.sh demo    imgctl with the sandbox
#   venv.sh dev     that, and everything for tests, lint and builds: exactly the files
#                   that .ci/dev.lock has hashes of, unless IMGCTL_UNLOCKED=1 asks for the
#                   newest, or this Python is none that the lock was made for
#   venv.sh build   only what builds a wheel
#   venv.sh proto   only what generates code from the .proto (in a VENV of its own: it
#                   needs an older protobuf)
#   venv.sh lock    only what writes .ci/dev.lock
#   venv.sh audit   only what looks it up among known vulnerabilities
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

install_locked() {
    missing=$("$python" .ci/requirements.py unlocked)
    [ -z "$missing" ] || die "pyproject.toml asks for what .ci/dev.lock has not: $missing" \
        "Run: make lock"
    # No wheel, no installation: what builds a package would come without a hash.
    install --require-hashes --only-binary :all: --requirement .ci/dev.lock || die \
        "The packages of .ci/dev.lock can't be installed: the reason is above." \
        "IMGCTL_UNLOCKED=1 make … takes the newest that pyproject.toml allows, unchecked."
    install --no-deps --no-build-isolation --editable .
}

install_unlocked() {
    say "WARNING: $1: packages are installed without the lock and its hashes."
    "$python" .ci/requirements.py dev >"$venv/dev.txt"
    install --editable ".[$("$python" .ci/requirements.py extras)]" --requirement "$venv/dev.txt"
}

say "Setting up $venv for \`$what\`, once: this downloads packages and may take some minutes."
if command -v uv >/dev/null 2>&1; then with_uv; else with_pip; fi

case $what in
demo)
    install --editable '.[sandbox]'
    ;;
dev)
    locked=$("$python" .ci/requirements.py locked)
    if [ -n "${IMGCTL_UNLOCKED:-}" ]; then
        install_unlocked "IMGCTL_UNLOCKED is set"
    elif [ -n "$locked" ]; then
        install_unlocked "$locked"
    else
        install_locked
    fi
    ;;
build)
    install build
    ;;
proto)
    "$python" .ci/proto.py --requirements >"$venv/proto.txt"
    install --requirement "$venv/proto.txt"
    ;;
lock)
    install uv
    ;;
audit)
    install pip-audit
    ;;
*)
    die "venv.sh: no such set of packages: $what"
    ;;
esac
touch "$venv/.installed-$what"
