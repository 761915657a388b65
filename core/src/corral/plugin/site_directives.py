"""Native directives of a site and of its users, by what they are called: which of two counts, and which is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def with_directives(own: Sequence[str], more: Iterable[str]) -> tuple[str, ...]:
    """A user's directives and a site's; where both say the same option, the user's counts."""
    said = {directive_name(directive) for directive in own}
    return (*own, *(each for each in dict.fromkeys(more) if directive_name(each) not in said))


#: What Slurm's users write short. Where another batch system means something else by it, sites and users both do.
_LONG = {"-q": "--qos", "-C": "--constraint", "-L": "--licenses", "-p": "--partition", "-A": "--account"}


def names_of(directive: str) -> set[str]:
    """What `Job.skip` may call a native directive: as it is written, and without dashes."""
    name = directive_name(directive)
    return {name, name.lstrip("-")}


def directive_name(directive: str) -> str:
    """The option of a native directive: ``--qos`` of ``-q high``, ``-l storage`` of ``-l storage=gdata/xy``."""
    words = directive.strip().partition("=")[0].split()
    if words and words[0] in _LONG:
        return _LONG[words[0]]
    is_short = bool(words) and re.fullmatch("-[lRW]", words[0]) is not None
    return " ".join(words[: 2 if is_short else 1])
