"""dvc.yaml: its schema, its stages with templates filled in, and edits of it (FORMATS.md §1.2)."""

from __future__ import annotations

import posixpath
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyexp.errors import FormatError, PyexpError
from pyexp.formats import suggest, template, yamlfile
from pyexp.formats.template import Context, Read, TemplateError
from pyexp.model import OutSpec, ParamSpec, PipelineFile, PlotSpec, StageSpec
from pyexp.paths import UnsafePath, check_relpath

DEFAULT_PARAMS = "params.yaml"
JOIN = "@"  # between a group and the key of a generated stage

Keys = tuple[str | int, ...]
Kinds = tuple[type, ...]

_ANY: Kinds = (object,)
_TOP: dict[str, Kinds] = {
    "stages": (dict,), "vars": (list,), "params": (list,), "metrics": (list,), "plots": (list,), "artifacts": (dict,),
    "datasets": _ANY,
}  # fmt: skip
_STAGE: dict[str, Kinds] = {
    "cmd": (str, list), "wdir": (str,), "deps": (list,), "params": (list,), "vars": (list,), "frozen": (bool,),
    "meta": _ANY, "desc": (str,), "always_changed": (bool,), "outs": (list,), "metrics": (list,), "plots": (list,),
}  # fmt: skip
_FOREACH: dict[str, Kinds] = {"foreach": (dict, list, str), "do": (dict,)}
_MATRIX: dict[str, Kinds] = {**_STAGE, "matrix": (dict,)}
_ANNOTATION: dict[str, Kinds] = {"desc": (str,), "type": (str,), "labels": (list,), "meta": _ANY}
_OUT: dict[str, Kinds] = {
    **_ANNOTATION, "cache": (bool,), "persist": (bool,), "checkpoint": (bool,), "remote": (str,), "push": (bool,),
}  # fmt: skip
_PLOT_PROPS: dict[str, Kinds] = {
    "template": (str,), "x": (str,), "y": (str,), "x_label": (str,), "y_label": (str,), "title": (str,), "header": (bool,),
}  # fmt: skip
_STAGE_PLOT: dict[str, Kinds] = {**_OUT, **_PLOT_PROPS}
_TOP_PLOT: dict[str, Kinds] = {
    "x": (str, dict), "y": (str, list, dict), "x_label": (str,), "y_label": (str,), "title": (str,), "template": (str,),
}  # fmt: skip
_ARTIFACT: dict[str, Kinds] = {**_ANNOTATION, "path": (str,)}
_ITEMS: dict[str, Kinds] = {
    "cmd": (str,), "deps": (str,), "params": (str, dict), "vars": (str, dict), "outs": (str, dict), "metrics": (str, dict),
    "plots": (str, dict), "labels": (str,),
}  # fmt: skip
_TOP_ITEMS: dict[str, Kinds] = {"vars": (str, dict), "params": (str,), "metrics": (str,), "plots": (str, dict)}
_OUT_SECTIONS: dict[str, Any] = {"outs": "out", "metrics": "metric", "plots": "plot"}
_NAMES = {str: "text", list: "a list", dict: "a mapping", bool: "true or false"}


def parse(text: str, path: str, *, read: Read, parsing: Mapping[str, str] | None = None) -> PipelineFile:
    """The pipeline a dvc.yaml at relpath ``path`` declares.

    ``read`` gives the text of other project files (params, vars), None when absent; ``parsing`` is the ``parsing``
    section of the configuration. Raises FormatError at the first thing that is wrong, naming line, column and key.
    """
    parsed, problems = parse_lenient(text, path, read=read, parsing=parsing)
    if problems:
        raise problems[0]
    return parsed


def parse_lenient(
    text: str, path: str, *, read: Read, parsing: Mapping[str, str] | None = None
) -> tuple[PipelineFile, list[FormatError]]:
    """As ``parse``, but a stage that is wrong is left out and its error listed; the rest of the file must be right."""
    return _Parser(text, path, read, parsing or {}).run()


