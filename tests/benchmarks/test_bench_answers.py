"""How long the event loop reads what a batch system prints about many jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from figures import Figures, at_most
from pretend_slurm import JOBS, squeue

from corral.plugin.values import JobId
from corral.testing import transcript
from corral.testing.driving import converse
from corral_oar import Oar
from corral_oar.testing import OarLaws
from corral_pbs import PBS
from corral_pbs.testing import PBSLaws
from corral_sge import GridEngine
from corral_slurm import Slurm

pytestmark = pytest.mark.bench


def of_slurm() -> tuple[str, list[str]]:
    return squeue(1, "RUNNING", range(JOBS)), [f"1_{index}" for index in range(JOBS)]


def of_pbs() -> tuple[str, list[str]]:
    """20 MB."""
    answer = transcript(PBSLaws.transcripts / "qstat-two-nodes.txt").stdout
    [_, element] = answer.split("\nJob Id: ")[:2]
    rows = (f"Job Id: {element.replace('9084[0]', f'9084[{index}]')}\n" for index in range(JOBS))
    return "".join(rows), [f"9084[{index}].node01" for index in range(JOBS)]


def of_sge() -> tuple[str, list[str]]:
    row = (
        "<job_list state='running'><JB_job_number>77</JB_job_number><JB_name>d</JB_name><state>r</state>"
        "<JAT_start_time>2026-11-25T22:2{}:40</JAT_start_time><queue_name>all.q@n{}</queue_name><tasks>{}</tasks></job_list>"
    )
    rows = "".join(row.format(task % 10, task % 300, task) for task in range(1, JOBS + 1))
    answer = f"<?xml version='1.0'?><job_info><queue_info>{rows}</queue_info></job_info>"
    return answer, [f"77.{task}" for task in range(1, JOBS + 1)]


def of_oar() -> tuple[str, list[str]]:
    """5 MB for each thousand: OAR has no short answer that says enough."""
    [row] = json.loads(transcript(OarLaws.transcripts / "pending-held.txt").stdout).values()
    row |= {"command": "x" * 2000, "initial_request": "x" * 2200}
    return json.dumps(dict.fromkeys(map(str, range(1000)), row)), [str(number) for number in range(1000)]


@pytest.mark.parametrize(
    ("command", "backend", "made", "goal"),
    [
        ("squeue", Slurm(), of_slurm, 150),
        ("qstat of PBS", PBS(), of_pbs, 1000),
        ("qstat of Grid Engine", GridEngine(), of_sge, 500),
        ("oarstat", Oar(), of_oar, 150),
    ],
    ids=["slurm", "pbs", "sge", "oar"],
)
def test_answers(
    figures: Figures, command: str, backend: Any, made: Callable[[], tuple[str, list[str]]], goal: float
) -> None:
    """From the text of an answer to the status of each job."""
    answer, texts = made()
    job_ids = [JobId(text) for text in texts]
    milliseconds = []
    for _ in range(15):
        began = time.process_time()
        found = converse(backend.poll_status(job_ids=job_ids), lambda _: answer)
        milliseconds.append(1000 * (time.process_time() - began))
        assert len(found) == len(job_ids)
    figures.alone(f"an answer of {command} about {len(job_ids):,} jobs", milliseconds, "ms", at_most(goal))
