"""Our records beside the standard library's: the same class bodies, the same behaviour."""

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from pyexp import model, records


@records.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    note: str = records.field(default="", compare=False)
    more: Mapping[str, Any] = records.field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.x + self.y


@records.dataclass(frozen=True)
class Base:
    a: int


@records.dataclass(frozen=True)
class Child(Base):
    b: tuple[Point, ...] = ()


@records.dataclass
class Counter:
    names: list[str] = records.field(default_factory=list)
    count: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class StandardPoint:
    x: int
    y: int = 2
    note: str = dataclasses.field(default="", compare=False)
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def test_made_compared_and_shown_as_the_standard_does() -> None:
    point = Point(1, more={"k": 1})
    assert (point.x, point.y, point.note, point.more, point.total) == (1, 2, "", {"k": 1}, 3)
    assert repr(point) == repr(StandardPoint(1, more={"k": 1})).removeprefix("Standard")
    assert Point(1, note="one") == Point(1, note="other") != Point(2)
    assert Point(1) != Child(1) and Point(1) != (1, 2, {})
    assert Point(1).more is not Point(1).more
    assert hash(Child(1)) == hash(Child(1))
    assert Point.__match_args__ == StandardPoint.__match_args__
    with pytest.raises(TypeError):
        hash(Counter())


def test_mistakes_are_refused() -> None:
    for wrong in (lambda: Point(), lambda: Point(1, z=2), lambda: Point(1, 2, "", {}, 5)):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(dataclasses.FrozenInstanceError):
        Point(1).x = 3  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del Child(1).a
    with pytest.raises((AttributeError, TypeError)):
        object.__setattr__(Point(1), "other", 1)


def test_inherited_fields_come_first() -> None:
    assert Child(1, (Point(2),)) == Child(a=1, b=(Point(2),))
    assert [field.name for field in records.fields(Child)] == ["a", "b"]
    assert Base(1) != Child(1)


def test_replace_and_asdict() -> None:
    assert records.replace(Point(1, 5), x=3) == Point(3, 5)
    with pytest.raises(TypeError):
        records.replace(Point(1), nothing=3)
    inside = {"deep": [Point(2)]}
    told = records.asdict(Child(1, (Point(1, more=inside),)))
    assert told == {
        "a": 1,
        "b": ({"x": 1, "y": 2, "note": "", "more": {"deep": [{"x": 2, "y": 2, "note": "", "more": {}}]}},),
    }
    told["b"][0]["more"]["deep"].clear()
    assert inside["deep"]


def test_pickled_and_copied() -> None:
    for record in (Point(1, 7, "n", {"k": [1]}), Child(3, (Point(1),)), Counter(["a"], 2)):
        for again in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
            assert again == record and repr(again) == repr(record)


def test_the_standard_functions_work_on_records() -> None:
    assert dataclasses.is_dataclass(Point) and dataclasses.is_dataclass(model.Task)
    assert dataclasses.replace(Point(1), y=9) == Point(1, 9)
    assert dataclasses.asdict(Child(1, (Point(1),))) == records.asdict(Child(1, (Point(1),)))
    assert [field.name for field in dataclasses.fields(Point)] == ["x", "y", "note", "more"]


def test_help_shows_the_signature() -> None:
    assert str(inspect.signature(Point)).startswith("(x: int, y: int = 2, note: str = ''")
    assert list(inspect.signature(Child).parameters) == ["a", "b"]


def test_a_default_is_seen_on_the_class_and_not_shared() -> None:
    assert Counter.count == 0
    one, other = Counter(), Counter()
    one.names.append("x")
    assert other.names == []


def test_no_command_pays_for_dataclasses() -> None:
    code = "import sys, pyexp.model, pyexp.cli.main; sys.exit('inspect' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
