"""What every test shares: tests that need a real git or a real DVC are skipped where there is none."""

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

# Whoever starts the suite in the background of a script (or by nohup) has it ignore Ctrl-C, and with it every process that
# the tests send one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def real_dvc() -> str | None:
    """The DVC to compare with: PYEXP_TEST_DVC, else the one on PATH."""
    named = os.environ.get("PYEXP_TEST_DVC")
    return shutil.which(named) if named else shutil.which("dvc")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needs = {
        "git": (shutil.which("git"), "no git on PATH"),
        "dvc": (real_dvc(), "no DVC: set PYEXP_TEST_DVC to its executable"),
    }
    for item in items:
        for marker, (found, reason) in needs.items():
            if item.get_closest_marker(marker) and not found:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def dvc() -> str:
    """The path of the real DVC's executable; only for tests marked ``dvc``."""
    found = real_dvc()
    assert found is not None, "mark the test with pytest.mark.dvc"
    return found


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the developer's own git or DVC configuration, nor a repository named by the environment."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_", "PYEXP_"))]:
        if not name.startswith("PYEXP_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    yield
