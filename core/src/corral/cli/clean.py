"""``corral clean``: what killed clusters have left, and its removal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import click
from attrs import evolve, field, frozen

from corral.cli.commands import age, backends_of, registered
from corral.cli.tables import say, say_json
from corral.errors import CorralError, counted

if TYPE_CHECKING:
    from corral.cluster.registry import Entry

#: What a cluster is found to be, or has become: it lives; that is not known; it is dead, and would be removed; it is
#: removed; it should be, and is not.
Fate = Literal["lives", "doubtful", "dead", "removed", "left"]


def _texts(found: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, found))


@frozen(kw_only=True)
class Cleaned:
    """What became of one cluster."""

    entry: Entry
    fate: Fate
    #: Why it is that, as far as that is known.
    why: str = ""
    #: What people read.
    words: str = ""
    #: Its jobs that were cancelled, or would be; and those that are still in the queue.
    jobs: tuple[str, ...] = field(default=(), converter=_texts)
    left: tuple[str, ...] = field(default=(), converter=_texts)

    def show(self, *, as_json: bool) -> None:
        """Print it, for people or for programs."""
        if as_json:
            entry = self.entry
            say_json(
                {
                    "cluster": entry.name, "backend": entry.backend, "host": entry.host, "pid": entry.pid,
                    "fate": self.fate, "why": self.why, "jobs": self.jobs, "left": self.left,
                    "credentials": entry.credentials,
                }
            )  # fmt: skip
        elif self.words:
            say(self.words, err=self.fate == "left")


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this, only say what would be done.")
@click.option(
    "--force", is_flag=True,
    help="Treat clusters as dead if they are silent and cannot be checked from here. One that is still alive loses its "
    "jobs.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per registered cluster.")
@click.pass_context
def clean(ctx: click.Context, yes: bool, force: bool, as_json: bool) -> None:
    """Remove what killed clusters left.

    That is their jobs, credentials and registry files. Live clusters are not touched, nor are those whose state cannot
    be determined from here. The exit code is 1 if something could not be removed.
    """
    import asyncio

    from corral.cluster.registry import remove_drafts

    fates = set()
    for entry in registered():
        found = asyncio.run(_cleaned(entry, yes=yes, force=force))
        found.show(as_json=as_json)
        fates.add(found.fate)
    if not as_json and not fates & {"dead", "removed", "left"}:
        click.echo("Nothing to clean: no registered cluster is known to have lost its process.")
    elif not as_json and not yes:
        click.echo("Nothing was done. Say --yes to do it.")
    if yes:
        remove_drafts()
    if "left" in fates:
        ctx.exit(1)


async def _cleaned(entry: Entry, *, yes: bool, force: bool) -> Cleaned:
    """Clean up after one cluster, if it is dead."""
    from corral.cluster import cleanup

    what = f"{entry.name} ({backends_of(entry)}, pid {entry.pid} on {entry.host or 'no host yet'})"
    found = Cleaned(entry=entry, fate="lives")
    try:
        examined = await cleanup.examine(entry)
        found = evolve(found, why=examined.why)
        if examined.fate is cleanup.Fate.LIVES:
            return found
        if examined.fate is cleanup.Fate.DOUBTFUL and not force:
            words = (
                f"{what} is left alone: {examined.why}. It was last heard from {age(entry.age)} ago. Run corral clean "
                f"on {entry.host}, or say --force if you are sure that it is dead"
            )
            return evolve(found, fate="doubtful", words=words)
        if not yes:
            job_ids = await cleanup.find(entry)
            files = entry.credentials or "no credentials"
            words = f"would remove {what}, since {examined.why}: cancel {_listed(job_ids)}, remove {files}"
            return evolve(found, fate="dead", words=words, jobs=job_ids)
        outcome = await cleanup.cancel(entry)
        if outcome.is_done:
            await cleanup.remove_files(entry)
    except (CorralError, OSError) as error:
        return evolve(found, fate="left", why=str(error), words=f"{what} is left alone: {error}")
    done = f"cancelled {_listed(outcome.cancelled)}"
    found = evolve(found, jobs=outcome.cancelled)
    if outcome.is_done:
        return evolve(found, fate="removed", words=f"removed {what}: {done}")
    states = [
        f"{job_id} ({status.state.value if status else 'state not known'})" for job_id, status in outcome.left.items()
    ]
    left = f"still in the queue: {_listed(states)}" if states else "others may be left"
    words = f"{what} stays registered: {done}; {left}"
    if outcome.problem:
        words += f"\n  The batch system said: {outcome.problem}"
    return evolve(found, fate="left", why=str(outcome.problem or left), words=words, left=tuple(outcome.left))


def _listed(job_ids: Sequence[object]) -> str:
    more = " …" if len(job_ids) > 10 else ""
    return f"{counted(len(job_ids), 'job')} {' '.join(map(str, job_ids[:10]))}{more}".rstrip()
