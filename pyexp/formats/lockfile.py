"""dvc.lock and .dvc files: what stages were made of and gave, byte for byte as DVC writes it (FORMATS.md §1.3, §1.4).

An entry without ``hash`` is of DVC 2: its md5 is taken after CRLF became LF in text files (algorithm ``md5-dos2unix``
here). Entries of pyexp's own projects name their algorithm: ``hash: xxh128``, ``xxh128: <hex>``.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pyexp.errors import FormatError
from pyexp.formats import yamlfile
from pyexp.model import Entry, LockEntry, Oid, OutSpec, StageLock, StageSpec
from pyexp.paths import UnsafePath, check_relpath

SCHEMA = "2.0"
LEGACY = "md5-dos2unix"
_HEX_DIGITS = {"md5": 32, LEGACY: 32, "xxh128": 32, "sha256": 64, "sha1": 40}
_HEX = re.compile(r"[0-9a-f]{8,128}\Z")
_STAGE_KEYS = {"cmd": (str, list), "deps": (list,), "params": (dict,), "outs": (list,)}
_DVC_KEYS = {
    "desc": (str,), "md5": (str, int), "cmd": (str, list), "wdir": (str,), "frozen": (bool,), "locked": (bool,),
    "deps": (list,), "outs": (list,), "always_changed": (bool,), "meta": (object,),
}  # fmt: skip
_OUT_KEYS = {
    "desc": (str,), "type": (str,), "labels": (list,), "meta": (object,), "cache": (bool,), "metric": (bool, dict),
    "plot": (bool, dict), "persist": (bool,), "remote": (str,), "push": (bool,), "checkpoint": (bool,),
}  # fmt: skip
_ENTRY_KEYS = ("path", "hash", "size", "nfiles", "isexec")

Keys = tuple[str | int, ...]


class _Text:
    """A text under validation: makes errors that know where they are."""

    def __init__(self, text: str, path: str) -> None:
        self.text = text
        self.path = path

    def wrong(self, message: str, keys: Keys, hint: str | None = None) -> FormatError:
        where = yamlfile.position(self.text, keys) if self.text else None
        line, column = where or (None, None)
        shown = ".".join(str(key) for key in keys)
        return FormatError(
            f"{message} in {shown}" if shown else message, path=self.path, line=line, column=column, hint=hint
        )

    def check(self, value: Any, kinds: tuple[type, ...], keys: Keys) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
            names = " or ".join(_NAMES.get(kind, kind.__name__) for kind in kinds)
            raise self.wrong(f"expected {names}", keys)


_NAMES = {str: "text", list: "a list", dict: "a mapping", bool: "true or false", int: "a number"}


def parse_lock(text: str, path: str) -> dict[str, StageLock]:
    """The stages of a dvc.lock by name; ``{}`` when it is empty. Raises FormatError."""
    check = _Text(text, path)
    return {
        name: _stage(entry, ("stages", name), check)
        for name, entry in _stages(yamlfile.load(text, path), check).items()
    }


def _stages(data: Any, check: _Text) -> dict[str, Any]:
    if data is None or data == {}:
        return {}
    check.check(data, (dict,), ())
    if data.get("schema") != SCHEMA:
        raise check.wrong(
            f"schema is {data.get('schema', 'missing')!r}, not '{SCHEMA}'",
            ("schema",),
            hint="it is of a DVC older than 2.0",
        )
    for key in data:
        if key not in ("schema", "stages", "datasets"):
            raise check.wrong(f"unknown key '{key}'", (key,))
    stages = data.get("stages")
    if stages is None:
        return {}
    check.check(stages, (dict,), ("stages",))
    return {str(name): entry for name, entry in stages.items()}


def parse_entry(data: Any) -> StageLock:
    """The inverse of ``lock_entry``; raises FormatError for anything else."""
    return _stage(data, (), _Text("", "run cache entry"))


def _stage(data: Any, keys: Keys, check: _Text) -> StageLock:
    check.check(data, (dict,), keys)
    for key, value in data.items():
        if key not in _STAGE_KEYS:
            raise check.wrong(f"unknown key '{key}'", (*keys, key))
        check.check(value, _STAGE_KEYS[key], (*keys, key))
    cmd = data.get("cmd")
    params = data.get("params", {})
    for file, found in params.items():
        check.check(found, (dict,), (*keys, "params", file))
    return StageLock(
        tuple(str(line) for line in cmd) if isinstance(cmd, list) else cmd,
        _entries(data.get("deps", ()), (*keys, "deps"), check),
        params,
        _entries(data.get("outs", ()), (*keys, "outs"), check),
    )


def _entries(items: Iterable[Any], keys: Keys, check: _Text) -> tuple[LockEntry, ...]:
    return tuple(_entry(item, (*keys, index), check) for index, item in enumerate(items))


def _entry(data: Any, keys: Keys, check: _Text, known: Iterable[str] = ()) -> LockEntry:
    check.check(data, (dict,), keys)
    path = data.get("path")
    if not isinstance(path, str) or not path:
        raise check.wrong("expected a path", (*keys, "path") if "path" in data else keys)
    name = data.get("hash")
    if name is not None and not isinstance(name, str):
        raise check.wrong("expected text", (*keys, "hash"))
    field = name or "md5"
    value = data.get(field)
    if value is None or value == "":
        extra = {key: item for key, item in data.items() if key != "path" and key not in known}
        return LockEntry(path, None, extra)
    size, nfiles = data.get("size"), data.get("nfiles")
    for key in ("size", "nfiles"):
        if data.get(key) is not None:
            check.check(data[key], (int,), (*keys, key))
            if data[key] < 0:
                raise check.wrong("expected a number of 0 or more", (*keys, key))
    isexec = data.get("isexec", False)
    check.check(isexec, (bool,), (*keys, "isexec"))
    oid = Oid(name or LEGACY, _hex(name or LEGACY, value, (*keys, field), check))
    extra = {key: item for key, item in data.items() if key not in _ENTRY_KEYS and key != field and key not in known}
    return LockEntry(path, Entry(oid, size, nfiles, isexec), extra)


def _hex(algo: str, value: Any, keys: Keys, check: _Text) -> str:
    digits = _HEX_DIGITS.get(algo)
    if isinstance(value, int) and not isinstance(value, bool):  # all decimal, written without quotes
        value = str(value).zfill(digits or 0)
    if isinstance(value, str):
        found = value.lower()
        bare = found.removesuffix(".dir")
        if _HEX.match(bare) and (digits is None or len(bare) == digits):
            return found
    raise check.wrong(f"{str(value)[:80]!r} is not a {algo.removesuffix('-dos2unix')} hash", keys)


def lock_entry(lock: StageLock) -> dict[str, Any]:
    """A stage's record as dvc.lock has it: deps and outs by path, params.yaml first, keys sorted."""
    data: dict[str, Any] = {}
    if lock.cmd is not None:
        data["cmd"] = lock.cmd if isinstance(lock.cmd, str) else list(lock.cmd)
    if lock.deps:
        data["deps"] = [_dumped(dep) for dep in sorted(lock.deps, key=lambda dep: dep.path)]
    if lock.params:
        files = sorted(lock.params, key=lambda file: (file != "params.yaml", file))
        data["params"] = {
            file: {str(key): _plain(lock.params[file][key]) for key in sorted(lock.params[file], key=str)}
            for file in files
        }
    if lock.outs:
        data["outs"] = [_dumped(out) for out in sorted(lock.outs, key=lambda out: out.path)]
    return data


