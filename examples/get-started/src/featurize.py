"""Turns texts into TF-IDF vectors over the most frequent words (and runs of words) of the training part."""

import sys
from pathlib import Path

import joblib
import numpy
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer


def read(path):
    rows = [line.rstrip("\n").split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for _, _, text in rows], numpy.array([int(label) for _, label, _ in rows])


source, output = Path(sys.argv[1]), Path(sys.argv[2])
params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["featurize"]

vectorizer = TfidfVectorizer(
    stop_words="english", max_features=params["max_features"], ngram_range=(1, params["ngrams"])
)
texts, labels = read(source / "train.tsv")
output.mkdir(parents=True, exist_ok=True)
joblib.dump((labels, vectorizer.fit_transform(texts)), output / "train.pkl")

texts, labels = read(source / "test.tsv")
joblib.dump((labels, vectorizer.transform(texts)), output / "test.pkl")
