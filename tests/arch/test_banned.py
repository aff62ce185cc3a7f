"""What must not be in the code, looked for in its syntax trees: each rule lost somebody's data or time once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pyexp"
FILES = sorted(PACKAGE.rglob("*.py"))

# Third-party name -> the only places that may import it (docs/design.md).
HOMES = {
    "dulwich": ("git/",),
    "yaml": ("formats/",),
    "tomlkit": ("formats/",),
    "tomllib": ("formats/",),
    "xxhash": ("objects/hashes.py",),
    "paramiko": ("ssh.py", "objects/remote_ssh.py", "git/paramikossh.py"),
    "prettytable": ("cli/",),
    "argparse": ("cli/",),
    "multiprocessing": ("experiments/executors.py",),
}
# Never, anywhere: code in data, or dulwich's parts that lose refs, objects or files (DULWICH.md §2).
BANNED_MODULES = {
    "cloudpickle",
    "dill",
    "diskcache",
    "dulwich.cli",
    "dulwich.gc",
    "dulwich.porcelain",
    "git",
    "marshal",
    "pickle",
    "pygit2",
    "shelve",
    "unittest.mock",
}
BANNED_NAMES = {
    "FullLoader",
    "UnsafeLoader",
    "WorkTree",
    "chdir",
    "do_commit",
    "fchdir",
    "full_load",
    "garbage_collect",
    "get_worktree",
    "maybe_auto_gc",
    "pack_refs",
    "repack",
    "reset_index",
    "unsafe_load",
    "update_working_tree",
}
BANNED_BUILTINS = {"eval", "exec", "compile", "__import__"}
ONLY_CLI = {"print", "input", "exit", "quit"}


def relpath(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Every imported module and every ``from`` name, dotted, with its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_the_rules_find_what_they_look_for() -> None:
    """The finders see through aliases of import and through attributes."""
    module = ast.parse("from dulwich import porcelain as p\nimport pickle, os\nos.chdir('/')\n")
    assert {name for _, name in imported(module)} >= {"dulwich.porcelain", "pickle"}
    assert names_used(module) & BANNED_NAMES == {"chdir"}
    assert FILES, "no sources found"


def names_used(module: ast.Module) -> set[str]:
    """Names that code reads, calls or imports; what it defines itself is its own business."""
    own = {node.name for node in ast.walk(module) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    found = {node.attr for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    found |= {node.id for node in ast.walk(module) if isinstance(node, ast.Name)} - own
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("pyexp"):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=relpath)
def test_imports_stay_in_their_homes(path: Path) -> None:
    where = relpath(path)
    for line, name in imported(tree(path)):
        root = name.partition(".")[0]
        assert not any(name == banned or name.startswith(f"{banned}.") for banned in BANNED_MODULES), (
            f"{where}:{line}: {name} is banned"
        )
        homes = HOMES.get(root)
        assert homes is None or where.startswith(homes), f"{where}:{line}: {root} belongs in {' or '.join(homes)}"


@pytest.mark.parametrize("path", FILES, ids=relpath)
def test_no_banned_name_is_used(path: Path) -> None:
    found = names_used(tree(path)) & BANNED_NAMES
    assert not found, f"{relpath(path)} uses {sorted(found)}"


@pytest.mark.parametrize("path", FILES, ids=relpath)
def test_no_banned_call_is_made(path: Path) -> None:
    where = relpath(path)
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        name, here = called(node), f"{where}:{node.lineno}"
        assert name not in BANNED_BUILTINS, f"{here}: {name}()"
        assert name != "os.system", f"{here}: {name}()"
        if name == "yaml.load":
            assert "Safe" in ast.unparse(node), f"{here}: yaml.load without a safe loader"
        if not where.startswith("cli/"):
            assert name not in ONLY_CLI, f"{here}: {name}() outside cli/"
            assert name not in ("sys.exit", "logging.basicConfig"), f"{here}: {name}() outside cli/"
            assert not name.startswith(("sys.stdout.", "sys.stderr.")), f"{here}: {name}() outside cli/"
        if name == "signal.signal":
            # The pool's workers are processes of our own.
            assert where.startswith("cli/") or where == "experiments/executors.py", f"{here}: signal handler"


@pytest.mark.parametrize("path", FILES, ids=relpath)
def test_git_is_never_run(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and re.search(r"subprocess\.|Popen|os\.exec|os\.spawn", called(node)):
            argument = ast.unparse(node.args[0]) if node.args else ""
            assert not re.match(r"""[\[(]?\s*f?['"](/usr/bin/)?git\b""", argument), f"{relpath(path)}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=relpath)
def test_nothing_is_left_for_later(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\b(?:TODO|FIXME|XXX|HACK|raise NotImplementedError)\b", text)
    assert not found, f"{relpath(path)}: {found}"


def test_there_is_no_room_without_a_noun() -> None:
    names = {part for path in FILES for part in path.relative_to(PACKAGE).with_suffix("").parts}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
