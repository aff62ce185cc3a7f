"""Close matches for a word that is not known: only a mistake pays for finding them."""

from __future__ import annotations

from collections.abc import Iterable


def close(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be."""
    import difflib

    found = difflib.get_close_matches(word, [str(other) for other in known], n=1)
    return found[0] if found else None


def question(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` or nothing."""
    found = close(word, known)
    return f" (did you mean '{found}'?)" if found else ""
