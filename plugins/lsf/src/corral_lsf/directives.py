"""The language of ``#BSUB`` lines: words, units, and what they make of a job.

bsub reads them by rules of its own: quotes of both kinds group, there is no backslash, a word that begins with ``#``
ends the line even if quoted, and every line of a script that begins so is one, the last like the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from corral.plugin import InvalidRequest, Job, ParseError, Resources, parsing

PREFIX = "#BSUB"

_LINE = re.compile(r"^[ \t]*#[ \t]*BSUB[ \t]+(-.*?)[ \t]*$", re.MULTILINE)

#: Options without a value.
_ALONE = frozenset({
    "B", "H", "I", "IS", "ISp", "ISs", "IX", "Ip", "Is", "K", "N", "V", "XF", "Zs", "ar", "h", "hl", "r", "rn", "ul",
    "x",
})  # fmt: skip

#: Options that a Job has words for.
_READ = frozenset({"J", "q", "P", "n", "nnodes", "R", "M", "W", "gpu", "o"})

#: bsub waits for the job's end, or submits none or several; ``-I…`` ties it to a terminal.
_NO_BATCH_JOB = frozenset({"K", "V", "h", "pack"})


# --- writing ----------------------------------------------------------------------------------------------------


def quoted(value: str, argument: str) -> str:
    """A word that bsub reads back as this very value.

    Raises
    ------
    InvalidRequest
        No word can say it; names `argument`.
    """
    if len(value.splitlines()) != 1 or "\0" in value or value.startswith("#"):
        raise InvalidRequest(argument, f"{value!r} cannot be written into a {PREFIX} line")
    if re.fullmatch(r"[\w@%+:,./=~^][\w@%+:,./=~^-]*", value, re.ASCII):
        return value
    for quote in ('"', "'"):
        if quote not in value:
            return f"{quote}{value}{quote}"
    raise InvalidRequest(argument, f"{value!r} has both kinds of quotes, and {PREFIX} lines know no other")


def checked(extra: str) -> frozenset[str]:
    """The names of the options in one of the user's own directives.

    Raises
    ------
    InvalidRequest
        bsub would refuse or misread the line.
    """
    try:
        names = frozenset(option.name for option in options(extra))
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{error}; write options alone, like '-app dask'") from error
    if not names or len(extra.splitlines()) != 1:
        raise InvalidRequest("extra_directives", f"{extra!r} is not one line of options, like '-app dask'")
    if found := sorted(name for name in names if name in _NO_BATCH_JOB or name.startswith("I")):
        raise InvalidRequest("extra_directives", f"-{found[0]}: {parsing.NO_BATCH_JOB}")
    return names


def names(text: str) -> frozenset[str]:
    """The names of the options in one of a script's lines; none if bsub could not read it either."""
    with suppress(ValueError):
        return frozenset(option.name for option in options(text.removeprefix(PREFIX).strip()))
    return frozenset()


# --- reading ----------------------------------------------------------------------------------------------------


def header(text: str) -> tuple[str | None, list[str]]:
    """The shebang and the directives of a script, wherever they stand; text that is no script is directives alone."""
    shebang = text.split("\n", 1)[0] if text.startswith("#!") else None
    lines = _LINE.findall(text)
    if shebang is None and not lines:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
    return shebang, lines


def has_directive(text: str) -> bool:
    """Whether bsub would find options in this text."""
    return _LINE.search(text) is not None


_WORD = re.compile(r"""\s*("[^"]*"|'[^']*'|[^\s"']+)""")


def options(line: str) -> list[parsing.Option]:
    """The options of a line.

    Raises
    ------
    ValueError
    """
    words = list(_words(line))
    found = []
    while words:
        word = words.pop(0)
        attached = re.fullmatch(r"-([nqJMPW])(\d.*)", word)  # -n4, -W10
        if attached:
            found.append(parsing.Option(attached[1], attached[2], word))
            continue
        if not re.match(r"-[A-Za-z]", word):
            raise ValueError(f"{word!r} is not an option")
        name = word[1:]
        if name in _ALONE:
            found.append(parsing.Option(name, None, word))
        elif words:
            source = words.pop(0)
            found.append(parsing.Option(name, source[1:-1] if source[0] in "\"'" else source, f"{word} {source}"))
        else:
            raise ValueError(f"option {word} has no value")
    return found


def _words(line: str) -> Iterator[str]:
    position = 0
    while match := _WORD.match(line, position):
        # Also within quotes, but not behind another quote that they hold.
        if re.match(r"[\"']?#", match[1]):
            return
        yield match[1]
        position = match.end()
    if line[position:].strip():
        raise ValueError(f"a quote has no end in {line!r}")


