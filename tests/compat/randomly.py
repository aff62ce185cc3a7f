"""Random projects: params of every kind, stages that use each other's outputs, and what a user may then change."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twins import Work

from pyexp.formats import yamlfile

WORDS = [
    "a",
    "b c",
    "x: y",
    "1",
    "1.0",
    "true",
    "no",
    "null",
    "~",
    "",
    "é",
    "#c",
    "- d",
    "it's",
    '"q"',
    "1e3",
    "a" * 90,
    "k " * 50,
]
SCALARS: list[Callable[[random.Random], Any]] = [
    lambda rng: rng.choice(WORDS),
    lambda rng: rng.randint(-5, 10**6),
    lambda rng: rng.choice([0.1, 1e-5, 1e16, 1.0, -0.0, 0.1 + 0.2, 123456.789, 1e22]) * rng.choice([1, 3]),
    lambda rng: rng.random() < 0.5,
    lambda rng: None,
]


def value(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.random()
    if depth and kind < 0.15:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    if depth and kind < 0.3:
        return {f"k{n}": value(rng, depth - 1) for n in range(rng.randint(1, 3))}
    return rng.choice(SCALARS)(rng)


def dotted(data: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key that may be named, of leaves and of mappings."""
    found = []
    for key, item in data.items():
        found.append(prefix + key)
        if isinstance(item, dict):
            found += dotted(item, f"{prefix}{key}.")
    return found


