"""Templates by the names that plots give them: users' own in the control directory, files by path, and ours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import FormatError, PyexpError
from pyexp.formats import vegatemplates
from pyexp.formats.vegatemplates import DEFAULT, Template

if TYPE_CHECKING:
    from pyexp.project import Project


def find(project: Project, name: str | None, cwd: str) -> Template:
    """The template of a name: ``plots/NAME[.json]`` in the control directory, a file, or ours; raises PyexpError.

    ``cwd`` (an OS path) is where the path of a file starts.
    """
    wanted = name or DEFAULT
    own = os.path.join(project.control, "plots", wanted)
    for path in (own, f"{os.path.splitext(own)[0]}.json", os.path.join(cwd, wanted)):
        if "\0" not in path and os.path.isfile(path):
            return Template(wanted, vegatemplates.parse(_text(path, wanted), wanted))
    found = vegatemplates.builtin(wanted)
    if found is None:
        raise PyexpError(f"there is no template '{wanted}'", hint="see them all: pyexp plots templates")
    return found


def _text(path: str, shown: str) -> str:
    try:
        return (durable.read_file(path) or b"").decode("utf-8")
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", path=shown) from error
    except UnicodeDecodeError as error:
        raise FormatError("is not UTF-8 text", path=shown) from error
