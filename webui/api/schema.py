"""JSON from frozen dataclasses and back, and its JSON Schema, all read from their type hints. Pure."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

Shape = TypeVar("Shape")
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON can say one alone, and UTF-8 cannot."""
NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Malformed(ValueError):
    """What came is not of its shape; says where and what was expected."""


@dataclass(frozen=True)
class Rule:
    """What else is true of a value, beside its type; stands in Annotated."""

    text: str = ""
    pattern: str = ""
    """Of the whole text."""
    least: int | None = None
    most: int | None = None


def hints_of(shape: type) -> dict[str, Any]:
    return get_type_hints(shape, include_extras=True)


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON Schema of one type; a dataclass is a reference to its component."""
    if get_origin(hint) is Annotated:
        plain, rule = get_args(hint)
        said = {"pattern": f"^{rule.pattern}$"} if rule.pattern else {}
        said |= {"description": rule.text} if rule.text else {}
        bounds = {"minimum": rule.least, "maximum": rule.most}
        return schema_of(plain) | said | {key: value for key, value in bounds.items() if value is not None}
    if get_origin(hint) in (Union, UnionType):
        return {"anyOf": [schema_of(one) for one in get_args(hint)]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": schema_of(get_args(hint)[0])}
    if hint is NoneType:
        return {"type": "null"}
    if is_dataclass(hint):
        return {"$ref": f"#/components/schemas/{hint.__name__}"}  # type: ignore[union-attr]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"type": "string", "enum": [one.value for one in hint]}
    return {"type": PLAIN[hint]}


def component(shape: type, *, closed: bool) -> dict[str, Any]:
    """The schema of a dataclass; `closed`: nothing else may come with it."""
    hints = hints_of(shape)
    needed = [one.name for one in fields(shape) if _is_needed(one)] if closed else list(hints)
    made: dict[str, Any] = {
        "type": "object",
        "description": (shape.__doc__ or "").strip(),
        "properties": {name: schema_of(hint) for name, hint in hints.items()},
    }
    return (
        made | ({"required": needed} if needed else {}) | ({"additionalProperties": False} if closed else {})
    )


def components(shape: type) -> dict[str, type]:
    """A dataclass and all dataclasses in it, by name."""
    found = {shape.__name__: shape}
    for hint in hints_of(shape).values():
        for part in _parts(hint):
            if is_dataclass(part) and isinstance(part, type):
                found |= components(part)
    return found


def to_json(value: Any) -> Any:
    """What json.dumps takes."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [to_json(one) for one in value]
    return value


def read(shape: type[Shape], came: Any) -> Shape:
    """A dataclass from an object as json.loads makes it. Raises Malformed."""
    if not isinstance(came, dict):
        raise Malformed(f"expected an object, got {_show(came)}")
    hints = hints_of(shape)
    if odd := sorted(came.keys() - hints.keys()):
        raise Malformed(f"{odd[0]!r} is not known here, expected {', '.join(hints) or 'nothing'}")
    if missing := [one.name for one in fields(shape) if _is_needed(one) and one.name not in came]:  # type: ignore[arg-type]
        raise Malformed(f"{missing[0]} is missing")
    return shape(**{name: _value(hints[name], value, name) for name, value in came.items()})


def read_words(shape: type[Shape], came: Mapping[str, str]) -> Shape:
    """A dataclass from the query of an address, where everything is a text. Raises Malformed."""
    return read(shape, {name: _from_word(hints_of(shape).get(name), text) for name, text in came.items()})


def _from_word(hint: Any, text: str) -> Any:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if plain is int and re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        return int(text)
    return text


def _value(hint: Any, came: Any, name: str) -> Any:
    if get_origin(hint) is Annotated:
        plain, rule = get_args(hint)
        return _checked(rule, _value(plain, came, name), name)
    if isinstance(hint, type) and issubclass(hint, Enum):
        known = [one.value for one in hint]
        if not isinstance(came, str) or came not in known:
            raise Malformed(f"{name} is {_show(came)}, expected {' or '.join(known)}")
        return hint(came)
    if hint is int and isinstance(came, float) and came.is_integer():
        # For JSON Schema 41.0 is a whole number, 2020-12 6.1.1.
        return int(came)
    # True is an int for Python, and not for JSON.
    if not isinstance(came, hint) or (isinstance(came, bool) and hint is not bool):
        raise Malformed(f"{name} is {_show(came)}, expected {NAMES[hint]}")
    if isinstance(came, str) and SURROGATE.search(came):
        raise Malformed(f"{name} is {ascii(came)[:80]}, expected a text of whole characters")
    return came


def _checked(rule: Rule, value: Any, name: str) -> Any:
    if rule.pattern and not re.fullmatch(rule.pattern, value, re.ASCII):
        raise Malformed(f"{name} is {_show(value)}, expected {rule.text or rule.pattern}")
    if (rule.least is not None and value < rule.least) or (rule.most is not None and value > rule.most):
        raise Malformed(f"{name} is {value}, expected a number from {rule.least} to {rule.most}")
    return value


def _show(came: Any) -> str:
    text = repr(came)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_needed(one: "Field[Any]") -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _parts(hint: Any) -> list[Any]:
    return [hint, *(part for one in get_args(hint) for part in _parts(one))]