def _plain(value: Any) -> Any:
    """A param's value with tuples (of Python files) as the lists they are written as."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=repr)
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _dumped(lock: LockEntry) -> dict[str, Any]:
    data: dict[str, Any] = {"path": lock.path}
    if lock.entry is not None:
        algo = lock.entry.oid.algo
        if algo != LEGACY:
            data["hash"] = algo
        data["md5" if algo == LEGACY else algo] = lock.entry.oid.hex
        data.update(_meta(lock.entry))
    data.update(lock.extra)
    return data


def _meta(entry: Entry) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if entry.size is not None:
        data["size"] = entry.size
    if entry.nfiles is not None:
        data["nfiles"] = entry.nfiles
    if entry.isexec:
        data["isexec"] = True
    return data


def update_lock(text: str | None, path: str, stages: Mapping[str, StageLock], removed: Iterable[str] = ()) -> str:
    """The text of a dvc.lock with ``stages`` recorded and ``removed`` ones gone.

    Known stages keep their place, new ones follow, everything else stays as it is. Raises FormatError.
    """
    entries = {name: lock_entry(lock) for name, lock in stages.items()}
    existing = _stages(yamlfile.load(text, path), _Text(text, path)) if text else {}
    if text is None or not existing:
        if text is None or "datasets:" not in text:
            return yamlfile.dump({"schema": SCHEMA, "stages": entries})
        return yamlfile.set_value(text, ["stages"], entries, path)
    gone = [name for name in removed if name in existing]
    changed = {
        name: entry
        for name, entry in entries.items()
        if existing.get(name) != entry or not _reads_alike(existing[name], entry)
    }
    if len(gone) + len(changed) > 1:
        # One by one each change costs a reading of the whole; a file as a tool left it is written anew just as it was.
        data = yamlfile.load(text, path)
        if yamlfile.dump(data) == text:
            kept = {name: entry for name, entry in data["stages"].items() if name not in gone}
            return yamlfile.dump({**data, "stages": {**kept, **changed}})
    for name in gone:
        text = yamlfile.delete_key(text, ["stages", name], path)
    for name, entry in changed.items():
        text = yamlfile.set_value(text, ["stages", name], entry, path)
    return text


def _reads_alike(a: Any, b: Any) -> bool:
    """Equal in type too: 1, 1.0 and true are equal to Python."""
    return json.dumps(a, default=str) == json.dumps(b, default=str)


def parse_dvc(text: str, path: str) -> tuple[StageSpec, StageLock, dict[str, Any]]:
    """A .dvc file at ``path``: what it declares, what it recorded, and its plain data. Raises FormatError."""
    check = _Text(text, path)
    data = yamlfile.load(text, path)
    if data is None:
        data = {}
    check.check(data, (dict,), ())
    for key, value in data.items():
        if key not in _DVC_KEYS:
            raise check.wrong(f"unknown key '{key}'", (key,))
        if value is not None:
            check.check(value, _DVC_KEYS[key], (key,))
    wdir = posixpath.normpath(posixpath.join(posixpath.dirname(path), data.get("wdir") or ""))
    wdir = "" if wdir == "." else wdir
    deps = _entries(data.get("deps") or (), ("deps",), check)
    outs: list[OutSpec] = []
    recorded: list[LockEntry] = []
    for index, item in enumerate(data.get("outs") or ()):
        keys: Keys = ("outs", index)
        recorded.append(_entry(item, keys, check, _OUT_KEYS))
        outs.append(_out(item, keys, check))
        try:
            check_relpath(posixpath.normpath(posixpath.join(wdir, outs[-1].path)))
        except UnsafePath as error:
            raise check.wrong(error.message, (*keys, "path")) from None
    cmd = data.get("cmd")
    command = tuple(str(line) for line in cmd) if isinstance(cmd, list) else cmd
    spec = StageSpec(
        path,
        None,
        cmd=command,
        wdir=wdir,
        deps=tuple(dep.path for dep in deps),
        outs=tuple(outs),
        frozen=bool(data.get("frozen") or data.get("locked")),
        always_changed=bool(data.get("always_changed")),
        desc=data.get("desc"),
        meta=data.get("meta"),
    )
    return spec, StageLock(command, deps, {}, tuple(recorded)), data


def _out(data: dict[str, Any], keys: Keys, check: _Text) -> OutSpec:
    for key, kinds in _OUT_KEYS.items():
        if data.get(key) is not None:
            check.check(data[key], kinds, (*keys, key))
    plot = data.get("plot")
    return OutSpec(
        data["path"],
        kind="plot" if plot else "metric" if data.get("metric") else "out",
        cache=data.get("cache", True),
        persist=data.get("persist", False),
        push=data.get("push", True),
        remote=data.get("remote"),
        desc=data.get("desc"),
        type=data.get("type"),
        labels=tuple(str(label) for label in data.get("labels") or ()),
        meta=data.get("meta"),
        plot=plot if isinstance(plot, dict) else {},
    )


def dump_dvc(text: str | None, path: str, spec: StageSpec, lock: StageLock) -> str:
    """The text of a .dvc file. An existing ``text`` keeps its comments, and the annotations ``spec`` does not set."""
    old_outs: dict[str, dict[str, Any]] = {}
    old: dict[str, Any] = {}
    if text:
        old = parse_dvc(text, path)[2]
        old_outs = {item["path"]: item for item in old.get("outs") or ()}
    recorded = {entry.path: entry for entry in lock.outs}
    data: dict[str, Any] = {
        "desc": spec.desc or old.get("desc"),
        "md5": None,
        "cmd": list(spec.cmd) if isinstance(spec.cmd, tuple) else spec.cmd,
        "wdir": _wdir(spec.wdir, path),
        "frozen": spec.frozen,
        "deps": [_dumped_dep(dep) for dep in lock.deps],
        "outs": [
            _dumped_out(out, recorded.get(out.path, LockEntry(out.path, None)), old_outs.get(out.path, {}))
            for out in spec.outs
        ],
        "always_changed": spec.always_changed,
        "meta": spec.meta or old.get("meta"),
    }
    data = {key: value for key, value in data.items() if value or key == "md5"}
    if "deps" in data and not any(map(is_unresolved, lock.deps)):
        data["md5"] = stage_md5(data)
    else:
        del data["md5"]
    if not text:
        return yamlfile.dump(data)
    if "locked" in old and "frozen" in data:
        data["locked"] = data.pop("frozen")
    return yamlfile.merge(text, data, path)


def _wdir(wdir: str, path: str) -> str | None:
    relative = posixpath.relpath(wdir or ".", posixpath.dirname(path) or ".")
    return None if relative == "." else relative


def _hashed(lock: LockEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keys before and after ``path`` in a .dvc file's entry."""
    before: dict[str, Any] = {}
    after = {key: lock.extra[key] for key in ("repo", "fs_config", "files") if key in lock.extra}
    if lock.entry is not None:
        algo = lock.entry.oid.algo
        before["md5" if algo == LEGACY else algo] = lock.entry.oid.hex
        before.update(_meta(lock.entry))
    before.update({key: item for key, item in lock.extra.items() if key not in after})
    if lock.entry is not None and lock.entry.oid.algo != LEGACY:
        before["hash"] = lock.entry.oid.algo
    return before, after


