"""The language of ``#$`` lines: options, amounts, paths.

qsub reads them in all of a script, not only above its first command; a ``#`` ends what it reads of a line, even
between quotes. An option's words are all up to the next that begins with a dash and a letter.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from corral.plugin import InvalidRequest, ParseError, parsing

PREFIX = "#$"

#: qsub waits for the job's end or start, submits none, or no script, or reads it otherwise.
_NO_BATCH_JOB = frozenset({"-@", "-C", "-b", "-help", "-now", "-sync", "-verify"})

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


#: One option: its flag and its values.
Words = tuple[str, ...]


def name_of(option: Words) -> str:
    """What replaces an option, and skips it: ``pe``, ``q``; the resource's name for ``-l``."""
    flag = option[0].lstrip("-")
    if flag != "l" or len(option) == 1:
        return flag
    resource = option[1].partition("=")[0]
    return "hostname" if resource == "h" else resource


# --- writing ----------------------------------------------------------------------------------------------------


def written(words: Sequence[str], argument: str) -> str:
    """An option as a line's text, so that qsub reads back the very same words.

    Raises
    ------
    InvalidRequest
        No line can say them; names `argument`.
    """
    line = shlex.join(words)
    if match := _CONTROL.search(line):
        raise InvalidRequest(argument, f"a {PREFIX} line cannot hold the control character {match[0]!r}")
    if "#" in line:
        raise InvalidRequest(argument, f"{line!r}: what follows '#' is a comment in a {PREFIX} line")
    if any(not value or value.startswith("-") for value in words[1:]):
        raise InvalidRequest(argument, f"{line!r}: qsub takes an empty value for a mistake, and a dash for an option")
    return line


def checked(extra: str) -> list[Words]:
    """The options of one of the user's own directives.

    Raises
    ------
    InvalidRequest
        qsub would refuse or misread the line.
    """
    written([extra], "extra_directives")
    try:
        found = options([extra])
    except ValueError as error:
        raise InvalidRequest("extra_directives", f"{error}; write options alone, like '-l arch=lx-amd64'") from error
    if not found:
        raise InvalidRequest("extra_directives", f"{extra!r} is empty; leave it out instead")
    for option in found:
        if option[0] == "-t":
            raise InvalidRequest("extra_directives", "-t is corral's own: how many jobs there are is said in scale()")
        if option[0] in _NO_BATCH_JOB and option[1:] not in {("n",), ("no",)}:
            raise InvalidRequest("extra_directives", f"{' '.join(option)}: {parsing.NO_BATCH_JOB}")
    return found


#: What the log of an array's task is called, and that of another job.
ELEMENT_LOG = "/$JOB_ID.$TASK_ID.log"
SINGLE_LOG = "/$JOB_ID.log"


def log_path(directory: str | None, log_file: str = ELEMENT_LOG) -> str:
    """Where jobs write, for ``-o``.

    Raises
    ------
    InvalidRequest
    """
    if directory is None:
        return "/dev/null"
    if "," in directory:
        raise InvalidRequest("log_directory", f"Grid Engine takes the comma in {directory!r} for the end of a path")
    # "host:path" is possible, and ":path" is for all hosts; $USER and the like would be filled in.
    anywhere = ":" if ":" in directory else ""
    return anywhere + directory.replace("$", "$$") + log_file


# --- reading ----------------------------------------------------------------------------------------------------


def read(text: str) -> tuple[str | None, list[Words]]:
    """The shebang and the options of a job script; text that is no script is option lines alone.

    Raises
    ------
    ParseError
    """
    lines = text.split("\n")
    shebang = lines[0] if lines[0].startswith("#!") else None
    marked = [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)]
    try:
        return shebang, options(marked if marked or shebang else lines)
    except ValueError as error:
        raise ParseError(str(error), text) from error


def options(lines: Iterable[str]) -> list[Words]:
    """The options of lines without their prefix.

    Each request of ``-l a=1,b=2`` is one of its own; those that need not be fulfilled stay together, as
    ``-soft -l a=1``: that word holds to the end of its line.

    Raises
    ------
    ValueError
        A quote has no end, or a line does not begin with an option.
    """
    found: list[list[str]] = []
    for line in lines:
        soft: list[str] | None = None
        for words in _grouped(shlex.split(line.partition("#")[0])):
            match words:
                case ["-hard"]:
                    soft = None
                case ["-soft"]:
                    soft = words
                    found.append(soft)
                case _ if soft is not None:
                    soft += words
                case ["-l", requests]:
                    found += [["-l", request] for request in requests.split(",") if request]
                case _:
                    found.append(words)
    return [tuple(words) for words in found]


def _grouped(words: list[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    for word in words:
        if re.match(r"-[A-Za-z]", word):
            groups.append([word])
        elif groups:
            groups[-1].append(word)
        else:
            raise ValueError(f"{word!r} is not an option of qsub")
    return groups


def log_directory(path: str, log_file: str = ELEMENT_LOG) -> str | None:
    """The directory of which `log_path` made this; None if it did not."""
    directory = path.removeprefix(":").removesuffix(log_file).replace("$$", "$")
    return directory if directory and "," not in directory and log_path(directory, log_file) == path else None


# --- amounts ----------------------------------------------------------------------------------------------------

MEBI = 2**20
_UNITS = {"": 1, "k": 10**3, "K": 2**10, "m": 10**6, "M": MEBI, "g": 10**9, "G": 2**30, "t": 10**12, "T": 2**40}


def memory(text: str) -> int:
    """Bytes of ``4G``; a small letter is a power of 1000.

    Raises
    ------
    ValueError
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory")
    return int(float(match[1]) * _UNITS[match[2]]) if "." in match[1] else int(match[1]) * _UNITS[match[2]]


def seconds(text: str) -> int | None:
    """Seconds of ``3600`` or ``1:00:00``, where a part may be empty; None: no limit.

    Raises
    ------
    ValueError
    """
    if text.lower() == "infinity":
        return None
    if not re.fullmatch(r"\d+|\d*:\d*:\d*", text, re.ASCII):
        raise ValueError(f"{text!r} is not a time")
    hours, minutes, rest = [0, 0, *(int(part or 0) for part in text.split(":"))][-3:]
    return (hours * 60 + minutes) * 60 + rest
