"""Fuzzes one parser after another, guided by the code the input reaches (atheris). Run by ``make fuzz``.

    python coverage_guided.py [-max_total_time=60] [parser …]

Each parser has a process and a corpus (build/fuzz/corpus/NAME) of its own; what crashes one is written to
build/fuzz/crash-NAME-… and belongs into FOUND of test_parsers.py, with the mend.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "fuzz"
SECONDS = 60


def one(name: str, options: list[str]) -> None:
    """Fuzzes one parser in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["pyexp"]):
        # Modules that are loaded when they are needed, too.
        for module in ("yamlparse", "yamledit", "yamltext", "pyfile", "tomlfile", "jsonfile"):
            importlib.import_module(f"pyexp.formats.{module}")
        from fuzz import parsers
    corpus = BUILD / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [name, *options, f"-artifact_prefix={BUILD}/crash-{name}-", "-timeout=20", "-rss_limit_mb=3000", str(corpus)],
        lambda data: parsers.attempt(name, data),
    )
    atheris.Fuzz()


def main(words: list[str]) -> int:
    """Fuzzes the named parsers, or all; the exit code says whether any was crashed."""
    options = [word for word in words if word.startswith("-")]
    if "--one" in options:
        one(words[-1], [option for option in options if option != "--one"])
    from fuzz.parsers import PARSERS

    if not any(option.startswith(("-max_total_time", "-runs")) for option in options):
        options.append(f"-max_total_time={SECONDS}")
    crashed = []
    for name in [word for word in words if not word.startswith("-")] or PARSERS:
        print(f"== {name}", flush=True)
        done = subprocess.run(
            [sys.executable, __file__, "--one", *options, name], capture_output=True, text=True, errors="replace"
        )
        lines = (done.stdout + done.stderr).splitlines()
        if done.returncode != 0:
            crashed.append(name)
            print("\n".join(lines[-40:]), flush=True)
        else:
            print("\n".join(line for line in lines if line.startswith(("Done", "stat::"))), flush=True)
    print(f"crashed: {', '.join(crashed) or 'none'}")
    return bool(crashed)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))
    sys.exit(main(sys.argv[1:]))
