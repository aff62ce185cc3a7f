"""Walks over the points of a command: a fresh copy of the project, one strike, a look, the same command again.

After a kill or an error at any point: every object is what its name says; git's objects, refs and index hold together;
each of the user's files, HEAD, the index and each ref hold what they held before or what the command would have made;
an error is one line that names a path. The same command then succeeds, and its result is that of an undisturbed run.
"""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dulwich.repo import Repo

from torture import facts as facts_of
from torture.cases import Case
from torture.facts import Facts
from torture.forks import Forks, Ran
from torture.injector import FAULTS, Plan

KINDS = ("pyexp", "dvc")
PIPELINE = """\
stages:
  prepare:
    cmd: cp raw.txt data.txt
    deps:
    - raw.txt
    outs:
    - data.txt
  train:
    cmd: sh train.sh
    deps:
    - data.txt
    - train.sh
    params:
    - lr
    outs:
    - model.txt
    metrics:
    - scores.json:
        cache: false
"""
TRAIN = """\
lr=$(sed -n 's/^lr: \\([0-9.]*\\).*/\\1/p' params.yaml)
[ "$lr" != 13 ] || exit 3
echo "model $lr" > model.txt
echo "{\\"loss\\": $lr}" > scores.json
"""
OLD_SECONDS = 7200
KEEPING_GC = ("gc", "-w", "--all-experiments", "-f")
Content = tuple[str, bytes] | None


@dataclass
class Result:
    """What a walk over one command came to."""

    case: str
    kind: str
    points: int = 0
    kills: int = 0
    faults: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Bench:
    """A place to torture projects of one kind in: a template, and copies of it at one path."""

    def __init__(self, top: Path, kind: str) -> None:
        self.kind = kind
        self.base = top / "b"
        self.root = self.base / "p"
        self._template = top / "template"
        self._start = top / "start"
        self._home = top / "home"
        self._home.mkdir(parents=True)
        self.forks = Forks(top / "forks")
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "200",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _ADA.items()},
        }
        self._make()

    def close(self) -> None:
        self.forks.close()

    def _make(self) -> None:
        self.root.mkdir(parents=True)
        (self.base / "remote").mkdir()
        self.good("git init")
        if self.kind == "dvc":
            self._put(".dvc/config", "")
            self._put(".dvc/.gitignore", "/config.local\n/tmp\n/cache\n")
        else:
            self.good("init")
        self._put("dvc.yaml", PIPELINE)
        self._put("train.sh", TRAIN)
        self._put("raw.txt", "raw\n" * 10)
        self._put("params.yaml", "lr: 0.5  # rate\n")
        self._put("README.md", "read me\n")
        for number, name in enumerate("abcd"):
            self._put(f"images/{name}.txt", f"image {number}\n")
        self.good("add images")
        shutil.copy(self.root / "images.dvc", self.root / "images.dvc.old")
        self._put("images/sub/e.txt", "image 5\n")
        self._put("images/a.txt", "another image\n")
        self.good("add images")
        self.good("remote add -d store ../remote")
        self.good("repro")
        self.good("git add .")
        self.good("git commit -m start")
        self.good("exp run -n e1 -S lr=0.1")
        self.good("exp run -n e2 -S lr=0.2")
        self.good("exp apply HEAD")
        self.good("git switch -c other")
        self._put("README.md", "of another branch\n")
        self._put("docs/more.md", "more\n")
        self.good("git add .")
        self.good("git commit -m other")
        self.good("git switch master")
        Repo.init_bare(str(self.base / "hub"), mkdir=True).close()
        self.good(f"git remote add hub {self.base / 'hub'}")
        _copy(self.base, self._template)

    def _put(self, relpath: str, text: str) -> None:
        path = self.root / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, argv: Sequence[str], plan: Plan | None = None, worker: Plan | None = None) -> Ran:
        return self.forks.run(list(argv), cwd=self.root, env=self.env, plan=plan, worker=worker)

    def good(self, line: str | Sequence[str]) -> None:
        argv = line.split() if isinstance(line, str) else line
        done = self.run(argv)
        assert done.code == 0, f"{argv} ended with {done.code}: {done.err}"

    def prepare(self, case: Case) -> None:
        """Makes the state the case starts from."""
        _copy(self._template, self.base)
        for step in case.before:
            if callable(step):
                step(self.root)
            else:
                self.run(step)
        _copy(self.base, self._start)

    def restore(self) -> None:
        """Puts the state the case starts from in place again."""
        _copy(self._start, self.base)


