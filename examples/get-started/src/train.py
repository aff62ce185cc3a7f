"""Grows a random forest that tells posts about computing from the others."""

import sys
from pathlib import Path

import joblib
import yaml
from sklearn.ensemble import RandomForestClassifier

features, output = Path(sys.argv[1]), Path(sys.argv[2])
params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["train"]

labels, matrix = joblib.load(features / "train.pkl")
forest = RandomForestClassifier(
    n_estimators=params["n_est"], min_samples_split=params["min_split"], random_state=params["seed"], n_jobs=1
)
forest.fit(matrix, labels)
joblib.dump(forest, output)
