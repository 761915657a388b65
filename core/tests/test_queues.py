"""Which queue takes a job: ``queue="auto"``, and `corral queues`."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral import Cluster, WorkerGroup, hookimpl
from corral.batch import queues as asked_queues
from corral.cli import main
from corral.errors import BatchSystemError, InvalidRequest
from corral.plugin import answered
from corral.plugin.values import Command, Job, Queue, Resources
from corral.remote import spec
from corral.remote.spec import Draft
from corral.request.drawing import draw
from corral.request.queues import about, choose, why_not

GB = 10**9
HOUR = 3600

#: Much as a centre has them.
DEBUG = Queue(name="debug", max_walltime=HOUR // 2, cores=64, memory=256 * GB, gpus=0, nodes=2, free_nodes=2)
SHORT = Queue(name="short", max_walltime=4 * HOUR, cores=64, memory=256 * GB, gpus=0, nodes=20, free_nodes=0)
BATCH = Queue(
    name="batch", is_default=True, max_walltime=48 * HOUR, cores=64, memory=256 * GB, gpus=0, nodes=80, free_nodes=3
)
FAT = Queue(name="fat", max_walltime=48 * HOUR, cores=64, memory=2000 * GB, gpus=0, nodes=4, free_nodes=4)
GPU = Queue(name="gpu", max_walltime=2 * HOUR, cores=64, memory=512 * GB, gpus=4, nodes=8, free_nodes=8)
ALL = (DEBUG, SHORT, BATCH, FAT, GPU)


def job(walltime: float = 1, *, account: str | None = None, skip: tuple[str, ...] = (), **resources: int) -> Job:
    """`walltime` is in hours, memory in GB."""
    memory = resources.pop("memory", 16) * GB
    return Job(
        name="x", walltime=int(walltime * HOUR), account=account, skip=skip,
        resources=Resources(**{"cores": 8, "memory": memory, **resources}),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What another test has asked is not known, and the state directory is the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    asked_queues.forget()
    yield
    asked_queues.forget()


# --- the choice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "queue"),
    [
        (job(1), "short"),
        (job(5), "batch"),
        (job(5, memory=300), "fat"),
        (job(1, memory=300), "fat"),
        (job(1, gpus=1), "gpu"),
        (job(2, nodes=30), "batch"),
        (job(100, skip=("walltime",)), "short"),
        (job(1, memory=300, skip=("memory",)), "short"),
        (job(1, nodes=500, skip=("nodes",)), "short"),
    ],
)
def test_the_tightest_queue_that_takes_the_job_is_chosen(wanted: Job, queue: str) -> None:
    """What is scarce is left to those who need it; what is not asked for does not count."""
    assert choose(wanted, ALL, nothing="").queue == queue
    assert choose(wanted, ALL[::-1], nothing="").queue == queue, "the order of the list says nothing"


def test_a_queue_for_trials_is_taken_if_there_is_no_other() -> None:
    """Sites have half an hour of debugging for people, not for clusters."""
    assert choose(job(0.25), ALL, nothing="").queue == "short"
    assert choose(job(0.25), [DEBUG, GPU], nothing="").queue == "gpu"
    assert choose(job(0.25), [DEBUG], nothing="").queue == "debug"


def test_large_nodes_are_left_to_those_who_need_them() -> None:
    """Even if the site makes them its default."""
    assert choose(job(), [evolve(FAT, is_default=True), evolve(BATCH, is_default=False)], nothing="").queue == "batch"


def test_among_equals_the_default_is_taken_then_the_one_with_free_nodes() -> None:
    """Nothing else tells them apart."""
    twin = evolve(BATCH, name="a", is_default=False, free_nodes=50)
    assert choose(job(), [twin, BATCH], nothing="").queue == "batch"
    assert choose(job(), [evolve(twin, name="b", free_nodes=60), twin], nothing="").queue == "b"


def test_what_is_not_known_keeps_no_job_away_and_is_told() -> None:
    """A batch system that tells of walltimes alone is still of use."""
    found = choose(job(gpus=1), [Queue(name="long"), Queue(name="short", max_walltime=2 * HOUR)], nothing="")
    assert found.queue == "short"
    assert found.why == (
        "the tightest of those that take the job (at most 2 h); others that do: long; not known of it: cores, memory, "
        "GPUs"
    )


def test_the_choice_says_why_it_was_made_and_why_others_were_not() -> None:
    """Somebody may know better."""
    assert str(choose(job(1), ALL, nothing="")) == (
        "queue 'short': the tightest of those that take the job (at most 4 h, 64 cores and 238.42 GiB a node); others "
        "that do: batch, fat, gpu; not debug (walltime= is at most 30 min)"
    )


@pytest.mark.parametrize(
    ("queue", "wanted", "reason"),
    [
        (SHORT, job(1), ""),
        (SHORT, job(5), "walltime= is at most 4 h"),
        (SHORT, job(cores=65), "cores= is at most 64 a node"),
        (SHORT, job(memory=257), "memory= is at most 238.42 GiB a node"),
        (SHORT, job(gpus=1), "no GPUs"),
        (GPU, job(gpus=5), "gpus= is at most 4 a node"),
        (SHORT, job(nodes=21), "nodes= is at most 20"),
        (evolve(SHORT, max_nodes=2), job(nodes=3), "nodes= is at most 2"),
        (evolve(SHORT, min_nodes=2), job(), "nodes= is at least 2"),
        (evolve(SHORT, max_cores=12), job(nodes=2), "a job has at most 12 of cores in all"),
        (evolve(SHORT, gpus=None, max_gpus=0), job(gpus=1), "no GPUs"),
        (evolve(SHORT, accepts_jobs=False), job(), "it takes no jobs"),
        (evolve(SHORT, starts_jobs=False), job(), "it starts no jobs now"),
        (evolve(SHORT, accounts=["climate"]), job(account="climate"), ""),
        (evolve(SHORT, accounts=["climate"]), job(), "its jobs need an account; account= may be climate"),
        (
            evolve(SHORT, accounts=["climate"]),
            job(account="ocean"),
            "it is closed to your account; account= may be climate",
        ),
    ],
)
def test_a_queue_says_what_it_does_not_take(queue: Queue, wanted: Job, reason: str) -> None:
    """With the argument to change."""
    assert why_not(queue, wanted) == reason


def test_a_job_that_no_queue_takes_is_refused_with_the_reason_of_each() -> None:
    """Before anything is submitted."""
    with pytest.raises(InvalidRequest) as told:
        choose(job(72), [SHORT, GPU], nothing="")
    assert str(told.value) == (
        "queue: 'auto' finds none that takes this job: short (walltime= is at most 4 h), gpu (walltime= is at most "
        "2 h). Ask for less, or name a queue"
    )


def test_queues_are_told_of_a_job_that_waits() -> None:
    """How full its own is, and where it would start; or that it is in the wrong one."""
    assert about(evolve(job(), queue="batch"), ALL) == "queue 'batch' has 3 of 80 nodes free"
    assert about(job(), ALL) == "queue 'batch' has 3 of 80 nodes free", "the default is the one that nobody named"
    assert about(evolve(job(), queue="short"), ALL) == (
        "queue 'short' has 0 of 20 nodes free; others that take such jobs have more: batch (3 free), fat (4 free)"
    )
    full = evolve(GPU, free_nodes=0)
    assert about(evolve(job(gpus=1), queue="gpu"), [full, evolve(GPU, name="new", free_nodes=1)]) == (
        "queue 'gpu' has 0 of 8 nodes free; others that take such jobs have more: new (1 free)"
    )
    assert about(evolve(job(0.25), queue="short"), [SHORT, DEBUG, GPU]) == "queue 'short' has 0 of 20 nodes free", (
        "nobody is sent to where trials or GPUs are"
    )
    assert about(evolve(job(5), queue="short"), ALL) == (
        "queue 'short' does not take such a job: walltime= is at most 4 h"
    )
    assert about(evolve(job(), queue="nosuch"), ALL) == about(job(), []) == ""


# --- the whole way ----------------------------------------------------------------------------------------------


class Table:
    """A site that has a table of its queues."""

    def __init__(self, *table: Queue) -> None:
        self.table = list(table)
        self.asked = 0

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Generator[None, Any, Any]:
        yield
        self.asked += 1
        return answered(self.table)


class Down:
    """A site whose batch system does not say what queues there are."""

    @hookimpl(wrapper=True)
    def describe_queues(self) -> Generator[None, Any, Any]:
        yield
        return self._fails()

    def _fails(self) -> Generator[Command, Any, list[Queue]]:
        yield Command(["false"])
        return []


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
    return {"backend": "local", "backend_options": options, "queue": "auto", "cores": 8, "memory": "16GB"}


def test_auto_is_the_chosen_queue_from_the_beginning(
    arguments: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """In the script, in the group, and with its reason in the log."""
    caplog.set_level(logging.INFO, "corral")
    blueprint = draw({**arguments, "plugins": [Table(*ALL)]})
    assert blueprint.groups["default"].queue == "short"
    assert "#CORRAL --queue=short" in str(blueprint.script())
    assert blueprint.choices["default"].queue == "short"
    assert "group 'default': queue 'short': the tightest" in caplog.text


def test_each_group_has_a_queue_of_its_own_and_one_question_serves_all(arguments: dict[str, Any]) -> None:
    """The answer is kept for a few minutes."""
    table = Table(*ALL)
    groups = {"cpu": WorkerGroup(), "gpu": WorkerGroup(gpus=1), "named": WorkerGroup(queue="fat")}
    blueprint = draw({**arguments, "groups": groups, "plugins": [table]})
    assert {name: group.queue for name, group in blueprint.groups.items()} == {
        "cpu": "short", "gpu": "gpu", "named": "fat",
    }  # fmt: skip
    assert set(blueprint.choices) == {"cpu", "gpu"}
    assert table.asked == 1
    later = blueprint.with_group("long", WorkerGroup(queue="auto", walltime="10h", memory="1GB"))
    assert later.groups["long"].queue == "batch"
    assert table.asked == 1


def test_a_group_that_comes_later_is_told_of_once(arguments: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The batch system is asked before the event loop is."""
    caplog.set_level(logging.INFO, "corral")
    with Cluster(**{**arguments, "queue": None, "memory": "1GB", "interface": "lo"}) as c:
        c.add_group("more", WorkerGroup(queue="auto", memory="1GB"))
        assert c.groups["more"].queue == "local"
    assert caplog.text.count("group 'more': queue 'local'") == 1


