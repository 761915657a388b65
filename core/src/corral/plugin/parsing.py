"""What native requests and answers of many batch systems have in common: header lines, options, times, sizes, ranges.

Pure functions for plugins. Whatever cannot be read is a ValueError that names it; a plugin knows the whole text and
makes a :class:`~corral.errors.ParseError` of it.
"""

from __future__ import annotations

import getopt
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from attrs import frozen

from corral.errors import excerpt
from corral.plugin.values import Queue
from corral.text.logs import logger_of

logger = logger_of()

# --- rows that cannot be read -----------------------------------------------------------------------------------

#: Problems of rows that were told; not more than so many.
_passed_over: set[str] = set()
_MOST_TOLD = 50


def pass_over(row: str, problem: str) -> None:
    """Go on without one row of an answer: it must not hide all others.

    What is the matter is told once for each problem. Whose row it was is looked for by its name, as a job is that the
    batch system does not list.
    """
    if problem not in _passed_over and len(_passed_over) < _MOST_TOLD:
        _passed_over.add(problem)
        logger.warning("a row of the batch system's answer is passed over, %s: %s", problem, excerpt(row, 200))


def tell_again() -> None:
    """Forget what was told of rows that were passed over."""
    _passed_over.clear()


# --- refusals ---------------------------------------------------------------------------------------------------

_NO = r"(not|no|never|cannot|disabled?|disallow\w*|forbid\w*|prohibit\w*|refus\w*|reject\w*|unsupported|off)"
_NO_ARRAYS = re.compile(rf"\b{_NO}\b.*\barrays?\b|\barrays?\b.*\b{_NO}\b", re.IGNORECASE)
#: Arrays are taken there, but not such a large one.
_SMALLER = re.compile(r"\b(sizes?|limit|large|longer|ind(ex|ices)|exceed|more than|too many|maximum)", re.IGNORECASE)


def refusal_of_arrays(said: str) -> str:
    """The line that refuses a submission for being an array, in whatever words a site has; empty if none does.

    ``Job arrays are not allowed here``. A wrong guess costs one submission without an array, which is refused as well.
    """
    refusals = (line for line in said.splitlines() if _NO_ARRAYS.search(line) and not _SMALLER.search(line))
    return next(refusals, "").strip()


# --- headers of job scripts -------------------------------------------------------------------------------------


def header(text: str, prefix: str) -> tuple[str | None, list[str]]:
    """The shebang and the directives of a job script, without their prefix.

    Batch systems stop reading at the first command. Text that has neither shebang nor prefix is no script: all of its
    lines are directives.
    """
    lines = text.split("\n")
    shebang = lines[0] if lines[0].startswith("#!") else None
    if shebang is None and not any(line.startswith(prefix) for line in lines):
        return None, [line.strip() for line in lines if line.strip()]
    found = []
    for line in lines:
        if line.startswith(prefix):
            found.append(line.removeprefix(prefix).strip())
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return shebang, found


@frozen
class Option:
    """One option of a directive: ``-N dask``, ``--time=10``, ``-pe smp 4``."""

    #: Without its dashes.
    name: str
    #: Several words are joined by one blank; None if it has none.
    value: str | None
    #: The option as a directive of its own would spell it.
    source: str


def options(line: str, *, alone: Iterable[str] = (), words: Mapping[str, int] | None = None) -> list[Option]:
    """The options of a directive whose words are split as a shell splits them.

    Parameters
    ----------
    alone
        Names of options without a value.
    words
        Names of options with more than one word for their value, and how many.

    Raises
    ------
    ValueError
        A quote is not closed, a word is no option, or a value is missing.
    """
    rest = shlex.split(line)
    counts = {**(words or {}), **dict.fromkeys(alone, 0)}
    found = []
    while rest:
        word = rest.pop(0)
        if not re.match(r"--?[A-Za-z]", word):
            raise ValueError(f"{word!r} is not an option")
        name, equals, attached = word.lstrip("-").partition("=")
        if equals:
            found.append(Option(name, attached, shlex.quote(word)))
            continue
        count = counts.get(name, 1)
        if len(rest) < count:
            raise ValueError(f"option {word} has no value")
        values, rest = rest[:count], rest[count:]
        found.append(Option(name, " ".join(values) if count else None, shlex.join([word, *values])))
    return found


