#!/usr/bin/env bash
# Everything that must pass: formatting, lints, types, import layers, tests. Makes and fills .venv by itself.
# Tests against the real DVC run when PYEXP_TEST_DVC names its executable; further arguments go to pytest.
set -u
cd "$(dirname "$0")/.."

if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv || exit 1
fi
.venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[dev]' -r examples/get-started/requirements.txt || exit 1

status=0
step() {
    echo "== $*"
    "$@" || status=1
}
step .venv/bin/ruff check .
step .venv/bin/ruff format --check -q .
step .venv/bin/mypy
step .venv/bin/lint-imports --no-logo
step .venv/bin/python -m pytest -n 2 "$@"
exit "$status"