def test_a_question_has_an_answer_that_is_not_older(arguments: dict[str, Any]) -> None:
    """What is free has changed since; limits have not."""
    table = Table(*ALL)
    blueprint = draw({**arguments, "plugins": [table]})
    identity = blueprint.identity(blueprint.batch)
    began = time.monotonic()
    for asked in (2, 2):
        assert asyncio.run(asked_queues.queues_of(blueprint.batch, identity, since=began)) == ALL
        assert table.asked == asked, "one answer serves all jobs of a question"
    assert asyncio.run(asked_queues.queues_of(blueprint.batch, identity)) == ALL
    assert table.asked == 2


def test_a_queue_that_is_named_asks_nothing(arguments: dict[str, Any]) -> None:
    """Drawing a cluster costs no command."""
    table = Table(*ALL)
    draw({**arguments, "queue": "fat", "plugins": [table]})
    assert table.asked == 0


def test_a_batch_system_that_does_not_say_leaves_the_choice_to_the_user(arguments: dict[str, Any]) -> None:
    """Nothing is guessed."""
    with pytest.raises(BatchSystemError, match=r"queue='auto' cannot be decided: .*false.*Name a queue=, or try again"):
        draw({**arguments, "plugins": [Down()]})


def test_a_batch_system_without_queues_says_so() -> None:
    """And what to do."""
    pytest.importorskip("corral_htcondor")
    with pytest.raises(InvalidRequest, match=r"nothing to choose from with 'auto': HTCondor has no queues.*Leave"):
        draw({"backend": "htcondor", "queue": "auto", "memory": "1GB"})


