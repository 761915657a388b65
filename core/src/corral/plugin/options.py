"""Options of a plugin: declared once, where its factory takes them. ::

    @frozen(kw_only=True)
    class Slurm:
        #: Each is an argument of the class, and of ``backend_options=``.
        memory_option: Annotated[str, Option("``mem-per-cpu`` where …", choices=("mem", "mem-per-cpu"))] = "mem"

A class without attrs, or a function, says the same of its arguments. From these declarations corral checks what users
write, before the factory is called, and makes what it says of the options: errors, ``corral backends NAME``, the schema
of the configuration and the tables of the documentation.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import NOTHING, field, frozen

from corral.errors import did_you_mean
from corral.text.durations import in_words, seconds_in
from corral.text.sizes import bytes_in, size_in_words


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str):
        raise TypeError(f"{values!r} is one text, where a list of texts is meant")
    return tuple(values)


@frozen
class Option:
    """What is said of an option, in the annotation of the argument: ``Annotated[int, Option("…", at_least=1)]``.

    The rest of the annotation says which values there are: ``bool``, ``int``, ``float``, ``str``, ``Sequence[str]``,
    each also with ``| None``.
    """

    #: What it is for, in a sentence or two, which need not repeat the values; ``code`` is between backticks.
    help: str
    #: The only values, or the only ones in a list.
    choices: tuple[str, ...] = field(default=(), converter=_texts, kw_only=True)
    #: The least number.
    at_least: float | None = field(default=None, kw_only=True)
    #: A regular expression for the whole text.
    pattern: str = field(default="", kw_only=True)
    #: A number of these, which users may write as everywhere: ``"20GB"``, ``"5min"``. The factory gets the number.
    unit: Literal["", "bytes", "seconds"] = field(default="", kw_only=True)
    #: A value that it takes, where one says more than a rule.
    example: Any = field(default=None, kw_only=True)
    #: What it is by default, in words, where the value does not say that: ``"as much as its memory"``.
    default: str = field(default="", kw_only=True)


@frozen(kw_only=True)
class DeclaredOption:
    """One argument of a plugin's factory."""

    name: str
    #: What its author says of it; None: nothing, and any value is taken.
    said: Option | None = None
    #: The types of its values, but None.
    kinds: tuple[object, ...] = ()
    takes_none: bool = False
    is_required: bool = False
    #: NOTHING: it is found when the plugin is made.
    default: Any = None

    @property
    def help(self) -> str:
        return self.said.help if self.said else ""

    @property
    def values(self) -> str:
        """Which values there are, in words."""
        if self.said is None:
            return "any value"
        if self.said.choices:
            quoted = [repr(each) for each in self.said.choices]
            both = f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]
            return f"a list of {both}" if self._is_list else both
        words = "a list of texts" if self._is_list else _WORDS.get(self.said.unit or self._kind, "a value")
        if self.said.at_least is not None:
            words += f", at least {self.said.at_least:g}"
        return words + (f", such as {self.said.example!r}" if self.said.example is not None else "")

    @property
    def usual(self) -> str:
        """What it is by default, in words."""
        if self.is_required:
            return "must be given"
        if self.said and self.said.default:
            return self.said.default
        if self.said and self.said.unit and self.default is not None:
            return size_in_words(self.default) if self.said.unit == "bytes" else in_words(self.default)
        if self.default is NOTHING:
            return "found when it is made"
        return "none" if self.default is None or self.default == "" else repr(self.default)

    @property
    def plain_default(self) -> Any:
        """The default as JSON has it; None: there is none, or it is no value of JSON's."""
        values = list(self.default) if isinstance(self.default, tuple) else self.default
        each = values if isinstance(values, list) else [values]
        return values if all(isinstance(one, bool | int | float | str) for one in each) else None

    def checked(self, value: Any) -> Any:
        """The value as the factory takes it.

        Raises
        ------
        ValueError
            It is none of `values`.
        """
        if self.said is None or (value is None and self.takes_none):
            return value
        found = self._read(value)
        each = found if self._is_list else (found,)
        if self.said.choices and (wrong := [one for one in each if one not in self.said.choices]):
            meant = did_you_mean(str(wrong[0]), self.said.choices)
            raise ValueError(f"{self.values}.{meant}" if meant else self.values)
        if self.said.at_least is not None and not found >= self.said.at_least:  # nor if it is NaN
            raise ValueError(self.values)
        if self.said.pattern and not all(re.fullmatch(self.said.pattern, one) for one in each):
            raise ValueError(self.values)
        return found

    def schema(self) -> dict[str, Any]:
        """What JSON's schema says of it."""
        found: dict[str, Any] = {"description": plain(self.help)} if self.help else {}
        if self.plain_default is not None:
            found["default"] = self.plain_default
        if self.said is None:
            return found
        names = ["array"] if self._is_list else ["number" if self.said.unit else _JSON[self._kind]]
        names += ["string"] * bool(self.said.unit) + ["integer"] * (self._kind is str and not self.said.choices)
        found["type"] = names + ["null"] * self.takes_none if len(names) + self.takes_none > 1 else names[0]
        one: dict[str, Any] = {"enum": [*self.said.choices]} if self.said.choices else {}
        if self.said.pattern:
            one["pattern"] = f"^(?:{self.said.pattern})$"
        if self._is_list:
            return {**found, "items": {"type": "string", **one}}
        if "enum" in one and self.takes_none:
            one["enum"] = [*one["enum"], None]
        if self.said.at_least is not None:
            found["minimum"] = self.said.at_least
        return {**found, **one}

    @property
    def _is_list(self) -> bool:
        return any(typing.get_origin(kind) in (Sequence, list, tuple) for kind in self.kinds)

    @property
    def _kind(self) -> Any:
        return next((kind for kind in (bool, int, float, str) if kind in self.kinds), None)

    def _read(self, value: Any) -> Any:
        if self.said is not None and self.said.unit and not isinstance(value, bool):
            read = bytes_in if self.said.unit == "bytes" else seconds_in
            try:
                if (number := read(value)) >= 0:
                    return number
            except (TypeError, ValueError):
                pass
            raise ValueError(self.values)
        if self._is_list:
            texts = value if isinstance(value, list | tuple) else [None]
            if not all(isinstance(one, str) and one.isprintable() for one in texts):
                raise ValueError(self.values)
            return tuple(texts)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        # YAML and the command line make a number of a text that looks like one.
        if self._kind is str and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        allowed = (int, float) if self._kind is float else self._kind
        if not isinstance(value, allowed) or (isinstance(value, bool) and self._kind is not bool):
            raise ValueError(self.values)
        if isinstance(value, str) and not value.isprintable():
            raise ValueError(f"{self.values}, in one line")
        return value


