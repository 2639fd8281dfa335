#!/bin/sh
# Runs what every user runs on the lowest versions that pyproject.toml allows, with
# warnings as errors.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-lowest
python=$venv/bin/python

.ci/python.sh -m venv --clear "$venv"
"$python" .ci/requirements.py lowest >"$venv/lowest.txt"
"$python" -m pip install --quiet --disable-pip-version-check --editable '.[sandbox]' --constraint "$venv/lowest.txt"
"$python" -m pip list --disable-pip-version-check --format freeze | grep -iE '^(grpcio|protobuf|boto3|click|pydantic)'
"$python" -W error -c 'from imgctl_core._proto import imgctl_pb2, imgctl_pb2_grpc'
"$venv/bin/imgctl" --version
"$venv/bin/imgctl" sandbox --demo </dev/null
