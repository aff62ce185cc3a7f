"""Properties of the formats on random input: what is written reads back, edits touch one value, nothing crashes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyexp.errors import FormatError, PyexpError, UsageError
from pyexp.formats import config, dvcyaml, ignore, lockfile, override, overridegrammar, values, yamlfile, yamltext

TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="abc \n\t'\"\\:#-é1.,e_+{}[]?!&*|>%@`~=<x0$", max_size=100),
    st.lists(
        st.sampled_from(["a", "--lr=0.1", "x" * 30, "'q'", '"d"', "a:", "#c", "", "é", "y" * 90]), max_size=30
    ).map(" ".join),
).filter(lambda text: not any(0xD800 <= ord(c) <= 0xDFFF for c in text))
SCALARS = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.dates(),
    st.datetimes(timezones=st.none()),
)
KEYS = st.one_of(st.sampled_from(["a", "b", "c", "lr", "x y", "1", "-"]), TEXTS)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=15,
)
MAPPINGS = st.dictionaries(KEYS, DATA, min_size=1, max_size=5)


@given(DATA)
def test_yaml_reads_what_it_wrote(data: Any) -> None:
    assert yamlfile.load(yamlfile.dump(data), "p") == data
    assert yamlfile.load("k: " + yamltext.flow(data), "p") == {"k": data}


@given(DATA)
def test_ruamel_reads_what_we_write(data: Any) -> None:
    ruamel = pytest.importorskip("ruamel.yaml")
    yaml = ruamel.YAML(typ="safe", pure=True)
    assert yaml.load(io.StringIO(yamlfile.dump({"k": data}))) == {"k": data}


@given(st.text(max_size=200) | TEXTS)
def test_no_text_crashes_a_reader(text: str) -> None:
    for path in ("p.yaml", "p.json", "p.toml", "p.py"):
        try:
            values.load_any(text, path)
        except FormatError as error:
            assert "\n" not in str(error).replace(repr(text), "")
    for parse in (lockfile.parse_lock, lockfile.parse_dvc, config.parse):
        try:
            parse(text, "p")  # type: ignore[operator]
        except FormatError:
            pass
    try:
        dvcyaml.parse(text, "dvc.yaml", read=lambda path: None)
    except FormatError:
        pass
    ignore.Ignore({"": text}.get).match("a/b c", False)


@given(DATA)
def test_no_data_crashes_the_schemas(data: Any) -> None:
    for wrapped in (data, {"stages": data}, {"stages": {"s": data}}, {"outs": data}, {"plots": data, "vars": data}):
        text = yamlfile.dump(wrapped)
        for parse in (
            lambda text: dvcyaml.parse(text, "dvc.yaml", read={}.get),
            lambda text: lockfile.parse_lock(text, "dvc.lock"),
            lambda text: lockfile.parse_dvc(text, "x.dvc"),
        ):
            try:
                parse(text)
            except FormatError:
                pass


def paths(data: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path for key, item in items for path in ((*prefix, key), *paths(item, (*prefix, key)))]


def put(data: Any, keys: tuple[Any, ...], value: Any) -> Any:
    """A copy with one value changed, or deleted where ``value`` is the Ellipsis."""
    if not keys:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    if len(keys) == 1 and value is ...:
        del copy[keys[0]]
    else:
        copy[keys[0]] = put(copy[keys[0]], keys[1:], value)
    return copy


LAYOUTS = [
    lambda data: yamlfile.dump(data),
    lambda data: "# head\n" + yamlfile.dump(data).replace("\n", "\r\n") + "# tail",
    lambda data: yamltext.flow(data) + "\n",
    lambda data: "".join(
        f"# about\n{yamltext.block({key: item}, 0, yamltext.Style(4, 2))}\n" for key, item in data.items()
    ),
    lambda data: "".join(f"{yamltext.flow(key)}: {yamltext.flow(item)}  # c\n" for key, item in data.items()),
]


@given(MAPPINGS, DATA, st.sampled_from(LAYOUTS), st.data())
@settings(max_examples=200)
def test_an_edit_changes_one_value(data: dict[str, Any], value: Any, layout: Any, draw: st.DataObject) -> None:
    text = layout(data)
    assume(yamlfile.load(text, "p") == data)
    keys = draw.draw(st.sampled_from(paths(data)))
    new = yamlfile.set_value(text, keys, value, "p")
    assert yamlfile.load(new, "p") == put(data, keys, value)
    assert new.count("#") >= text.count("# about")
    gone = yamlfile.delete_key(text, keys, "p")
    assert yamlfile.load(gone, "p") == put(data, keys, ...)
    added = yamlfile.set_value(text, ["a new key", "below"], value, "p")
    assert yamlfile.load(added, "p") == {**data, "a new key": {"below": value}}
    # What is in lines of its own, and not the edited entry's, is still there.
    lines = set(text.splitlines())
    assert (
        lines - {line for line in lines if "{" in line} <= set(added.splitlines())
        or "\r" in text
        or layout is LAYOUTS[2]
    )


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=8), JSONS, min_size=1, max_size=4),
    JSONS,
    st.sampled_from([{}, {"indent": 2}, {"indent": "\t"}, {"separators": (",", ":")}, {"ensure_ascii": False}]),
    st.data(),
)
def test_a_json_edit_changes_one_value(data: dict[str, Any], value: Any, style: Any, draw: st.DataObject) -> None:
    from pyexp.formats import jsonfile

    text = json.dumps(data, **style)
    keys = draw.draw(st.sampled_from(paths(data)))
    assert json.loads(jsonfile.set_value(text, keys, value, "p")) == put(data, keys, value)
    assert json.loads(jsonfile.delete_key(text, keys, "p")) == put(data, keys, ...)
    if "a new key" not in data:
        assert json.loads(jsonfile.set_value(text, ["a new key"], value, "p")) == {**data, "a new key": value}


OVERRIDES = st.recursive(
    st.text(max_size=12)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: float(repr(number))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(OVERRIDES)
def test_an_override_spells_every_value(value: Any) -> None:
    assert override.parse("k=" + overridegrammar.written(value)).value == value


@given(st.text(max_size=40) | st.text(alphabet="ab=,:()[]{}'\"\\ 01.e+-~$@/", max_size=40))
def test_no_override_crashes(text: str) -> None:
    try:
        parsed = override.parse(text)
        override.expand([text])
        override.apply("a: 1\nb: {c: [1, 2]}\n", "p.yaml", [parsed])
    except (UsageError, FormatError) as error:
        assert str(error)


@given(st.text(max_size=60), st.sampled_from(["core.remote", "remote.a.url", "exp.pass_env"]))
def test_a_config_value_comes_back(value: str, option: str) -> None:
    try:
        text = config.set_option("[cache]\n    type = copy\n", "c", option, value)
    except PyexpError:
        return
    parsed = config.Config({"repo": config.parse(text, "c")})
    assert parsed.get(option) == value
    assert parsed.get("cache.type") == "copy"
