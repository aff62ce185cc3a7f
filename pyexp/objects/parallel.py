"""A handful of threads for work that releases the GIL: hashing and copying large files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

# Below this, threads wait for the interpreter's lock longer than they would have waited for the disk.
SLOW_SECONDS = 0.002
_MOST = 8
_PROBES = 64
_PROBE_SECONDS = 0.1

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], Result], items: Sequence[Item], jobs: int | None = None) -> list[Result]:
    """``[work(item) for item in items]`` by up to ``jobs`` threads (default: one for each processor).

    The first error stops the rest and is raised once every thread has ended.
    """
    count = min(jobs or os.cpu_count() or 1, len(items))
    if count <= 1:
        return [work(item) for item in items]
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    numbers = iter(range(len(items)))
    turn = threading.Lock()

    def run() -> None:
        while not errors:
            with turn:
                index = next(numbers, None)
            if index is None:
                return
            try:
                results[index] = work(items[index])
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count - 1)]
    for thread in threads:
        thread.start()
    try:
        run()
    except BaseException as error:  # an interrupt between two items
        errors.append(error)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]


def spread_if_slow(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``[work(item) for item in items]``: alone at first, and by threads when that turns out to be slow.

    A directory may be on a fast disk, where one thread is as fast as Python gets, or on a server far away.
    """
    began = time.perf_counter()
    results: list[Result] = []
    spent = 0.0
    while len(results) < min(_PROBES, len(items)) and spent < _PROBE_SECONDS:
        results.append(work(items[len(results)]))
        spent = time.perf_counter() - began
    slow = spent > SLOW_SECONDS * len(results)
    return results + spread(work, items[len(results) :], _MOST if slow else 1)
