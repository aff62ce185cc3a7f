"""Hashes that DVC computes, too, of a lock entry (golden vectors, FORMATS.md §8)."""

from __future__ import annotations

from suites.golden import LOCK

from pyexp.experiments import run
from pyexp.formats import lockfile
from pyexp.model import OutSpec, StageLock, StageSpec
from pyexp.pipeline import stagecache

OTHER = (
    LOCK.replace("lr: 0.1", "lr: 0.2")
    .replace("703ad02198d4b3a7c4bc5fa9a5b49f71", "7b6cf76fc5263d976d70644be325649b")
    .replace("95e016555886ac500e19e9c4160304f1", "c5fc1658258123b6cf9bd9ac69177112")
    .replace("size: 25", "size: 24")
)


def train(text: str) -> StageLock:
    return lockfile.parse_lock(text, "dvc.lock")["train"]


def test_of_a_result_and_of_what_it_is_made_of() -> None:
    outs = tuple(OutSpec(path) for path in ("plots.csv", "model", "metrics.json"))
    stage = StageSpec("dvc.yaml", "train", outs=outs)
    assert stagecache.value(train(LOCK)) == "e19e2ed28d023541734962ae8bad844b8a2d137c119df46b35dae7860df973e0"
    assert stagecache.key(stage, train(LOCK)) == "bbb24c212464fc2a4119a708f1e953f3125e3571aed37eb5765c0a9f149c7eff"


def test_of_an_experiment() -> None:
    assert run.digest_of({"train": train(OTHER)}) == "289660adb706e3ad04e7e3fd0cf8598e4947ee4f6ec3dbbc4aacb17de1cf3259"
    assert run.digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