_ADA = {"NAME": "Ada", "EMAIL": "ada@example.com"}


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(target)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@dataclass(frozen=True)
class Strike:
    """One thing to do to one command: where, what, and in which process."""

    plan: Plan
    worker: bool
    shown: str


class Walk:
    """One case in one bench."""

    def __init__(self, bench: Bench, case: Case) -> None:
        self.bench, self.case = bench, case
        self.result = Result(case.name, bench.kind)
        bench.prepare(case)
        self.before = facts_of.read(bench.base)
        self.broken = set(facts_of.problems(bench.base))
        self.after = Facts()

    def strikes(self, *, every: int = 1, faults: bool = True) -> Iterator[Strike]:
        """The undisturbed run, counted; then what to do at each point, or at one in ``every``."""
        done = self.bench.run(self.case.argv, Plan("count"))
        if done.code != 0:
            self.violate("undisturbed", f"ended with {done.code}: {done.err.strip()[:300]}")
            return
        self.after = facts_of.read(self.bench.base)
        self.result.points = len(done.points)
        yield from _kills(done.points, False, every)
        if self.case.workers:
            self.bench.restore()
            inside = self.bench.run(self.case.argv, worker=Plan("count")).points
            self.result.points += len(inside)
            yield from _kills(inside, True, every)
        if faults:
            yield from self._faults(every)

    def _faults(self, every: int) -> Iterator[Strike]:
        self.bench.restore()
        points = self.bench.run(self.case.argv, Plan("count", reads=True)).points
        for name, (kinds, _) in FAULTS.items():
            fitting = [point for point in points if point.split(" ")[0] in kinds]
            for number, point in enumerate(fitting, 1):
                if (number + len(name)) % every == 0 or every == 1:
                    reads = bool(kinds & {"read", "list"})
                    yield Strike(Plan(name, number, reads=reads), False, f"{name} at {number} ({point})")

    def violate(self, where: str, what: str) -> None:
        text = f"{self.case.name} [{self.bench.kind}], {where}: {what}"
        self.result.violations.append(text.replace(f"{self.bench.base}/", ""))

    def strike(self, strike: Strike) -> None:
        self.bench.restore()
        plan = strike.plan
        ran = self.bench.run(
            self.case.argv, plan=None if strike.worker else plan, worker=plan if strike.worker else None
        )
        if plan.mode in FAULTS:
            self.result.faults += 1
            self._look_at_error(strike, ran)
        else:
            self.result.kills += 1
        if ran.hung or ran.orphans:
            self.violate(strike.shown, "it hung" if ran.hung else f"{ran.orphans} processes outlived it")
        self._look(strike.shown)
        lasting = plan.mode in FAULTS and FAULTS[plan.mode][1]
        if plan.mode in FAULTS and not (lasting and plan.mode != "ENOSPC"):
            # A file whose own removal was refused stays.
            kind, _, refused = ran.points[plan.at - 1].partition(" ") if len(ran.points) >= plan.at else ("", "", "")
            left = [
                name
                for name in facts_of.litter(self.bench.base)
                if not (kind == "unlink" and refused.endswith(f"/{os.path.basename(name)}"))
            ]
            if left and ran.code >= 0:
                self.violate(strike.shown, f"left {left[:3]}")
        self._again(strike.shown)

    def _look_at_error(self, strike: Strike, ran: Ran) -> None:
        errors = [line for line in ran.err.splitlines() if not line.startswith(("WARNING: ", "!", "Running", "> "))]
        if ran.code == 0:
            differences = self._differences(facts_of.read(self.bench.base))
            if differences:
                self.violate(strike.shown, f"exit 0, but {differences}")
        elif ran.code != 1 or "Traceback" in ran.err or "unexpected" in ran.err:
            self.violate(strike.shown, f"exit {ran.code}: {ran.err.strip()[-600:]}")
        elif len(errors) != 1 or not errors[0].startswith("ERROR: "):
            self.violate(strike.shown, f"not one line of error: {ran.err.strip()[:400]!r}")
        elif not re.search(r"/|'[^']+'|\.\w+: ", ran.out + ran.err):
            self.violate(strike.shown, f"no path in: {ran.err.strip()[:400]}")

    def _look(self, where: str) -> None:
        """What must be true after any strike."""
        for problem in facts_of.problems(self.bench.base):
            if problem not in self.broken:
                self.violate(where, problem)
        try:
            now = facts_of.read(self.bench.base)
        except Exception as error:
            self.violate(where, f"cannot be read: {error!r}")
            return
        kept: set[str] | None = None
        for path in self.before.files.keys() | self.after.files.keys() | now.files.keys():
            was, will, found = (one.files.get(path) for one in (self.before, self.after, now))
            if found in (was, will) or (path.endswith(".gitignore") and _between(found, was, will)):
                continue
            if path in self.case.outputs:
                kept = facts_of.saved(self.bench.base) if kept is None else kept
                if was is None or hashlib.sha256(was[1]).hexdigest() in kept:
                    continue
            self.violate(where, f"'{path}' is a third thing: {found!r:.120}")
        for name in ("head", "index"):
            if getattr(now, name) not in (getattr(self.before, name), getattr(self.after, name)):
                self.violate(where, f"the {name} is a third thing")
        for ref in self.before.refs.keys() | self.after.refs.keys() | now.refs.keys():
            if ref != "tasks" and now.refs.get(ref) not in (self.before.refs.get(ref), self.after.refs.get(ref)):
                self.violate(where, f"{ref} is a third thing")

    def _again(self, where: str) -> None:
        """The same command once more; then old litter, which must go."""
        ran = self.bench.run(self.case.argv)
        done = ran.code == 0 or (self.case.once and ran.code in (1, 2) and len(ran.err.strip().splitlines()) == 1)
        if not done or ran.hung:
            self.violate(where, f"again: {'hung' if ran.hung else f'exit {ran.code}'}: {ran.err.strip()[:400]}")
            return
        now = facts_of.read(self.bench.base)
        if self.case.once and ran.code:  # what a removal had let go of but for its last ref, gc does
            self.bench.run(KEEPING_GC)
            now.refs = facts_of.read(self.bench.base).refs
        differences = self._differences(now)
        if differences:
            self.violate(
                where, f"again (exit {ran.code}): {differences}{' - ' + ran.err.strip()[:200] if ran.err else ''}"
            )
        self._litter(where)

    def _litter(self, where: str) -> None:
        left = facts_of.litter(self.bench.base)
        if not left:
            return
        old = time.time() - OLD_SECONDS
        for relpath in left:
            os.utime(self.bench.base / relpath, (old, old))
        for line in (self.case.argv, ("checkout",), (*KEEPING_GC, "-c")):
            self.bench.run(line)
        # git's own gc removes tmp_obj_ files; the hub's are for the next push that has something to write.
        stays = [
            path
            for path in facts_of.litter(self.bench.base)
            if "/tmp_obj_" not in path and not path.startswith("hub/pyexp/") and path in left
        ]
        if stays:
            self.violate(where, f"litter that nothing removes: {stays[:3]}")

    def _differences(self, now: Facts) -> str:
        """How a state differs from that after an undisturbed run."""
        found: list[str] = []
        for name in ("files", "head", "index", "refs", "queue", "hub"):
            one, other = getattr(self.after, name), getattr(now, name)
            if one != other:
                found.append(f"{name}: {_difference(one, other)}")
        for name in ("objects", "remote", "runs"):
            wanted, there = getattr(self.after, name), getattr(now, name)
            if wanted - there or (self.case.exact and there - wanted):
                found.append(f"{name}: lacks {sorted(wanted - there)[:3]}, has {sorted(there - wanted)[:3]}")
        return "; ".join(found)


