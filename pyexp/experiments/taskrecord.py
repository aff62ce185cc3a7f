"""The record of a queued experiment: four bytes of CRC-32, then msgpack; what was flipped on the disk is not run.

A stranger can put a record of his own into git: what is read is checked before it becomes a path, a ref or a command.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from pyexp import durable
from pyexp.errors import ExperimentError
from pyexp.git import objects, refs
from pyexp.model import Task
from pyexp.records import asdict, fields

VERSION = 2
# Times, in seconds before and after 1970: further than this no calendar goes.
MAX_SECONDS = 1e11
_ID = re.compile(r"[0-9a-f]+")
_FIELDS = frozenset(field.name for field in fields(Task))
_TYPES: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: ("id", "name", "commit", "baseline", "message", "phase", "error", "result"),
    (list, tuple): ("overrides", "targets", "copy_paths"),
    dict: ("options", "env", "owner", "metrics"),
    (int, float): ("created", "started", "ended", "attempt", "status"),
}
_MAY_BE_NONE = frozenset(("message", "phase", "error", "result", "owner", "started", "ended", "status"))


def write(path: Path, task: Task) -> None:
    """Replaces the record at a path, whole or not at all."""
    body = msgpack.packb({"version": VERSION, **asdict(task)}, default=str)
    # Variables of the environment (exp.pass_env) may be secret.
    mode = 0o600 if task.env else None
    durable.write_file(path, zlib.crc32(body).to_bytes(4, "little") + body, mode=mode)


def decode(raw: bytes, id: str) -> Task | None:
    """The task of a record, which must have that id; None for one of another version. Raises ValueError."""
    if zlib.crc32(raw[4:]) != int.from_bytes(raw[:4], "little"):
        raise ValueError("its bytes are damaged")
    try:
        record = msgpack.unpackb(raw[4:])
        if not isinstance(record, dict):
            raise ValueError("it is no record")
        if record.pop("version") != VERSION:
            return None
        _check_types(record)
        if record["id"] != id:
            raise ValueError("it is another task's")
        known: dict[str, Any] = {key: value for key, value in record.items() if key in _FIELDS}
        for key in ("overrides", "targets", "copy_paths"):
            known[key] = tuple(known.get(key, ()))
        return Task(**known)
    except (TypeError, KeyError, ExperimentError, msgpack.UnpackException) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _check_types(record: Mapping[str, Any]) -> None:
    """Raises ValueError for a field of a wrong kind: a stranger can put a record of his own into git."""
    for kind, names in _TYPES.items():
        for name in names:
            value = record.get(name)
            if name not in record or (value is None and name in _MAY_BE_NONE):
                continue
            if not isinstance(value, kind):
                raise ValueError(f"'{name}' is of a wrong kind")
    texts = [*record.get("env", {}).values()]
    for name in ("overrides", "targets", "copy_paths"):
        texts += record.get(name, ())
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("something in it is no text")
    for name in ("created", "started", "ended"):
        if not abs(record.get(name) or 0.0) < MAX_SECONDS:  # no number is not less, either
            raise ValueError(f"'{name}' is no time")
    # They become the names of a log and of refs.
    if not _ID.fullmatch(record["id"]) or not all(objects.is_sha(record[name]) for name in ("commit", "baseline")):
        raise ValueError("what should be an object's name is none")
    refs.check_name(record["name"])
