"""dask-jobqueue's classes: what their arguments, their configuration and their methods come to."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dask.config
import pytest
from attrs import evolve
from distributed import Adaptive

import corral_jobqueue
from corral.errors import InvalidRequest
from corral.migration.jobqueue.words import KINDS
from corral.plugin import discovery
from corral.request.drawing import draw
from corral_jobqueue import ChangedWarning, JobQueueCluster, LocalCluster, PBSCluster, SLURMCluster, translate
from corral_jobqueue.cluster import backend_here

CLASSES = [getattr(corral_jobqueue, name) for name in KINDS]
_ANY: Any = "x"
pytestmark = pytest.mark.filterwarnings("ignore::corral_jobqueue.ChangedWarning")


@pytest.fixture(params=CLASSES, ids=list(KINDS))
def each(request: pytest.FixtureRequest) -> type[JobQueueCluster]:
    found: type[JobQueueCluster] = request.param
    return found


# --- what is asked for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (SLURMCluster, {"queue": "batch", "account": "bio", "walltime": "1-02:00:00"}),
        (SLURMCluster, {"job_cpu": 16, "job_mem": "100G", "job_extra_directives": ["--qos=high"]}),
        (PBSCluster, {"queue": "workq", "account": "bio", "walltime": "00:10:00"}),
        (PBSCluster, {"resource_spec": "select=1:ncpus=36:mem=109GB"}),
        (
            corral_jobqueue.LSFCluster,
            {"queue": "q", "project": "bio", "walltime": "02:30", "ncpus": 4, "lsf_units": "mb"},
        ),
        (corral_jobqueue.OARCluster, {"queue": "q", "project": "bio", "resource_spec": "/nodes=1/core=8"}),
        (corral_jobqueue.SGECluster, {"queue": "q", "project": "bio", "resource_spec": "h_vmem=4G"}),
    ],
)
def test_the_script_asks_for_what_dask_jobqueue_asks_for(cls: type[JobQueueCluster], said: dict[str, Any]) -> None:
    """As the batch system's own plugin reads both."""
    with cls(cores=8, memory="28GiB", **said) as cluster:
        backend = KINDS[cls.__name__].backend
        hook = discovery.load(backend, options=cluster._blueprint.backend_options, site=None, plugins=()).hook
        before = hook.parse_resources(text=cluster._dummy_job.job_script())
        now = hook.parse_resources(text=cluster.job_script())
        # LSF's units are powers of two, and dask-jobqueue's of ten.
        assert pytest.approx(before.resources.memory or 0, rel=0.05) == (now.resources.memory or 0)
        assert evolve(before.resources, memory=None) == evolve(now.resources, memory=None)
        assert (before.walltime, before.queue, before.account) == (now.walltime, now.queue, now.account)
        assert set(before.extra_directives) - {"-cwd"} <= set(now.extra_directives) | {"-j y"}


def test_job_header_is_the_directives_of_the_script() -> None:
    with SLURMCluster(cores=4, memory="4GB", queue="batch") as cluster:
        lines = cluster.job_header.splitlines()
        assert all(line.startswith("#SBATCH ") for line in lines)
        assert cluster.job_header in cluster.job_script()
        assert "dask-worker" == cluster.job_name


def test_the_common_example_runs_as_it_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With nothing but the import changed; no job is in a queue yet, because there is no PBS here."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(FutureWarning, match="project has been renamed to account"):
        cluster = PBSCluster(project="bio", queue="workq", cores=1, processes=1, memory="100GB", walltime="01:00:00")
    with closing(cluster):
        assert "#PBS -A bio" in cluster.job_header
        cluster.scale(10)
        assert 10 == len(cluster.worker_spec)
        adaptive = cluster.adapt(minimum=1, maximum=100, wait_count=60)
        assert (1, 100) == (adaptive.minimum, adaptive.maximum)


def test_a_cluster_needs_cores_and_memory(each: type[JobQueueCluster]) -> None:
    with pytest.raises(ValueError, match=rf"(?s){each.__name__}\(cores=4, memory='24GB'\)"):
        each(cores=4)


def test_help_has_every_argument(each: type[JobQueueCluster]) -> None:
    documented = set(re.findall(r"^(\w+) :$", str(each.__doc__), re.MULTILINE))
    assert KINDS[each.__name__].arguments == documented


