"""The "Get Started: Experiments" tutorial, typed by somebody with nothing but Python: no git on PATH.

Each step's files, refs and output are asserted; repositories are read through dulwich, as another program would.
"""

import hashlib
import json
import re
import shutil
import stat
from pathlib import Path

import pytest
import xxhash
import yaml
from dulwich.object_store import iter_tree_contents
from dulwich.objects import Commit, Tree
from dulwich.repo import Repo
from space import Command, Result, files_of

SHOW = "pyexp exp show --no-timestamp --include-params train.n_est,train.min_split"
QUEUED = [
    "--set-param train.min_split=8",
    "--set-param train.min_split=64",
    "-S train.min_split=2 -S train.n_est=100",
    "-S train.min_split=8 -S train.n_est=100",
    "-S train.min_split=64 -S train.n_est=100",
]
# Experiments, and what keeps the commits of queued tasks from git's own garbage collection.
OWN_REFS = (b"refs/exps/", b"refs/pyexp/")
NAME = r"exp-[0-9a-f]{5}"
TRACKED = {
    ".dvcignore",
    ".gitignore",
    ".pyexp/.gitignore",
    ".pyexp/config",
    ".pyexp/format",
    "DATA.md",
    "data/.gitignore",
    "data/posts.tsv.dvc",
    "dvc.lock",
    "dvc.yaml",
    "params.yaml",
    "prc.json",
    "requirements.txt",
    "roc.json",
    "scores.json",
    "src/evaluate.py",
    "src/featurize.py",
    "src/prepare.py",
    "src/train.py",
}


