"""The log of where a ref has been (gitrepository-layout(5): logs/): read for ``@{n}``, written for branches and HEAD."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from pyexp import durable
from pyexp.model import Identity

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_MOVE = re.compile(r"checkout: moving from (\S+) to ")


class Entry(NamedTuple):
    """One move of a ref."""

    old: str
    new: str
    message: str


def _path(repo: Repo, name: str) -> str:
    return os.path.join(repo.gitdir if name == "HEAD" else repo.commondir, "logs", name)


def read(repo: Repo, name: str) -> list[Entry]:
    """A ref's moves, oldest first."""
    try:
        raw = durable.read_file(_path(repo, name)) or b""
    except OSError:
        return []
    entries = []
    for line in raw.decode("utf-8", "replace").splitlines():
        head, _, message = line.partition("\t")
        words = head.split(" ", 2)
        if len(words) == 3:
            entries.append(Entry(words[0], words[1], message))
    return entries


def previous_branch(repo: Repo, number: int) -> str | None:
    """The ``number``-th branch before the present one, as HEAD's log tells."""
    left = [found[1] for entry in read(repo, "HEAD") if (found := _MOVE.match(entry.message))]
    return left[-number] if 0 < number <= len(left) else None


def append(repo: Repo, name: str, old: str | None, new: str, who: Identity, message: str) -> None:
    """Adds a move; one write in append mode, so that two writers never mix their lines."""
    path = _path(repo, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    now = int(time.time())
    offset = (time.localtime(now).tm_gmtoff or 0) // 60
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
    zero = "0" * len(new)
    text = " ".join(message.split())
    line = f"{old or zero} {new} {who.name} <{who.email}> {now} {zone}\t{text}\n"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        os.write(fd, line.encode("utf-8", "surrogateescape"))
    except OSError as error:
        durable.say_where(error, path)
        raise
    finally:
        os.close(fd)
