"""What a job script runs, as far as it is plain: modules, environments, variables, and the one program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

#: Programs that start another one, with those of their options that have a value in the next word.
_STARTERS = {
    "time": (), "exec": (), "nohup": (), "srun": ("-n", "-N", "-c", "-p", "-A", "-t", "-J", "-o", "-e"),
    "mpirun": ("-n", "-np", "-ppn", "-host", "-x", "--map-by", "--bind-to", "-hostfile"),
    "mpiexec": ("-n", "-np", "-ppn", "-host", "-x", "-hostfile"), "jsrun": ("-n", "-r", "-a", "-c", "-g"),
    "aprun": ("-n", "-N", "-d"),
}  # fmt: skip
#: Commands that prepare a job, and do nothing of its work.
_PREPARING = (
    ".", "alias", "cd", "conda", "date", "echo", "eval", "export", "hash", "hostname", "mamba", "micromamba", "mkdir",
    "ml", "module", "printenv", "printf", "pwd", "set", "shopt", "source", "spack", "sleep", "trap", "ulimit", "umask",
    "unset", "whoami", "rm", "touch", "true",
)  # fmt: skip
#: Words that begin and end what has several commands in it.
_OPENING = re.compile(r"\s*(?:if|for|while|until|case|select)\b|.*[({]\s*$")
_CLOSING = re.compile(r"\s*(?:fi\b|done\b|esac\b|\}|\))")
#: Text that follows a command, up to a line that is a word of its own.
_TEXT = re.compile(r"<<-?\s*[\"']?(\w+)")
#: What serves only to make the next ``conda activate`` work.
_CONDA = re.compile(
    r"(source|\.)\s+\S*(etc/profile\.d/conda\.sh|/bin/activate)\s*$|eval\s+.*\b(conda|mamba)\b.*\bhook\b"
)
#: Dask's own programs, by which scripts start a cluster themselves.
_DASK = re.compile(r"\b(dask[ -](scheduler|worker|mpi|cuda-worker|ssh)|distributed\.cli\.dask_\w+)\b")


@frozen
class Line:
    """A command, which may have taken several lines."""

    number: int
    text: str


@frozen(kw_only=True)
class Program:
    """A Python script that the job runs."""

    line: Line
    python: str
    #: The script, and its arguments.
    words: Sequence[str]
    #: What started it: ``srun``; empty if nothing did.
    starter: str = ""


@define
class Body:
    """What the commands of a job script come to."""

    arguments: dict[str, Any] = field(factory=dict)
    #: Python scripts that it runs.
    programs: list[Program] = field(factory=list)
    #: Commands that start Dask.
    dask: list[Line] = field(factory=list)
    #: Commands that may be the job's work, and what has several in it.
    others: list[Line] = field(factory=list)
    #: Commands that an argument makes needless.
    needless: list[Line] = field(factory=list)
    #: All others, before and after the first program.
    before: list[Line] = field(factory=list)
    after: list[Line] = field(factory=list)


def lines(text: str) -> Iterator[Line]:
    """The commands of a script: without comments and empty lines; continued lines, and blocks, are one."""
    begun, started, depth, end = "", 0, 0, None
    for number, raw in enumerate(text.splitlines(), 1):
        if not begun and (not raw.strip() or raw.lstrip().startswith("#")):
            continue
        started = started or number
        if end is None and raw.endswith("\\"):
            begun += raw[:-1]
            continue
        begun += f"{raw}\n"
        if end is not None:
            end = None if raw.strip() == end else end
        elif match := _TEXT.search(raw):
            end = match[1]
        else:
            depth += (_OPENING.match(raw) is not None) - (_CLOSING.match(raw) is not None)
        if depth <= 0 and end is None:
            yield Line(started, begun.strip())
            begun, started, depth = "", 0, 0
    if begun:
        yield Line(started, begun.strip())


def read(commands: Sequence[Line]) -> Body:
    """What plain commands say in arguments; the others stay lines of shell."""
    body = Body()
    for line in commands:
        if _DASK.search(line.text):
            body.dask.append(line)
        elif (program := _program(line)) is not None:
            body.programs.append(program)
        elif not _prepares(line):
            body.others.append(line)
        elif body.programs or body.dask or body.others:
            body.after.append(line)
        elif not _said(line, body):
            body.before.append(line)
    if body.arguments.get("conda_env"):
        body.needless = [line for line in body.before if _CONDA.match(line.text)]
        body.before = [line for line in body.before if line not in body.needless]
    return body


def _prepares(line: Line) -> bool:
    first = re.match(r"[^\s;&|]*", line.text)
    is_variable = re.match(r"[A-Za-z_]\w*=\S*$", line.text) is not None
    return "\n" not in line.text and (is_variable or (first is not None and first[0] in _PREPARING))


def _said(line: Line, body: Body) -> bool:
    """Take a command for an argument, if it says just that, and what stands before it is not changed by it."""
    words = _words(line.text)
    match words:
        case ["module", "load" | "add", *names] | ["ml", *names] if names and all(map(_is_name, names)):
            # What an argument says comes first: lines of shell that stand before it would come after.
            if any(not _CONDA.match(each.text) for each in body.before):
                return False
            body.arguments.setdefault("modules", []).extend(name for name in names if name not in ("load", "add"))
        case ["conda" | "mamba" | "micromamba", "activate", name] | ["source", "activate", name]:
            if "$" in name or "conda_env" in body.arguments or any(not _CONDA.match(each.text) for each in body.before):
                return False
            body.arguments["conda_env"] = name
        case ["export", *pairs] if pairs and all(re.match(r"[A-Za-z_]\w*=", pair) for pair in pairs):
            if re.search(r"[$`]", line.text):
                return False
            body.arguments.setdefault("env", {}).update(pair.split("=", 1) for pair in pairs)
        case _:
            return False
    return True


def _is_name(word: str) -> bool:
    return re.fullmatch(r"[\w./+-]+", word, re.ASCII) is not None and not word.startswith("-")


def _program(line: Line) -> Program | None:
    """A command that does nothing but run a Python script."""
    words = _words(line.text)
    if words is None or any(re.search(r"[$`;&|<>*?]", word) for word in words):
        return None
    starter = ""
    while words and words[0] in _STARTERS:
        starter = words[0] if words[0] not in ("time", "exec", "nohup") else starter
        valued, words = _STARTERS[words[0]], words[1:]
        while words and words[0].startswith("-"):
            words = words[2:] if words[0] in valued else words[1:]
    if len(words) < 2 or not re.fullmatch(r"(.*/)?python[\d.]*", words[0]):
        return None
    python, *words = words
    while words and words[0] in ("-u", "-B", "-s"):
        words = words[1:]
    if not words or not words[0].endswith(".py"):
        return None
    return Program(line=line, python=python, words=words, starter=starter)


def _words(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:
        return None