def short_options(line: str, letters: str) -> list[Option]:
    """The options of a directive as getopt(3) reads them: ``-N dask``, ``-Ndask``, ``-hV``.

    Its words are split as the qsubs of PBS and TORQUE do: either quote groups and keeps a backslash, which outside of
    quotes keeps the next character. :func:`shlex.quote` writes what is read so.

    Parameters
    ----------
    letters
        getopt's: those with a value are followed by a colon.

    Raises
    ------
    ValueError
        A quote is not closed, a word is no option, or a value is missing.
    """
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escapedquotes = ""
    try:
        found, rest = getopt.getopt(list(lexer), letters)
    except getopt.GetoptError as error:
        raise ValueError(error.msg) from error
    if rest:
        raise ValueError(f"{rest[0]!r} is not an option")
    takes_value = {letter for letter, colon in zip(letters, letters[1:] + " ", strict=True) if colon == ":"}
    return [
        Option(name[1:], value, f"{name} {shlex.quote(value)}")
        if name[1:] in takes_value
        else Option(name[1:], None, name)
        for name, value in found
    ]


def assignments(text: str, separator: str = ",") -> dict[str, str]:
    """``mem=4gb,walltime=1:00`` as a mapping; a word without ``=`` has an empty value."""
    pairs = (item.partition("=") for item in text.split(separator) if item.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}


#: Why an extra directive is refused with which a submission waits, or submits no job, or another one.
NO_BATCH_JOB = "corral submits its own script, waits for no job's end, and follows each; leave that out"


# --- names ------------------------------------------------------------------------------------------------------


def is_called(name: str, wanted: str) -> bool:
    """True if `find_jobs` was asked for a job of this name: by the whole of it, or by its beginning and ``*``."""
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


# --- what qstat -f prints, of PBS and of TORQUE ------------------------------------------------------------------


