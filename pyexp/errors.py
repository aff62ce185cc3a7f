"""Everything pyexp raises on purpose.

    PyexpError
      UsageError            the request itself is wrong (exit 2)
      NotAProject           no project here or above
      Locked                somebody else holds a lock for too long
      FormatError           a file does not say what it should: path, line, column
      GraphError            the pipeline cannot be ordered: cycle, two owners of one output
      StoreError
        MissingObject       an object is in no place it could be in
        CorruptObject       an object's bytes are not what its name says
      UnsafeCheckout        going on would destroy unsaved bytes: paths
      StageFailed           a stage's command failed: stage, status, log
      GitError
        NoGitRepo           no git repository here
        BadRevision         a revision names nothing, or too much
        RefConflict         a ref is not what it was expected to be
      ExperimentError       an experiment's name is unknown, ambiguous, taken or invalid
      RemoteError           a remote cannot be reached or refuses
      WorkerLost            a worker went away before it reported

``str(error)`` is one line for a person, without the passwords of URLs; ``hint`` says what to do about it. Errors survive pickling: they cross
process boundaries. Anything raised that is not a PyexpError is a bug.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def _rebuild(cls: type[PyexpError], state: dict[str, Any]) -> PyexpError:
    error = cls.__new__(cls)
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


_PASSWORD = re.compile(r"(://[^/\s:@']*):[^/\s']*@")


def discreet(text: str) -> str:
    """Text for people, without the passwords of the URLs in it."""
    return _PASSWORD.sub(r"\1@", text) if "://" in text else text


class PyexpError(Exception):
    """An expected failure: a message, perhaps a hint, and the exit code of a command that ends with it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = discreet(message)
        super().__init__(message)
        self.message = message
        self.hint = hint and discreet(hint)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.__dict__)


class UsageError(PyexpError):
    """The request itself is wrong."""

    exit_code = 2


class NotAProject(PyexpError):
    """There is no project in this directory or above it."""


class Locked(PyexpError):
    """A lock stayed taken for longer than the caller would wait."""


class FormatError(PyexpError):
    """A file does not say what its format asks for; ``line`` and ``column`` count from 1."""

    def __init__(
        self,
        message: str,
        *,
        path: str,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.line = line
        self.column = column

    def __str__(self) -> str:
        where = self.path
        if self.line is not None:
            where += f":{self.line}"
            if self.column is not None:
                where += f":{self.column}"
        return f"{where}: {self.message}"


class GraphError(PyexpError):
    """The stages do not form a pipeline that can be ordered."""


class StoreError(PyexpError):
    """An object store could not do what was asked."""


class MissingObject(StoreError):
    """An object is not in the store."""


class CorruptObject(StoreError):
    """An object's bytes do not hash to its name."""


class UnsafeCheckout(PyexpError):
    """Going on would overwrite or delete bytes that are saved nowhere; ``paths`` lists where."""

    def __init__(self, message: str, *, paths: Sequence[str], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.paths = tuple(paths)


class StageFailed(PyexpError):
    """A stage could not be brought up to date; ``status`` is its command's exit status, negative for a signal."""

    def __init__(
        self, message: str, *, stage: str, status: int | None = None, log: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        self.status = status
        self.log = log


class GitError(PyexpError):
    """The git repository could not do what was asked."""


class NoGitRepo(GitError):
    """There is no git repository in this directory or above it."""


class BadRevision(GitError):
    """A revision names nothing in this repository, or more than one thing."""


class RefConflict(GitError):
    """A ref does not hold the value it was expected to hold."""


class ExperimentError(PyexpError):
    """An experiment's name is unknown, ambiguous, taken or invalid."""


class RemoteError(PyexpError):
    """A remote cannot be reached, or refuses."""


class WorkerLost(PyexpError):
    """A worker process ended before it reported a result."""
