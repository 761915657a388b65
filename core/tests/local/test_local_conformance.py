"""The embedded batch system keeps the laws of all backends, with answers as `python -m corral.local` gave them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pluggy

from corral import JobState, __version__
from corral.plugin.values import Completed, Job, JobId, Resources
from corral.testing import (
    BackendConformance,
    CancelsGone,
    DescribesQueues,
    Detects,
    ExplainsPending,
    Finds,
    GarbledRow,
    Inside,
    Live,
    Polls,
    Submits,
    UnknownWord,
)

SUBMITTED = Completed(stdout='{"array": 1, "count": 2}\n{"rows": 1}\n')
EMPTY = Completed(stdout='{"rows": 0}\n')
RUNNING = Completed(
    stdout="""\
{"job": "1_0", "state": "RUNNING", "reason": "", "exit_code": null, "signal": null, "submitted": 1795477460.0638273, \
"started": 1795477460.1286323, "host": "node01", "expected_start": null, "ends": null}
{"job": "1_1", "state": "RUNNING", "reason": "", "exit_code": null, "signal": null, "submitted": 1795477460.0638273, \
"started": 1795477460.1286378, "host": "node01", "expected_start": null, "ends": null}
{"rows": 2}
"""
)
FOUND = Completed(stdout='{"job": "1_0", "name": "dask-1"}\n{"job": "1_1", "name": "dask-1"}\n{"rows": 2}\n')
PENDING = Completed(
    stdout="""\
{"job": "2_0", "state": "PENDING", "reason": "Resources", "exit_code": null, "signal": null, \
"submitted": 1795477460.1531382, "started": null, "host": null, "expected_start": null, "ends": null}
{"rows": 1}
"""
)
EXPLAINED = Completed(
    stdout="""\
{"explain": "it is the next; when it starts cannot be told: a job that must end before has no walltime"}
{"rows": 1}
"""
)
QUEUES = Completed(
    stdout="""\
{"queue": "local", "cores": 2, "memory": 25276502016, "gpus": 0, "free_cores": 0, "free_memory": 25276502016, \
"free_gpus": 0}
{"rows": 1}
"""
)


class TestLocal(BackendConformance):
    backend = "local"
    recordings = (
        Submits([SUBMITTED], ids=["1_0", "1_1"]),
        Polls([RUNNING], states={"1_0": JobState.RUNNING, "1_1": JobState.RUNNING}, absent=["9_0"]),
        Polls([PENDING], states={"2_0": JobState.PENDING}),
        Polls([EMPTY], states={}, absent=["9_0"]),
        CancelsGone([EMPTY], ids=["9_0"]),
        Finds([FOUND], name="dask-1", ids=["1_0", "1_1"]),
        Finds([FOUND], name="dask-*", ids=["1_0", "1_1"]),
        Finds([EMPTY], name="nosuch", ids=[]),
        Inside(
            environ={
                "CORRAL_LOCAL_ATTEMPT": "0",
                "CORRAL_LOCAL_CORES": "1",
                "CORRAL_LOCAL_HOST": "node01",
                "CORRAL_LOCAL_JOB_ID": "1_0",
                "CORRAL_LOCAL_JOB_NAME": "dask-1",
            },
            job_id="1_0",
            hosts=["node01"],
            cores=1,
        ),
        Detects(version=__version__),
        DescribesQueues([QUEUES], names=["local"]),
        ExplainsPending([EXPLAINED], job_id="2_0", words=["it is the next"]),
    )
    # Words of corral's own: the others are tried on the queue itself.
    state_words = ("PENDING", "RUNNING")
    unknown_word = UnknownWord([PENDING], job_id="2_0", known='"PENDING"', unknown='"MOLTING"')
    garbled_row = GarbledRow([RUNNING], job_id="1_1", known='"1_1", "state": "RUNNING"', garbled='"1_1", "state": RUN')
    job = Job(
        name="dask-1",
        command=("true",),
        resources=Resources(cores=2, memory=2 * 10**9, gpus=1),
        walltime=3600,
        queue="local",
        account="herd",
        log_directory="/scratch/logs",
    )
    extra_directives = ("--hold", "--priority=7")

    live = Live(
        wide=Resources(cores=2, memory=2**28),
        held=["--hold"],
        tells=["hosts", "exit_code", "signal", "submitted", "started", "ends"],
    )

    def live_manager(self, live: Live, folder: Path) -> pluggy.PluginManager:
        """On a queue of its own, large enough for all that run at once."""
        return self.manager(directory=folder / "queue", cores=16, memory=2**34)

    def job_ids(self, count: int) -> list[JobId]:
        return [JobId(f"{1 + number // 1000}_{number % 1000}") for number in range(count)]

    def poll_answers(self, job_ids: Sequence[JobId]) -> list[Completed]:
        row = RUNNING.stdout.splitlines(keepends=True)[0]
        rows = [row.replace("1_0", job_id.text) for job_id in job_ids]
        return [Completed(stdout="".join(rows) + f'{{"rows": {len(rows)}}}\n')]
