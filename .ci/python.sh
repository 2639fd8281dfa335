#!/bin/sh
# Runs a script of this folder with any Python that is new enough, .venv's first.
set -eu
cd "$(dirname "$0")/.."
for name in .venv/bin/python ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null 2>/dev/null; then
        exec "$name" "$@"
    fi
done
printf '%s\n' "imgctl needs Python 3.11 or newer, and there is none here." >&2
exit 1