def _between(found: Content, *ends: Content) -> bool:
    """Whether lines that come and lines that go did so one after the other."""
    lines, first, last = (set(one[1].splitlines()) if one else set() for one in (found, *ends))
    return first & last <= lines <= first | last


def _difference(wanted: object, found: object) -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
        return ", ".join(f"{key}: {wanted.get(key)!r:.80} became {found.get(key)!r:.80}" for key in keys[:3])
    return f"{wanted!r:.200} became {found!r:.200}"


def _kills(points: Sequence[str], worker: bool, every: int) -> Iterator[Strike]:
    where = " of a worker" if worker else ""
    for number, point in enumerate(points, 1):
        if number % every and every > 1:
            continue
        yield Strike(Plan("kill", number), worker, f"killed before {number}{where} ({point})")
        if point.split(" ")[0] in ("write", "copy"):
            yield Strike(Plan("half", number), worker, f"killed in {number}{where} ({point})")


def walk(bench: Bench, case: Case, *, every: int = 1, faults: bool = True) -> Result:
    """Strikes at every point (or one in ``every``) of a case."""
    began = time.monotonic()
    one = Walk(bench, case)
    for strike in one.strikes(every=every, faults=faults):
        one.strike(strike)
    one.result.seconds = time.monotonic() - began
    return one.result
