"""Builds get-started/data/posts.tsv from the fortune files of Debian's package ``fortunes``.

    apt-get download fortunes fortunes-min && for f in *.deb; do dpkg-deb -x "$f" x; done
    python make_posts.py x/usr/share/games/fortunes get-started/data/posts.tsv

One line per fortune: number, name of the file it is from, text on one line. Texts of more than 250 characters are left
out, and so is every file that holds lyrics, poems or other whole works.
"""

import hashlib
import sys
from pathlib import Path

CATEGORIES = (
    "computers", "debian", "linux", "perl",
    "education", "humorists", "law", "literature", "people", "platitudes", "science", "wisdom", "work",
)  # fmt: skip
MAX_CHARS = 250
MIN_CHARS = 20


def fortunes(path: Path) -> list[str]:
    """The texts of one fortune file, each on one line, without terminal tricks (backspaces)."""
    raw = path.read_text(encoding="utf-8").split("\n%\n")
    texts = (" ".join(text.split()) for text in raw)
    return [text for text in texts if MIN_CHARS <= len(text) <= MAX_CHARS and text.isprintable()]


def main(source: Path, target: Path) -> None:
    seen: set[str] = set()
    posts = []
    for category in CATEGORIES:
        for text in fortunes(source / category):
            if text not in seen:
                seen.add(text)
                posts.append((category, text))
    # An order that mixes the categories and never changes.
    posts.sort(key=lambda post: hashlib.sha256(post[1].encode()).digest())
    lines = (f"{number}\t{category}\t{text}\n" for number, (category, text) in enumerate(posts, start=1))
    target.write_text("".join(lines), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