#: A value of each argument that dask-jobqueue documents.
VALUES: dict[str, Any] = {
    "name": "mine", "cores": 4, "memory": "2GB", "processes": 2, "nanny": True, "protocol": "tcp://", "security": None,
    "interface": "lo", "death_timeout": 90, "local_directory": "$TMPDIR",
    "worker_command": "distributed.cli.dask_worker",
    "worker_extra_args": ["--resources GPU=1"], "job_extra_directives": [], "job_script_prologue": ["ulimit -c 0"],
    "job_script_epilogue": ["date"], "job_directives_skip": ["-N"], "log_directory": "logs", "shebang": "#!/bin/bash",
    "python": "python3", "job_name": "mine", "config_name": None, "extra": ["--resources GPU=1"], "job_extra": [],
    "env_extra": ["ulimit -c 0"], "header_skip": ["-N"], "n_workers": 0, "queue": "batch", "silence_logs": "info",
    "shared_temp_directory": "shared", "asynchronous": False, "scheduler_options": {"port": 0}, "account": "bio",
    "project": "bio", "walltime": "01:00:00", "resource_spec": "", "job_cpu": 8, "job_mem": "4GB", "ncpus": 8,
    "mem": 4_000_000_000, "lsf_units": "mb", "use_stdin": True, "memory_per_core_property_name": "memcore",
    "disk": "1GB", "submit_command_extra": ["-name", "schedd"], "cancel_command_extra": ["-name", "schedd"],
}  # fmt: skip
#: What ``-l`` asks for.
SPECS = {"PBSCluster": "select=1:ncpus=4", "MoabCluster": "nodes=1:ppn=4", "SGECluster": "h_vmem=1G"}


def test_every_argument_is_taken(each: type[JobQueueCluster]) -> None:
    """Each by itself beside a size."""
    refused = {"dashboard_address", "host", "scheduler_cls", "job_cls", "loop"}
    for argument in KINDS[each.__name__].arguments - refused:
        value = VALUES[argument]
        if argument == "resource_spec":
            value = SPECS.get(each.__name__, "/nodes=1/core=4")
        if argument.startswith("job_extra"):
            value = {"MY.Flavour": '"long"'} if each is corral_jobqueue.HTCondorCluster else []
        found = translate(each.__name__, {"cores": 4, "memory": "2GB", argument: value})
        assert () == found.lost, argument
        of_programs = ("n_workers", "asynchronous", "silence_logs")
        said = {name: each for name, each in found.arguments.items() if name not in of_programs}
        assert draw({"backend": found.backend, **said}).script("default").directives, argument


@pytest.mark.parametrize(
    ("programs", "variables", "backend"),
    [
        (["qsub", "pbsnodes"], {}, "torque"),
        (["qsub", "pbsnodes"], {"PBS_CONF_FILE": "/etc/other.conf"}, "pbs"),
        (["qsub", "qconf"], {}, "pbs"),
        ([], {}, "pbs"),
    ],
)
def test_torque_has_no_class_of_its_own(
    programs: list[str], variables: dict[str, str], backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in programs:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PBS_CONF_FILE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert backend == backend_here("pbs")


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["dashboard_address", "host"])
def test_what_is_the_schedulers_goes_into_scheduler_options(argument: str) -> None:
    with pytest.raises(ValueError, match=f"pass '{argument}' through 'scheduler_options'"):
        SLURMCluster(**{"cores": 1, "memory": "1GB", argument: _ANY})


@pytest.mark.parametrize(
    ("word", "cure"), [("walltme", "walltime"), ("gpus_per_node", "gpus="), ("n_nodes", "nodes="), ("disk", "disk")]
)
def test_an_argument_that_nobody_knows(word: str, cure: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"unexpected keyword argument '{word}'.*{cure}"):
        SLURMCluster(**{"cores": 1, "memory": "1GB", word: _ANY})


def test_what_cannot_be_carried_over_is_refused_with_the_cure() -> None:
    with pytest.raises(InvalidRequest, match=r"^worker_extra_args: --memory-limit cannot be said .* memory="):
        SLURMCluster(cores=1, memory="1GB", worker_extra_args=["--memory-limit 3GB"])


