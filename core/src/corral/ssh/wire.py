"""What is sent to the shell on the other side, and how its answer is read. Pure.

ssh hands one line to the user's login shell, whichever that is. So this line is always the same and needs no quoting
that shells disagree about: it replaces the login shell by `sh`, which takes its orders from standard input, line by
line. `sh` reads a pipe byte by byte, so what follows the last order is left for the command.

Whatever the login shell prints comes before a mark of this one command; where the command's output ends is said by a
second mark, with its exit code. An answer without that is not complete, whatever the connection made of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from attrs import field, frozen

from corral.errors import InvalidRequest
from corral.plugin.scripting import unsetting

#: No newline, no exclamation mark and no quote inside: csh and fish take it as the others do.
LINE = """exec sh -c 'while IFS= read -r corral_line; do eval "$corral_line"; done; exit 98'"""

#: A shell that no longer waits for an answer ends what it runs, even if nobody can be told (s after the time-out).
SPARE = 30

_NEWLINE = r"corral_n=$(printf '\n.'); corral_n=${corral_n%.}"
_IS_THERE = r'case $1 in */*) [ -f "$1" ] && [ -x "$1" ];; *) command -v "$1" >/dev/null 2>&1;; esac'
#: Its pid is its group's, for sshd gives each session one.
_WATCH = (
    "(trap 'kill $corral_s 2>/dev/null; exit' TERM; sleep {seconds} & corral_s=$!; wait $corral_s && kill -KILL -$$)"
    " </dev/null >/dev/null 2>&1 & corral_w=$!"
)


@frozen(kw_only=True)
class Setting:
    """What a command finds around it on the other side."""

    #: A login shell's; they count where the session has none.
    usual: Mapping[str, str] = field(factory=dict)
    #: Folders that a login shell would look for commands in.
    path: Sequence[str] = ()
    #: Of the variables there, only those are left that match one of these patterns; None: all.
    inherit: Sequence[str] | None = None
    #: Set on top.
    env: Mapping[str, str] = field(factory=dict)
    cwd: str | None = None


def orders(mark: str, argv: Sequence[str], setting: Setting, seconds: float) -> str:
    """The lines that have a command run there, before what it reads itself.

    Parameters
    ----------
    mark
        A word that nobody else could print.
    seconds
        After so many it is ended there.
    """
    lines = [f"printf '%s %s\\n' {mark} $$; echo {mark} >&2", _NEWLINE]
    lines += [
        f'[ -n "${{{name}+x}}" ] || export {name}={quoted(value)}' for name, value in _named(setting.usual).items()
    ]
    for folder in filter(None, setting.path):
        lines.append(f'case ":$PATH:" in *:{quoted(folder)}:*) ;; *) export PATH="$PATH":{quoted(folder)};; esac')
    if setting.inherit is not None:
        lines.append(unsetting(setting.inherit))
    lines += [f"export {name}={quoted(value)}" for name, value in {"LC_ALL": "C", **_named(setting.env)}.items()]
    if setting.cwd is not None:
        lines.append(f"cd {quoted(setting.cwd)} 2>/dev/null || {{ printf '\\n%s nowhere\\n' {mark}; exit 0; }}")
    lines.append(f"set -- {' '.join(map(quoted, argv))}")
    lines.append(f"{_IS_THERE} || {{ printf '\\n%s missing %s\\n' {mark} \"$PATH\"; exit 0; }}")
    lines.append(_WATCH.format(seconds=int(seconds) + SPARE))
    lines.append(f"\"$@\"; corral_c=$?; kill $corral_w 2>/dev/null; printf '\\n%s end %s\\n' {mark} $corral_c; exit 0")
    return "\n".join(lines) + "\n"


def ending(pid: int) -> str:
    """The lines that end such a command and what it started."""
    return f"kill -KILL -{pid}; exit 0\n"


def quoted(word: str) -> str:
    """A word for `sh`, on one line.

    Raises
    ------
    InvalidRequest
        It has a character that no word of a command can have.
    """
    if "\0" in word:
        raise InvalidRequest("via", f"{word[:60]!r} holds a NUL character, which no argument of a command can")
    return '"$corral_n"'.join(map(shlex.quote, word.split("\n")))


def _named(variables: Mapping[str, str]) -> dict[str, str]:
    """Those whose names a shell can have."""
    return {name: value for name, value in variables.items() if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)}


@frozen(kw_only=True)
class Answer:
    """What came back."""

    stdout: bytes
    stderr: bytes
    #: Of the shell, and so of the group of whatever it started; None: it never began.
    pid: int | None = None
    #: The exit code; None: see `problem`.
    code: int | None = None
    #: ``nowhere``: there is no such folder; ``missing``: there is no such program; empty with no code: it broke off.
    problem: str = ""
    #: Where it looked for the program.
    path: str = ""


def read(mark: str, stdout: bytes, stderr: bytes) -> Answer:
    """Tell the command's own output from what login shells, and ssh, have printed."""
    word = mark.encode()
    begins = re.search(word + rb" (\d+)\n", stdout)
    if begins is None:
        return Answer(stdout=stdout, stderr=stderr)
    _, marked, own = stderr.partition(word + b"\n")
    own = own if marked else stderr
    pid, stdout = int(begins[1]), stdout[begins.end() :]
    ends = re.search(rb"\n" + word + rb" (end|nowhere|missing) ?(.*)\n\Z", stdout, re.DOTALL)
    if ends is None:
        return Answer(stdout=stdout, stderr=own, pid=pid)
    stdout, how, rest = stdout[: ends.start()], ends[1].decode(), ends[2].decode(errors="replace")
    if how == "end":
        return Answer(stdout=stdout, stderr=own, pid=pid, code=int(rest))
    return Answer(stdout=stdout, stderr=own, pid=pid, problem=how, path=rest)


# --- who is there -----------------------------------------------------------------------------------------------


#: What a login shell is asked; for one that knows no -l with -c, such as tcsh, the session answers.
_TELL = "echo; echo $1; echo HOSTNAME=$(uname -n); env"
LOGIN = (
    "sh", "-c", f"""{{ "${{SHELL:-sh}}" -l -c "exec sh -c '{_TELL}'" || {{ {_TELL}; }}; }} </dev/null 2>/dev/null""",
    "sh",
)  # fmt: skip


def variables_of(text: str, mark: str) -> dict[str, str]:
    """The variables of a login shell, and the host's own name, from what `LOGIN` with a mark has printed."""
    _, marked, told = text.partition(f"\n{mark}\n")
    pairs = (line.partition("=") for line in told.splitlines()) if marked else ()
    return {name: value for name, is_one, value in pairs if is_one}
