"""``corral demo``: a cluster at work, one of its jobs killed, the job replaced, the result right all the same."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field

from corral.cli.options import HERE, cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.errors import CorralError, WorkersNotReady
from corral.plugin import discovery

if TYPE_CHECKING:
    from distributed import Client, Future

    from corral.cli.stage import Stage
    from corral.cluster.cluster import Cluster
    from corral.jobs.record import JobRecord
    from corral.plugin.values import Command

#: There are so many primes below so many numbers; they are counted in so many tasks.
NUMBERS, PRIMES, TASKS = 2_000_000_000, 98_222_287, 1000
#: So much of the work is done when a job is killed.
KILL_AT = 0.3
#: How long a replacement is waited for when everything is computed (s): the queue may be full.
PATIENCE = 30.0

DEFAULTS = {"cores": 1, "memory": "500MB", "walltime": "00:10:00"}


@click.command()
@click.option("--jobs", type=click.IntRange(min=1), help="How many jobs. Default: 4; fewer on a machine of few cores.")
@cluster_options(by_default="the queue that every machine has", only=HERE)
@worker_options
def demo(jobs: int | None, **options: Any) -> None:
    """Show what corral does, in half a minute.

    Starts a cluster on the queue that every machine has, computes, kills a job as an operator would, and shows how it
    is replaced. With --backend it does the same on your batch system.
    """
    from corral.cli.stage import Stage

    asked = {**cluster_arguments(options), **DEFAULTS, **worker_arguments(options)}
    arguments = {"backend": discovery.everywhere(), **asked}
    # A closed terminal, or a kill, ends the jobs in the same way as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    stage = Stage()
    try:
        with stage:
            play = Play(stage=stage, arguments=arguments, jobs=jobs or _usual_jobs(arguments["backend"]))
            play.run()
    except KeyboardInterrupt:
        stage.say("Interrupted. Every job was ended.", "yellow")
        sys.exit(130)
    stage.account(play.account())


def _usual_jobs(backend: str) -> int:
    if not discovery.facts_of(backend).is_everywhere:
        return 4
    from corral.host.machine import measure

    return min(4, max(2, measure().cores))


@define(kw_only=True)
class Play:
    """The demonstration, in the order in which it is seen."""

    stage: Stage
    arguments: Mapping[str, Any]
    jobs: int
    #: When things happened, on the clock of `time.monotonic`.
    moments: dict[str, float] = field(factory=dict)
    killed: JobRecord | None = None
    records: Sequence[JobRecord] = ()
    #: Seconds for which workers computed, and how many tasks they began.
    computed: float = 0.0
    runs: int = 0
    tasks: int = 0

    def run(self) -> None:
        from distributed import Client, get_task_stream

        from corral.cluster.cluster import Cluster

        # What distributed says of results that died with a job is told here in other words. Importing it sets levels.
        logging.getLogger("distributed").setLevel(logging.ERROR)
        self.mark("began")
        self.stage.say(f"A Dask cluster of {self.jobs} jobs on the backend {self.arguments['backend']!r}.", "bold")
        plugins = [*self.arguments.get("plugins", ()), self.stage.listener]
        with Cluster(**{**self.arguments, "plugins": plugins}, silence_logs=None) as cluster:
            self.stage.cluster = cluster
            self.mark("scheduler")
            cluster.scale(jobs=self.jobs)
            with Client(cluster) as client, get_task_stream(client) as stream:
                self.follow(lambda: _has_worker(cluster))
                self.mark("worker")
                self.small_tasks(client)
                self.large_reduction(client, cluster)
                self.follow(lambda: self.replacement() is not None, PATIENCE)
                self.follow(lambda: self.replacement(connected=True) is not None, PATIENCE)
            self.stage.say("The cluster closes: it ends its jobs, and sees that they have ended.", "bold")
        self.mark("closed")
        self.records = cluster.jobs
        own = [task for task in stream.data if task["key"].startswith((_square.__name__, primes_between.__name__))]
        self.runs = len(own)
        self.computed = sum(
            part["stop"] - part["start"] for task in own for part in task["startstops"] if part["action"] == "compute"
        )

    # --- what is computed ---------------------------------------------------------------------------------------

    def small_tasks(self, client: Client) -> None:
        began = time.monotonic()
        futures = client.map(_square, range(TASKS), pure=False)
        total = client.submit(sum, futures)
        self.compute(f"{TASKS:,} small tasks", futures, total)
        seconds = time.monotonic() - began
        self.stage.say(f"{TASKS:,} small tasks took {seconds:.1f} s: {TASKS / seconds:,.0f} a second.")

    def large_reduction(self, client: Client, cluster: Cluster) -> None:
        began = time.monotonic()
        width = NUMBERS // TASKS
        parts = client.map(primes_between, range(0, NUMBERS, width), range(width, NUMBERS + 1, width))
        sums = parts
        while len(sums) > 1:
            sums = [client.submit(sum, sums[start : start + 10]) for start in range(0, len(sums), 10)]
        found = self.compute(f"primes below {NUMBERS:,}", parts, sums[0], lambda: self.kill_one(cluster))
        seconds = time.monotonic() - began
        if found != PRIMES:
            raise CorralError(f"{found:,} primes below {NUMBERS:,} were counted, and there are {PRIMES:,}")
        self.stage.say(f"There are {found:,} primes below {NUMBERS:,}: right, after {seconds:.1f} s.", "bold")

    def compute(
        self, title: str, tasks: Sequence[Future[Any]], total: Future[Any], halfway: Callable[[], None] = lambda: None
    ) -> Any:
        """Follow tasks until their sum is there, and return it; call `halfway` once when some are done."""
        stage = self.stage
        stage.title, stage.total = title, len(tasks)
        self.tasks += len(tasks)
        is_halfway = False
        while not total.done():
            stage.done = sum(task.status == "finished" for task in tasks)
            if not is_halfway and stage.done >= KILL_AT * len(tasks):
                is_halfway = True
                halfway()
            self.pause()
        stage.title, stage.done, stage.total = "", 0, 0
        return total.result()

    # --- what is done to it -------------------------------------------------------------------------------------

    def kill_one(self, cluster: Cluster) -> None:
        """End a job by the batch system's own command, which tells the cluster nothing."""
        from corral.batch.runner import Runner
        from corral.plugin.conversations import mapped
        from corral.request.drawing import draw

        self.killed = next(record for record in cluster.jobs if record.is_connected)
        commands: list[Command] = []

        def noted(command: Command) -> Command:
            commands.append(command)
            return command

        hook = draw(self.arguments).batch.manager.hook
        self.stage.say(f"Now someone else kills job {self.killed.id}:", "bold red")
        asyncio.run(Runner().converse(mapped(hook.cancel(job_ids=[self.killed.id]), noted)))
        self.mark("killed")
        for command in commands:
            words = f" <<< {shlex.quote(command.stdin.strip())}" if command.stdin else ""
            program, *arguments = command.argv
            self.stage.say(f"$ {shlex.join([os.path.basename(program), *arguments])}{words}")

    def replacement(self, *, connected: bool = False) -> JobRecord | None:
        """The job that took the place of the killed one, as soon as there is one."""
        cluster = self.stage.cluster
        assert cluster is not None
        for record in cluster.jobs:
            if record.submitted_at > self.moments["killed"] and (record.is_connected or not connected):
                return record
        return None

    # --- time ---------------------------------------------------------------------------------------------------

    def mark(self, moment: str) -> None:
        self.moments[moment] = time.monotonic()

    def follow(self, condition: Callable[[], bool], timeout: float = math.inf) -> None:
        """Show what happens until this is true."""
        until = time.monotonic() + timeout
        while not condition() and time.monotonic() < until:
            self.pause()

    def pause(self) -> None:
        time.sleep(0.05)
        self.stage.tick()

    def account(self) -> Iterator[tuple[str, str]]:
        """Where the time went, in words."""
        first = min((r for r in self.records if r.connected_at), key=lambda record: record.connected_at or 0.0)
        moments = self.moments
        yield "jobs", f"{len(self.records)} were submitted: {_counted(record.state.value for record in self.records)}"
        yield (
            "first worker",
            f"after {_between(moments['began'], first.connected_at)}: "
            f"{_between(moments['began'], moments['scheduler'])} for the Dask scheduler, "
            f"{_between(moments['scheduler'], first.submitted_at)} to submit, "
            f"{_between(first.submitted_at, first.started_at)} in the queue, "
            f"{_between(first.started_at, first.connected_at)} for Python and Dask to start",
        )
        assert self.killed is not None
        killed = next(record for record in self.records if record.id == self.killed.id)
        replacement = self.replacement()
        yield "killed job", f"seen as {killed.state.value} after {_between(moments['killed'], killed.ended_at)}"
        if replacement is not None:
            yield (
                "replacement",
                (
                    f"submitted after {_between(moments['killed'], replacement.submitted_at)}, "
                    f"at work after {_between(moments['killed'], replacement.connected_at)}"
                ),
            )
        else:
            yield "replacement", "none"
        yield "tasks", f"{self.runs:,} ran for {self.tasks:,}"
        lived = sum(_lifetime(record) for record in self.records)
        starting = sum(_starting(record) for record in self.records)
        rest = max(0.0, lived - starting - self.computed)
        yield (
            "core-seconds",
            f"{lived:.0f} in jobs: {self.computed:.0f} computing, {starting:.0f} starting, {rest:.0f} waiting for work",
        )
        yield "all in all", _between(moments["began"], moments["closed"])


