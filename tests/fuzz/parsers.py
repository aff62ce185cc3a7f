"""Every parser and codec as a function of bytes: it may raise what it raises on purpose, and nothing else.

Used twice: with random input by hypothesis (test_parsers.py), and by a fuzzer that looks at which code the input reaches
(coverage_guided.py, ``make fuzz``).
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack

from pyexp import documents, globs, paths
from pyexp.errors import PyexpError
from pyexp.experiments import collect, taskrecord
from pyexp.formats import (
    config,
    dvcyaml,
    ignore,
    jsonfile,
    lockfile,
    override,
    template,
    values,
    yamlfile,
)
from pyexp.git import ignore as gitignore
from pyexp.git import indexfile, objects, refs
from pyexp.objects import statcache, tree

# One directory for those that read files.
_SCRATCH = Path(tempfile.mkdtemp(prefix="pyexp-fuzz-"))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _file(name: str, data: bytes) -> Path:
    path = _SCRATCH / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _checked(body: bytes) -> bytes:
    """With the checksum our own files begin with, so that what comes after it is read."""
    return zlib.crc32(body).to_bytes(4, "little") + body


def _yaml(data: bytes) -> None:
    text = _text(data)
    value = yamlfile.load(text, "p")
    if value is not None:
        assert same(yamlfile.load(yamlfile.dump(value), "p"), value)


def same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)


def _yaml_edit(data: bytes) -> None:
    text = _text(data)
    before = yamlfile.load(text, "p")
    if isinstance(before, dict) and before:
        key = next(iter(before))
        after = yamlfile.load(yamlfile.set_value(text, [key], {"new": [1]}, "p"), "p")
        assert after[key] == {"new": [1]} and len(after) == len(before)
        gone = yamlfile.load(yamlfile.delete_key(text, [key], "p"), "p")
        assert key not in (gone or {})


def _values(suffix: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        loaded = values.load_any(_text(data), f"p{suffix}")
        if isinstance(loaded, dict):
            values.select(loaded, "a.b")
            values.flatten(loaded)

    return parse


def _json_edit(data: bytes) -> None:
    text = _text(data)
    new = jsonfile.set_value(text, ["a"], 1, "p")
    assert values.load_any(new, "p.json")["a"] == 1


def _dvcyaml(data: bytes) -> None:
    dvcyaml.parse(_text(data), "dvc.yaml", read={"params.yaml": "a: 1\nb: [1, 2]\nc: {d: x}\n"}.get)


def _lock(data: bytes) -> None:
    stages = lockfile.parse_lock(_text(data), "dvc.lock")
    text = lockfile.update_lock(None, "dvc.lock", stages)
    assert lockfile.parse_lock(text, "dvc.lock").keys() == stages.keys()
    lockfile.update_lock(_text(data), "dvc.lock", stages)


def _dvc(data: bytes) -> None:
    spec, lock, _ = lockfile.parse_dvc(_text(data), "x.dvc")
    lockfile.dump_dvc(_text(data), "x.dvc", spec, lock)


def _config(data: bytes) -> None:
    parsed = config.parse(_text(data), "c")
    config.Config({"repo": parsed}).remotes()
    again = config.set_option(_text(data), "c", "core.remote", "there")
    assert config.Config({"repo": config.parse(again, "c")}).get("core.remote") == "there"


def _override(data: bytes) -> None:
    parsed = override.parse(_text(data))
    override.apply("a: 1\nb: {c: [1, 2]}\n", "p.yaml", [parsed])
    override.expand([_text(data)])


def _template(data: bytes) -> None:
    context = template.Context({"params.yaml": "a: 1\nb: [1, 2]\nc: {d: x}\n"}.get, {})
    context.load_default("params.yaml")
    context.resolve(_text(data), "cmd")


def _manifest(algo: str) -> Callable[[bytes], None]:
    def decode(data: bytes) -> None:
        found = tree.decode(data, algo)
        for relpath in found.files:
            paths.check_relpath(relpath)
        assert tree.decode(tree.encode(found), algo).files.keys() == found.files.keys()

    return decode


def _task(data: bytes) -> None:
    try:
        found = taskrecord.decode(_checked(data), "a" * 40)
    except ValueError as error:
        raise PyexpError(str(error)) from error
    if found is not None:
        ",".join([found.id, found.name, found.commit, found.baseline, *found.overrides, *found.targets, *found.env])
        found.created + (found.started or 0) + (found.ended or 0)
        (found.owner or {}).get("pid"), found.options.get("tried"), found.metrics.items()


def _ignore(data: bytes) -> None:
    rules = ignore.Ignore({"": _text(data), "a": _text(data)}.get)
    for path in ("a", "a/b", "a/b/c d", "x" * 50, "aaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaab"):
        rules.match(path, False)
        rules.explain(path, True)


def _glob(data: bytes) -> None:
    found = globs.compiled(_text(data))
    if found is not None:
        found.match("a" * 60)
        found.match("a/" * 30 + "b")


def _gitignore(data: bytes) -> None:
    found = gitignore._filter(str(_file("gitignore", data)), False)
    assert found is not None
    for path in (b"a", b"a/b", b"x" * 50, b"a" * 40):
        for pattern in found.patterns:
            pattern.matches(path, False)


def _statcache(data: bytes) -> None:
    path = _file("statcache", _checked(data))
    statcache.is_sound(path)
    cache = statcache.StatCache(path)
    for name in ("", "a", "/a"):
        cache.directory("md5", name)
    cache.save()


def _documents(data: bytes) -> None:
    path = _file("documents", _checked(data))
    found = documents.Documents(path)
    found.document("a.yaml", "a: 1\n", path.stat())


def _rows(data: bytes) -> None:
    collect.stored_rows(data)
    body = msgpack.packb((collect.ROWS_VERSION, zlib.crc32(data), data))
    collect.stored_rows(body)


def _index(data: bytes) -> None:
    indexfile.parse(data)
    # With a right checksum, so that it is read.
    import hashlib

    body = b"DIRC" + data
    indexfile.parse(body + hashlib.sha1(body).digest())


def _commit(data: bytes) -> None:
    objects.parse_commit("0" * 40, data)


def _packed_refs(data: bytes) -> None:
    refs._parse_packed(data)
    name = _text(data)
    refs.invalid_reason(name)
    refs.check_name(name)


def _git_config(data: bytes) -> None:
    from pyexp.git import config as git_config

    path = _file("git/config", data)
    repo: Any = SimpleNamespace(commondir=str(path.parent), gitdir=str(path.parent), worktree=None)
    repo.config = git_config.load(repo)
    git_config.get(repo, "core.sshCommand")
    git_config.get_bool(repo, "core.autocrlf")
    list(git_config.subsections(repo, "remote"))


PARSERS: dict[str, Callable[[bytes], None]] = {
    "yaml": _yaml,
    "yaml_edit": _yaml_edit,
    "json": _values(".json"),
    "json_edit": _json_edit,
    "toml": _values(".toml"),
    "py": _values(".py"),
    "dvcyaml": _dvcyaml,
    "lock": _lock,
    "dvc": _dvc,
    "config": _config,
    "override": _override,
    "template": _template,
    "manifest": _manifest("xxh128"),
    "manifest_json": _manifest("md5"),
    "task": _task,
    "ignore": _ignore,
    "glob": _glob,
    "gitignore": _gitignore,
    "statcache": _statcache,
    "documents": _documents,
    "rows": _rows,
    "index": _index,
    "commit": _commit,
    "tree": lambda data: (objects.parse_tree(data), None)[1],
    "packed_refs": _packed_refs,
    "git_config": _git_config,
}


def attempt(name: str, data: bytes) -> bool:
    """Gives the bytes to a parser: True when it took them, False when it said what is wrong."""
    try:
        PARSERS[name](data)
    except PyexpError as error:
        assert str(error)
        return False
    except template.TemplateError:
        return False
    return True
