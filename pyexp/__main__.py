"""``python -m pyexp``."""

from pyexp.cli.main import entry

if __name__ == "__main__":
    entry()