class _Parser:
    """One dvc.yaml on its way to a PipelineFile."""

    def __init__(self, text: str, path: str, read: Read, parsing: Mapping[str, str]) -> None:
        self._text = text
        self._path = path
        self._directory = posixpath.dirname(path)
        self._context = Context(read, parsing)

    def run(self) -> tuple[PipelineFile, list[FormatError]]:
        data = yamlfile.load(self._text, self._path)
        if data is None:
            return PipelineFile(self._path), []
        self._check(data, (dict,), ())
        data = {key: value for key, value in data.items() if value is not None or key not in _TOP}
        self._check_map(data, _TOP, ())
        for key, kinds in _TOP_ITEMS.items():
            self._check_items(data.get(key, ()), kinds, (key,))
        self._load_context(data)
        stages: dict[str, StageSpec] = {}
        problems: list[FormatError] = []
        for name, definition in data.get("stages", {}).items():
            try:
                for spec in self._stages(name, definition):
                    stages[str(spec.name)] = spec
            except FormatError as error:
                problems.append(error)
        parsed = PipelineFile(
            self._path,
            stages,
            self._paths(data, "params"),
            self._paths(data, "metrics"),
            tuple(self._plots(data.get("plots", ()))),
            self._artifacts(data.get("artifacts", {})),
        )
        return parsed, problems

    # Errors and schema

    def _wrong(self, message: str, keys: Keys, hint: str | None = None) -> FormatError:
        line, column = yamlfile.position(self._text, keys) or (None, None)
        return FormatError(message, path=self._path, line=line, column=column, hint=hint)

    def _check(self, value: Any, kinds: Kinds, keys: Keys) -> None:
        if not isinstance(value, kinds):
            names = " or ".join(_NAMES[kind] for kind in kinds)
            raise self._wrong(f"expected {names} in {_dotted(keys)}" if keys else f"expected {names}", keys)

    def _check_map(self, data: Mapping[Any, Any], known: Mapping[str, Kinds], keys: Keys) -> None:
        for key, value in data.items():
            if key not in known:
                where = f" in {_dotted(keys)}" if keys else ""
                raise self._wrong(f"unknown key '{key}'{where}{suggest.question(str(key), known)}", (*keys, key))
            self._check(value, known[key], (*keys, key))

    def _check_items(self, items: Sequence[Any], kinds: Kinds, keys: Keys) -> None:
        for index, item in enumerate(items):
            self._check(item, kinds, (*keys, index))

    def _check_stage(self, data: Mapping[str, Any], known: Mapping[str, Kinds], keys: Keys) -> None:
        self._check_map(data, known, keys)
        if not data.get("cmd"):
            raise self._wrong(f"'cmd' is missing in {_dotted(keys)}", keys, hint="a stage needs a command: cmd: …")
        for key, kinds in _ITEMS.items():
            if isinstance(data.get(key), list):
                self._check_items(data[key], kinds, (*keys, key))
        for section in _OUT_SECTIONS:
            for index, item in enumerate(data.get(section, ())):
                if isinstance(item, dict):
                    self._check_out(item, section, (*keys, section, index))
        for axis, choices in data.get("matrix", {}).items():
            self._check(choices, (str, list), (*keys, "matrix", axis))

    def _check_out(self, item: Mapping[Any, Any], section: str, keys: Keys) -> None:
        for path, options in item.items():
            where = (*keys, path)
            self._check(options, (dict,), where)
            self._check_map(options, _STAGE_PLOT if section == "plots" else _OUT, where)
            self._check_items(options.get("labels", ()), (str,), (*where, "labels"))

    # Templates

    def _load_context(self, data: Mapping[str, Any]) -> None:
        variables = data.get("vars", ())
        if template.has_expression(variables):
            raise self._wrong("vars may not use ${…} themselves", ("vars",))
        if "${" not in self._text and not variables:
            return  # nothing asks for a value: the params file need not be read
        with _Located(self, ("vars",)):
            self._context.load_default(posixpath.join(self._directory, DEFAULT_PARAMS))
            self._context.load_vars(variables, self._directory)

    def _resolve(self, context: Context, value: Any, keys: Keys, key: str | None = None) -> Any:
        with _Located(self, keys):
            return context.resolve(value, key)

    # Stages

    def _stages(self, name: Any, definition: Any) -> Iterator[StageSpec]:
        keys: Keys = ("stages", name)
        if not isinstance(name, str):
            raise self._wrong(f"stage name {name!r} is not text", keys, hint="put it in quotes")
        self._check(definition, (dict,), keys)
        if "foreach" in definition or "do" in definition:
            self._check_map(definition, _FOREACH, keys)
            for key in _FOREACH:
                if key not in definition:
                    raise self._wrong(f"'{key}' is missing in {_dotted(keys)}", keys)
            body, inside = definition["do"], (*keys, "do")
            self._check_stage(body, _STAGE, inside)
            with _Located(self, (*keys, "foreach")):
                generated = template.foreach(self._context, definition["foreach"])
        elif "matrix" in definition:
            self._check_stage(definition, _MATRIX, keys)
            body, inside = {key: value for key, value in definition.items() if key != "matrix"}, keys
            with _Located(self, (*keys, "matrix")):
                generated = template.matrix(self._context, definition["matrix"])
        elif JOIN in name:
            raise self._wrong(
                f"stage name '{name}': '{JOIN}' stands between a group and the key of a generated stage", keys
            )
        else:
            self._check_stage(definition, _STAGE, keys)
            yield self._stage(name, definition, self._context.extended(), keys)
            return
        for key, context in generated.items():
            yield self._stage(f"{name}{JOIN}{key}", body, context, inside)

    def _stage(self, name: str, body: Mapping[str, Any], context: Context, keys: Keys) -> StageSpec:
        wdir = self._wdir(body, context, keys)
        variables = body.get("vars", ())
        if template.has_expression(variables):
            raise self._wrong("vars may not use ${…} themselves", (*keys, "vars"))
        if variables:
            with _Located(self, (*keys, "vars")):
                context.load_vars(variables, wdir, name)
        data = {key: self._resolve(context, value, (*keys, key), key) for key, value in body.items() if key != "vars"}
        cmd = data["cmd"]
        return StageSpec(
            self._path,
            name,
            cmd=tuple(template.as_text(line) for line in cmd) if isinstance(cmd, list) else template.as_text(cmd),
            wdir=wdir,
            # One named twice is recorded twice, as in DVC: the lock file and the key of the result stay the same.
            deps=tuple(self._path_text(dep, (*keys, "deps")) for dep in data.get("deps", ())),
            params=self._params(data.get("params", ()), (*keys, "params")),
            outs=tuple(self._outs(data, wdir, keys)),
            frozen=data.get("frozen", False),
            always_changed=data.get("always_changed", False),
            desc=data.get("desc"),
            meta=data.get("meta"),
            used_vars=context.used,
        )

    def _wdir(self, body: Mapping[str, Any], context: Context, keys: Keys) -> str:
        if not body.get("wdir"):
            return self._directory
        wdir = template.as_text(self._resolve(context, body["wdir"], (*keys, "wdir"), "wdir"))
        joined = posixpath.normpath(posixpath.join(self._directory, wdir))
        if joined == ".":
            return ""
        self._check_inside(joined, f"wdir '{wdir}'", (*keys, "wdir"))
        return joined

    def _check_inside(self, relpath: str, what: str, keys: Keys) -> None:
        try:
            check_relpath(relpath)
        except UnsafePath as error:
            outside = posixpath.isabs(relpath) or relpath == ".." or relpath.startswith("../")
            message = f"{what} is outside the project" if outside else f"{what}: {error.message}"
            raise self._wrong(message, keys) from None

    def _path_text(self, value: Any, keys: Keys) -> str:
        text = template.as_text(value)
        if not text or "\0" in text:
            raise self._wrong(f"{text!r} is not a path", keys)
        return text

    def _params(self, items: Sequence[Any], keys: Keys) -> tuple[ParamSpec, ...]:
        found: dict[str, list[str] | None] = {}
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                item = {DEFAULT_PARAMS: [item]}
            for file, names in item.items():
                self._path_text(file, (*keys, index, file))
                if names is not None and not isinstance(names, list):
                    raise self._wrong(f"expected a list of params of '{file}'", (*keys, index, file))
                if not names:
                    found[str(file)] = None
                elif found.setdefault(str(file), []) is not None:
                    found[str(file)] += [template.as_text(name) for name in names]  # type: ignore[operator]
        return tuple(
            ParamSpec(file, None if names is None else tuple(dict.fromkeys(names))) for file, names in found.items()
        )

    def _outs(self, data: Mapping[str, Any], wdir: str, keys: Keys) -> Iterator[OutSpec]:
        owner: dict[str, str] = {}
        for section, kind in _OUT_SECTIONS.items():
            merged: dict[str, dict[str, Any]] = {}
            for item in data.get(section, ()):
                for path, options in (item if isinstance(item, dict) else {item: {}}).items():
                    merged.setdefault(self._path_text(path, (*keys, section)), {}).update(options)
            for path, options in merged.items():
                where = (*keys, section)
                if "://" in path or posixpath.isabs(path):
                    raise self._wrong(
                        f"output '{path}' is outside the project",
                        where,
                        hint="write it inside and upload it by its command",
                    )
                relpath = posixpath.normpath(posixpath.join(wdir, path))
                self._check_inside(relpath, f"output '{path}'", where)
                if relpath in owner:
                    raise self._wrong(f"output '{path}' is in {owner[relpath]} and in {section}", where)
                owner[relpath] = section
                yield _out(path, kind, options)

    # The rest of the file

    def _paths(self, data: Mapping[str, Any], section: str) -> tuple[str, ...]:
        resolved = self._resolve(self._context, data.get(section, []), (section,))
        return tuple(dict.fromkeys(self._path_text(item, (section,)) for item in resolved))

    def _plots(self, items: Sequence[Any]) -> Iterator[PlotSpec]:
        for index, item in enumerate(items):
            keys: Keys = ("plots", index)
            resolved = self._resolve(self._context, item, keys)
            if not isinstance(resolved, dict):
                yield PlotSpec(template.as_text(resolved))
                continue
            for name, props in resolved.items():
                if props is not None:
                    self._check(props, (dict,), (*keys, name))
                    self._check_map(props, _TOP_PLOT, (*keys, name))
                yield PlotSpec(template.as_text(name), props or {})

    def _artifacts(self, items: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for name, item in items.items():
            keys: Keys = ("artifacts", name)
            self._check(item, (dict,), keys)
            self._check_map(item, _ARTIFACT, keys)
            if "path" not in item:
                raise self._wrong(f"'path' is missing in {_dotted(keys)}", keys)
            found[template.as_text(self._resolve(self._context, name, keys))] = self._resolve(self._context, item, keys)
        return found


class _Located:
    """Turns a TemplateError into a FormatError at a place of the file."""

    def __init__(self, parser: _Parser, keys: Keys) -> None:
        self._parser = parser
        self._keys = keys

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TemplateError):
            raise self._parser._wrong(f"{error.message} in {_dotted(self._keys)}", self._keys, error.hint) from None


