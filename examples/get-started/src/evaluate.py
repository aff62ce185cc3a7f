"""Measures the forest on the test part: average precision, area under the ROC curve, and both curves as plots."""

import json
import sys
from pathlib import Path

import joblib
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

MAX_POINTS = 200


def write(path, data):
    Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def points(*columns):
    """Rows of a curve, rounded, at most MAX_POINTS of them."""
    step = max(1, len(columns[0]) // MAX_POINTS)
    return zip(*([round(float(value), 6) for value in column[::step]] for column in columns), strict=True)


model, features, scores, prc, roc = sys.argv[1:]
forest = joblib.load(model)
labels, matrix = joblib.load(Path(features) / "test.pkl")
predicted = forest.predict_proba(matrix)[:, 1]

write(
    scores,
    {
        "avg_prec": float(average_precision_score(labels, predicted)),
        "roc_auc": float(roc_auc_score(labels, predicted)),
    },
)
precision, recall, _ = precision_recall_curve(labels, predicted)
write(prc, {"prc": [{"precision": p, "recall": r} for p, r in points(precision, recall)]})
fpr, tpr, _ = roc_curve(labels, predicted)
write(roc, {"roc": [{"fpr": f, "tpr": t} for f, t in points(fpr, tpr)]})
