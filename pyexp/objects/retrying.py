"""Once more, after a while: for calls to places that are now and then away."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

from pyexp.objects.contract import Transient

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# What a mounted directory says when its server hiccups.
_PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.ECONNRESET})

Result = TypeVar("Result")


def passes(error: BaseException) -> bool:
    """Whether an error may be gone a moment later."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(error, Transient) or (isinstance(cause, OSError) and cause.errno in _PASSING)


def call(work: Callable[[], Result]) -> Result:
    """What ``work`` gives; tried again a few times, with growing pauses, when its error may pass."""
    pause = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except Exception as error:
            if attempt == ATTEMPTS or not passes(error):
                raise
        # Not all threads at the same moment.
        time.sleep(pause * (0.5 + os.urandom(1)[0] / 255))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError("the loop returns or raises")
