"""Experiments: run now, beside, or later; shown, compared, applied, and kept as commits under refs/exps."""
