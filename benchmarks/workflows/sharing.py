"""Data to and from a remote: a directory beside the project, and an S3 server on the loopback interface.

The server's own CPU is in nobody's figure: it runs before and after what is measured.
"""

import atexit
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from workflows import measure
from workflows.data import added
from workflows.space import Space, remove
from workflows.workload import Limit, Workload, typed

KEY, SECRET = "AKIAPYEXP", "secretpyexp"
SIZE_BYTES = 1 << 10


def directory(space: Space) -> Path:
    """The remote that is a directory."""
    return space.root.with_name(f"{space.root.parent.name}-remote")


def local(space: Space) -> None:
    """``size`` files of 1 KiB, tracked, and a remote beside them."""
    added(space, SIZE_BYTES)
    space.typed("remote", "add", "-q", "-d", "r", str(directory(space)))


def forget_pushed(space: Space) -> None:
    """Nothing was ever pushed."""
    remove(directory(space))
    _forget_index(space)


def local_pushed(space: Space) -> None:
    local(space)
    space.typed("push", "-q")


def forget_fetched(space: Space) -> None:
    """Neither the cache nor the workspace has the data."""
    space.forget("data", f"{space.tool.control}/cache", space.tool.scratch)
    _forget_index(space)


def _forget_index(space: Space) -> None:
    remove(Path(space.env["DVC_SITE_CACHE_DIR"]))


def copied_to_remote() -> Limit:
    """cp of the objects, file by file."""
    return Limit(
        "cp -r",
        lambda space: ("cp", "-r", f"{space.tool.control}/cache/files", str(space.aside)),
        lambda space: remove(space.aside),
    )


def copied_from_remote() -> Limit:
    return Limit(
        "cp -r, twice",
        lambda space: (
            "sh",
            "-c",
            'cp -r "$0" "$1" && cp -r "$0" "$2"',
            str(directory(space)),
            str(space.aside),
            f"{space.aside}2",
        ),
        lambda space: (remove(space.aside), remove(space.aside.with_name(f"{space.aside.name}2")))[0],
    )


# -- S3 --------------------------------------------------------------------------------------------------------------


@cache
def server() -> tuple[str, Path]:
    """An S3 server for as long as we live: its endpoint and the directory with its buckets."""
    top = Path(tempfile.mkdtemp(prefix="bench-s3"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    options = ["--addr", address, "--auth-key", f"{KEY},{SECRET}", "--dir-cache-time", "1ms"]
    command = [rclone(), "serve", "s3", *options, str(top)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    measure.OURS.add(process.pid)
    atexit.register(lambda: (process.kill(), process.wait(), remove(top)))
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    return f"http://{address}", top


def rclone() -> str:
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone") or "rclone"


def bucket(space: Space) -> Path:
    name = f"{space.root.parent.parent.name}-{space.root.parent.name}"
    return server()[1] / name.lower().replace("_", "-")


def s3(space: Space) -> None:
    """``size`` files of 1 KiB, tracked, and a bucket."""
    added(space, SIZE_BYTES)
    bucket(space).mkdir()
    space.typed("remote", "add", "-q", "-d", "r", f"s3://{bucket(space).name}/x")
    for name, value in (
        ("endpointurl", server()[0]),
        ("access_key_id", KEY),
        ("secret_access_key", SECRET),
        ("region", "us-east-1"),
    ):
        space.typed("remote", "modify", "-q", "--local", "r", name, value)


def forget_sent(space: Space) -> None:
    remove(bucket(space) / "x")
    _forget_index(space)


def s3_pushed(space: Space) -> None:
    s3(space)
    space.typed("push", "-q")


def _rclone_copy(source: Callable[[Space], str], target: Callable[[Space], str]) -> Callable[[Space], Sequence[str]]:
    """The same objects by the server's own client, 32 at a time."""

    def argv(space: Space) -> Sequence[str]:
        remote = f":s3,provider=Rclone,access_key_id={KEY},secret_access_key={SECRET},endpoint='{server()[0]}':"
        options = ["--transfers", "32", "--checkers", "32", "--s3-no-check-bucket", "--config", "/dev/null"]
        ends = [end.replace("REMOTE:", remote) for end in (source(space), target(space))]
        return [rclone(), "copy", *options, *ends]

    return argv


def sent_by_rclone() -> Limit:
    return Limit(
        "rclone copy",
        _rclone_copy(
            lambda space: f"{space.root}/{space.tool.control}/cache/files",
            lambda space: f"REMOTE:{bucket(space).name}/limit",
        ),
        lambda space: remove(bucket(space) / "limit"),
    )


def fetched_by_rclone() -> Limit:
    return Limit(
        "rclone copy",
        _rclone_copy(lambda space: f"REMOTE:{bucket(space).name}/x", lambda space: str(space.aside)),
        lambda space: remove(space.aside),
    )


WORKLOADS = [
    Workload(
        "`push` {n} files of 1 KiB to a directory",
        local,
        typed("push", "-q"),
        size=10_000,
        quick=2_000,
        reset=forget_pushed,
        limit=copied_to_remote(),
        aim=4,
        rounds=3,
        dvc_rounds=2,
    ),
    Workload(
        "`pull` {n} files of 1 KiB from a directory",
        local_pushed,
        typed("pull", "-q"),
        size=10_000,
        quick=2_000,
        reset=forget_fetched,
        limit=copied_from_remote(),
        aim=4,
        why="Each file is written twice, into the cache and into the workspace, and hashed both times; DVC hashes neither.",
        rounds=3,
        dvc_rounds=2,
    ),
    Workload(
        "`push` {n} files of 1 KiB to S3",
        s3,
        typed("push", "-q"),
        size=10_000,
        quick=1_000,
        reset=forget_sent,
        limit=sent_by_rclone(),
        aim=4,
        rounds=2,
        dvc_rounds=1,
    ),
    Workload(
        "`pull` {n} files of 1 KiB from S3",
        s3_pushed,
        typed("pull", "-q"),
        size=10_000,
        quick=1_000,
        reset=forget_fetched,
        limit=fetched_by_rclone(),
        aim=4,
        why="Half of it is the HTTP client's work for 10,000 requests; rclone, in Go, takes as long.",
        rounds=2,
        dvc_rounds=1,
    ),
]
