"""Installs pyexp into .venv and types the commands of docs/tutorial.md on the bundled example, showing their output.

    python3 examples/demo.py [DIRECTORY]

The example is copied into DIRECTORY (default: a new temporary directory), which stays for you to look at. Nothing but
Python is needed; git is not.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "get-started"
TUTORIAL = ROOT / "docs" / "tutorial.md"
# The tutorial's text names an experiment; names are random, so a run takes its own best one in that place.
NAME = re.compile(r"\bexp-[0-9a-f]{5}\b")


def steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a text's ```console blocks, each with the lines that the text shows as its output."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").replace("\\\n", "").split("\n")
            yield command, shown


def best_experiment(environment: dict[str, str], directory: Path) -> str:
    """The name of the experiment with the highest average precision."""
    told = subprocess.run(
        ["pyexp", "exp", "show", "--json"], cwd=directory, env=environment, check=True, capture_output=True
    )
    scored = []
    for baseline in json.loads(told.stdout):
        for experiment in baseline["experiments"] or ():
            data = experiment["revs"][0]["data"]
            scored.append((data["metrics"]["scores.json"]["data"]["avg_prec"], experiment["name"]))
    return max(scored)[1]


def command_of(typed: str, environment: dict[str, str], directory: Path) -> str:
    """The command to run for one that the tutorial shows."""
    if NAME.search(typed):
        return NAME.sub(best_experiment(environment, directory), typed)
    return typed


def installed() -> Path:
    """The directory of programs of .venv, with pyexp and what the example needs installed there."""
    home = ROOT / ".venv"
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    if not programs.exists():
        print("Making .venv …", flush=True)
        venv.create(home, with_pip=True)
    python = str(programs / "python")
    print("Installing pyexp and scikit-learn into .venv …", flush=True)
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "-e", str(ROOT), "-r", str(EXAMPLE / "requirements.txt")], check=True)
    return programs


def main() -> int:
    environment = dict(os.environ)
    environment["PATH"] = f"{installed()}{os.pathsep}{environment.get('PATH', '')}"
    os.environ["PATH"] = environment["PATH"]
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="pyexp-demo-")) / "get-started"
    shutil.copytree(EXAMPLE, directory)
    print(f"The example is in {directory}\n", flush=True)
    began = time.monotonic()
    for typed, _ in steps(TUTORIAL.read_text(encoding="utf-8")):
        command = command_of(typed, environment, directory)
        print(f"\033[1m$ {command}\033[0m" if sys.stdout.isatty() else f"$ {command}", flush=True)
        code = subprocess.run(command, shell=True, cwd=directory, env=environment).returncode
        if code:
            print(f"'{command}' ended with {code}", file=sys.stderr)
            return 1
        print(flush=True)
    print(f"Done in {time.monotonic() - began:.0f} s. The project is yours to play with: cd {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
