"""Fixtures of the comparisons with the real DVC."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from twins import Work, start


@pytest.fixture
def project(tmp_path: Path, dvc: str) -> Callable[..., Work]:
    """Makes a committed DVC project of files: ``project({"dvc.yaml": …})``."""

    def made(files: Mapping[str, str | bytes], name: str = "work") -> Work:
        return start(tmp_path / name, dvc, files)

    return made