def _has_worker(cluster: Cluster) -> bool:
    """Raises what stands against it, as soon as that is known."""
    try:
        cluster.wait_for_workers(1, timeout=0.1, progress=False)
    except WorkersNotReady:
        return False
    return True


def _between(start: float | None, stop: float | None) -> str:
    return "no known time" if start is None or stop is None else f"{max(0.0, stop - start):.1f} s"


def _lifetime(record: JobRecord) -> float:
    if record.started_at is None or record.ended_at is None:
        return 0.0
    return record.ended_at - record.started_at


def _starting(record: JobRecord) -> float:
    if record.started_at is None or record.connected_at is None:
        return 0.0
    return record.connected_at - record.started_at


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


# --- the tasks --------------------------------------------------------------------------------------------------


def _square(number: int) -> int:
    return number * number


def primes_between(first: int, last: int) -> int:
    """How many primes there are from `first`, an even number, up to but not including `last`."""
    # One byte for each odd number. The place of 1, which is no prime, counts for 2.
    odd = bytearray([1]) * ((last - first) // 2)
    for prime in _odd_primes(math.isqrt(NUMBERS)):
        multiple = max(prime, -(-first // prime) | 1) * prime
        _strike_out(odd, (multiple - first) // 2, prime)
    return odd.count(1)


@functools.cache
def _odd_primes(last: int) -> list[int]:
    odd = bytearray([1]) * ((last + 1) // 2)
    for number in range(3, math.isqrt(last) + 1, 2):
        if odd[number // 2]:
            _strike_out(odd, number * number // 2, number)
    return [2 * place + 1 for place in range(1, len(odd)) if odd[place]]


def _strike_out(odd: bytearray, start: int, step: int) -> None:
    odd[start::step] = bytes(len(range(start, len(odd), step)))
