"""The shell text that all backends share. Whatever a person wrote reaches the shell as quoted data."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

from corral.errors import InvalidRequest
from corral.plugin.values import Job

#: Shells that understand what `job_body` writes.
SHELLS = ("sh", "bash", "dash", "ash", "ksh", "mksh", "pdksh", "lksh", "yash", "posh", "zsh")


#: Where a script of several nodes tells its launcher what the environment was before its own lines and after them
#: (as /proc/self/environ, compressed, in base64), and what it then ran: `corral.launch.elsewhere`.
BEFORE, AFTER, COMMAND = "CORRAL_BEFORE", "CORRAL_AFTER", "CORRAL_COMMAND"
#: Where a script tells its launcher by which signal jobs are cancelled: see `job_body`.
CANCELLED_BY = "CORRAL_CANCELLED_BY"


def job_body(job: Job, *, job_id: str, cancelled_by: str = "") -> str:
    """The part of a job's script that comes after the directives.

    Where there is a folder for logs, the script writes its exit code there when it ends, into ``ID.exit``: so a job
    that dies is known without a question (`corral.jobs.exit_codes`).

    Parameters
    ----------
    job_id
        A shell expression for the id by which `submit` knows this job, such as
        ``${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}``. It is put between double quotes.
    cancelled_by
        The signal that ends a job which is cancelled (``SIGINT``), if the batch system then goes by the job's exit code
        alone: a launcher that hears it ends with 128 and its number, however well its workers have left. Empty: the
        batch system knows which jobs it has cancelled.

    Raises
    ------
    InvalidRequest
        The script's interpreter cannot run it.
    """
    _refuse_foreign_shell(job.shebang)
    has_other_nodes = job.resources.nodes > 1
    lines = [_NOTE] if has_other_nodes else []
    lines.append(f'export CORRAL_JOB_ID="{job_id}"')
    if cancelled_by:
        lines.append(f"export {CANCELLED_BY}={cancelled_by}")
    if job.log_directory is not None:
        lines.append(_TELL.format(folder=shlex.quote(job.log_directory)))
    lines += [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    if job.directory is not None:
        lines.append(_START.format(folder=shlex.quote(job.directory)))
    lines += job.prologue
    command = shlex.join(job.command)
    if has_other_nodes:
        lines.append(_HAND_DOWN.format(before=BEFORE, after=AFTER, name=COMMAND, command=shlex.quote(command)))
    if job.epilogue or job.log_directory is not None:
        lines += [_FOREGROUND.format(command=command), *job.epilogue, 'exit "$corral_status"']
    else:
        lines.append(f"exec {command}")
    return "\n".join(lines) + "\n"


def unsetting(kept: Iterable[str]) -> str:
    """A command of `sh` that forgets each variable whose name matches none of these patterns, which are `fnmatch`'s."""
    names = "|".join(map(_case_pattern, kept)) or "''"
    # What a shell does not forget, as bash its SHELLOPTS if somebody has exported it, must not end or say anything.
    forget = f"case $corral_v in {names}) ;; *) command unset $corral_v 2>/dev/null;; esac"
    return f"for corral_v in {_NAMES}; do {forget}; done"


#: The names of a shell's variables, in its own words.
_NAMES = r"$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p')"


def _case_pattern(pattern: str) -> str:
    """A pattern of `fnmatch` as ``case`` has it; letters, which are most of it, stay as they are."""
    return re.sub(r"[^\w*?\[\]!-]", lambda match: shlex.quote(match[0]), pattern)


def _refuse_foreign_shell(shebang: str) -> None:
    words = shebang.removeprefix("#!").split()
    # #!/usr/bin/env -S bash -l; ksh93, zsh-5.9.
    names = [re.sub(r"[-.\d]+$", "", os.path.basename(word)) for word in words]
    if not any(name in SHELLS for name in names):
        raise InvalidRequest(
            "shebang",
            f"{shebang!r}: job scripts are written for sh, bash, dash, ksh or zsh; another interpreter would lose env= "
            "and more without a word. Write '#!/bin/bash', and what needs another one into a script of its own, run by "
            "prologue=",
        )


#: Batch systems start jobs where they were submitted, in the home directory, or in a scratch directory.
_START = """\
cd {folder} 2>/dev/null || \\
    printf 'corral: %s is not on %s; the job starts in %s\\n' {folder} "$(uname -n)" "$PWD" >&2"""

#: `cat` shows what it was given itself: the shell's own file does not change with its exports.
_NOTE = """\
corral_environment() { cat /proc/self/environ | gzip -c | base64 -w0; }
corral_before=$(corral_environment)"""

#: The kernel takes no variable of more than 128 KiB.
_HAND_DOWN = """\
corral_after=$(corral_environment)
if [ "${{#corral_before}}" -lt 100000 ] && [ "${{#corral_after}}" -lt 100000 ]; then
    export {before}="$corral_before" {after}="$corral_after"
fi
export {name}={command}"""

#: A folder that is gone is no reason to complain, nor is a full disk: then the batch system is asked.
_TELL = """\
corral_exit={folder}/"$CORRAL_JOB_ID.exit"
trap '{{ echo "$?" >|"$corral_exit"; }} 2>/dev/null' EXIT"""

#: bash hears a signal only between commands, and batch systems often signal the script alone: pass it on. A signal
#: also ends `wait` before its time.
_FOREGROUND = """\
corral_child= corral_heard=
corral_pass() {{ corral_heard=$1; [ -z "$corral_child" ] || kill -s "$1" "$corral_child" 2>/dev/null; }}
for corral_signal in HUP INT TERM USR1 USR2 XCPU; do trap "corral_pass $corral_signal" "$corral_signal"; done
{command} &
corral_child=$!
[ -z "$corral_heard" ] || kill -s "$corral_heard" "$corral_child" 2>/dev/null
corral_heard=again
while [ -n "$corral_heard" ]; do corral_heard=; wait "$corral_child"; corral_status=$?; done
trap - HUP INT TERM USR1 USR2 XCPU"""