def test_a_scheduler_in_a_job_keeps_to_what_was_chosen(arguments: dict[str, Any]) -> None:
    """Nothing is decided twice, perhaps in another way."""
    arguments["backend_options"] |= {"gpus": 1}
    draft = Draft.of({**arguments, "cores": 1, "memory": "1GB", "gpus": 1})
    assert draft.order.arguments["queue"] == "local"
    groups = {"a": WorkerGroup(gpus=1), "b": {"queue": "named"}}
    draft = Draft.of(
        {**arguments, "cores": 1, "memory": "1GB", "groups": groups, "scheduler_options": {"queue": "auto"}}
    )
    assert [group["queue"] for group in draft.order.arguments["groups"].values()] == ["local", "named"]
    assert draft.job.queue == "local"


def test_a_queue_without_a_name_is_not_chosen_again_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance of Flux without queues lists one such."""
    pytest.importorskip("corral_flux")
    flux = tmp_path / "flux"
    flux.write_text("#!/bin/sh\necho '||enabled|inf|4|16|0|4'\n")
    flux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for groups in ({}, {"groups": {"a": {"memory": "1GB"}}}):
        draft = Draft.of({"backend": "flux", "queue": "auto", "memory": "1GB", **groups})
        assert [group.queue for group in draft.blueprint.groups.values()] == [None]
        assert "auto" not in json.dumps(draft.order.arguments)


def test_a_schedulers_job_does_not_go_where_the_workers_gpus_are(arguments: dict[str, Any]) -> None:
    """It is small, and lives as long as they do."""
    blueprint = draw({**arguments, "gpus": 1, "plugins": [Table(*ALL)]})
    assert blueprint.groups["default"].queue == "gpu"
    assert spec._scheduler_spec(blueprint).queue == "short"
    named = draw({**arguments, "gpus": 1, "queue": "gpu", "plugins": [Table(*ALL)]})
    assert spec._scheduler_spec(named).queue == "gpu"


# --- the command ------------------------------------------------------------------------------------------------


def local(tmp_path: Path, *words: str) -> tuple[int, str]:
    options = {"directory": str(tmp_path / "queue"), "cores": 8, "memory": "8GB"}
    said = [f"--backend-option={name}={value}" for name, value in options.items()]
    done = CliRunner().invoke(main, ["queues", "--backend", "local", *said, *words])
    return done.exit_code, done.output


def test_queues_are_listed(tmp_path: Path) -> None:
    """As a table for people, and as JSON for programs."""
    code, text = local(tmp_path)
    assert code == 0
    head, row, legend = text.splitlines()
    assert re.split("  +", head) == [
        "queue", "walltime", "free", "cores", "memory", "GPUs", "state",
    ]  # fmt: skip
    assert row.split() == ["local*", "1/1", "8", "7.45", "GiB", "0"]
    assert legend == "* the default; free nodes of all; cores, memory and GPUs of one"
    code, text = local(tmp_path, "--json")
    found = json.loads(text)
    assert (found["name"], found["cores"], found["memory"], found["max_walltime"]) == ("local", 8, 8 * GB, None)
    assert "takes_it" not in found


def test_queues_say_whether_they_take_a_job(tmp_path: Path) -> None:
    """And which of them "auto" means."""
    code, text = local(tmp_path, "--cores=4", "--memory=2GB")
    assert code == 0
    assert text.splitlines()[-1] == "queue=\"auto\" means 'local': the only one"
    code, text = local(tmp_path, "--cores=9")
    assert "cores= is at most 8 a node" in text.splitlines()[1]
    assert text.splitlines()[-1] == 'queue="auto" finds none that takes this job'
    found = json.loads(local(tmp_path, "--cores=9", "--json")[1])
    assert (found["takes_it"], found["why_not"], found["is_chosen"]) == (False, "cores= is at most 8 a node", False)


def test_no_queues_are_listed_with_the_reason() -> None:
    """By a backend whose batch system has none."""
    pytest.importorskip("corral_htcondor")
    done = CliRunner().invoke(main, ["queues", "--backend", "htcondor"])
    assert done.exit_code == 2
    assert "there is nothing to list: HTCondor has no queues: it matches each job with any machine" in done.output


def test_the_script_says_which_queue_was_chosen(tmp_path: Path) -> None:
    """Beside the script, which can be saved as it is."""
    words = ["script", "--backend=local", f"--backend-option=directory={tmp_path}", "--queue=auto", "--memory=1GB"]
    done = CliRunner().invoke(main, words)
    assert done.stderr == "queue=\"auto\" means queue 'local': the only one\n"
    assert "#CORRAL --queue=local" in done.stdout
