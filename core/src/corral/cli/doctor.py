"""``corral doctor``: what would keep a cluster from working, and what to do about it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click
from attrs import asdict

from corral.cli import completing
from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.cli.redact import Redaction
from corral.cli.tables import say, say_json
from corral.errors import InvalidRequest
from corral.text.durations import seconds_in

if TYPE_CHECKING:
    from corral.plugin.values import Finding

#: By the worst finding.
_CODES = {"good": 0, "doubtful": 1, "wrong": 2}
_MARKS = {"good": ("ok", "green"), "doubtful": ("??", "yellow"), "wrong": ("!!", "red")}


@click.command()
@cluster_options()
@worker_options
@click.option(
    "--group", shell_complete=completing.groups, help="Look at this group alone, where the configuration has several."
)
@click.option("--submit", "submits", is_flag=True, help="Also submit a small job of each group, and look at its node.")
@click.option("--timeout", default="10 min", show_default=True, help="How long to wait for each job.")
@click.option(
    "--module", "modules", multiple=True, metavar="NAME",
    help="A module that your tasks import: see that nodes have it, too. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per finding.")
@click.pass_obj
def doctor(
    redaction: Redaction,
    /,
    group: str | None,
    submits: bool,
    timeout: str,
    modules: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Look for what would keep a cluster from working.

    It takes the options that corral script takes, and what is configured. Each finding is ok, doubtful (??) or wrong
    (!!), and says what to do. The exit code is 0 if all is well, 1 if something is doubtful, 2 if something is wrong.

    Nothing is submitted without --submit. With it, a job of at most 10 minutes is, and is ended as soon as its worker
    has answered.
    """
    from corral.doctor.examining import Examination

    redaction.hide("project", options["account"])
    try:
        patience = seconds_in(timeout)
    except ValueError as error:
        raise InvalidRequest("timeout", str(error)) from None
    is_live = sys.stderr.isatty() and not as_json
    examination = Examination(
        given={**cluster_arguments(options), **worker_arguments(options)},
        group=group,
        submits=submits,
        timeout=patience,
        modules=modules,
        tell=_told if is_live else _untold,
        meet=lambda host: redaction.hide("host", host),
    )
    show = _as_json if as_json else _shower()
    counts = dict.fromkeys(_CODES, 0)
    try:
        # Closed here, also when this is interrupted between two findings: that ends the job.
        with _leaving_by_exceptions(), contextlib.closing(examination.findings()) as findings:
            for finding in findings:
                show(finding)
                counts[finding.verdict.value] += 1
    except KeyboardInterrupt:
        say("corral: interrupted" + ("; its job was ended" if submits else ""), err=True)
        sys.exit(128 + signal.SIGINT)
    if not as_json:
        say(_summary(counts, submits))
    sys.exit(max(code for verdict, code in _CODES.items() if counts[verdict]))


@contextlib.contextmanager
def _leaving_by_exceptions() -> Iterator[None]:
    """Who is told to go ends its job on the way out."""

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(counts: dict[str, int], submits: bool) -> str:
    more = "" if submits or counts["wrong"] else "; --submit looks at a node as well"
    if not counts["wrong"] and not counts["doubtful"]:
        return f"All {counts['good']} findings are good{more}."
    return f"{counts['wrong']} wrong, {counts['doubtful']} doubtful, {counts['good']} good{more}."


def _told(words: str) -> None:
    say(f"… {words}", err=True)


def _untold(words: str) -> None:
    """Tell nothing: nobody watches."""


def _as_json(finding: Finding) -> None:
    say_json({**asdict(finding), "verdict": finding.verdict.value})


def _shower() -> Callable[[Finding], None]:
    """What prints a finding: with colours in a terminal."""
    if not sys.stdout.isatty():
        return lambda finding: say("\n".join(_lines(finding)))
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)

    def show(finding: Finding) -> None:
        mark, colour = _MARKS[finding.verdict.value]
        console.print(Text.assemble((mark, colour), " ", (f"{finding.subject}: ", "bold"), finding.text))
        if finding.cure:
            console.print(Padding(Text(f"→ {finding.cure}", colour), (0, 0, 0, 3)))

    return show


def _lines(finding: Finding) -> list[str]:
    mark, _ = _MARKS[finding.verdict.value]
    first, *rest = f"{mark} {finding.subject}: {finding.text}".splitlines()
    cure = [f"   -> {finding.cure}"] if finding.cure else []
    return [first, *(f"   {line}" for line in rest), *cure]