def _dotted(keys: Keys) -> str:
    return ".".join(str(key) for key in keys)


def _out(path: str, kind: Any, options: Mapping[str, Any]) -> OutSpec:
    return OutSpec(
        path,
        kind=kind,
        cache=options.get("cache", True),
        persist=options.get("persist", False),
        push=options.get("push", True),
        remote=options.get("remote"),
        desc=options.get("desc"),
        type=options.get("type"),
        labels=tuple(options.get("labels", ())),
        meta=options.get("meta"),
        plot={key: value for key, value in options.items() if key in _PLOT_PROPS},
    )


# Edits


def check_stage_name(name: str) -> None:
    """Raises PyexpError for a name with punctuation other than ``-`` and ``_``."""
    bad = sorted(set(name) & (set(string.punctuation) - set("-_")))
    if bad or not name or not name.isprintable():
        raise PyexpError(
            f"{name!r} is not a stage name: punctuation other than '-' and '_' is not allowed",
            hint="for example: train-model",
        )


def add_stage(text: str | None, path: str, spec: StageSpec, *, force: bool) -> str:
    """The text of a dvc.yaml with a stage added, or replaced with ``force``; the rest stays as it is.

    Raises PyexpError when there is such a stage already, FormatError when the file is wrong.
    """
    assert spec.name is not None
    check_stage_name(spec.name)
    data = stage_data(spec)
    if text is None or not text.strip():
        return yamlfile.dump({"stages": {spec.name: data}})
    existing = _raw_stages(text, path)
    if spec.name not in existing:
        return yamlfile.set_value(text, ["stages", spec.name], data, path)
    if not force:
        raise PyexpError(f"stage '{spec.name}' already exists in '{path}'", hint="to replace it: --force")
    return yamlfile.merge(text, data, path, ["stages", spec.name])


