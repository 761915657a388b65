"""Whole nodes, queues that a site chooses, and ``"auto"``."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from corral.batch import queues as asked_queues
from corral.errors import InvalidRequest
from corral.plugin.values import Job, Queue, Resources
from corral.request.drawing import draw
from corral.request.site_queues import choice_for, verdicts
from corral.request.sites import Site, site_of

Install = Callable[..., None]

#: Two kinds of nodes as centres have them, on the embedded queue.
RANGE = """
class Site(DescribedSite):
    description = SiteDescription(
        facts=SiteFacts(title="The Range", environment={"RANGE_HOST": "*"}),
        backend="slurm",
        nodes=(
            NodeType(name="shared", queue="shared", cores=64, memory="120GB", max_walltime="7d"),
            NodeType(name="compute", queue="compute", cores=128, memory="250GB", max_walltime="8h", whole=True),
            NodeType(name="gpu", queue="gpu", cores=64, memory="500GB", gpus=4, max_walltime="12h", whole=True),
            NodeType(name="debug", queue="debug", cores=128, memory="900GB", max_walltime="30 min", named_only=True),
        ),
    )
"""


@pytest.fixture
def at_range(install_site: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install_site("range", RANGE)
    monkeypatch.setenv("RANGE_HOST", "1")
    asked_queues.forget()


def lines_of(**given: object) -> list[str]:
    """The directives of a job's script."""
    text = str(draw(given).script())
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]


@pytest.mark.usefixtures("at_range")
def test_the_queue_is_what_the_job_needs() -> None:
    """Nobody has said any."""
    assert "--partition=shared" in lines_of(cores=8, memory="16GB")
    assert "--partition=compute" in lines_of(cores=100, memory="16GB")
    assert "--partition=gpu" in lines_of(cores=8, memory="16GB", gpus=1)
    assert "--partition=debug" in lines_of(cores=8, memory="16GB", walltime="10 min", queue="debug")
    assert "--partition=elsewhere" in lines_of(cores=8, memory="16GB", queue="elsewhere")


@pytest.mark.usefixtures("at_range")
def test_a_whole_node_is_used_and_charged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """What was prepared is what the workers have, how many there are, and what an hour costs; it is said once."""
    blueprint = draw({"cores": 100, "memory": "100GB", "nodes": 2, "name": "herd"})
    has = blueprint.resources("default")
    assert (has.cores, has.memory, has.nodes) == (128, 250 * 10**9, 2)
    command = blueprint.request("default", 1).command
    assert f"--workers={has.processes}" in command
    assert has.processes * has.threads == 128
    assert has.processes > 1
    [told] = [record.getMessage() for record in caplog.records if "at The Range" in record.getMessage()]
    assert told == (
        "cluster herd: group 'default': at The Range a job has 128 cores, 250GB on each of its nodes, where 100 cores, "
        "100GB was asked for: its nodes are its own, and an hour of it costs 256 core-hours"
    )


@pytest.mark.usefixtures("at_range")
def test_workers_follow_the_node_unless_they_are_said() -> None:
    """One worker of 128 threads is what nobody meant; who says processes= or threads= means it."""
    of = {"cores": 8, "memory": "15GB", "queue": "compute"}
    assert draw(of).resources("default").processes == 8
    assert draw({**of, "processes": 2}).resources("default").processes == 2
    assert draw({**of, "threads": 4}).resources("default").processes == 32
    assert draw({**of, "queue": "gpu", "gpus": 1}).resources("default").processes == 4
    with pytest.raises(InvalidRequest, match="^worker_ports: "):
        draw({**of, "worker_ports": "10000:10011"})  # enough for the workers of 8 cores


