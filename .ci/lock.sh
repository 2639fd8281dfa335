#!/bin/sh
# Writes .ci/dev.lock anew: every package that `make test`, `make lint` and builds use, in
# the newest version that pyproject.toml allows, with the hashes of its files. One file
# for all systems and every Python that imgctl runs on. Which index served it is not in it.
set -eu
cd "$(dirname "$0")/.."
bin=.venv-lock/bin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$bin/python" .ci/requirements.py dev >"$folder/dev.txt"
extras=$("$bin/python" .ci/requirements.py extras | sed 's/[^,]*/--extra &/g; s/,/ /g')
# shellcheck disable=SC2086 - they are words
"$bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 $extras \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
    --output-file "$folder/dev.lock" pyproject.toml "$folder/dev.txt"
{
    echo '# Written by `make lock`: what the development environment is made of.'
    cat "$folder/dev.lock"
} >.ci/dev.lock
