"""Differences as text, in the form ``git diff`` prints and ``git apply`` reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.git import objects
from pyexp.git.worktree import Files

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

TreeEntry = tuple[int, str]
# Mode, sha and bytes of one side.
_Side = tuple[int, str, bytes]


def under(paths: Sequence[str], relpath: str) -> bool:
    """Whether the path is one of ``paths`` or below one; no paths, '.' and '' mean everything."""
    return not paths or any(
        top in ("", ".") or relpath == top or relpath.startswith(top.rstrip("/") + "/") for top in paths
    )


def diff_text(
    repo: Repo, a: str | None = None, b: str | None = None, *, staged: bool = False, paths: Sequence[str] = ()
) -> str:
    """The unified diff between two revisions, a revision and the work tree, HEAD and index (``staged``), or (with
    neither) index and work tree; limited to ``paths``. Empty when nothing differs.
    """
    index = repo.read_index()
    in_index = {path: (entry.mode, entry.sha) for path, entry in index.entries.items() if not entry.intent_to_add}
    if a is not None:
        old = objects.flatten(repo, repo.tree_of(repo.resolve(a)))
    elif staged:
        head = repo.head().sha
        old = objects.flatten(repo, repo.tree_of(head)) if head else {}
    else:
        old = in_index
    worktree: Files | None = None
    if b is not None:
        new = objects.flatten(repo, repo.tree_of(repo.resolve(b)))
    elif staged:
        new = in_index
    else:
        worktree = Files(repo, index)
        new = _now(worktree, {**index.entries, **old} if a is not None else index.entries)
    text = []
    for path in sorted({*old, *new}, key=lambda name: name.encode("utf-8", "surrogateescape")):
        if under(paths, path) and old.get(path) != new.get(path):
            sides = (_side(repo, path, old.get(path), None), _side(repo, path, new.get(path), worktree))
            text.append("".join(_one(path, *sides)))
    return "".join(text)


def _now(files: Files, paths: Iterable[str]) -> dict[str, TreeEntry]:
    found = ((path, files.entry(path, lambda data: objects.blob_sha(files.repo, data))) for path in paths)
    return {path: entry for path, entry in found if entry is not None}


def _side(repo: Repo, path: str, entry: TreeEntry | None, worktree: Files | None) -> _Side | None:
    if entry is None:
        return None
    mode, sha = entry
    if mode == objects.GITLINK:
        return mode, sha, f"Subproject commit {sha}\n".encode()
    found = worktree.stat(path) if worktree is not None else None
    if worktree is not None and found is not None and not worktree.repo.blob_exists(sha):
        return mode, sha, worktree.read(path, found)
    return mode, sha, repo.read_blob(sha, most=durable.MAX_READ_BYTES)


def _one(path: str, old: _Side | None, new: _Side | None) -> Iterator[str]:
    if old is not None and new is not None and old[0] & 0o170000 != new[0] & 0o170000:
        # A file that became a link is shown as one gone and one made.
        yield from _one(path, old, None)
        yield from _one(path, None, new)
        return
    yield f"diff --git {quoted('a/' + path)} {quoted('b/' + path)}\n"
    zero = "0" * 7
    if old is None:
        assert new is not None
        yield f"new file mode {new[0]:06o}\n"
        mode = ""
    elif new is None:
        yield f"deleted file mode {old[0]:06o}\n"
        mode = ""
    elif old[0] != new[0]:
        yield f"old mode {old[0]:06o}\nnew mode {new[0]:06o}\n"
        mode = ""
    else:
        mode = f" {old[0]:06o}"
    before, after = (old[2] if old else b""), (new[2] if new else b"")
    if old is not None and new is not None and old[1] == new[1]:
        return
    yield f"index {old[1][:7] if old else zero}..{new[1][:7] if new else zero}{mode}\n"
    names = quoted(f"a/{path}") if old else "/dev/null", quoted(f"b/{path}") if new else "/dev/null"
    if b"\0" in before[:8000] or b"\0" in after[:8000]:
        yield f"Binary files {names[0]} and {names[1]} differ\n"
        return
    yield from _hunks(before, after, names)


def _hunks(before: bytes, after: bytes, names: tuple[str, str]) -> Iterator[str]:
    lines = [_lines(before), _lines(after)]
    for number, line in enumerate(difflib.unified_diff(lines[0], lines[1], *names, n=3)):
        # A name with blanks ends in a tab, as git writes it, so that readers know where it ends.
        if number < 2 and " " in line[4:]:
            line = line.rstrip("\n") + "\t\n"
        yield line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "replace")
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def quoted(name: str) -> str:
    """The name as git prints it: in quotes with escapes when it holds anything unusual."""
    raw = name.encode("utf-8", "surrogateescape")
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in raw):
        return name
    escapes = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 34: '"', 92: "\\"}
    out = "".join(
        f"\\{escapes[byte]}" if byte in escapes else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in raw
    )
    return f'"{out}"'
