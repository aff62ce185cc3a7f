#!/usr/bin/env bash
# Everything that must pass: formatting, lints, types, import layers, tests. Makes and fills .venv by itself.
# Tests against the real DVC run when PYEXP_TEST_DVC names its executable; further arguments go to pytest.
set -u
cd "$(dirname "$0")/.."

if [ ! -x .venv/bin/python ]; then
    "${PYTHON:-python3}" -m venv .venv || exit 1
fi
.venv/bin/python -m pip install -qq --disable-pip-version-check -e '.[dev]' -r examples/get-started/requirements.txt || exit 1

# Servers that are not on PyPI; tests that want one are skipped where it cannot be had.
if ! PATH="$PATH:/usr/sbin" command -v sshd >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server) \
        >/dev/null 2>&1 || echo "no sshd: its tests are skipped"
fi
if [ -z "${PYEXP_TEST_AZURITE:-}" ] && command -v npm >/dev/null; then
    [ -x .venv/azurite/node_modules/.bin/azurite-blob ] ||
        npm install --silent --no-fund --no-audit --prefix .venv/azurite azurite@3.35.0 >/dev/null 2>&1 ||
        echo "no azurite: its tests are skipped"
    export PYEXP_TEST_AZURITE="$PWD/.venv/azurite/node_modules/.bin"
fi

status=0
step() {
    echo "== $*"
    "$@" || status=1
}
step .venv/bin/ruff check .
step .venv/bin/ruff format --check -q .
step .venv/bin/mypy
step .venv/bin/lint-imports --no-logo
# Three for two processors: many tests wait for somebody. The last long ones are shared out, too.
step .venv/bin/python -m pytest -n 3 --dist worksteal "$@"
exit "$status"
