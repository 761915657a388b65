"""Elements of HTML and SVG in which all text is escaped: what is markup has to say so."""

from __future__ import annotations

from collections.abc import Iterable

from corral.text.printable import html

#: Elements that hold nothing and have no end.
_EMPTY = frozenset({"meta", "br"})


class Markup(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """One element. Children that are not `Markup` are text; attributes are text, and left out if they are None.

    Parameters
    ----------
    **attributes
        An underscore at the end is dropped (``class_``); others are dashes. True is an attribute without a value.
    """
    said = "".join(_attribute(each, value) for each, value in attributes.items() if value not in (None, False))
    if name in _EMPTY:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[str | None]) -> Markup:
    """Several one after the other."""
    return Markup("".join(each if isinstance(each, Markup) else html(each) for each in children if each is not None))


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = ()) -> Markup:
    """Rows below a head; the columns `numbers` stand to the right."""
    right = frozenset(numbers)

    def row(kind: str, cells: Iterable[str]) -> Markup:
        return element(
            "tr", *(element(kind, cell, class_="number" if at in right else None) for at, cell in enumerate(cells))
        )

    body = joined(row("td", cells) for cells in rows)
    whole = element("table", element("thead", row("th", head)), element("tbody", body))
    return element("div", whole, class_="wide")


def _attribute(name: str, value: str | float | bool | None) -> str:
    name = name.removesuffix("_").replace("_", "-")
    if value is True:
        return f" {name}"
    # As many digits as a screen has room for.
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else html(str(value))
    return f' {name}="{text}"'
