"""Writing in a thread of its own, behind the one that reads and hashes: a large file then takes as long as its copy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeAlias

Sink: TypeAlias = Callable[[memoryview], object]

# Pieces that may be waiting or being written while the next one is read.
BEHIND = 2


@contextmanager
def written_behind(sink: Sink) -> Iterator[Sink]:
    """A sink that returns before ``sink`` has done its work: a piece must stay as it is for ``BEHIND`` calls more.

    Leaving the block waits for everything; an error of ``sink`` is raised by a later call or then.
    """
    pieces: SimpleQueue[memoryview | None] = SimpleQueue()
    room = threading.Semaphore(BEHIND)
    errors: list[BaseException] = []

    def run() -> None:
        while (piece := pieces.get()) is not None:
            if not errors:
                try:
                    sink(piece)
                except BaseException as error:
                    errors.append(error)
            room.release()

    def put(piece: memoryview) -> None:
        room.acquire()
        if errors:
            raise errors[0]
        pieces.put(piece)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield put
    finally:
        pieces.put(None)
        thread.join()
    if errors:
        raise errors[0]
