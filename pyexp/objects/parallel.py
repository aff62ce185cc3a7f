"""A handful of threads for work that releases the GIL: hashing and copying large files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

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