def is_unresolved(dep: LockEntry) -> bool:
    """Whether a dep names a place, and nothing yet of what was there."""
    if "repo" in dep.extra:
        return isinstance(dep.extra["repo"], Mapping) and not dep.extra["repo"].get("rev_lock")
    return dep.entry is None and not set(dep.extra) - {"hash", "size", "fs_config"}


def _dumped_dep(lock: LockEntry) -> dict[str, Any]:
    before, after = _hashed(lock)
    return {**before, "path": lock.path, **after}


def _dumped_out(out: OutSpec, lock: LockEntry, old: Mapping[str, Any]) -> dict[str, Any]:
    before, after = _hashed(lock)
    files = {"files": after.pop("files")} if "files" in after else {}
    declared: dict[str, Any] = {
        "desc": out.desc or old.get("desc"),
        "type": out.type or old.get("type"),
        "labels": list(out.labels) or old.get("labels"),
        "meta": out.meta or old.get("meta"),
        "cache": None if out.cache else False,
        "metric": (old.get("metric") or True) if out.kind == "metric" else None,
        "plot": (dict(out.plot) or True) if out.kind == "plot" else None,
        "persist": True if out.persist else None,
        "remote": out.remote or old.get("remote"),
        "push": False if not out.push or old.get("push") is False else None,
    }
    kept = {key: value for key, value in declared.items() if value is not None and value != [] and value != {}}
    return {**before, "path": out.path, **after, **kept, **files}


_NOT_IN_MD5 = frozenset(
    ("desc", "type", "labels", "meta", "locked", "frozen", "metric", "persist", "isexec", "size", "nfiles")
)


def stage_md5(data: Mapping[str, Any]) -> str:
    """The checksum an import's .dvc file carries: of what it says without annotations and sizes (FORMATS.md §1.4)."""
    bare = {key: value for key, value in data.items() if key not in ("md5", "desc", "meta")}
    if bare.get("wdir") == ".":
        del bare["wdir"]
    import hashlib  # only imports have one

    return hashlib.md5(json.dumps(_bare(bare), sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _bare(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _bare(item) for key, item in data.items() if key not in _NOT_IN_MD5}
    return [_bare(item) for item in data] if isinstance(data, (list, tuple)) else data
