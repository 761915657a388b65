"""What the readers of other tools' files hand to each other: remarks, and values that only the program knows."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import field, frozen


@frozen(kw_only=True)
class Remark:
    """What somebody should know about one line of the file."""

    #: ``program.py:12``.
    place: str
    said: str
    #: It could not be carried over: what is printed does less than what was read.
    is_lost: bool = False
    #: Where it is in the file, for their order.
    line: int = field(default=0, eq=False)

    def __str__(self) -> str:
        return f"{self.place}: {self.said}"


def _remarks(values: Sequence[Remark]) -> tuple[Remark, ...]:
    found: dict[tuple[str, str], Remark] = {}
    for remark in sorted(values, key=lambda remark: remark.line):
        # What is different now is different everywhere.
        found.setdefault((remark.place if remark.is_lost else "", remark.said), remark)
    return tuple(found.values())


@frozen(kw_only=True)
class Migrated:
    """A file in corral's words."""

    #: What to use in place of the file.
    text: str
    remarks: tuple[Remark, ...] = field(default=(), converter=_remarks)

    @property
    def lost(self) -> int:
        """How many things could not be carried over."""
        return sum(remark.is_lost for remark in self.remarks)


@frozen(repr=False)
class Source:
    """A value that only the program knows, as it is written there."""

    text: str

    def __repr__(self) -> str:
        return self.text
