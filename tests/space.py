"""What tests of the installed command work with: a command that runs, its result, and a workspace's bytes."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Result:
    """What a command gave back."""

    args: str
    code: int
    out: str
    err: str

    def check(self, *expected: str) -> "Result":
        """Asserts success and that each text is in the output."""
        assert self.code == 0, f"{self.args} ended with {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        for text in expected:
            assert text in self.out, f"{text!r} is not in the output of {self.args}:\n{self.out}"
        return self

    def refused(self, *expected: str, code: int = 1) -> "Result":
        """Asserts an expected failure: one line on stderr with each text in it."""
        assert self.code == code, f"{self.args} ended with {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        errors = [line for line in self.err.splitlines() if not line.startswith("WARNING: ")]
        assert len(errors) == 1 and errors[0].startswith("ERROR: "), f"not one line of error:\n{self.err}"
        for text in expected:
            assert text in errors[0], f"{text!r} is not in: {errors[0]}"
        return self


@dataclass
class Command:
    """Runs pyexp in ``cwd`` with ``env``; both can be changed by a test."""

    cwd: Path
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, timeout: float = 120) -> Result:
        return self._run(["pyexp", *args], " ".join(("pyexp", *args)), timeout)

    def shell(self, line: str, timeout: float = 120) -> Result:
        """Runs a line as typed into a shell."""
        return self._run(["sh", "-c", line], line, timeout)

    def _run(self, argv: list[str], shown: str, timeout: float) -> Result:
        program = shutil.which(argv[0], path=self.env["PATH"])
        assert program is not None
        done = subprocess.run(
            [program, *argv[1:]],
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback (most recent call last)" not in err, f"{shown} failed with a traceback:\n{err}"
        return Result(shown, done.returncode, out, err)


def files_of(root: Path) -> dict[str, bytes]:
    """Every file under ``root`` outside the control directories, with its bytes."""
    found = {}
    for path in sorted(root.rglob("*")):
        relpath = path.relative_to(root).as_posix()
        if path.is_file() and not re.match(r"(\.git|\.pyexp|\.dvc)/", relpath):
            found[relpath] = path.read_bytes()
    return found