@pytest.mark.usefixtures("at_range")
def test_what_fits_nowhere_is_told_with_the_most_there_is(caplog: pytest.LogCaptureFixture) -> None:
    """Of the kind that comes nearest; nothing is rounded down."""
    for given, problem in (
        ({"memory": "256GB"}, "memory: The Range has no node for this job: compute has at most 250GB a node"),
        ({"cores": 300, "memory": "1GB"}, "cores: The Range has no node for this job: compute has at most 128 cores"),
        ({"memory": "1GB", "walltime": "30d"}, "walltime: .* shared takes jobs of at most 7 d"),
        ({"memory": "1GB", "gpus": 8}, "gpus: .* gpu has at most 4 GPUs a node"),
        ({"memory": "1GB", "walltime": "2h", "queue": "debug"}, "walltime: .* debug takes jobs of at most 30 min"),
        (
            {"cores": 100, "memory": "1GB", "walltime": "2d"},
            "walltime: .* shared has at most 64 cores a node; compute takes",
        ),
    ):
        with pytest.raises(InvalidRequest, match=problem):
            draw(given)
    caplog.set_level(logging.INFO)
    draw({"memory": "250GB", "cores": 128})
    assert "at The Range" not in caplog.text


# --- auto -------------------------------------------------------------------------------------------------------

QUEUES = (
    Queue(name="tiny", max_walltime=3600, cores=128, memory=10**12, gpus=0),
    Queue(name="shared", max_walltime=7 * 86400, cores=64, memory=120 * 10**9, gpus=0),
    Queue(name="compute", max_walltime=8 * 3600, cores=128, memory=250 * 10**9, gpus=0),
    Queue(name="gpu", max_walltime=12 * 3600, cores=64, memory=500 * 10**9, gpus=4),
)


def asked(cores: int = 8, gpus: int = 0) -> Job:
    return Job(name="x", walltime=600, resources=Resources(cores=cores, memory=10**9, gpus=gpus))


def here() -> tuple[Site, Callable[[Job], Job]]:
    site = site_of({})
    assert site is not None
    return site, draw({"memory": "1GB"}).batch.prepare


@pytest.mark.usefixtures("at_range")
def test_auto_is_the_sites_choice_as_far_as_the_batch_system_grants_it() -> None:
    """A queue that the site does not have for such jobs is not better because it is tighter."""
    site, prepare = here()
    assert choice_for(asked(), QUEUES, prepare, site, nothing="").queue == "shared"
    closed = tuple(queue if queue.name != "shared" else Queue(name="shared", starts_jobs=False) for queue in QUEUES)
    choice = choice_for(asked(), closed, prepare, site, nothing="")
    assert choice.queue == "compute"
    assert "shared (it starts no jobs now)" in choice.why
    assert "tiny (the site has others for such jobs)" in choice.why
    with pytest.raises(InvalidRequest, match="shared .the batch system does not list it"):
        choice_for(asked(), QUEUES[:1], prepare, site, nothing="")
    assert choice_for(asked(), QUEUES, prepare, None, nothing="").queue == "tiny"


@pytest.mark.usefixtures("at_range")
def test_each_queue_is_judged_by_what_the_job_would_be_there() -> None:
    """A whole node of one queue is not what another is asked for."""
    _, prepare = here()
    assert verdicts(asked(), QUEUES, prepare) == {
        "tiny": "",
        "shared": "",
        "compute": "",
        "gpu": "",
    }
    reasons = verdicts(asked(cores=100), QUEUES, prepare)
    assert reasons["shared"] == "The Range has no node for this job: shared has at most 64 cores a node"


def test_a_site_without_queues_is_not_overruled(install_site: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a QOS says which nodes, a partition from the batch system's list would be refused."""
    by_qos = RANGE.replace('queue="shared", ', 'directives=("--qos=regular",), ')
    install_site("mesa", by_qos.replace("RANGE_", "MESA_"))
    monkeypatch.setenv("MESA_HOST", "1")
    site, prepare = here()
    choice = choice_for(asked(), QUEUES, prepare, site, nothing="")
    assert (choice.queue, choice.reason) == ("", "The Range has no queues to choose; 'shared' takes the job")
    lines = lines_of(memory="1GB")
    assert "--qos=regular" in lines
    assert not [line for line in lines if "partition" in line]
