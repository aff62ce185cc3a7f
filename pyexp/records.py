"""``dataclass`` at a tenth of its price: the part of ``dataclasses`` that pyexp's records use.

Importing ``dataclasses`` loads ``inspect``, and each use of it compiles half a dozen methods: together a quarter of what
``pyexp status`` took. Nothing is compiled here. Type checkers see the real thing, and so does code that asks:
``dataclasses.fields``, ``replace`` and ``asdict`` work on our records, and ``help`` shows their signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

_MISSING: Any = type("_Missing", (), {"__repr__": lambda self: "<factory>"})()
_POST_INIT = "__post_init__"


class _Field:
    """What the class body says of one attribute."""

    __slots__ = ("compare", "default", "factory", "name", "type")

    def __init__(self, default: Any, factory: Any, compare: bool) -> None:
        self.name = ""
        self.type: Any = None
        self.default = default
        self.factory = factory
        self.compare = compare


def _field(*, default: Any = _MISSING, default_factory: Any = _MISSING, compare: bool = True) -> Any:
    return _Field(default, default_factory, compare)


def _dataclass(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False) -> Any:
    def decorated(cls: type) -> type:
        return _record(cls, frozen, slots)

    return decorated if cls is None else decorated(cls)


def _record(cls: type, frozen: bool, slots: bool) -> type:
    own = _own_fields(cls)
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        fields.update(getattr(base, "__record_fields__", {}) if "__record_fields__" in base.__dict__ else {})
    fields.update(own)
    if slots:
        cls = _with_slots(cls, own)
    equal, hashed = _comparison(tuple(fields.values()))
    added: dict[str, Any] = {
        "__record_fields__": fields,
        "__dataclass_fields__": _StandardFields(),
        "__signature__": _Signature(),
        "__match_args__": tuple(fields),
        "__init__": _init(cls, tuple(fields.values())),
        "__repr__": _repr,
        "__eq__": equal,
        "__hash__": hashed if frozen else None,
    }
    if frozen:
        added |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
        if slots:
            added |= {"__getstate__": _getstate, "__setstate__": _setstate}
    for name, value in added.items():
        # As in dataclasses: a method the class body has itself stays.
        if name not in cls.__dict__ or (name == "__hash__" and "__eq__" not in cls.__dict__):
            type.__setattr__(cls, name, value)
    return cls


def _own_fields(cls: type) -> dict[str, _Field]:
    """The fields of a class body, and its defaults as class attributes."""
    found: dict[str, _Field] = {}
    for name, annotation in cls.__annotations__.items():
        default = cls.__dict__.get(name, _MISSING)
        field = default if isinstance(default, _Field) else _Field(default, _MISSING, True)
        field.name, field.type = name, annotation
        found[name] = field
        if default is field:
            delattr(cls, name)
            if field.default is not _MISSING:
                setattr(cls, name, field.default)
    return found


def _with_slots(cls: type, own: dict[str, _Field]) -> type:
    """The same class with slots for its own fields: slots can only be given when a class is made."""
    body = {name: value for name, value in cls.__dict__.items() if name not in ("__dict__", "__weakref__", *own)}
    made = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": tuple(own)})
    made.__qualname__ = cls.__qualname__
    return made


def _init(cls: type, fields: Sequence[_Field]) -> Callable[..., None]:
    """``__init__``: values by position go straight to their places, all others are sorted out first."""
    count, has_post_init = len(fields), hasattr(cls, _POST_INIT)
    setters = [_setter(cls, field.name) for field in fields]

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        values = args if not kwargs and len(args) == count else _bound(cls, fields, args, kwargs)
        for put, value in zip(setters, values, strict=True):
            put(self, value)
        if has_post_init:
            self.__post_init__()

    return __init__


def _setter(cls: type, name: str) -> Callable[[Any, Any], None]:
    slot = cls.__dict__.get(name)
    if hasattr(slot, "__objclass__"):
        found: Callable[[Any, Any], None] = slot.__set__  # type: ignore[union-attr]
        return found
    put = object.__setattr__
    return lambda self, value: put(self, name, value)


def _bound(cls: type, fields: Sequence[_Field], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The value of each field, from arguments and defaults; raises TypeError as a function would."""
    if len(args) > len(fields):
        raise TypeError(f"{cls.__name__}() takes {len(fields)} values, {len(args)} were given")
    values = list(args)
    for field in fields[len(args) :]:
        if field.name in kwargs:
            values.append(kwargs.pop(field.name))
        elif field.factory is not _MISSING:
            values.append(field.factory())
        elif field.default is not _MISSING:
            values.append(field.default)
        else:
            raise TypeError(f"{cls.__name__}() lacks a value for {field.name!r}")
    if kwargs:
        raise TypeError(f"{cls.__name__}() got {', '.join(map(repr, kwargs))}, which it does not have or has already")
    return values


