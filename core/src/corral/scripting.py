"""The shell text that all backends share. Whatever a person wrote reaches the shell as quoted data."""

from __future__ import annotations

import shlex

from corral.domain import Job


def job_body(job: Job, *, job_id: str) -> str:
    """The part of a job's script that comes after the directives.

    Parameters
    ----------
    job_id
        A shell expression for the id by which `submit` knows this job, such as
        ``${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}``. It is put between double quotes.
    """
    lines = [f'export CORRAL_JOB_ID="{job_id}"']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    lines += job.prologue
    command = shlex.join(job.command)
    if job.epilogue:
        lines += [_FOREGROUND.format(command=command), *job.epilogue, 'exit "$corral_status"']
    else:
        lines.append(f"exec {command}")
    return "\n".join(lines) + "\n"


#: bash hears a signal only between commands, and batch systems often signal the script alone: pass SIGTERM on.
_FOREGROUND = """\
corral_child= corral_stops=
trap 'corral_stops=yes; [ -z "$corral_child" ] || kill -TERM "$corral_child" 2>/dev/null' TERM
{command} &
corral_child=$!
[ -z "$corral_stops" ] || kill -TERM "$corral_child" 2>/dev/null
wait "$corral_child"; corral_status=$?
while kill -0 "$corral_child" 2>/dev/null; do wait "$corral_child"; corral_status=$?; done
trap - TERM"""
