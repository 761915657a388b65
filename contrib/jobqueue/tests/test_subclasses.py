"""Classes that derive from dask-jobqueue's, as computing centres' do: what they change is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import dask.config
import pytest

from corral.errors import InvalidRequest
from corral_jobqueue import HTCondorCluster, JobQueueCluster, PBSCluster, SLURMCluster
from corral_jobqueue.core import Job
from corral_jobqueue.htcondor import HTCondorJob
from corral_jobqueue.local import LocalCluster, LocalJob
from corral_jobqueue.slurm import SLURMJob

pytestmark = pytest.mark.filterwarnings("ignore::corral_jobqueue.ChangedWarning")
SIZE: dict[str, Any] = {"cores": 2, "memory": "2GB"}


def directives(job_cls: type[Job], **said: Any) -> list[str]:
    with JobQueueCluster(job_cls=job_cls, **{**SIZE, **said}) as cluster:
        header: str = cluster.job_header
        return header.splitlines()


def script(job_cls: type[Job], **said: Any) -> str:
    with JobQueueCluster(job_cls=job_cls, **{**SIZE, **said}) as cluster:
        written: str = cluster.job_script()
        return written


# --- the header -----------------------------------------------------------------------------------------------------


class Exclusive(SLURMJob):
    """Changes lines after they were written."""

    def __init__(self, *arguments: Any, partition: str = "compute", **further: Any) -> None:
        super().__init__(*arguments, queue=partition, **further)
        lines = [line for line in self.job_header.splitlines() if "--mem=" not in line]
        self.job_header = "\n".join([*lines, "#SBATCH --exclusive"])


def test_lines_that_a_class_adds_and_takes_away() -> None:
    found = directives(Exclusive, partition="large", job_extra_directives=["--qos=high"])
    assert {"#SBATCH --partition=large", "#SBATCH --exclusive", "#SBATCH --qos=high"} <= set(found)
    assert not any("--mem" in line for line in found)


def test_a_line_that_a_class_replaces() -> None:
    class Tasks(SLURMJob):
        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self.job_header = self.job_header.replace("#SBATCH -n 1", "#SBATCH -n 2")

    found = directives(Tasks)
    assert "#SBATCH -n 2" in found
    assert not any("--ntasks-per-node" in line for line in found)


def test_a_name_that_a_class_replaces_or_takes_away() -> None:
    """Jobs are called after the cluster, which is called so; without any, corral could not find them."""

    class Named(SLURMJob):
        new = "#SBATCH -J farm"

        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self.job_header = self.job_header.replace("#SBATCH -J dask-worker", self.new)

    class Nameless(Named):
        new = ""

    for job_cls, name in ((Named, "farm"), (Nameless, "dask-worker")):
        [said] = [line for line in directives(job_cls) if "job-name" in line or "-J" in line]
        assert said.startswith(f"#SBATCH --job-name={name}-")


def test_an_extra_directive_that_a_class_takes_away() -> None:
    class Quiet(SLURMJob):
        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self.job_header = self.job_header.replace("\n#SBATCH --qos=high", "")

    assert "#SBATCH --qos=high" not in directives(Quiet, job_extra_directives=["--qos=high", "--nice=5"])


def test_statements_that_a_class_adds_and_takes_away() -> None:
    class Gridded(HTCondorJob):
        def __init__(self, *arguments: Any, image: str, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self.job_header_dict.update({"+SingularityImage": f'"{image}"', "use_x509userproxy": "true"})
            self.job_header_dict.pop("RequestDisk")

    found = directives(Gridded, image="/cvmfs/x", disk="1GB", job_extra_directives={"MY.Flavour": '"long"'})
    assert {'+SingularityImage = "/cvmfs/x"', "use_x509userproxy = true", 'MY.Flavour = "long"'} <= set(found)
    assert not any(line.startswith("request_disk") for line in found)


# --- the script and its command -------------------------------------------------------------------------------------


def test_lines_of_the_script_that_a_class_writes_itself() -> None:
    class Announced(SLURMJob):
        def job_script(self) -> str:
            lines = super().job_script().splitlines()
            command = next(number for number, line in enumerate(lines) if "dask_worker" in line)
            return "\n".join([*lines[:command], "module load cuda", *lines[command:], "date"])

    with JobQueueCluster(job_cls=Announced, **SIZE, job_script_prologue=["ulimit -c 0"]) as cluster:
        written = cluster.job_script()
    first, second, workers = (written.index(text) for text in ("ulimit -c 0", "module load cuda", "corral.launch"))
    assert first < second < workers < written.index("\ndate\n")


@pytest.mark.parametrize(
    ("before", "words"),
    [("srun -n1", "srun -n1 "), ("FOO=1", "env FOO=1 "), ("$LAUNCHER", "exec $LAUNCHER ")],
)
def test_words_before_the_workers_python(before: str, words: str) -> None:
    class Wrapped(LocalJob):
        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self._command_template = f"{before} {self._command_template}"

    assert words in script(Wrapped)


def test_options_of_workers_that_a_class_adds() -> None:
    class WithResources(LocalJob):
        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self._command_template += " --resources FOO=3"

    assert '"FOO": 3' in script(WithResources)


@pytest.mark.parametrize("command", ["python -m mine", "nothing at all"])
def test_a_script_without_workers_is_refused(command: str) -> None:
    class Other(LocalJob):
        def job_script(self) -> str:
            return super().job_script().replace(self._command_template, command)

    with pytest.raises(InvalidRequest, match="Other does not run workers any more"):
        JobQueueCluster(job_cls=Other, **SIZE)


def test_a_command_that_goes_on_behind_the_workers_is_refused() -> None:
    class Piped(LocalJob):
        def __init__(self, *arguments: Any, **further: Any) -> None:
            super().__init__(*arguments, **further)
            self._command_template += " | tee log"

    with pytest.raises(InvalidRequest, match="job_script_epilogue="):
        JobQueueCluster(job_cls=Piped, **SIZE)


# --- what only corral does ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["start", "_submit_job", "_call"])
def test_a_class_that_submits_by_itself_is_refused(method: str) -> None:
    async def own(self: Job, *_: Any) -> None: ...

    job_cls = type("Submitting", (SLURMJob,), {method: own})
    with pytest.raises(InvalidRequest, match=rf"job_cls: Submitting\.{method} submits jobs itself, .*plugins="):
        JobQueueCluster(job_cls=job_cls, **SIZE)


@pytest.mark.filterwarnings("default::corral_jobqueue.ChangedWarning")
def test_what_is_never_called_is_told() -> None:
    class Cleaning(SLURMJob):
        @classmethod
        async def _close_job(cls, job_id: str, cancel_command: str) -> None: ...

    with pytest.warns(UserWarning, match=r"Cleaning\._close_job is not called"):
        JobQueueCluster(job_cls=Cleaning, **SIZE).close()


@pytest.mark.filterwarnings("default::corral_jobqueue.ChangedWarning")
def test_names_of_workers_are_corrals() -> None:
    class Named(SLURMCluster):
        def _new_worker_name(self, number: int) -> str:
            return f"mine-{number}"

    with pytest.warns(UserWarning, match=r"Named\._new_worker_name is not called"):
        Named(**SIZE).close()


def test_a_job_of_an_unknown_batch_system_is_refused() -> None:
    class Mine(Job):
        config_name = "mine"

    with pytest.raises(InvalidRequest, match="Mine derives from Job itself"):
        JobQueueCluster(job_cls=Mine, **SIZE)


def test_a_class_without_jobs() -> None:
    class Empty(JobQueueCluster): ...

    with pytest.raises(ValueError, match=r"(?s)Job type.*job_cls.*Empty"):
        Empty(**SIZE)


# --- as centres do --------------------------------------------------------------------------------------------------


def test_a_class_that_chooses_another_and_writes_the_section(section: Callable[..., None]) -> None:
    """As ncar-jobqueue: a class that makes another one, with a section that replaces dask-jobqueue's own."""
    site = {"pbs": {"cores": 1, "memory": "4GiB", "processes": 1, "resource-spec": "select=1:ncpus=1:mem=4GB",
                    "queue": "develop", "job-extra": ["-l job_priority=economy", "-r n"], "env-extra": [],
                    "death-timeout": 60, "name": "dask-worker-derecho"}}  # fmt: skip
    section("pbs", **dask.config.get("jobqueue.pbs"))
    dask.config.update(dask.config.get("jobqueue"), site)

    class Centre:
        def __new__(cls, *arguments: Any, **further: Any) -> Any:
            return PBSCluster(*arguments, **further)

    with pytest.warns(FutureWarning, match=r"(job|env)_extra has been renamed"):
        cluster = Centre(account="UABC0001")
    with cluster:
        found = cluster.job_header.splitlines()
        assert {"#PBS -q develop", "#PBS -A UABC0001", "#PBS -l select=1:ncpus=1:mem=4GB"} <= set(found)
        # Which an array cannot have; the rest is there.
        assert "#PBS -r n" not in found
        assert "#PBS -l job_priority=economy" in found
        assert found[0].startswith("#PBS -N dask-worker-derecho-")