def replace_stage(text: str, path: str, spec: StageSpec) -> str:
    """The text with a stage written anew, touching only what differs; raises PyexpError for one made by a template."""
    assert spec.name is not None
    raw = _raw_stage(text, path, spec.name)
    if template.has_expression(raw) or (isinstance(raw, dict) and {"vars", "matrix", "foreach"} & set(raw)):
        raise PyexpError(f"stage '{spec.name}' is a template", hint=f"edit it in {path}")
    return yamlfile.merge(text, stage_data(spec), path, ["stages", spec.name])


def _raw_stages(text: str, path: str) -> dict[str, Any]:
    data = yamlfile.load(text, path)
    stages = data.get("stages") if isinstance(data, dict) else None
    if (data is not None and not isinstance(data, dict)) or (stages is not None and not isinstance(stages, dict)):
        raise FormatError("expected a mapping", path=path, line=1, column=1)
    return stages or {}


def _raw_stage(text: str, path: str, name: str) -> Any:
    stages = _raw_stages(text, path)
    if name not in stages:
        group = name.rpartition(JOIN)[0]
        if group in stages:
            raise PyexpError(f"stage '{name}' is generated by '{group}'", hint=f"edit '{group}' in {path}")
        near = suggest.close(name, stages)
        raise PyexpError(f"there is no stage '{name}' in '{path}'", hint=f"did you mean '{near}'?" if near else None)
    return stages[name]


