"""Values as plain fields and back: what is written into files, and read from files that may be damaged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import NOTHING, AttrsInstance, Factory, asdict, fields

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T", bound=AttrsInstance)

#: So many characters of a text, and so many entries of a sequence, are kept.
LONGEST, MOST = 2000, 64
#: Larger numbers are none of ours.
_LARGEST = 2.0**63


def plain_fields(value: AttrsInstance, since: AttrsInstance | None = None) -> dict[str, Any]:
    """The fields of a value that are not as usual; with an earlier value, those that are not as they were.

    Moments are rounded to hundredths of a second, texts cut where they are very long.
    """
    found = {}
    for attribute in fields(type(value)):
        one = getattr(value, attribute.name)
        if one != (_usual(attribute.default) if since is None else getattr(since, attribute.name)):
            found[attribute.name] = _plain(one)
    return found


def _usual(default: Any) -> Any:
    if isinstance(default, Factory):  # type: ignore[arg-type]
        return default.factory()
    return default if default is not NOTHING else object()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]} …"
    if isinstance(value, float):
        # JSON has no infinity.
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value[:MOST]]
    if isinstance(value, Mapping):
        return {_plain(name): _plain(each) for name, each in value.items()}
    return asdict(value) if hasattr(value, "__attrs_attrs__") else value


def retold(value: T, say: Callable[[str], str]) -> T:
    """The same value, in which each text is said otherwise."""

    def told(each: Any) -> Any:
        if isinstance(each, str):
            return say(each)
        if isinstance(each, Mapping):
            return {name: told(part) for name, part in each.items()}
        return [told(part) for part in each] if isinstance(each, list | tuple) else each

    return structured(type(value), told(asdict(value)))


def structured(kind: type[T], found: object) -> T:
    """The value that these fields are; fields that are not known are left out.

    Raises
    ------
    ValueError
        A field is missing, or is not what it should be.
    """
    from cattrs import BaseValidationError

    if not isinstance(found, dict):
        raise ValueError(f"{str(found)[:60]!r} has no fields")  # noqa: TRY004 - as for each of its fields
    try:
        return _converter().structure(found, kind)
    except (BaseValidationError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no {kind.__name__}: {error}") from None


@functools.cache
def _converter() -> Converter:
    """Takes each value for what it is: by itself cattrs would make a text of a list."""
    from cattrs import Converter

    strict = Converter(detailed_validation=False)
    strict.register_structure_hook(str, _only(str))
    strict.register_structure_hook(bool, _only(bool))
    strict.register_structure_hook(int, _only(int))
    strict.register_structure_hook(float, _only(float, int))
    return strict


def _only(*kinds: type) -> Any:
    def structure(value: Any, _: object) -> Any:
        if type(value) not in kinds:
            raise ValueError(f"{str(value)[:60]!r} is no {kinds[0].__name__}")
        # Neither: nor is a number that is none.
        if isinstance(value, int | float) and not abs(value) < _LARGEST:
            raise ValueError("it is no number of ours")
        return value

    return structure