def _comparison(fields: Sequence[_Field]) -> tuple[Callable[[Any, object], Any], Callable[[Any], int]]:
    """``__eq__`` and ``__hash__`` over the fields that count."""
    names = [field.name for field in fields if field.compare]
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda self: ()

    def __eq__(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __eq__, __hash__


def _repr(self: Any) -> str:
    inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__record_fields__)
    return f"{self.__class__.__qualname__}({inside})"


def _frozen_error(text: str) -> NoReturn:
    from dataclasses import FrozenInstanceError  # only a mistake pays for it

    raise FrozenInstanceError(text)


def _refuse_set(self: Any, name: str, value: Any) -> None:
    _frozen_error(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    _frozen_error(f"cannot delete field {name!r}")


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__record_fields__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__record_fields__, state, strict=True):
        object.__setattr__(self, name, value)


class _StandardFields:
    """What ``dataclasses`` looks for, made when it is looked for."""

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        import dataclasses  # code that asks has loaded it already

        made: dict[str, Any] = {}
        for name, field in owner.__record_fields__.items():  # type: ignore[attr-defined]
            default = dataclasses.MISSING if field.default is _MISSING else field.default
            factory = dataclasses.MISSING if field.factory is _MISSING else field.factory
            known: dict[str, Any] = {"default": default, "default_factory": factory, "compare": field.compare}
            standard: Any = dataclasses.field(**known)
            standard.name, standard.type = name, field.type
            standard._field_type = dataclasses._FIELD  # type: ignore[attr-defined]
            made[name] = standard
        return made


class _Signature:
    """What ``help`` shows, made when it is asked for."""

    def __get__(self, instance: object, owner: type) -> Any:
        from inspect import Parameter, Signature  # code that asks has loaded it already

        parameters = []
        for name, field in owner.__record_fields__.items():  # type: ignore[attr-defined]
            default = field.default if field.factory is _MISSING else _MISSING
            empty = field.factory is _MISSING and default is _MISSING
            parameters.append(
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=Parameter.empty if empty else default,
                    annotation=field.type,
                )
            )
        return Signature(parameters)


def _fields(record: Any) -> tuple[Any, ...]:
    return tuple(record.__record_fields__.values())


def _replace(record: Any, /, **changes: Any) -> Any:
    values = {name: getattr(record, name) for name in record.__record_fields__ if name not in changes}
    return record.__class__(**values, **changes)


def _asdict(record: Any) -> dict[str, Any]:
    return {name: _plain(getattr(record, name)) for name in record.__record_fields__}


def _plain(value: Any) -> Any:
    """A value with every record in it as a dictionary; containers are new ones of the same kind."""
    if value is None or type(value) in (str, int, float, bool, bytes):
        return value
    if hasattr(type(value), "__record_fields__"):
        return _asdict(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_plain, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return type(value)((_plain(key), _plain(item)) for key, item in value.items())
    import copy  # hardly ever: params hold plain values

    return copy.deepcopy(value)


if TYPE_CHECKING:
    from dataclasses import asdict as asdict
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import replace as replace
else:
    asdict, dataclass, field, fields, replace = _asdict, _dataclass, _field, _fields, _replace