def blocks(answer: str, title: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Names and attributes of the objects in a list like this one, with long lines made whole. ::

        Job Id: 73[0].server
            job_state = R
            exec_host = n1/0*36+n2
                /0*36

    Parameters
    ----------
    title
        Of an object: ``Job Id``, ``Queue``.

    Raises
    ------
    ValueError
        There is text, and no such object.
    """
    banner, *found = re.split(rf"^{title}: *", answer.replace("\n\t", ""), flags=re.MULTILINE)
    if not found and banner.strip():
        raise ValueError("this is not a list of attributes")
    for block in found:
        name, *lines = block.split("\n")
        yield name.strip(), dict(pair for line in lines if len(pair := line[4:].split(" = ", 1)) == 2)


def listed_queue(name: str, told: Mapping[str, str], *, is_default: bool, user: str, gpus: str = "ngpus") -> Queue:
    """A queue of ``qstat -Q -f``. Its limits are a whole job's, and say nothing of a node.

    Parameters
    ----------
    told
        As `blocks` finds it.
    user
        Who asks; empty: not known.
    gpus
        What the site calls GPUs.
    """

    def limit(name: str, read: Callable[[str], int] = int) -> int | None:
        with suppress(ValueError):
            return read(told[name]) if name in told else None
        return None

    # "alice,+bob@*,-eve@host": whoever is not in it may not submit.
    admitted = {each.strip().removeprefix("+").partition("@")[0] for each in told.get("acl_users", "").split(",")}
    is_open = told.get("acl_user_enable") != "True" or not user or user in admitted
    # Jobs get there only through a queue that routes them.
    is_behind = told.get("from_route_only") == "True"
    return Queue(
        name=name,
        is_default=is_default,
        accepts_jobs=told.get("enabled") == "True" and is_open and not is_behind,
        starts_jobs=told.get("started") != "False",
        max_walltime=limit("resources_max.walltime", clock_seconds),
        min_nodes=limit("resources_min.nodect"),
        max_nodes=limit("resources_max.nodect"),
        max_cores=limit("resources_max.ncpus"),
        max_memory=limit("resources_max.mem", size_in_bytes),
        max_gpus=limit(f"resources_max.{gpus}"),
    )


# --- times ------------------------------------------------------------------------------------------------------


def hours_and_time(duration: int) -> str:
    """``26:03:04``: hours may be more than a day's."""
    return f"{duration // 3600:02}:{duration // 60 % 60:02}:{duration % 60:02}"


def clock_seconds(text: str) -> int:
    """Seconds of ``SS``, ``MM:SS``, ``HH:MM:SS`` or ``DD:HH:MM:SS``.

    Raises
    ------
    ValueError
    """
    if not re.fullmatch(r"\d+(:\d+){0,3}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a time")
    seconds = 0
    for part, unit in zip(reversed(text.split(":")), (1, 60, 3600, 86400), strict=False):
        seconds += int(part) * unit
    return seconds


def ctime_seconds(text: str) -> float:
    """Seconds since the epoch of ``Mon Nov 23 11:50:10 2026``, in this host's time.

    Raises
    ------
    ValueError
    """
    try:
        return time.mktime(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error


# --- sizes ------------------------------------------------------------------------------------------------------

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}


def size_in_bytes(text: str, *, unit: str = "") -> int:
    """Bytes of ``4gb``, ``512M``, ``1.5T``; units are powers of 1024, as batch systems count.

    Parameters
    ----------
    unit
        Of a number that has none: ``K``, ``M``, ``G`` or ``T``; empty: bytes.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGTP]?)(i?B)?", text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory")
    letter = match[2].upper() or ("" if match[3] else unit)
    return int(float(match[1]) * _UNITS[letter]) if "." in match[1] else int(match[1]) * _UNITS[letter]


def parse_bytes(text: float | str) -> int:
    """Bytes of a plugin's option, as Dask reads what people write: ``4GB`` is 4 * 10^9.

    Raises
    ------
    ValueError
    """
    # Not before: a launcher loads its backend first, and then learns which Dask its program has.
    import dask.utils

    return dask.utils.parse_bytes(text)


def in_units(size: int, unit: str) -> int:
    """So many whole ``K``, ``M`` or ``G``, rounded up: never ask for less than the user did."""
    return -(-size // _UNITS[unit])


# --- ranges -----------------------------------------------------------------------------------------------------


def ranges(numbers: Iterable[int]) -> str:
    """``0-3,7`` for 0, 1, 2, 3, 7."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number <= spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else f"{low}" for low, high in spans)


def numbers(text: str, *, largest: int = 10_000_000) -> list[int]:
    """What ``0-2,9-39:10`` stands for.

    Raises
    ------
    ValueError
        It is no list of ranges, or goes beyond `largest`: garbage must not fill the memory.
    """
    found: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?(?::(\d+))?", item, re.ASCII)
        if match is None or int(match[2] or match[1]) > largest or int(match[3] or 1) < 1:
            raise ValueError(f"{text!r} is not a list of ranges")
        found += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    return found


def host_names(text: str) -> tuple[str, ...]:
    """``n[1-3,05],g1`` written out."""
    return tuple(name for part in re.split(r",(?![^\[]*\])", text) for name in _unfolded(part))


def _unfolded(name: str) -> Iterator[str]:
    match = re.fullmatch(r"([^\[]*)\[(\d{1,9}(?:[-,]\d{1,9})*)\](.*)", name)
    if match is None:
        yield name
        return
    for item in match[2].split(","):
        low, _, high = item.partition("-")
        for number in range(int(low), int(high or low) + 1):
            for rest in _unfolded(match[3]):
                yield f"{match[1]}{number:0{len(low)}}{rest}"
