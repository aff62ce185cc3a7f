"""Which projects share a cache that lies outside of them: each leaves a mark there, so that gc takes from none.

A configuration may name any directory as its cache, and configurations come from strangers: without a project's own mark
nothing there is its to remove. A mark is a file in ``owners`` that holds the project's path.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

from pyexp import durable


def mark(cache: Path, root: Path, dir_mode: int | None = None) -> None:
    """Says that a project stores into a cache."""
    text = os.path.realpath(root)
    raw = os.fsencode(text)
    path = cache / "owners" / f"{zlib.crc32(raw):08x}{zlib.crc32(raw[::-1]):08x}"
    if not path.exists():
        durable.make_directories(path.parent, dir_mode)
        durable.write_file(path, f"{text}\n")


def marked(cache: Path) -> dict[str, Path]:
    """The paths of the projects that store into a cache, and their marks."""
    found: dict[str, Path] = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted((cache / "owners").iterdir()):
            raw = None if path.name.startswith(durable.TMP_PREFIX) else durable.read_file(path)
            if raw is not None:
                found[os.fsdecode(raw).rstrip("\n")] = path
    return found
