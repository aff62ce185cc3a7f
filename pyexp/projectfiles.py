"""A project's own files: where they are, read, and written so that nothing outside the project changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pyexp import durable
from pyexp.errors import FormatError, PyexpError
from pyexp.formats.ignore import Ignore
from pyexp.paths import check_relpath

if TYPE_CHECKING:
    from pyexp.documents import Documents


class ProjectFiles:
    """The part of a Project that needs no more of it than its root, and what its documents are known to hold."""

    root: Path
    if TYPE_CHECKING:

        @property
        def documents(self) -> Documents: ...

    def path(self, relpath: str) -> str:
        """The OS path of a relpath (absolute paths stay)."""
        return os.path.join(self.root, relpath)

    def inside(self, relpath: str, *, follow: bool = False) -> str:
        """The OS path of what is to be changed; raises PyexpError when a link on the way leads out of the project.

        A link at the path itself is what is changed, unless it is to be followed.
        """
        path = self.path(relpath)
        real = os.path.realpath(path if follow else os.path.dirname(path))
        if not os.path.join(real, "").startswith(os.path.join(os.path.realpath(self.root), "")):
            raise PyexpError(
                f"'{relpath}' is reached by a link that leads out of the project, and is left alone",
                hint="put what it leads to in the link's place",
            )
        return path

    @contextmanager
    def entered(self, relpath: str, *, follow: bool = False, make: bool = False) -> Iterator[tuple[int | None, str]]:
        """``inside``, as the open directory of what is to be changed and the name it has there.

        Whatever its directories are swapped for meanwhile, that one is changed. ``make`` makes what is missing on the
        way. Raises UnsafeCheckout for a link that was not there just before, FileNotFoundError without ``make``.
        """
        from pyexp.objects.places import Places  # seam: only what writes pays for it

        path = self.inside(relpath, follow=follow)
        path = os.path.realpath(path) if follow else path
        places = Places(str(self.root), path)
        try:
            place = places.get("", make=make)
            yield place.fd, place.prefix + os.path.basename(path)
        finally:
            places.close()

    def relpath(self, path: str | os.PathLike[str], cwd: str | os.PathLike[str] | None = None) -> str:
        """A path as a posix relpath under the root; ``cwd`` is what a relative one starts from (default: the root).

        Raises PyexpError when it leads outside the project.
        """
        absolute = os.path.normpath(os.path.join(cwd or self.root, path))
        # The directory is resolved, the last component not: a link is named by its own name.
        absolute = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute))
        relative = os.path.relpath(absolute, os.path.realpath(self.root))
        if relative == ".":
            return ""
        if relative == os.pardir or relative.startswith(os.pardir + os.sep) or os.path.isabs(relative):
            raise PyexpError(f"'{path}' is outside the project {self.root}")
        return check_relpath(relative.replace(os.sep, "/"))

    def read_text(self, relpath: str) -> str | None:
        """The text of a project file, None when there is none; raises FormatError when it is not UTF-8 text."""
        path = self.path(relpath)
        if "\0" in path:
            raise FormatError("a NUL is in no file's name", path=relpath, hint="look where the name comes from")
        try:
            status = os.stat(path)
        except OSError:
            status = None
        try:
            raw = durable.read_file(path)
        except OSError as error:
            odd = error.errno in (errno.EINVAL, errno.EISDIR, errno.EFBIG)
            hint = "it should be a regular file" if odd else None
            raise FormatError(error.strerror or str(error), path=relpath, hint=hint) from error
        if raw is None:
            return None
        try:
            return self.documents.document(relpath, raw.decode("utf-8"), status)
        except UnicodeDecodeError as error:
            raise FormatError("is not UTF-8 text", path=relpath, line=raw[: error.start].count(b"\n") + 1) from error

    def write_text(self, relpath: str, text: str) -> bool:
        """Replaces a project file; returns False, and writes nothing, when it already says just that.

        Where the file is a link the file it leads to is replaced; raises PyexpError when that is outside the project.
        """
        raw = text.encode("utf-8")
        path = self.path(relpath)
        if durable.read_file(path) == raw:
            return False
        with self.entered(relpath, follow=True, make=True) as (dir_fd, name):
            try:
                durable.write_file(name, raw, dir_fd=dir_fd)
            except OSError as error:
                error.filename = path
                raise
        return True

    def unlink(self, relpath: str) -> None:
        """Removes a project file, or a link that is there; raises FileNotFoundError when there is none."""
        with self.entered(relpath) as (dir_fd, name):
            os.unlink(name, dir_fd=dir_fd)

    @cached_property
    def ignore(self) -> Ignore:
        """The .dvcignore rules."""
        return Ignore(lambda directory: self._ignore_text(directory, ".dvcignore"))

    @cached_property
    def gitignore(self) -> Ignore:
        """The .gitignore rules below the root, read without git: enough to know where not to search."""
        return Ignore(lambda directory: self._ignore_text(directory, ".gitignore"))

    def _ignore_text(self, directory: str, name: str) -> str | None:
        try:
            raw = durable.read_file(os.path.join(self.root, directory, name))
        except OSError:
            return None
        return None if raw is None else raw.decode("utf-8", "surrogateescape")

    def ignored_below(self, relpath: str) -> Callable[[str, bool], bool] | None:
        """The .dvcignore rules for paths below a directory, in the form ``objects.build`` takes; None when none apply."""
        # Rules of its own, or further below, are refused where they are found.
        if not self.ignore.has_rules(relpath.rpartition("/")[0]):
            return None
        match = self.ignore.match
        prefix = f"{relpath}/" if relpath else ""
        return lambda below, is_dir: match(prefix + below, is_dir)
