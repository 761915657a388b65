"""What a visit to a node says; pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from corral.doctor.environment import ALIKE, NEEDED
from corral.doctor.visiting import Visit, rest_of
from corral.errors import NeverStarts, excerpt
from corral.plugin.values import Finding, Verdict
from corral.text.durations import in_words

#: A clock that is further away is told of; and one that is so far away confuses whatever compares times (s).
_OFF, _FAR_OFF = 2.0, 30.0
#: Python has no business to take longer before there is a worker (s).
_SLOW = 20.0
#: So many of a job's last lines are told.
_LAST = 3
#: What a launcher's last words mean, by what is at fault.
_AT_FAULT = (
    (re.compile(r"no scheduler answered within"), "address"),
    (re.compile(r"there are no credentials at|others could use your cluster"), "shared folder"),
    (re.compile(r"no directory for workers|argument --local-directory"), "local folder on the node"),
    (re.compile(r"No module named|ModuleNotFoundError|ImportError"), "packages on the node"),
    (re.compile(r"python\S*: (No such file|not found|cannot exec)|python\S*: command not found"), "python on the node"),
)
_PACKAGES = (
    "Install them where the job's Python is, or name the environment that you use here with python= or conda_env="
)


def findings(visit: Visit, here: Mapping[str, str], modules: Mapping[str, bool]) -> Iterator[Finding]:
    """All that a visit says.

    Parameters
    ----------
    here
        The versions of packages in this Python.
    modules
        Which of the modules that tasks need are here.
    """
    causes: list[Finding] = []
    if visit.facts is not None:
        causes = [*_about_python(visit.facts, here, modules), *_about_folders(visit.facts)]
        yield from causes
    if visit.clock is not None:
        yield _about_clock(*visit.clock, host=str((visit.facts or {}).get("host", "the node")))
    if visit.connected is not None:
        yield _about_address(visit)
        yield _about_time(visit)
    else:
        yield _about_job(visit, is_explained=any(cause.verdict is Verdict.WRONG for cause in causes))


def _about_python(facts: Mapping[str, Any], here: Mapping[str, str], modules: Mapping[str, bool]) -> Iterator[Finding]:
    host, executable = facts["host"], facts["executable"]
    ours, theirs = sys.version.split()[0], facts["python"]
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        yield Finding(
            subject="python on the node",
            verdict=Verdict.WRONG,
            text=f"{executable} on {host} is Python {theirs}, and here it is {ours}: functions cannot travel",
            cure="Name a Python of the same version with python= or conda_env=",
        )
    else:
        yield Finding(
            subject="python on the node", verdict=Verdict.GOOD, text=f"{theirs} on {host}, {executable}; {ours} here"
        )
    there: Mapping[str, str | None] = facts["versions"]
    missing = [name for name in here if there.get(name) is None]
    missing += [name for name in facts["missing"] if name not in missing]
    differing = {name: there[name] for name in here if there.get(name) not in (None, here[name])}
    if missing:
        is_vital = any(name in (*NEEDED, *facts["missing"]) or name.startswith("corral-") for name in missing)
        nowhere = [name for name in missing if modules.get(name) is False]
        also = f" ({', '.join(nowhere)} is not here, either)" if nowhere else ""
        yield Finding(
            subject="packages on the node",
            verdict=Verdict.WRONG if is_vital else Verdict.DOUBTFUL,
            text=f"{executable} on {host} lacks {', '.join(missing)}{also}",
            cure=_PACKAGES,
        )
    if differing:
        words = ", ".join(f"{name} {version} there and {here[name]} here" for name, version in differing.items())
        is_vital = any(name in ALIKE for name in differing)
        yield Finding(
            subject="packages on the node",
            verdict=Verdict.WRONG if is_vital else Verdict.DOUBTFUL,
            text=f"{executable} on {host} has other versions: {words}",
            cure=_PACKAGES.replace("them", "the same versions"),
        )
    if not missing and not differing:
        alike = ", ".join(f"{name} {here[name]}" for name in ALIKE if name in here)
        yield Finding(
            subject="packages on the node", verdict=Verdict.GOOD, text=f"as here: {alike}, and {len(here)} in all"
        )


def _about_folders(facts: Mapping[str, Any]) -> Iterator[Finding]:
    for what, problem in facts["problems"].items():
        argument = f"{what.replace(' ', '_').replace('folder', 'directory')}="
        yield Finding(
            subject=f"{what} on the node",
            verdict=Verdict.WRONG,
            text=f"{facts['host']} cannot write to it: {problem.lower()}",
            cure=f"Name a folder that nodes may write to with {argument}",
        )
    if not facts["problems"]:
        yield Finding(subject="folders on the node", verdict=Verdict.GOOD, text="can be written to")


def _about_clock(ahead: float, uncertain: float, *, host: str) -> Finding:
    figures = {"clock_ahead_s": ahead, "uncertain_s": uncertain}
    if abs(ahead) - uncertain <= _OFF:
        return Finding(
            subject="clock",
            verdict=Verdict.GOOD,
            text=f"{host} and this host differ by {abs(ahead):.2f} s (±{uncertain:.2f} s)",
            figures=figures,
        )
    where = "ahead of" if ahead > 0 else "behind"
    return Finding(
        subject="clock",
        verdict=Verdict.WRONG if abs(ahead) > _FAR_OFF else Verdict.DOUBTFUL,
        text=f"the clock of {host} is {in_words(abs(ahead))} {where} this host's",
        cure="Tell your administrators that one of the two hosts does not get its time from the network",
        figures=figures,
    )


def _about_address(visit: Visit) -> Finding:
    text = f"job {visit.job} has reached {visit.contact}"
    if visit.contact.startswith(("tls://", "wss://")):
        return Finding(subject="connection", verdict=Verdict.GOOD, text=f"{text}, encrypted")
    return Finding(
        subject="connection",
        verdict=Verdict.DOUBTFUL,
        text=f"{text}, in the clear: whoever reaches that address can use your account",
        cure="Leave out security=False",
    )


def parts(visit: Visit) -> dict[str, float]:
    """How long which part took (s), in their order; what is not known is part of what follows."""
    assert visit.connected is not None
    found: dict[str, float] = {}
    known = 0.0
    if visit.submitted is not None:
        found["to submit it"] = known = visit.submitted
    if visit.script_began is not None:
        began = visit.script_began - (visit.clock[0] if visit.clock else 0.0) - visit.began
        began = min(max(known, began), visit.connected)
        found["in the queue"], known = began - known, began
    if visit.launcher:
        began = min(max(known, visit.connected - sum(visit.launcher.values())), visit.connected)
        found["in the script until Python ran"], known = began - known, began
        imports = min(visit.launcher.get("import", 0.0), visit.connected - known)
        found["to import Dask"], known = imports, known + imports
    found["to start and connect the worker"] = visit.connected - known
    return found


def _about_time(visit: Visit) -> Finding:
    assert visit.connected is not None
    took = parts(visit)
    text = f"{visit.connected:.1f} s to a connected worker: " + ", ".join(
        f"{seconds:.1f} s {what}" for what, seconds in took.items()
    )
    figures = {f"{what.replace(' ', '_')}_s": seconds for what, seconds in took.items()}
    figures["in_all_s"] = visit.connected
    if took.get("to import Dask", 0.0) > _SLOW or took.get("in the script until Python ran", 0.0) > _SLOW:
        return Finding(
            subject="start",
            verdict=Verdict.DOUBTFUL,
            text=text,
            cure="Python and its packages come from a slow file system: have them nearer to the nodes, as in a "
            "container (container=)",
            figures=figures,
        )
    return Finding(subject="start", verdict=Verdict.GOOD, text=text, figures=figures)


def _about_job(visit: Visit, *, is_explained: bool) -> Finding:
    """Why there is no worker; `is_explained` if what the node has said is reason enough."""
    if visit.waits:
        cure = "Wait longer with --timeout, or ask for less; `corral queues` says what is free"
        if visit.is_hopeless:
            return Finding(subject="job", verdict=Verdict.WRONG, text=visit.waits, cure="Ask for what it can have")
        return Finding(
            subject="job", verdict=Verdict.DOUBTFUL, text=f"no worker has come so far: {visit.waits}", cure=cure
        )
    said = rest_of(visit.log)
    subject = next((fault for pattern, fault in _AT_FAULT if pattern.search(said) and not is_explained), "job")
    if visit.failure is not None:
        hint = visit.failure.hint or f"`corral logs {visit.job}` shows all that it has printed"
        last = excerpt("\n".join(said.splitlines()[-_LAST:]), 400)
        text = f"job {visit.job} ended: {visit.failure.cause}" + (f"\n{last}" if last else "")
        return Finding(subject=subject, verdict=Verdict.WRONG, text=text, cure=hint)
    cure = visit.error.cure if isinstance(visit.error, NeverStarts) else "Put right what it says, and run this again"
    return Finding(subject="job", verdict=Verdict.WRONG, text=str(visit.error), cure=cure)