class Story:
    """The repository as it is between two commands."""

    def __init__(self, root: Path, pyexp: Command) -> None:
        self.root = root
        self.pyexp = pyexp

    def head(self) -> str:
        with Repo(str(self.root)) as repo:
            return repo.head().decode()

    def experiments(self) -> dict[str, tuple[str, str]]:
        """Name -> (baseline, commit) of every ref under refs/exps."""
        found = {}
        with Repo(str(self.root)) as repo:
            for ref, sha in repo.refs.as_dict(b"refs/exps").items():
                first, second, name = ref.decode().split("/")
                found[name] = (first + second, sha.decode())
        return found

    def commit(self, sha: str) -> Commit:
        with Repo(str(self.root)) as repo:
            found = repo[sha.encode()]
            assert isinstance(found, Commit)
            return found

    def files_at(self, sha: str) -> dict[str, bytes]:
        with Repo(str(self.root)) as repo:
            tree = repo[self.commit(sha).tree]
            assert isinstance(tree, Tree)
            entries = iter_tree_contents(repo.object_store, tree.id)
            return {entry.path.decode(): repo[entry.sha].as_raw_string() for entry in entries}

    def git_state(self) -> tuple[bytes, bytes, set[bytes]]:
        """What ``exp run`` must not touch: HEAD, the index, and the user's refs (branches, tags, stash)."""
        git = self.root / ".git"
        with Repo(str(self.root)) as repo:
            refs = {ref for ref in repo.refs.allkeys() if not ref.startswith(OWN_REFS)}
        return (git / "HEAD").read_bytes(), (git / "index").read_bytes(), refs

    def cached(self) -> set[Path]:
        return {path for path in (self.root / ".pyexp/cache/files").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_tutorial(example: Path, pyexp: Command, tmp_path: Path) -> None:
    story = Story(example, pyexp)
    start(story)
    add_data(story)
    reproduce(story)
    baseline = commit_baseline(story)
    first = experiment_in_workspace(story, baseline)
    diff(story)
    copy = tmp_path / "before-queue"
    shutil.copytree(example, copy)
    queue(story)
    run_all(story, baseline, first)
    equal_runs_in_the_workspace(story, copy, first)
    best = show(story, baseline)
    apply(story, best)
    preserve(story, best)
    after_the_commit(story, baseline)
    collect_garbage(story)


def start(story: Story) -> None:
    story.pyexp.shell("pyexp git init && pyexp init").check("Initialized pyexp project.")
    control = story.root / ".pyexp"
    assert json.loads((control / "format").read_text()) == {"version": 1, "hash": "xxh128"}
    assert (control / "config").exists()
    with Repo(str(story.root)) as repo:
        assert repo.refs.read_ref(b"HEAD") == b"ref: refs/heads/master"
        staged = {path.decode() for path in repo.open_index()}
    assert staged == {".pyexp/.gitignore", ".pyexp/config", ".pyexp/format", ".dvcignore"}


def add_data(story: Story) -> None:
    raw = (story.root / "data/posts.tsv").read_bytes()
    story.pyexp("add", "data/posts.tsv").check("data/posts.tsv.dvc", "data/.gitignore")
    digest = xxhash.xxh3_128_hexdigest(raw)
    pointer = yaml.safe_load((story.root / "data/posts.tsv.dvc").read_text())
    assert pointer == {"outs": [{"xxh128": digest, "size": len(raw), "hash": "xxh128", "path": "posts.tsv"}]}
    assert (story.root / "data/.gitignore").read_text() == "/posts.tsv\n"
    stored = story.root / ".pyexp/cache/files/xxh128" / digest[:2] / digest[2:]
    assert stored.read_bytes() == raw
    assert stat.S_IMODE(stored.stat().st_mode) == 0o444
    assert (story.root / "data/posts.tsv").read_bytes() == raw


def reproduce(story: Story) -> None:
    done = story.pyexp("repro").check()
    ran = re.findall(r"^Running stage '(.*)':$", done.out, re.MULTILINE)
    assert ran == ["prepare", "featurize", "train", "evaluate"]
    lock = yaml.safe_load((story.root / "dvc.lock").read_text())
    assert lock["schema"] == "2.0"
    assert list(lock["stages"]) == ran
    model = lock["stages"]["train"]["outs"][0]
    assert model["xxh128"] == xxhash.xxh3_128_hexdigest((story.root / "model.pkl").read_bytes())
    assert lock["stages"]["train"]["params"] == {
        "params.yaml": {"train.min_split": 2, "train.n_est": 50, "train.seed": 20170428}
    }
    assert lock["stages"]["prepare"]["outs"][0]["xxh128"].endswith(".dir")
    assert lock["stages"]["prepare"]["outs"][0]["nfiles"] == 2
    assert (story.root / ".gitignore").read_text() == "/model.pkl\n"
    assert set((story.root / "data/.gitignore").read_text().split()) == {"/posts.tsv", "/prepared", "/features"}
    scores = json.loads((story.root / "scores.json").read_text())
    assert 0.8 < scores["avg_prec"] < 0.95
    assert 0.8 < scores["roc_auc"] < 0.97
    story.pyexp("repro").check("Stage 'evaluate' didn't change, skipping", "Data and pipelines are up to date.")
    story.pyexp("status").check("Data and pipelines are up to date.")


def commit_baseline(story: Story) -> str:
    story.pyexp.shell('pyexp git add . && pyexp git commit -m "Baseline"').check("Baseline")
    head = story.head()
    commit = story.commit(head)
    assert commit.message.rstrip() == b"Baseline"
    assert commit.author == b"Ada <ada@example.com>"
    assert commit.parents == []
    assert set(story.files_at(head)) == TRACKED
    for relpath, data in story.files_at(head).items():
        assert data == (story.root / relpath).read_bytes(), relpath
    assert story.experiments() == {}
    return head


def experiment_in_workspace(story: Story, baseline: str) -> str:
    before = story.git_state()
    done = story.pyexp("exp", "run", "--set-param", "featurize.max_features=3000")
    done.check("Stage 'prepare' didn't change, skipping")
    done.check("Running stage 'featurize':", "Running stage 'train':", "Running stage 'evaluate':")
    done.check("Experiment results have been applied to your workspace.")
    assert "Running stage 'prepare'" not in done.out
    found = re.search(rf"^Ran experiment\(s\): ({NAME})$", done.out, re.MULTILINE)
    assert found is not None, done.out
    name = found.group(1)
    assert re.search(rf"Reproducing experiment '{name}'", done.out)

    assert story.git_state() == before, "exp run touched HEAD, the index or another ref"
    assert set(story.experiments()) == {name}
    on, sha = story.experiments()[name]
    assert on == baseline
    commit = story.commit(sha)
    assert commit.parents == [baseline.encode()]
    stages = yaml.safe_load((story.root / "dvc.lock").read_text())["stages"]
    ran = {stage: stages[stage] for stage in ("featurize", "train", "evaluate")}
    told = hashlib.sha256(json.dumps(ran, sort_keys=True).encode()).hexdigest()
    assert commit.message.decode() == f"dvc: commit experiment {told}"
    files = story.files_at(sha)
    assert set(files) == TRACKED
    for relpath, data in files.items():
        assert data == (story.root / relpath).read_bytes(), relpath
    # One value changed, and no other byte of the file.
    old = story.files_at(baseline)["params.yaml"]
    assert files["params.yaml"] == old.replace(b"max_features: 500 ", b"max_features: 3000 ")
    return name


def table(text: str) -> list[list[str]]:
    """The rows of a plain table: cells are two or more blanks apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def diff(story: Story) -> None:
    done = story.pyexp("exp", "diff").check()
    metrics, params = done.out.strip().split("\n\n")
    head, *rows = table(metrics)
    assert head == ["Path", "Metric", "HEAD", "workspace", "Change"]
    assert [row[:2] for row in rows] == [["scores.json", "avg_prec"], ["scores.json", "roc_auc"]]
    new = json.loads((story.root / "scores.json").read_text())
    old = json.loads(story.files_at(story.head())["scores.json"])
    for _, metric, was, now, change in rows:
        assert was == f"{old[metric]:.5g}"
        assert now == f"{new[metric]:.5g}"
        assert change == f"{new[metric] - old[metric]:.5g}"
    assert table(params) == [
        ["Path", "Param", "HEAD", "workspace", "Change"],
        ["params.yaml", "featurize.max_features", "500", "3000", "2500"],
    ]


def queue(story: Story) -> None:
    before, files = story.git_state(), files_of(story.root)
    known = story.experiments()
    shown = set()
    for options in QUEUED:
        done = story.pyexp.shell(f"pyexp exp run --queue {options}").check()
        found = re.search(r"^Queued experiment '([0-9a-f]{7})' for future execution\.$", done.out, re.MULTILINE)
        assert found is not None, done.out
        shown.add(found.group(1))
    assert len(shown) == len(QUEUED)
    assert files_of(story.root) == files, "queueing changed the workspace"
    assert story.git_state() == before, "queueing touched HEAD, the index or another ref"
    assert story.experiments() == known
    listed = story.pyexp("queue", "status").check()
    for task in shown:
        assert re.search(rf"^{task}\b.*\bQueued\b", listed.out, re.MULTILINE), listed.out


def run_all(story: Story, baseline: str, first: str) -> None:
    before, files = story.git_state(), files_of(story.root)
    done = story.pyexp("exp", "run", "--run-all", "-j", "2", timeout=240).check("Ran experiment(s): ")
    assert files_of(story.root) == files, "run-all changed the workspace"
    assert story.git_state() == before, "run-all touched HEAD, the index or another ref"
    experiments = story.experiments()
    assert len(experiments) == 6
    assert first in experiments
    for name, (on, sha) in experiments.items():
        assert re.fullmatch(NAME, name)
        assert on == baseline
        assert story.commit(sha).parents == [baseline.encode()]
        if name != first:
            assert name in done.out
    with Repo(str(story.root)) as repo:
        assert not [ref for ref in repo.refs.allkeys() if ref.startswith(b"refs/pyexp/tasks/")], (
            "refs of done tasks are left"
        )
    values = {name: yaml.safe_load(story.files_at(sha)["params.yaml"]) for name, (_, sha) in experiments.items()}
    assert all(params["featurize"]["max_features"] == 3000 for params in values.values())
    assert sorted((params["train"]["n_est"], params["train"]["min_split"]) for params in values.values()) == [
        (50, 2), (50, 8), (50, 64), (100, 2), (100, 8), (100, 64)
    ]  # fmt: skip


def equal_runs_in_the_workspace(story: Story, copy: Path, first: str) -> None:
    """The same params, run one by one in the workspace of a copy that has seen no result: the same trees."""
    queued = {tree_of(story, name) for name in story.experiments() if name != first}
    assert len(queued) == len(QUEUED)
    shutil.rmtree(copy / ".pyexp/cache/runs")
    files = files_of(copy)
    other = Story(copy, Command(copy, story.pyexp.env))
    for options in QUEUED:
        for relpath, data in files.items():
            (copy / relpath).write_bytes(data)
        done = other.pyexp.shell(f"pyexp exp run {options}").check("Running stage 'train':")
        assert "is cached" not in done.out
    made = {tree_of(other, name) for name in other.experiments() if name != first}
    assert made == queued


def tree_of(story: Story, name: str) -> bytes:
    return story.commit(story.experiments()[name][1]).tree


def boxed(done: Result) -> list[list[str]]:
    """Head and rows of ``exp show``; asserts the three rules and that every line is as wide as the rules allow."""
    lines = done.out.rstrip("\n").splitlines()
    rules = [number for number, line in enumerate(lines) if set(line.strip()) == {"─"}]
    assert rules == [0, 2, len(lines) - 1], done.out
    width = len(lines[0])
    assert all(len(line) <= width for line in lines)
    return [re.split(r"\s{2,}", lines[number].strip()) for number in range(len(lines)) if number not in rules]


def show(story: Story, baseline: str) -> str:
    """One table; returns the name of the experiment with the best average precision."""
    head, *rows = boxed(story.pyexp.shell(SHOW).check())
    assert head[0] == "Experiment"
    # State and Executor are there while the queue remembers its tasks.
    columns = [name for name in head[1:] if name not in ("State", "Executor")]
    assert columns == ["avg_prec", "roc_auc", "train.n_est", "train.min_split"]
    assert [row[0] for row in rows[:2]] == ["workspace", "master"]
    assert len(rows) == 8
    experiments = story.experiments()
    avg = head.index("avg_prec")
    seen, best = set(), ("", -1.0)
    for number, row in enumerate(rows[2:]):
        mark = "└──" if number == 5 else "├──"
        found = re.fullmatch(rf"{mark} ([0-9a-f]{{7}}) \[({NAME})\]", row[0])
        assert found is not None, row
        sha = experiments[found.group(2)][1]
        assert sha.startswith(found.group(1))
        scores = json.loads(story.files_at(sha)["scores.json"])
        assert row[avg] == f"{scores['avg_prec']:.5g}"
        seen.add(found.group(2))
        best = max(best, (found.group(2), scores["avg_prec"]), key=lambda pair: pair[1])
    assert seen == set(experiments)
    told = json.loads(story.pyexp("exp", "show", "--json").check().out)
    assert [one["rev"] for one in told] == ["workspace", baseline]
    assert len(told[1]["experiments"]) == 6
    return best[0]


def apply(story: Story, name: str) -> None:
    before = story.git_state()
    story.pyexp("exp", "apply", name).check(
        f"Changes for experiment '{name}' have been applied to your current workspace."
    )
    assert story.git_state() == before
    files = story.files_at(story.experiments()[name][1])
    for relpath, data in files.items():
        assert (story.root / relpath).read_bytes() == data, relpath
    model = yaml.safe_load(files["dvc.lock"])["stages"]["train"]["outs"][0]["xxh128"]
    assert xxhash.xxh3_128_hexdigest((story.root / "model.pkl").read_bytes()) == model


def preserve(story: Story, name: str) -> None:
    story.pyexp.shell(
        "pyexp git add dvc.lock params.yaml prc.json roc.json scores.json"
        ' && pyexp git commit -a -m "Preserve best random forest experiment"'
    ).check("Preserve best random forest experiment")
    head = story.head()
    assert story.commit(head).tree == tree_of(story, name)
    story.pyexp("repro").check("Data and pipelines are up to date.")
    assert "working tree clean" in story.pyexp("git", "status").check().out


def after_the_commit(story: Story, baseline: str) -> None:
    _, *rows = boxed(story.pyexp.shell(SHOW).check())
    assert [row[0] for row in rows] == ["workspace", "master"]
    _, *rows = boxed(story.pyexp.shell(f"{SHOW} -n 2").check())
    assert [row[0] for row in rows[:3]] == ["workspace", "master", baseline[:7]]
    assert {re.sub(r".*\[(.*)\]", r"\1", row[0]) for row in rows[3:]} == set(story.experiments())
    assert len(rows) == 9


def collect_garbage(story: Story) -> None:
    before = story.cached()
    story.pyexp("exp", "gc", "--workspace").check("Removed 6 experiments.")
    assert story.experiments() == {}
    assert story.cached() == before, "exp gc removed cached objects"
    story.pyexp("gc", "--workspace").check("Removed")
    assert story.cached() < before
    # What the workspace needs is still there: it comes back from the cache alone.
    lost = {relpath: (story.root / relpath).read_bytes() for relpath in ("model.pkl", "data/features/train.pkl")}
    (story.root / "model.pkl").unlink()
    shutil.rmtree(story.root / "data/features")
    story.pyexp("checkout").check("model.pkl")
    for relpath, data in lost.items():
        assert (story.root / relpath).read_bytes() == data
    story.pyexp("status").check("Data and pipelines are up to date.")
