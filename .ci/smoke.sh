#!/bin/sh
# Installs the wheel of dist/ into an empty environment and runs it, then the same with
# the wheel that is built from the sdist. Nothing of this checkout is on the path.
set -eu
cd "$(dirname "$0")/.."

one() {
    [ $# -eq 1 ] && [ -f "$1" ] || { echo "dist/ must hold one wheel and one sdist: run make build" >&2; exit 1; }
    printf '%s\n' "$PWD/$1"
}
wheel=$(one dist/*.whl)
sdist=$(one dist/*.tar.gz)
expected=$(basename "$wheel" | cut -d- -f2)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
.ci/python.sh -m venv "$work/venv"
bin=$work/venv/bin
# An empty home: what works only with the builder's own files doesn't work.
mkdir "$work/home"
unset PYTHONPATH

check() {
    cd "$work"
    shown=$(env -u VIRTUAL_ENV HOME="$work/home" "$bin/imgctl" --version </dev/null)
    case $shown in
    *"$expected"*) echo "$shown" ;;
    *) echo "the installed imgctl says '$shown', not $expected" >&2; exit 1 ;;
    esac
    HOME="$work/home" "$bin/imgctl" sandbox --demo </dev/null
    cd - >/dev/null
}

echo "== the wheel: $(basename "$wheel")"
"$bin/python" -m pip install --quiet --disable-pip-version-check "$wheel[sandbox]"
check

echo "== the sdist: $(basename "$sdist")"
"$bin/python" -m pip wheel --quiet --disable-pip-version-check --no-cache-dir --no-deps --wheel-dir "$work/built" "$sdist"
"$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall "$work"/built/*.whl
check