class GridJob(HTCondorJob):
    """As dask-lxplus."""

    config_name = "grid"

    def __init__(self, scheduler: Any = None, name: Any = None, disk: Any = None, **further: Any) -> None:
        disk = f"{int(further.get('cores', 1)) * 20} GB" if disk is None else disk
        super().__init__(scheduler=scheduler, name=name, disk=disk, **further)
        if hasattr(self, "log_directory"):
            self.job_header_dict.pop("Stream_Output", None)


class GridCluster(HTCondorCluster):
    """As dask-lxplus."""

    config_name = "grid"
    job_cls = GridJob

    def __init__(self, *, worker_image: str | None = None, batch_name: str | None = None, **further: Any) -> None:
        image = worker_image or dask.config.get("jobqueue.grid.worker-image")
        further["job_extra_directives"] = {
            "MY.SingularityImage": f'"{image}"', "MY.SpoolOnEvict": False, "JobBatchName": f'"{batch_name or "grid"}"',
            "transfer_output_files": '""', **further.get("job_extra_directives", {}),
        }  # fmt: skip
        further["submit_command_extra"] = [*further.get("submit_command_extra", []), "-spool"]
        further["worker_extra_args"] = ["--worker-port", "10000:10100"]
        super().__init__(**further)


def test_a_class_for_htcondor(section: Callable[..., None]) -> None:
    section("grid", cores=2, memory="3 GiB", worker_image="/cvmfs/image", job_extra=None)
    with GridCluster(cores=2, batch_name="analysis") as cluster:
        found = set(cluster.job_header.splitlines())
        assert {'MY.SingularityImage = "/cvmfs/image"', "MY.SpoolOnEvict = False", "request_disk = 38147M"} <= found
        assert "--worker-ports=10000:10100" in cluster.job_script()
        assert "-spool" in cluster.new_spec["options"]["submit_command_extra"]
        # By this corral finds its jobs: there is one, and it begins as the class says.
        assert ["batch_name = analysis-"] == [line[:22] for line in found if "atch" in line and "name" in line.lower()]
        assert "analysis" == cluster.name


