"""A site on a real Slurm: found by a variable, it says queue, directives and whole nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from pastures import install_site

from corral import Cluster
from corral.errors import InvalidRequest

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed"), pytest.mark.timeout(300)]

PRAIRIE = """
class Site(DescribedSite):
    description = SiteDescription(
        facts=SiteFacts(title="The Prairie", environment={"PRAIRIE_HOST": "*"}, is_tried=True),
        backend="slurm",
        defaults={"memory": "200MB", "walltime": "8 min", "interface": "lo"},
        options={"note": SiteOption(help="what the job is for", directives=("--comment=note-{value}",))},
        directives=("--requeue",),
        groups={"wide": {"cores": 2, "memory": "300MB"}},
        nodes=(
            NodeType(name="short", queue="short", cores=1, memory="400MB", max_walltime="30 min"),
            NodeType(name="batch", queue="batch", cores=2, memory="500MB", whole=True),
        ),
    )
"""


@pytest.fixture(autouse=True)
def prairie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_site(monkeypatch, tmp_path, "prairie", PRAIRIE)
    monkeypatch.setenv("PRAIRIE_HOST", "1")


def shown(job: object) -> dict[str, str]:
    """What Slurm says of a job."""
    text = subprocess.run(
        ["scontrol", "show", "job", "-o", str(job)], capture_output=True, text=True, check=True
    ).stdout
    return dict(word.partition("=")[::2] for word in text.split())


def test_cluster_without_a_word(state_directory: Path) -> None:
    """Queue by what is asked, what the site wants of each job, and its own options."""
    with Cluster(site_options={"note": "hay"}, n_workers=1) as cluster, Client(cluster) as client:
        client.wait_for_workers(1, timeout=120)
        [job] = cluster.jobs
        said = shown(job.id)
        assert (said["Partition"], said["Comment"], said["Requeue"]) == ("short", "note-hay", "1")
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_whole_node_is_asked_for_used_and_charged(state_directory: Path) -> None:
    """Two cores where the short queue has one."""
    with Cluster(groups=["prairie.wide"], cores=2) as cluster, Client(cluster) as client:
        cluster.scale(jobs=1)
        client.wait_for_workers(1, timeout=120)
        [job] = cluster.jobs
        said = shown(job.id)
        assert (said["Partition"], said["NumCPUs"], said["MinMemoryNode"]) == ("batch", "2", "477M")
        workers = client.scheduler_info()["workers"].values()
        assert sum(worker["nthreads"] for worker in workers) == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"memory": "2GB"}, "The Prairie has no node for this job: batch has at most 500MB a node"),
        ({"site_options": {"nota": "x"}}, "The Prairie has no option 'nota'. Options: note. Did you mean 'note'?"),
    ],
)
def test_what_the_site_does_not_have_is_refused_before_slurm_sees_it(arguments: dict[str, Any], problem: str) -> None:
    """In its own words."""
    with pytest.raises(InvalidRequest) as caught:
        Cluster(**arguments)
    assert problem in str(caught.value)


def test_without_the_site(state_directory: Path) -> None:
    """What it would have said is not there."""
    with Cluster(site=None, backend="slurm", memory="200MB", interface="lo") as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=120)
        [job] = cluster.jobs
        assert shown(job.id)["Partition"] == "batch"


def test_a_scheduler_in_a_job_at_the_site(state_directory: Path) -> None:
    """On its node there is no sign of the site: it was told."""
    with Cluster(name="herd", scheduler="job", scheduler_options={"memory": "300MB"}) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=200)
        assert {shown(job.id)["Partition"] for job in cluster.jobs} == {"short"}
        cluster.shutdown()


def test_corral_queues_and_auto_agree_with_the_site() -> None:
    """A queue that the site does not have for such jobs is not chosen, however tight it is."""
    words = [sys.executable, "-m", "corral.cli", "queues", "--cores", "1", "--memory", "100MB"]
    text = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert "queue=\"auto\" means 'short': " in text
    words = [sys.executable, "-m", "corral.cli", "script", "--queue", "auto", "--cores", "2"]
    text = subprocess.run(words, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert "#SBATCH --partition=batch" in text


def test_a_host_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a namespace with a name of its own, as a login node has one."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a namespace")
    code = PRAIRIE.replace('environment={"PRAIRIE_HOST": "*"}', 'hosts=("prairie-login*",)')
    install_site(monkeypatch, tmp_path, "steppe", code)
    monkeypatch.delenv("PRAIRIE_HOST")
    shell = f"hostname prairie-login2; exec {sys.executable} -m corral.cli script"
    done = subprocess.run(["unshare", "--uts", "sh", "-c", shell], capture_output=True, text=True, check=False)
    assert "--partition=short" in done.stdout, done.stderr
    assert "--requeue" in done.stdout
