"""Splits the posts into a part to learn from and a part to test on; says of each whether it is about computing."""

import random
import sys
from pathlib import Path

import yaml

COMPUTING = {"computers", "debian", "linux", "perl"}

params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["prepare"]
rng = random.Random(params["seed"])

output = Path("data/prepared")
output.mkdir(parents=True, exist_ok=True)

with (
    open(sys.argv[1], encoding="utf-8") as posts,
    open(output / "train.tsv", "w", encoding="utf-8", newline="\n") as train,
    open(output / "test.tsv", "w", encoding="utf-8", newline="\n") as test,
):
    for line in posts:
        number, category, text = line.rstrip("\n").split("\t")
        target = test if rng.random() < params["split"] else train
        target.write(f"{number}\t{int(category in COMPUTING)}\t{text}\n")
