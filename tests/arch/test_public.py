"""The names a program may use, and errors that cross process boundaries."""

import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys

import pytest

import pyexp
from pyexp import errors


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(pyexp.__path__, "pyexp.")]
    return [name for name in names if name != "pyexp.__main__"]


def all_errors() -> list[type[errors.PyexpError]]:
    for name in modules():
        importlib.import_module(name)
    found: list[type[errors.PyexpError]] = [errors.PyexpError]
    for cls in found:
        found += [sub for sub in cls.__subclasses__() if sub not in found]
    return found


@pytest.mark.parametrize("name", modules())
def test_every_module_can_be_imported_alone(name: str) -> None:
    if name.count(".") > 1 and name.split(".")[1] not in ("git", "objects", "formats"):
        importlib.import_module(name)
        return
    # The floor and the siblings in a fresh interpreter: a cycle hides when something else was imported before.
    done = subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_names_what_there_is() -> None:
    assert list(pyexp.__all__) == sorted(pyexp.__all__)
    assert len(set(pyexp.__all__)) == len(pyexp.__all__)
    for name in pyexp.__all__:
        assert getattr(pyexp, name) is not None
    assert set(pyexp.__all__) <= set(dir(pyexp))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = pyexp.nothing_of_the_kind  # type: ignore[attr-defined]


def test_public_functions_say_what_they_do() -> None:
    for name in pyexp.__all__:
        public = getattr(pyexp, name)
        if inspect.isfunction(public) or inspect.isclass(public):
            assert inspect.getdoc(public), f"pyexp.{name} has no docstring"


def test_importing_pyexp_loads_no_room() -> None:
    code = "import sys, pyexp; print([m for m in sys.modules if m.startswith(('pyexp.', 'dulwich', 'yaml'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def sample(cls: type[errors.PyexpError]) -> errors.PyexpError:
    """An instance with every keyword of its constructor given."""
    values = {"paths": ("a", "b"), "line": 3, "column": 4, "status": -2}
    keywords = {}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            keywords[parameter.name] = values.get(parameter.name, f"a {parameter.name}")
    return cls("it went wrong", **keywords)  # type: ignore[arg-type]


def test_errors_survive_pickling() -> None:
    for cls in all_errors():
        error = sample(cls)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is cls
        assert str(again) == str(error), cls
        assert again.args == error.args, cls
        assert vars(again) == vars(error), cls


def test_errors_are_one_line_and_have_an_exit_code() -> None:
    for cls in all_errors():
        assert "\n" not in str(sample(cls)), cls
        assert cls.exit_code in (1, 2), cls