def remove_stage(text: str, path: str, name: str) -> str | None:
    """The text without a stage; None when nothing would be left of the file. Raises PyexpError."""
    _raw_stage(text, path, name)
    if len(_raw_stages(text, path)) > 1:
        return yamlfile.delete_key(text, ["stages", name], path)
    if len(yamlfile.load(text, path)) == 1:
        return None
    return yamlfile.delete_key(text, ["stages"], path)


def set_flag(text: str, path: str, stage_name: str, flag: str, value: bool) -> str:
    """The text with a stage's ``frozen`` or ``always_changed`` set, or taken out when False. Raises PyexpError."""
    stage = _raw_stage(text, path, stage_name)
    keys = ["stages", stage_name, *(["do"] if isinstance(stage, dict) and "do" in stage else []), flag]
    if value:
        return yamlfile.set_value(text, keys, True, path)
    holder = stage.get("do", stage) if isinstance(stage, dict) else {}
    return yamlfile.delete_key(text, keys, path) if flag in holder else text


def stage_data(spec: StageSpec) -> dict[str, Any]:
    """A stage as DVC writes it: order of keys, sorted paths, what is default left out."""
    wdir = posixpath.relpath(spec.wdir or ".", posixpath.dirname(spec.file) or ".")
    outs: dict[str, list[Any]] = {kind: [] for kind in _OUT_SECTIONS.values()}
    for out in sorted(spec.outs, key=lambda out: out.path):
        options = _out_data(out)
        outs[out.kind].append({out.path: options} if options else out.path)
    data: dict[str, Any] = {
        "desc": spec.desc,
        "cmd": list(spec.cmd) if isinstance(spec.cmd, tuple) else spec.cmd,
        "wdir": None if wdir == "." else wdir,
        "deps": sorted(spec.deps),
        "params": _params_data(spec.params),
        **{section: outs[kind] for section, kind in _OUT_SECTIONS.items()},
        "frozen": spec.frozen,
        "always_changed": spec.always_changed,
        "meta": spec.meta,
    }
    return {key: value for key, value in data.items() if value}


def _out_data(out: OutSpec) -> dict[str, Any]:
    data: dict[str, Any] = {
        "desc": out.desc,
        "type": out.type,
        "labels": list(out.labels),
        "meta": out.meta,
        "cache": None if out.cache else False,
        "persist": out.persist or None,
        **(out.plot if out.kind == "plot" else {}),
        "remote": out.remote,
        "push": None if out.push else False,
    }
    return {key: value for key, value in data.items() if value is not None and value != [] and value != {}}


def _params_data(params: Sequence[ParamSpec]) -> list[Any]:
    first: list[Any] = []
    others: list[Any] = []
    for param in sorted(params, key=lambda param: param.file):
        names = sorted(param.keys) if param.keys else None
        if names and param.file == DEFAULT_PARAMS:
            first += names
        else:
            others.append({param.file: names})
    return first + others
