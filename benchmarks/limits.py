"""What the machine itself takes for the same work: run as a command, so that it is measured as the commands are.

python limits.py ACTION ARGUMENT...
"""

import hashlib
import mmap
import os
import subprocess
import sys


def scan(top: str) -> None:
    """Lists every directory below ``top`` and looks at each file: what no status can do without."""
    pending = [top]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)


def xxh128(path: str) -> None:
    """Hashes a file from the page cache, as xxh128sum does."""
    import xxhash

    _hash(path, xxhash.xxh3_128())


def md5(path: str) -> None:
    """Hashes a file from the page cache, as md5sum does."""
    _hash(path, hashlib.md5(usedforsecurity=False))


def _hash(path: str, hasher: "hashlib._Hash") -> None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if hasattr(data, "madvise"):
            data.madvise(mmap.MADV_SEQUENTIAL)
        hasher.update(data)
    print(hasher.hexdigest())


def unlink(top: str) -> None:
    """Removes every file below ``top``."""
    for directory, _, names in os.walk(top):
        for name in names:
            os.unlink(os.path.join(directory, name))


def experiments(repo: str) -> None:
    """Every experiment's ref, then its commit, params and metrics, by git: the least that a table must read."""
    listed = subprocess.run(
        ["git", "for-each-ref", "--format=%(objectname)", "refs/exps"], cwd=repo, capture_output=True, check=True
    ).stdout.split()
    asked = b"".join(b"%b\n%b:params.yaml\n%b:m.json\n%b:dvc.yaml\n" % (sha, sha, sha, sha) for sha in listed)
    subprocess.run(["git", "cat-file", "--batch"], cwd=repo, input=asked, stdout=subprocess.DEVNULL, check=True)


ACTIONS = {action.__name__: action for action in (scan, xxh128, md5, unlink, experiments)}

if __name__ == "__main__":
    ACTIONS[sys.argv[1]](*sys.argv[2:])
