#!/bin/sh
# Writes .ci/dev.lock anew: every package that `make test` and `make lint` use, in the
# newest version that pyproject.toml allows, with the hashes of its files; and
# .ci/tools.lock: the same for what builds, locks and audits. One file of each for all
# systems and every Python that imgctl runs on. Which index served it is not in it.
set -eu
cd "$(dirname "$0")/.."
bin=.venv-lock/bin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

compile() {
    out=$1
    shift
    "$bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 "$@" \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        --output-file "$folder/$out"
}

"$bin/python" .ci/requirements.py dev >"$folder/dev.txt"
"$bin/python" .ci/requirements.py tools >"$folder/tools.txt"
extras=$("$bin/python" .ci/requirements.py extras | sed 's/[^,]*/--extra &/g; s/,/ /g')
# shellcheck disable=SC2086 - they are words
compile dev.lock $extras pyproject.toml "$folder/dev.txt"
# What is in both has one version.
compile tools.lock --constraint "$folder/dev.lock" "$folder/tools.txt"
{
    echo '# Written by `make lock`: what the development environment is made of.'
    cat "$folder/dev.lock"
} >.ci/dev.lock
{
    echo '# Written by `make lock`: what builds, locks and audits.'
    cat "$folder/tools.lock"
} >.ci/tools.lock