class PreparingCluster(LocalCluster):
    """As lpcjobqueue: jobs are told of files that are there when the scheduler has started."""

    async def _start(self) -> None:
        await super()._start()
        self._job_kwargs.setdefault("job_script_prologue", []).append("export PREPARED=yes")


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_class_that_prepares_jobs_after_the_start(local: Callable[..., JobQueueCluster], n_workers: int) -> None:
    from distributed import Client

    with local(PreparingCluster, n_workers=n_workers, job_script_prologue=[]) as cluster, Client(cluster) as client:
        if not n_workers:
            cluster.scale(1)
        assert "export PREPARED=yes" in cluster.job_script()
        cluster.wait_for_workers(1, timeout=60)
        assert ["yes"] == list(client.run(_prepared).values())


def _prepared() -> str | None:
    import os

    return os.environ.get("PREPARED")


def test_a_section_of_the_class(section: Callable[..., None]) -> None:
    """Also one that has few keys: dask-jobqueue wants all of them."""

    class SiteJob(SLURMJob):
        config_name = "site"

    class SiteCluster(SLURMCluster):
        job_cls = SiteJob

    section("site", cores=4, memory="4GB", queue="site")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        with SiteCluster() as cluster:
            assert "#SBATCH --partition=site" in cluster.job_header