def test_a_section_that_is_not_there(section: Callable[..., None]) -> None:
    section("casper", cores=1)
    with pytest.raises(InvalidRequest, match=r"no section jobqueue\.caspar\. Did you mean 'casper'"):
        PBSCluster(config_name="caspar", memory="1GB")


# --- configuration --------------------------------------------------------------------------------------------------


def test_the_configuration_of_dask_jobqueue_is_read(section: Callable[..., None]) -> None:
    section("slurm", cores=2, memory="1GB", queue="slow", job_extra_directives=["--qos=low"], walltime="00:05:00")
    with SLURMCluster(queue="fast") as cluster:
        assert {"#SBATCH --partition=fast", "#SBATCH --qos=low", "#SBATCH --time=0-00:05:00"} <= set(
            cluster.job_header.splitlines()
        )


def test_a_section_of_a_sites_own_name_need_not_have_every_key(section: Callable[..., None]) -> None:
    section("casper", cores=1, memory="4GiB", resource_spec="select=1:ncpus=1:mem=4GB", queue="casper")
    with PBSCluster(config_name="casper") as cluster:
        assert "#PBS -q casper" in cluster.job_header
        assert "#PBS -l walltime=00:30:00" in cluster.job_header


def test_nobody_is_told_that_the_section_is_not_read(section: Callable[..., None]) -> None:
    """corral itself tells so, and translates it; here it is read."""
    section("local", cores=1, memory="1GB", queue="batch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ChangedWarning)
        LocalCluster().close()


@pytest.mark.parametrize("key", ["env-extra", "env_extra"])
def test_old_keys_of_the_configuration_are_old(section: Callable[..., None], key: str) -> None:
    with dask.config.set({"jobqueue.local": {"cores": 1, "memory": "1GB", key: ["export A=1"]}}):
        with pytest.warns(FutureWarning, match="env_extra has been renamed to job_script_prologue") as told:
            cluster = LocalCluster()
        with cluster:
            assert "\nexport A=1\n" in cluster.job_script()
        assert [__file__] == [warning.filename for warning in told if warning.category is FutureWarning]


# --- what is told ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default::corral_jobqueue.ChangedWarning")
def test_what_has_changed_is_told_once() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            SLURMCluster(cores=1, memory="1GB").close()
        SLURMCluster(cores=1, memory="1GB", nanny=False).close()
    first, second = [str(warning.message) for warning in told if warning.category is ChangedWarning]
    assert "TLS" in first
    assert "nanny=False" in second
    assert "TLS" not in second


def test_an_import_adds_usual_keys_in_memory_alone(tmp_path: Path) -> None:
    """No handler of signals, and no file in the home directory."""
    program = (
        "import signal; before = signal.getsignal(signal.SIGINT)\n"
        "import corral_jobqueue, corral_jobqueue.slurm\n"
        "assert before is signal.getsignal(signal.SIGINT)\n"
        "import dask; assert dask.config.get('jobqueue.slurm.walltime') == '00:30:00'\n"
    )
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    keep = {name: value for name, value in _environment().items() if not name.startswith(("DASK", "XDG"))}
    subprocess.run([sys.executable, "-c", program], check=True, env={**keep, **home})
    assert [] == list(tmp_path.iterdir())


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


# --- methods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "jobs"),
    [
        ({"n": 5}, 3),
        ({"jobs": 2}, 2),
        ({"cores": 5}, 3),
        ({"memory": "5GB"}, 3),
        ({"jobs": 1, "memory": "5GB", "cores": 8}, 4),
        ({}, 0),
    ],
)
def test_scale(asked: dict[str, Any], jobs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no job is submitted
    with closing(SLURMCluster(cores=2, processes=2, memory="2GB")) as cluster:
        cluster.scale(**asked)
        assert jobs == len(cluster.worker_spec)
        assert 2 * jobs == len(cluster.plan)
        assert set() == cluster.observed


def test_adapt_takes_dasks_own_policy_for_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with SLURMCluster(cores=2, processes=2, memory="2GB") as cluster:
        adaptive = cluster.adapt(Adaptive, minimum_jobs=0, maximum_jobs=3, interval="1s", target_duration="10s")
        assert 6 == adaptive.maximum
        with pytest.raises(InvalidRequest, match="does not decide here"):
            cluster.adapt(Adaptive=type("Mine", (Adaptive,), {}))
