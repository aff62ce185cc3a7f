"""Artifacts of a model registry: entries of dvc.yaml, found by git tags in GTO's format.

``name@v1.2.3`` is a version, ``name#prod#4`` gives a version a stage; of a dvc.yaml in ``directory`` they are
``directory=name@v1.2.3``, and the user writes ``directory:name``. Directories are seen from git's top.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from pyexp.errors import PyexpError, UsageError
from pyexp.pipeline.load import PIPELINE_FILE, Pipeline
from pyexp.records import dataclass

_SEMVER = r"v(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
# A tag that takes a version or a stage back names the same commit, and counts the same for DVC.
_END = r"!?(?:#(?P<count>\d+))?"


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact that was asked for: of a version, of a stage, or (neither) of its latest version."""

    directory: str
    name: str
    version: str | None = None
    stage: str | None = None

    def __str__(self) -> str:
        name = f"{self.directory}:{self.name}" if self.directory else self.name
        return "".join((name, *(f" @ {part}" for part in (self.version, self.stage) if part)))

    @property
    def label(self) -> str:
        """What its tags start with."""
        return f"{self.directory}={self.name}" if self.directory else self.name


def asked(name: str, version: str | None = None, stage: str | None = None) -> Artifact:
    """Parses ``name``, ``directory:name`` or ``directory/dvc.yaml:name``; raises UsageError."""
    if version and stage:
        raise UsageError("an artifact has a version or a stage, not both", hint="give one of them")
    directory, _, own = name.rpartition(":")
    directory = posixpath.dirname(directory) if posixpath.basename(directory) == PIPELINE_FILE else directory
    directory = posixpath.normpath(directory) if directory.rstrip("/") else ""
    return Artifact("" if directory == "." else directory, own, version or None, stage or None)


def tag_of(tags: Iterable[str], artifact: Artifact) -> str:
    """The tag (without ``refs/tags/``) of the version that is meant; raises PyexpError when there is none."""
    if artifact.stage is not None:
        pattern = re.compile(re.escape(f"{artifact.label}#{artifact.stage}") + _END)
    elif artifact.version is not None:
        pattern = re.compile(re.escape(f"{artifact.label}@{artifact.version}") + _END)
    else:
        pattern = re.compile(re.escape(f"{artifact.label}@") + _SEMVER + _END)
    found = [match for tag in tags if (match := pattern.fullmatch(tag))]
    if not found:
        raise missing(artifact)
    return max(found, key=_age)[0]


_Age = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...], int]


def _age(match: re.Match[str]) -> _Age:
    """Sorts as semantic versions are sorted; of the same one, and of stages, the latest tag is last."""
    count = int(match["count"] or 0)
    if match.re.groups == 1:
        return (), (), count
    major, minor, patch, before = match.group(1, 2, 3, 4)
    # A pre-release is before the release: (2,) is above anything that starts with 0 or 1.
    parts = before.split(".") if before else ()
    release = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return (int(major), int(minor), int(patch)), release or ((2, 0, ""),), count


def path_of(pipeline: Pipeline, artifact: Artifact, root: str) -> str:
    """The artifact's path, seen from git's top, in the pipeline of the project at ``root``; raises PyexpError."""
    file = posixpath.relpath(posixpath.join("/", artifact.directory, PIPELINE_FILE), posixpath.join("/", root))
    parsed = pipeline.files.get(file)
    path = parsed.artifacts.get(artifact.name, {}).get("path") if parsed is not None else None
    if path is None:
        raise missing(artifact)
    return posixpath.normpath(posixpath.join(artifact.directory, path))


def missing(artifact: Artifact) -> PyexpError:
    """The error for an artifact, a version or a stage that is not there."""
    return PyexpError(f"there is no artifact '{artifact}'", hint=f"versions are tags: {artifact.label}@v1.0.0")
