"""What dask-jobqueue's calls are in corral's words."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from distributed.deploy import local

from corral.errors import InvalidRequest
from corral.migration.jobqueue.words import KINDS, usual_processes
from corral.request.drawing import draw
from corral_jobqueue import Translation, translate
from corral_jobqueue.slurm import SLURMJob

SIZE: dict[str, Any] = {"cores": 4, "memory": "4GB"}


def translated(class_name: str = "SLURMCluster", /, **said: Any) -> Translation:
    return translate(class_name, {**SIZE, **said})


def test_words_that_mean_the_same_are_carried_over() -> None:
    found = translated(
        queue="batch", account="bio", walltime="00:10:00", job_extra_directives=["--qos=high"],
        job_script_prologue=["module load x"], job_script_epilogue=["date"], local_directory="/tmp",
        death_timeout=240, log_directory="logs", shared_temp_directory="/scratch", n_workers=2,
    )  # fmt: skip
    assert "slurm" == found.backend
    assert {
        "cores": 4, "processes": 4, "memory": "4GB", "queue": "batch", "account": "bio", "walltime": "00:10:00",
        "name": "dask-worker", "extra_directives": ["--qos=high"], "prologue": ["module load x"], "epilogue": ["date"],
        "local_directory": "/tmp", "death_timeout": 240, "log_directory": "logs", "shared_directory": "/scratch",
        "n_workers": 2,
    } == found.arguments  # fmt: skip
    assert () == found.lost


@pytest.mark.parametrize(
    ("old", "value", "new", "ours"),
    [
        ("project", "bio", "account", "bio"),
        ("job_extra", ["--qos=high"], "extra_directives", ["--qos=high"]),
        ("env_extra", ["export A=1"], "prologue", ["export A=1"]),
        ("extra", ["--resources GPU=1"], "worker_options", {"resources": {"GPU": 1}}),
        ("header_skip", ["--mem"], "skip_directives", ["memory"]),
    ],
)
def test_old_words_count_unless_the_new_one_is_said(old: str, value: object, new: str, ours: object) -> None:
    assert ours == translated(**{old: value}).arguments[new]


def test_new_words_win_over_old_ones() -> None:
    assert "new" == translated(project="old", account="new").arguments["account"]


@pytest.mark.parametrize(
    ("class_name", "written", "walltime"),
    [
        ("SLURMCluster", "30", "00:30:00"),
        ("SLURMCluster", "90:30", "01:30:30"),
        ("SLURMCluster", "1-12", "1-12:00:00"),
        ("LSFCluster", "00:30", "00:30:00"),
        ("LSFCluster", "90", "01:30:00"),
        ("OARCluster", "2", "02:00:00"),
        ("PBSCluster", "3600", "01:00:00"),
        ("PBSCluster", "48:00:00", "48:00:00"),
    ],
)
def test_a_walltime_is_what_the_batch_system_takes_it_for(class_name: str, written: str, walltime: str) -> None:
    assert walltime == translated(class_name, walltime=written).arguments["walltime"]


def test_a_walltime_without_end_is_told() -> None:
    [said] = translated(walltime="UNLIMITED").lost
    assert "walltime='UNLIMITED'" in said
    assert "'02:00:00'" in said


def test_one_text_is_a_list_of_one() -> None:
    found = translated(job_extra_directives="--qos=high", job_script_prologue="date", job_directives_skip="--mem")
    assert (["--qos=high"], ["date"], ["memory"]) == tuple(
        found.arguments[name] for name in ("extra_directives", "prologue", "skip_directives")
    )
    job = SLURMJob(**SIZE, job_extra_directives="--qos=high", job_directives_skip="--mem")
    assert "#SBATCH --qos=high" in job.job_header
    assert "#SBATCH --mem" not in job.job_header
    assert "#SBATCH -n 1" in job.job_header


def test_a_walltime_may_be_a_length_of_time() -> None:
    hour = datetime.timedelta(hours=1)
    assert hour == translated(walltime=hour).arguments["walltime"]


def test_arguments_override_the_configuration() -> None:
    section = {
        "queue": "slow",
        "account": "bio",
        "name": "mine",
        "job-extra-directives": ["--qos=low"],
        "interface": None,
    }
    found = translate("SLURMCluster", {**SIZE, "queue": "fast"}, section).arguments
    assert ("fast", "bio", "mine", ["--qos=low"]) == (
        found["queue"], found["account"], found["name"], found["extra_directives"],
    )  # fmt: skip


def test_a_name_of_an_option_is_not_looked_for_in_other_options() -> None:
    """-t is in --cpus-per-task as well."""
    found = translated(job_directives_skip=["-t"])
    assert ["walltime"] == found.arguments["skip_directives"]
    assert any("--cpus-per-task=4" in said for said in found.changed)


@pytest.mark.parametrize(
    ("word", "names"),
    [("mem", ["memory"]), ("--mem=", ["memory"]), ("-n", ["ntasks-per-node"]), ("cpus", ["cores"]), ("--nothing", [])],
)
def test_a_word_leaves_out_the_lines_that_have_it(word: str, names: list[str]) -> None:
    assert names == translated(job_directives_skip=[word]).arguments.get("skip_directives", [])


@pytest.mark.parametrize(
    ("kind", "directives", "word"),
    [
        ("SLURM", ["-J farm", "--qos=high"], "-J"),
        ("SLURM", ["--job-name=farm", "--qos=high"], "--job-name"),
        ("PBS", ["-N farm", "-m n"], "-N"),
        ("Moab", ["-N farm", "-m n"], "-N"),
        ("SGE", ["-N 'farm'", "-m n"], "-N"),
        ("LSF", ["-J farm", "-app x"], "-J"),
        ("OAR", ["--name=farm", "-t besteffort"], "-n"),
        ("HTCondor", {"JobBatchName": '"farm"', "MY.Flavour": "1"}, "batch_name"),
        ("HTCondor", ["batch_name = farm", "MY.Flavour = 1"], "batch_name"),
    ],
)
def test_the_name_of_a_job_is_the_cluster_s(kind: str, directives: Any, word: str) -> None:
    """A directive for it is read; who leaves it out keeps it, and is told: corral finds its jobs by it."""
    found = translated(f"{kind}Cluster", job_extra_directives=directives)
    assert "farm" == found.arguments["name"]
    [kept] = found.arguments["extra_directives"]
    assert "farm" not in kept
    named = {"job_name": "farm", "name": "farm"} if kind == "LSF" else {"job_name": "farm"}
    without = translated(f"{kind}Cluster", job_directives_skip=[word], **named)
    assert not {"job-name", "N", "J", "n", "batch_name"} & {*without.arguments.get("skip_directives", ())}
    if word != "--job-name":
        assert "the names of jobs are not left out: corral finds its jobs by them" in without.changed


def test_more_cores_than_threads() -> None:
    found = translated(cores=8, processes=4, job_cpu=16, job_mem="100G").arguments
    assert (16, 4, 2) == (found["cores"], found["processes"], found["threads"])
    assert ["--mem=100G"] == found["extra_directives"]


@pytest.mark.parametrize(
    ("words", "argument", "value"),
    [
        (["--resources GPU=1,MEM=2.5"], "worker_options", {"resources": {"GPU": 1, "MEM": 2.5}}),
        (["--resources", "'GPU=1 A=2'"], "worker_options", {"resources": {"GPU": 1, "A": 2}}),
        (["--preload", "a", "--preload=b"], "worker_options", {"preload": ["a", "b"]}),
        (["--worker-port 10000:10070", "--nanny-port 10070:10100"], "worker_ports", "10000:10100"),
        (["--nthreads", "3"], "threads", 3),
        (["--local-directory", "$TMPDIR"], "local_directory", "$TMPDIR"),
        (["--worker-class", "a.B"], "worker_class", "a.B"),
        (["--no-dashboard"], "worker_options", {"dashboard": False}),
    ],
)
def test_words_of_dask_worker(words: list[str], argument: str, value: object) -> None:
    found = translated(worker_extra_args=words)
    assert value == found.arguments[argument]
    assert () == found.lost


@pytest.mark.parametrize("word", ["--lifetime 25m", "--pid-file x", "--name n"])
def test_words_that_corral_says_itself_are_told(word: str) -> None:
    found = translated(worker_extra_args=[word])
    assert () == found.lost
    assert any(word.split(maxsplit=1)[0] in said for said in found.changed)


@pytest.mark.parametrize(
    "word", ["--memory-limit 1GB", "--nonsense 3", "stray", "--resources x=y", "--preload", '--x "']
)
def test_words_that_nothing_says_are_lost(word: str) -> None:
    assert 1 == len(translated(worker_extra_args=[word]).lost)


def test_the_scheduler_of_two_networks() -> None:
    found = translated(interface="ib0", scheduler_options={"interface": "eth0", "port": 8786}).arguments
    assert ("ib0", "eth0", 8786) == (found["worker_interface"], found["scheduler_interface"], found["scheduler_port"])


def test_a_host_with_its_port() -> None:
    found = translated(scheduler_options={"host": "login1:10042"}).arguments
    assert ({"host": "login1"}, 10042) == (found["scheduler_options"], found["scheduler_port"])


def test_plain_connections_are_an_explicit_wish() -> None:
    assert translated(protocol="tcp://").arguments["security"] is False
    assert "security" not in translated().arguments
    assert any("TLS" in said for said in translated().changed)


def test_gpus_of_dask_cuda() -> None:
    found = translated(worker_command="dask_cuda.cli", job_extra_directives=["--gres=gpu:a100:2"]).arguments
    assert (2, 2) == (found["gpus"], found["processes"])
    assert 1 == len(translated(worker_command="dask_cuda.cli").lost)


def test_python_with_a_variable_is_left_to_a_shell() -> None:
    assert ["sh", "-c", 'exec $MY/python "$@"', "python"] == translated(python="$MY/python").arguments["python"]
    assert ["srun", "python"] == translated(python="srun python").arguments["python"]


def test_processes_are_as_many_as_dask_jobqueue_has() -> None:
    theirs = getattr(local, "nprocesses_nthreads")  # noqa: B009 - not exported
    assert [theirs(cores)[0] for cores in range(1, 130)] == [usual_processes(cores) for cores in range(1, 130)]


def test_what_is_missing_or_unknown_is_lost() -> None:
    found = translate("SLURMCluster", {"gpus_per_node": 1})
    assert ["gpus_per_node=", "cores and memory:"] == [
        " ".join(s.split()[: 1 if "=" in s.split()[0] else 3]) for s in found.lost
    ]


def test_a_class_that_is_none() -> None:
    with pytest.raises(InvalidRequest, match="Did you mean"):
        translate("SlurmCluster", SIZE)


@pytest.mark.parametrize("class_name", KINDS)
def test_every_class_becomes_a_cluster_on_paper(class_name: str) -> None:
    more = {"disk": "1GB"} if class_name == "HTCondorCluster" else {}
    found = translated(class_name, **more)
    assert () == found.lost
    blueprint = draw({"backend": found.backend, **found.arguments})
    assert 4 == blueprint.resources("default").processes