def split(lines: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What the lines say that a Job has words for, and the rest of them as it was written.

    Raises
    ------
    ParseError
    """
    said: dict[str, str] = {}
    rest: list[str] = []
    for line in lines:
        try:
            found = options(line)
        except ValueError as error:
            raise ParseError(str(error), line) from error
        known = [option for option in found if option.name in _READ]
        for name, value in ((option.name, option.value or "") for option in known):
            # Several -R are one requirement.
            said[name] = f"{said['R']}\n{value}" if name == "R" and "R" in said else value
        if known:
            rest += [option.source for option in found if option not in known]
        elif found:
            rest.append(line)
    return said, rest


def job(said: Mapping[str, str], *, limit_unit: str, reservation_unit: str, per_slot: bool) -> Job:
    """The request that options make together.

    Parameters
    ----------
    limit_unit, reservation_unit
        Of a bare number in ``-M`` and in ``rusage[mem=]``: K, M, G or T.

    Raises
    ------
    ValueError
        They make none.
    """
    requirement = said.get("R", "")
    slots = int(said.get("n", "1").split(",")[0])
    if slots < 1:
        raise ValueError("a job needs a slot at least")
    spread = re.search(r"span\[[^]]*\bptile=([^],]+)", requirement)
    if spread and not re.fullmatch(r"[1-9]\d*", spread[1].strip(), re.ASCII):
        raise ValueError(f"span[ptile={spread[1]}] is not a number of slots that every host has")
    cores = min(int(spread[1]), slots) if spread else slots
    nodes = int(said["nnodes"]) if "nnodes" in said else -(-slots // cores)
    found = []
    if "M" in said:
        found.append(-(-parsing.size_in_bytes(said["M"].rstrip("!"), unit=limit_unit) // max(1, nodes)))
    for reserved in re.finditer(
        r"rusage\[[^]]*\bmem=([\d.]+[KMGTP]?B?)(?:/(job|host|task))?", requirement, re.IGNORECASE
    ):
        size = parsing.size_in_bytes(reserved[1], unit=reservation_unit)
        counted_by = reserved[2] or ("task" if per_slot else "host")
        found.append({"task": size * cores, "host": size, "job": -(-size // max(1, nodes))}[counted_by.lower()])
    gpus = re.search(r"\bnum=(\d+)(/task)?", said.get("gpu", ""))
    return Job(
        name=said.get("J", "").partition("[")[0],
        queue=said.get("q"),
        account=said.get("P"),
        resources=Resources(
            nodes=nodes,
            cores=cores,
            memory=max(found, default=0) or None,
            gpus=int(gpus[1]) * (cores if gpus[2] else 1) if gpus else 0,
        ),
        walltime=seconds(said["W"]) if "W" in said else None,
    )


# --- one requirement of several -----------------------------------------------------------------------------------

_SECTION = re.compile(r"\s*(select|order|rusage|span|same|cu|affinity)\[([^]]*)\]")


def sections(requirement: str) -> dict[str, str] | None:
    """The sections of a requirement, by their names; None if it is of a kind that has none (alternatives, say)."""
    found: dict[str, str] = {}
    position = 0
    while match := _SECTION.match(requirement, position):
        if match[1] in found:
            return None
        found[match[1]] = match[2].strip()
        position = match.end()
    rest = requirement[position:].strip()
    if rest and not found and not re.search(r"[\[\]{}]", rest):
        return {"select": rest}  # a condition alone
    return None if rest else found


def merged(ours: str, theirs: str) -> str:
    """One requirement of two, for LSF takes but one: what the second says replaces that of the first."""
    mine, users = sections(ours), sections(theirs)
    if mine is None or users is None:
        return theirs
    if "select" in mine and "select" in users:
        users["select"] = f"({mine['select']}) && ({users['select']})"
    if "rusage" in mine and "rusage" in users and not re.search(r"[|:&]", users["rusage"]):
        named = {name for name, _ in _amounts(users["rusage"])}
        kept = [f"{name}={amount}" for name, amount in _amounts(mine["rusage"]) if name not in named]
        users["rusage"] = ",".join([*kept, users["rusage"]])
    order = ("select", "order", "span", "same", "cu", "affinity", "rusage")
    both = mine | users
    return " ".join(f"{name}[{both[name]}]" for name in order if name in both)


def remainder(requirement: str, ours: str) -> str:
    """What a requirement says beside ours; itself where ours is no part of it."""
    said, mine = sections(requirement), sections(ours)
    if said is None or not mine:
        return requirement
    kept = {name: value for name, value in said.items() if mine.get(name) != value}
    if "rusage" in kept and "rusage" in mine and not re.search(r"[|:&]", kept["rusage"]):
        others = [pair for pair in _amounts(kept["rusage"]) if pair not in _amounts(mine["rusage"])]
        kept["rusage"] = ",".join(f"{name}={amount}" for name, amount in others)
    return requirement if kept == said else " ".join(f"{name}[{value}]" for name, value in kept.items())


def _amounts(rusage: str) -> list[tuple[str, str]]:
    pairs = (item.partition("=") for item in rusage.split(",") if item.strip())
    return [(name.strip(), amount.strip()) for name, _, amount in pairs]


def seconds(text: str) -> int:
    """Seconds of ``30`` (minutes) or ``1:30``; a host that it is normalised to may follow.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(?:(\d+):)?(\d+)(?:/.*)?", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a time")
    return (int(match[1] or 0) * 60 + int(match[2])) * 60
