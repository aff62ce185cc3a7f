"""Makes experiments in the current project without running them, in either layout; DVC reads the same refs.

python seed.py COUNT
"""

import random
import sys
from contextlib import closing

import pyexp
from pyexp.experiments import names
from pyexp.git import refs, snapshot


def main(count: int) -> None:
    numbers = random.Random(7)
    with closing(pyexp.find(".")) as project:
        repo, baseline = project.require_git(), names.baseline_of(project)
        for number in range(count):
            params = f"lr: {number / 1000}\ndepth: [1, 2]\ntrain:\n  epochs: {number}\n"
            changed = {
                "params.yaml": params.encode(),
                "m.json": f'{{"accuracy": {numbers.random()}}}'.encode(),
            }
            tree = snapshot.workspace_tree(repo, replace=changed).tree
            sha = snapshot.commit_tree(repo, tree, parent=baseline, message="seeded")
            refs.create(repo, f"refs/exps/{baseline[:2]}/{baseline[2:]}/e{number}", sha)


if __name__ == "__main__":
    main(int(sys.argv[1]))