_WORDS: Mapping[Any, str] = {
    "bytes": "an amount of memory", "seconds": "a duration", bool: "True or False", int: "a whole number",
    float: "a number", str: "a text",
}  # fmt: skip
_JSON: Mapping[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


def plain(help_text: str) -> str:
    """Words of a help as a terminal shows them."""
    return re.sub(r"`+(.+?)`+", r"\1", help_text)


def as_declared(
    options: Sequence[DeclaredOption], given: Mapping[str, Any], *, takes_any: bool, reasons: Mapping[str, str]
) -> dict[str, Any]:
    """What was given, as the factory takes it.

    Parameters
    ----------
    takes_any
        The factory itself looks at other names.
    reasons
        Why there are no such options, by name.

    Raises
    ------
    ValueError
        Something in it is none of these options, is missing, or has a value that is not taken; says which, in words
        that follow the plugin's name.
    """
    known = {option.name: option for option in options}
    if unknown := [] if takes_any else [str(name) for name in given if name not in known]:
        if reason := reasons.get(unknown[0]):
            raise ValueError(f"has no option {unknown[0]!r}: {reason}")
        offer = f"Options: {', '.join(known) or 'none'}.{did_you_mean(unknown[0], known)}"
        raise ValueError(f"has no option {unknown[0]!r}. {offer}")
    if missing := [option for option in options if option.is_required and option.name not in given]:
        about = f", {missing[0].values}: {plain(missing[0].help)}" if missing[0].said else ""
        raise ValueError(f"cannot do without the option {missing[0].name!r}{about}")
    found = {}
    for name, value in given.items():
        try:
            found[name] = known[name].checked(value) if name in known else value
        except ValueError as error:
            raise ValueError(f"does not take {value!r} as its option {name!r}, which is {error}") from None
    return found


def takes_any(factory: Callable[..., object]) -> bool:
    """True if the factory itself looks at names: it takes ``**options``."""
    return any(each.kind is each.VAR_KEYWORD for each in inspect.signature(factory).parameters.values())


def declared(factory: Callable[..., object]) -> list[DeclaredOption]:
    """The options of a plugin, in the order in which its factory takes them.

    Raises
    ------
    TypeError
        An annotation cannot be read; says which, and why.
    """
    named = [
        each
        for each in inspect.signature(factory).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    return [_declared(factory, each) for each in named]


def _declared(factory: Callable[..., object], parameter: inspect.Parameter) -> DeclaredOption:
    is_required = parameter.default is parameter.empty
    basic: dict[str, Any] = {
        "name": parameter.name,
        "is_required": is_required,
        "default": None if is_required else parameter.default,
    }
    hint = _hint(factory, parameter.name)
    said = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Option)]
    if not said:
        return DeclaredOption(**basic)
    bare = typing.get_args(hint)[0]
    is_union = typing.get_origin(bare) in (typing.Union, types.UnionType)
    kinds = typing.get_args(bare) if is_union else (bare,)
    return DeclaredOption(
        **basic,
        said=said[0],
        kinds=tuple(kind for kind in kinds if kind is not type(None)),
        takes_none=type(None) in kinds,
    )


def _hint(factory: Callable[..., object], name: str) -> Any:
    """The annotation of an argument: of the class's attribute, or in the signature. None if there is none."""
    if isinstance(factory, type):
        # attrs leaves out of the signature what a converter takes.
        makers = [vars(each)["__init__"] for each in factory.__mro__ if "__init__" in vars(each)]
        owners: list[Any] = [*factory.__mro__, *makers]
    else:
        owners = [factory]
    for owner in owners:
        annotations = inspect.get_annotations(owner) if isinstance(owner, type | types.FunctionType) else {}
        if name in annotations:
            module = sys.modules.get(owner.__module__)
            # One by one: others may name what is imported for type checkers alone.
            alone = types.SimpleNamespace(__annotations__={name: annotations[name]})
            try:
                return typing.get_type_hints(alone, globalns=vars(module) if module else {}, include_extras=True)[name]
            except Exception as error:
                words = f"the annotation of {name!r} cannot be read: {type(error).__name__}: {error}"
                raise TypeError(f"{words}. Import what it names at run time") from error
    return None