class Project:
    """The files of a random project; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.files: dict[str, str | bytes] = {}
        self.params = {f"p{n}": value(rng) for n in range(8)}
        self.params["safe"] = {"one": 1, "two": 0.25, "word": "w"}
        self.other = {f"o{n}": value(rng) for n in range(4)}
        self.whole = {f"w{n}": value(rng, 1) for n in range(3)}
        self.files["params.yaml"] = yamlfile.dump(self.params)
        self.files["other.yaml"] = yamlfile.dump(self.other)
        self.files["whole.yaml"] = yamlfile.dump(self.whole)
        self.files["code.py"] = "X = 1\nY = (1, 2)\nclass C:\n    Z = 'z'\n"
        self.sources = [f"src{n}.txt" for n in range(4)]
        for name in self.sources:
            self.files[name] = f"{rng.random()}\n"
        for name in ("tree/a.txt", "tree/sub/b.txt", "tree/x y.txt"):
            self.files[name] = f"{rng.random()}\n"
        self.available = [*self.sources, "tree", "tree/sub"]
        self.stages: dict[str, Any] = {}
        for number in range(rng.randint(8, 12)):
            self.add(f"s{number}")
        self.add_group("each", {"foreach": [1, "two", True]}, "${item}")
        self.add_group("grid", {"matrix": {"m": [1, 0.5], "n": ["x", "y"]}}, "${item.m}-${item.n}")
        self.files["dvc.yaml"] = yamlfile.dump({"params": ["whole.yaml"], "stages": self.stages})

    def deps(self) -> list[str]:
        chosen = self.rng.sample(self.available, self.rng.randint(1, 3))
        # One inside another is right, too, but has one content.
        return [path for path in chosen if not any(path.startswith(f"{other}/") for other in chosen)]

    def used(self) -> list[Any]:
        rng = self.rng
        # A key and one below it: DVC writes the value once and refers to it (see shared/ in gallery.py).
        found: list[Any] = []
        for key in rng.sample(dotted(self.params), rng.randint(0, 3)):
            if not any(key.startswith(f"{other}.") or other.startswith(f"{key}.") for other in found):
                found.append(key)
        if rng.random() < 0.3:
            found.append({"other.yaml": rng.sample(list(self.other), rng.randint(1, 3))})
        if rng.random() < 0.2:
            found.append({"whole.yaml": None})
        if rng.random() < 0.2:
            found.append({"code.py": rng.sample(["X", "Y", "C.Z", "C"], 2)})
        rng.shuffle(found)
        return found

    def add(self, name: str) -> None:
        rng = self.rng
        deps = self.deps()
        made = f"cat $(find {' '.join(deps)} -type f | sort | tr ' ' '?') | cksum"
        stage: dict[str, Any] = {"cmd": "", "deps": deps, "params": self.used()}
        section, options = rng.choice(["outs", "outs", "outs", "metrics", "plots"]), {}
        out = f"{name}.out"
        lines = [f"{made} > {out}"]
        if section == "metrics":
            out = f"{name}.json"
            lines = [
                f"""echo '{{"{name}": {rng.choice(["1", "0.1", "-2.5e-7", "null", '"t"'])}, "m": {{"n": {rng.random()}}}}}' > {out}"""
            ]
        elif section == "plots":
            out = f"{name}.csv"
            lines = [f"echo step,loss > {out}", f"echo {rng.random()},1 >> {out}"]
        elif rng.random() < 0.4:
            out = f"{name}.d"
            lines = [f"mkdir -p {out}/deep", f"{made} > {out}/one", f"echo {name} > '{out}/deep/two words'"]
        if rng.random() < 0.3:
            options["cache"] = False
        if rng.random() < 0.2:
            lines[-1] += " # ${safe.one} ${safe}"
        if rng.random() < 0.1:
            options["persist"] = True
        if rng.random() < 0.2:
            stage["desc"] = rng.choice(WORDS[:4])
        if rng.random() < 0.1:
            stage["always_changed"] = True
        stage["cmd"] = lines if len(lines) > 1 and rng.random() < 0.5 else " && ".join(lines)
        stage[section] = [{out: options} if options else out]
        self.stages[name] = {key: item for key, item in stage.items() if item}
        self.available.append(out)
        if out.endswith(".d") and rng.random() < 0.5:
            self.available.append(f"{out}/deep")

    def add_group(self, name: str, generator: dict[str, Any], item: str) -> None:
        deps = self.deps()
        body = {
            "cmd": f"echo {item} ${{safe.word}} > {name}-{item}.out",
            "deps": deps,
            "outs": [f"{name}-{item}.out"],
        }
        self.stages[name] = {**generator, "do": body} if "foreach" in generator else {**generator, **body}


def change(work: Work, project: Project, rng: random.Random) -> list[str]:
    """Changes the project in a few random ways; the same for the same random numbers. Returns what was done."""
    stages = project.stages
    params = yamlfile.load(work.read("params.yaml"), "params.yaml")
    done = []

    def stage_named(allow: Callable[[dict[str, Any]], bool] = lambda stage: True) -> str:
        return rng.choice([name for name, stage in stages.items() if name.startswith("s") and allow(stage)])

    def out_of(stage: dict[str, Any]) -> str:
        item = next(stage[section][0] for section in ("outs", "metrics", "plots") if section in stage)
        return next(iter(item)) if isinstance(item, dict) else item

    for _ in range(rng.randint(2, 5)):
        kind = rng.choice(
            ["source", "param", "param", "tree", "out", "gone", "cmd", "dep", "lock", "desc", "mode", "order"]
        )
        if kind == "source":
            work.put(rng.choice(project.sources), f"{rng.random()}\n")
        elif kind == "param":
            # What is named by a key below stays.
            params[rng.choice([key for key, item in params.items() if not isinstance(item, dict)])] = value(rng)
            params["safe"]["one"] = rng.randint(1, 2)
            work.put("params.yaml", yamlfile.dump(params))
        elif kind == "tree":
            work.put(f"tree/{rng.choice(['a.txt', 'new.txt', 'sub/b.txt'])}", f"{rng.random()}\n")
        elif kind in ("out", "gone"):
            relpath = out_of(stages[stage_named()])
            path = work.root / relpath
            if not path.exists():
                continue
            if kind == "gone":
                work.remove(relpath)
            else:
                work.put(f"{relpath}/one" if path.is_dir() else relpath, f"{rng.random()}\n")
        elif kind == "cmd":
            stage = stages[stage_named()]
            stage["cmd"] = [stage["cmd"], "true"] if isinstance(stage["cmd"], str) else " && ".join(stage["cmd"])
        elif kind == "dep":
            stage = stages[stage_named()]
            extra = rng.choice(project.sources)
            if extra in stage["deps"] and len(stage["deps"]) > 1:
                stage["deps"].remove(extra)
            elif extra not in stage["deps"]:
                stage["deps"].append(extra)
        elif kind == "lock":
            lock = yamlfile.load(work.read("dvc.lock"), "dvc.lock")
            lock["stages"].pop(rng.choice(list(lock["stages"])))
            work.put("dvc.lock", yamlfile.dump(lock))
        elif kind == "desc":
            stages[stage_named()]["desc"] = rng.choice(WORDS[:4])
        elif kind == "mode":
            (work.root / rng.choice(project.sources)).chmod(rng.choice([0o644, 0o755]))
        else:
            names = list(stages)
            rng.shuffle(names)
            for name in names:
                stages[name] = stages.pop(name)
        done.append(kind)
    work.put("dvc.yaml", yamlfile.dump({"params": ["whole.yaml"], "stages": stages}))
    return done
