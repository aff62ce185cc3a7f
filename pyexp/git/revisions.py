"""Revisions: what text names which commit (gitrevisions(7)), and walks over history."""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import BadRevision, GitError
from pyexp.git import objects, reflog, refs

if TYPE_CHECKING:
    from pyexp.git.repo import Repo

_SUFFIX = re.compile(r"\^\{(?P<peel>\w*)\}|~(?P<up>\d*)|\^(?P<parent>\d*)|@\{(?P<back>[^}]*)\}")
_HEX = re.compile(r"[0-9a-f]{4,64}\Z")
_HINT = "see what there is: pyexp git log, pyexp exp list -A"


def resolve(repo: Repo, rev: str) -> str:
    """The commit a revision names; raises BadRevision, naming the part that means nothing."""
    if not rev or rev.startswith("-"):
        raise BadRevision(f"'{rev}' is not a revision", hint=_HINT)
    start = next((i for i, c in enumerate(rev) if c in "~^" or rev.startswith("@{", i)), len(rev))
    base, suffix = rev[:start], rev[start:]
    sha: str | None = None
    if not (suffix.startswith("@{") and not suffix.startswith("@{u")):
        sha = _base(repo, base or "HEAD", rev)
    position = 0
    while position < len(suffix):
        match = _SUFFIX.match(suffix, position)
        if match is None:
            raise BadRevision(f"'{rev}' is not a revision pyexp understands", hint=_HINT)
        sha = _step(repo, rev, base, sha, match)
        position = match.end()
    assert sha is not None
    return _to_commit(repo, sha, rev)


def _step(repo: Repo, rev: str, base: str, sha: str | None, match: re.Match[str]) -> str:
    if match["back"] is not None:
        return _reflog_entry(repo, rev, base, match["back"])
    assert sha is not None
    if match["peel"] is not None:
        if match["peel"] not in ("", "commit"):
            raise BadRevision(f"'{rev}' does not name a commit", hint=_HINT)
        return _to_commit(repo, sha, rev)
    if match["up"] is not None:
        sha = _to_commit(repo, sha, rev)
        for _ in range(int(match["up"] or 1)):
            sha = _parent(repo, sha, 1, rev)
        return sha
    return _parent(repo, _to_commit(repo, sha, rev), int(match["parent"] or 1), rev)


def _parent(repo: Repo, sha: str, number: int, rev: str) -> str:
    if number == 0:
        return sha
    parents = parents_of(repo, sha)
    if number > len(parents):
        raise BadRevision(f"'{rev}' goes back further than history does", hint=_HINT)
    return parents[number - 1]


def _reflog_entry(repo: Repo, rev: str, base: str, what: str) -> str:
    branch = repo.head().branch
    if what in ("u", "upstream"):
        name = base if base not in ("", "HEAD", "@") else branch
        remote = repo.config_get(f"branch.{name}.remote") if name else None
        merge = repo.config_get(f"branch.{name}.merge") if name else None
        if remote and merge:
            local = f"refs/remotes/{remote}/{merge[len('refs/heads/') :]}" if remote != "." else merge
            found = refs.exists(repo, local)
            if found:
                return found
        raise BadRevision(f"'{rev}': no upstream is known", hint="name the branch in full, as in origin/main")
    if not re.fullmatch(r"-?\d+", what):
        raise BadRevision(f"'{rev}': dates are not understood here", hint="name a commit")
    number = int(what)
    if number < 0:
        previous = reflog.previous_branch(repo, -number)
        if previous is not None:
            return _base(repo, previous, rev)
        raise BadRevision(f"'{rev}': no branch was left that often", hint=_HINT)
    if base in ("", "HEAD", "@"):
        name = "HEAD" if base or branch is None else f"refs/heads/{branch}"
    else:
        name = next((n for n in _candidates(base) if refs.exists(repo, n) is not None), f"refs/heads/{base}")
    entries = reflog.read(repo, name)
    if number >= len(entries):
        if number == 0:
            return _base(repo, base or "HEAD", rev)
        raise BadRevision(f"'{rev}': the log of {name} has only {len(entries)} entries", hint=_HINT)
    return entries[-1 - number].new


def _candidates(name: str) -> list[str]:
    """Where git looks for a name, in its order."""
    return [
        *([name] if name.startswith("refs/") or name.isupper() else []),
        f"refs/{name}",
        f"refs/tags/{name}",
        f"refs/heads/{name}",
        f"refs/remotes/{name}",
        f"refs/remotes/{name}/HEAD",
    ]


def _base(repo: Repo, name: str, rev: str) -> str:
    if name in ("HEAD", "@"):
        sha = repo.head().sha
        if sha is None:
            raise BadRevision(f"'{rev}': there is no commit yet", hint="make one: pyexp git commit -m 'Start'")
        return sha
    if objects.is_sha(name):
        return name
    for candidate in _candidates(name):
        found = refs.exists(repo, candidate)
        if found is not None:
            return found
    if _HEX.match(name):
        found = _short(repo, name)
        if found is not None:
            return found
    # git describe's spelling: v1.0-3-gabcdef0
    described = re.search(r"-g([0-9a-f]{4,64})\Z", name)
    if described and (found := _short(repo, described[1])) is not None:
        return found
    raise BadRevision(f"'{rev}' is no revision of this repository", hint=_HINT)


def _short(repo: Repo, prefix: str) -> str | None:
    """The commit a short sha names; raises BadRevision when it names several."""
    names = (sha.decode("ascii", "replace") for sha in repo.store.iter_prefix(prefix.encode("ascii")))
    found = {sha for sha in names if objects.is_sha(sha)}
    if len(found) > 1:
        # As git: where a commit is wanted, blobs and trees of that name do not count.
        found = {sha for sha in found if objects.read(repo, sha)[0] in ("commit", "tag")}
    if len(found) > 1:
        raise BadRevision(f"'{prefix}' is ambiguous: {', '.join(s[:12] for s in sorted(found)[:3])}", hint="add digits")
    return found.pop() if found else None


def _to_commit(repo: Repo, sha: str, rev: str) -> str:
    try:
        kind, data = objects.read(repo, sha)
        while kind == "tag":
            sha = data.split(b"\n", 1)[0].partition(b" ")[2].decode("ascii")
            kind, data = objects.read(repo, sha)
    except GitError as error:
        raise BadRevision(f"'{rev}' is no commit of this repository", hint=_HINT) from error
    if kind != "commit":
        raise BadRevision(f"'{rev}' is a {kind}, not a commit", hint=_HINT)
    return sha


def parents_of(repo: Repo, sha: str) -> tuple[str, ...]:
    """A commit's parents as history goes: none where a shallow clone ends."""
    if sha in shallow(repo):
        return ()
    parents = []
    for line in objects.read_as(repo, sha, "commit").split(b"\n"):
        if line.startswith(b"parent "):
            parents.append(line[7:].decode("ascii"))
        elif not line.startswith(b"tree "):
            break
    return tuple(parents)


def shallow(repo: Repo) -> frozenset[str]:
    """The commits whose parents a shallow clone does not have."""
    raw = durable.read_file(os.path.join(repo.commondir, "shallow")) or b""
    return frozenset(raw.decode("ascii", "replace").split())


def history(repo: Repo, sha: str, n: int | None, first_parent: bool = True) -> Iterator[str]:
    """Up to ``n`` commits from ``sha`` back, newest first."""
    ends = shallow(repo)
    if first_parent:
        current: str | None = sha
        while current is not None and (n is None or n > 0):
            yield current
            n = None if n is None else n - 1
            if n == 0:  # nobody wants to know where the last one comes from
                return
            parents = () if current in ends else objects.parse_commit(current, _commit_bytes(repo, current)).parents
            current = parents[0] if parents else None
        return
    seen = {sha}
    heap = [(-repo.commit(sha).time, 0, sha)]
    count = 0
    while heap and (n is None or count < n):
        _, _, current = heapq.heappop(heap)
        yield current
        count += 1
        for parent in () if current in ends else repo.commit(current).parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-repo.commit(parent).time, len(seen), parent))


def _commit_bytes(repo: Repo, sha: str) -> bytes:
    return objects.read_as(repo, sha, "commit")


_STALE = 4


def merge_base(repo: Repo, a: str, b: str) -> str | None:
    """A best common ancestor of two commits: one that is no ancestor of another common one."""
    if a == b:
        return a
    ends = shallow(repo)
    # From which side a commit was reached (1, 2), and whether it lies behind a common one (_STALE).
    flags = {a: 1, b: 2}
    heap = [(-repo.commit(sha).time, sha) for sha in (a, b)]
    heapq.heapify(heap)
    common: list[str] = []
    while any(not flags[sha] & _STALE for _, sha in heap):
        _, sha = heapq.heappop(heap)
        passed = flags[sha]
        if passed & 3 == 3 and not passed & _STALE:
            common.append(sha)
            passed |= _STALE
        for parent in () if sha in ends else repo.commit(sha).parents:
            have = flags.get(parent, 0)
            if have | passed != have:
                flags[parent] = have | passed
                heapq.heappush(heap, (-repo.commit(parent).time, parent))
    return next((sha for sha in common if not flags[sha] & _STALE), None)


def is_ancestor(repo: Repo, a: str, b: str) -> bool:
    """Whether ``a`` is ``b`` or one of its ancestors."""
    if a == b:
        return True
    ends = shallow(repo)
    oldest = repo.commit(a).time
    seen = {b}
    pending = [b]
    while pending:
        sha = pending.pop()
        commit = repo.commit(sha)
        # Clocks are wrong by hours, not by days: below that, older commits cannot contain the one looked for.
        if sha in ends or commit.time < oldest - 86400 * 7:
            continue
        for parent in commit.parents:
            if parent == a:
                return True
            if parent not in seen:
                seen.add(parent)
                pending.append(parent)
    return False


def tags(repo: Repo) -> dict[str, str]:
    """Tags and the commits they end at; tags of other things are left out."""
    known = refs.peeled(repo, "refs/tags/")
    found = {}
    for name, sha in refs.read(repo, "refs/tags/").items():
        target = known.get(name)
        if target is None:
            try:
                target = _to_commit(repo, sha, name)
            except BadRevision:
                continue
        found[name[len("refs/tags/") :]] = target
    return found


def describe(repo: Repo, sha: str) -> str | None:
    """A name for a commit: HEAD's branch if that is there, else the first tag, else the first branch, else None."""
    head = repo.head()
    if head.branch is not None and head.sha == sha:
        return head.branch
    for names in (tags(repo), repo.branches()):
        for name in sorted(names):
            if names[name] == sha:
                return name
    return None
