"""What people write in the words that they know: understood, or answered with what it is called here."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import os
import resource
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import distributed
import numpy as np
import pytest

from corral import Cluster, WorkerGroup
from corral.allocation.cluster import Allocation
from corral.allocation.ranks import Ranks
from corral.cli.schema import configuration_schema
from corral.cluster.connecting import credentials_of
from corral.cluster.registry import entries
from corral.errors import CorralError, InvalidRequest
from corral.request.arguments import CLUSTER_ARGUMENTS, GROUP_ARGUMENTS
from corral.request.drawing import draw
from corral.request.quantities import parse_duration, parse_walltime
from corral.request.scale import jobs_asked_for
from corral.request.settings import Settings, settings
from corral.request.synonyms import MEANINGS, meaning
from corral.security.addresses import host_of_interface
from corral.text.durations import seconds_in

#: Given what their types do not allow.
_cluster: Any = Cluster
_group: Any = WorkerGroup
KNOWN = (*CLUSTER_ARGUMENTS, *GROUP_ARGUMENTS)


@pytest.fixture(autouse=True)
def nobody_knows_jobqueue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever imports dask-jobqueue, or corral-jobqueue, in this process has made its sections known to Dask."""
    monkeypatch.setattr(dask.config, "defaults", [each for each in dask.config.defaults if "jobqueue" not in each])
    monkeypatch.delitem(dask.config.config, "jobqueue", raising=False)


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("project", "account="),
        ("partition", "queue="),
        ("job_extra_directives", "extra_directives="),
        ("job_extra", "extra_directives="),
        ("job_directives_skip", "skip_directives="),
        ("header_skip", "skip_directives="),
        ("job_script_prologue", "prologue="),
        ("job_script_epilogue", "epilogue="),
        ("env_extra", "env="),
        ("worker_extra_args", "worker_options="),
        ("extra", "worker_options="),
        ("worker_command", "worker_class="),
        ("nanny", "every worker has a nanny"),
        ("protocol", "security=False"),
        ("shared_temp_directory", "shared_directory="),
        ("job_name", "name="),
        ("config_name", "corral.backends"),
        ("ncpus", "cores="),
        ("job_cpu", "cores="),
        ("mem", "memory="),
        ("job_mem", "memory="),
        ("memory_limit", "memory="),
        ("ppn", "cores="),
        ("ntasks", "processes="),
        ("cpus_per_task", "cores="),
        ("cpus-per-task", "cores="),
        ("nthreads", "threads="),
        ("threads_per_worker", "threads="),
        ("resource_spec", "extra directive"),
        ("dashboard_address", "scheduler_options="),
        ("host", "scheduler_interface="),
        ("port", "scheduler_port="),
        ("time", "walltime="),
        ("workers", "n_workers="),
        ("qos", "--qos="),
        ("disk", "backend_options="),
        ("lsf_units", "lsf.conf"),
        ("memory_per_core_property_name", "memory_property"),
        ("minimum", "cluster.adapt"),
        ("Queue", "queue="),
        ("worker-class", "worker_class="),
    ],
)
def test_a_word_of_other_tools_is_answered_by_its_meaning(word: str, ours: str) -> None:
    """Not by the nearest spelling: ncpus is no misspelt gpus."""
    with pytest.raises(InvalidRequest) as refusal:
        _cluster(backend="local", memory="1GB", **{word: 1})
    assert refusal.value.argument == word
    assert ours in str(refusal.value)
    assert "Did you mean" not in str(refusal.value)
    with pytest.raises(InvalidRequest, match="WorkerGroup"):
        _group(memory="1GB", **{word: 1})


def test_all_words_are_answered_at_once() -> None:
    """Who brings a script along mends it in one go."""
    with pytest.raises(InvalidRequest) as refusal:
        _cluster(backend="local", project="bio", cores=4, job_extra=["-x"], memory="1GB", env_extra=["a"], colour=1)
    assert refusal.value.argument == "project"
    words = str(refusal.value)
    assert words.startswith("project: is not an argument of Cluster. It is account= here.")
    for word, ours in (
        ("job_extra", "it is extra_directives= here"),
        ("env_extra", "lines of shell go into prologue="),
    ):
        assert f" Nor is {word}: {ours}" in words
    assert words.endswith(" Nor is colour.")


def test_a_misspelt_word_is_answered_by_its_spelling() -> None:
    """Where no other tool knows it."""
    with pytest.raises(InvalidRequest, match="Did you mean 'walltime'"):
        Cluster(backend="local", memory="1GB", waltime="1h")


def test_what_is_answered_is_there() -> None:
    """Each argument that an answer names is one, and no word with a meaning is an argument itself."""
    named = {name for word in MEANINGS for name in _arguments_in(meaning(word, KNOWN))}
    assert named - {*KNOWN, "n_workers", "groups", "timeout", "minimum", "maximum", "jobs"} == set()
    assert set(MEANINGS) & set(KNOWN) == set()


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({"worker_options": ["--resources", "GPU=1"]}, "{'resources': {'GPU': 1}}"),
        ({"worker_options": {"nprocs": 2}}, "processes="),
        ({"worker_options": {"lifetime_stagger": "4m"}}, "walltime="),
        ({"worker_options": {"lifetime-stagger": "4m"}}, "walltime="),
        ({"extra_directives": {"+Flavour": "x", "request_gpus": 1}}, "['+Flavour = x', 'request_gpus = 1']"),
        ({"extra_directives": "--qos=high"}, "['--qos=high']"),
        ({"prologue": "module load hdf5"}, "['module load hdf5']"),
    ],
)
def test_a_value_as_another_tool_takes_it_is_answered_with_ours(arguments: dict[str, Any], cure: str) -> None:
    """The word is right by then, and what stands behind it is still the old one."""
    with pytest.raises(InvalidRequest) as refusal:
        _group(memory="1GB", **arguments)
    assert refusal.value.argument == next(iter(arguments))
    assert cure in str(refusal.value)


# --- methods and attributes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("scale_up", "cluster.scale(n)"),
        ("scale_down", "cluster.scale(n)"),
        ("start_workers", "cluster.scale(n)"),
        ("stop_workers", "cluster.scale(n)"),
        ("job_header", "cluster.job_script()"),
        ("job_name", "cluster.name"),
        ("worker_spec", "cluster.groups"),
        ("new_spec", "cluster.groups"),
        ("pending_jobs", "cluster.jobs"),
        ("running_jobs", "cluster.jobs"),
        ("finished_jobs", "cluster.failures"),
        ("job_cls", "backend="),
        ("submit_command", "plugins="),
        ("cancel_command", "plugins="),
        ("log_directory", "cluster.logs(job)"),
    ],
)
def test_an_attribute_of_other_clusters_is_answered_with_ours(word: str, ours: str) -> None:
    """By the error that Python has for it, so that whoever asks first whether it is there hears no."""
    with Cluster("local", memory="300MB", interface="lo") as cluster:
        assert not hasattr(cluster, word)
        with pytest.raises(AttributeError) as refusal:
            getattr(cluster, word)
        assert f"'Cluster' object has no attribute '{word}'" in str(refusal.value)
        assert ours in str(refusal.value)


def test_an_attribute_that_nobody_knows_is_not_explained() -> None:
    """It is missing as in any other class."""
    with Cluster("local", memory="300MB", interface="lo") as cluster:
        any_cluster: Any = cluster
        with pytest.raises(AttributeError, match=r"^'Cluster' object has no attribute 'colour'$"):
            _ = any_cluster.colour


def test_methods_answer_in_their_own_words() -> None:
    """`scale`, `adapt` and `logs` were called otherwise, or with more."""
    with Cluster("local", memory="300MB", interface="lo") as cluster:
        any_cluster: Any = cluster
        for call, argument, words in (
            (lambda: any_cluster.scale(n_jobs=3), "n_jobs", "cluster.scale(jobs=…)"),
            (lambda: any_cluster.scale(ncores=3), "ncores", "n (workers), jobs, cores or memory"),
            (lambda: any_cluster.adapt(min_workers=3), "min_workers", "minimum"),
            (lambda: any_cluster.adapt(Adaptive=object), "Adaptive", "corral decides"),
            (lambda: any_cluster.adapt(worker_key=str), "worker_key", "corral decides"),
            (lambda: any_cluster.adapt(maximun=3), "maximun", "Did you mean 'maximum'"),
            (any_cluster.logs, "job", "cluster.get_logs()"),
        ):
            with pytest.raises(InvalidRequest) as refusal:
                call()
            assert refusal.value.argument == argument
            assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("SLURMCluster", "Cluster(backend='slurm')"),
        ("PBSCluster", "Cluster(backend='pbs')"),
        ("SGECluster", "Cluster(backend='sge')"),
        ("LSFCluster", "Cluster(backend='lsf')"),
        ("MoabCluster", "Cluster(backend='moab')"),
        ("OARCluster", "Cluster(backend='oar')"),
        ("HTCondorCluster", "Cluster(backend='htcondor')"),
        ("LocalCluster", "Cluster(backend='local')"),
        ("SLURMRunner", "corral.allocation.ranks"),
    ],
)
def test_a_class_of_dask_jobqueue_is_answered_at_its_import(name: str, ours: str) -> None:
    """The first line that anybody changes."""
    with pytest.raises(ImportError) as refusal:
        exec(f"from corral import {name}")
    assert ours in str(refusal.value)


def test_ranks_answer_in_their_own_words() -> None:
    """Before they look whether anybody has started several."""
    ranks: Any = Ranks
    for word, ours in (("scheduler_options", "dashboard_address="), ("nthread", "Did you mean 'nthreads'")):
        with pytest.raises(InvalidRequest, match="Ranks") as refusal:
            ranks(**{word: {}})
        assert refusal.value.argument == word
        assert ours in str(refusal.value)


# --- directives that are left out -------------------------------------------------------------------------------


def test_a_directive_is_skipped_as_it_is_written() -> None:
    """With its dashes, as dask-jobqueue's users say it."""
    asked = {"backend": "slurm", "memory": "1GB"}
    script = str(draw({**asked, "skip_directives": ["--mem", "-n", "-N", "--cpus-per-task"]}).script())
    for option in ("--mem", "--ntasks-per-node", "--nodes", "--cpus-per-task"):
        assert f"#SBATCH {option}" not in script
    assert "#SBATCH --job-name=" in script
    assert "#PBS -A" not in str(draw({**asked, "backend": "pbs", "account": "bio", "skip_directives": ["-A"]}).script())


def test_what_is_skipped_in_vain_is_told() -> None:
    """A piece of text was enough for dask-jobqueue; here it is a name, and of a directive that there is."""
    asked = {"backend": "slurm", "memory": "1GB"}
    with pytest.warns(UserWarning, match=r"'another-string'.*job-name.*cpus-per-task"):
        draw({**asked, "skip_directives": ["mem", "another-string"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw({**asked, "backend": "lsf", "extra_directives": ["-R span[hosts=1]"], "skip_directives": ["-n", "-R"]})
    # What other jobs of the same configuration would have is not in vain.
    draw({**asked, "skip_directives": ["account", "-p", "gres", "gpus", "memory", "nodes"]})


def _arguments_in(text: str) -> set[str]:
    import re

    return set(re.findall(r"(\w+)=", re.sub(r"\[.*?\]", "", text)))


def test_the_schema_of_the_configuration_knows_threads_and_durations() -> None:
    """Editors complete and check the same words."""
    known = configuration_schema()["properties"]["corral"]["properties"]
    assert known["threads"]["type"] == ["integer", "null"]
    for name in ("death-timeout", "polling-interval", "command-timeout"):
        assert "string" in known[name]["type"]


def test_a_traceback_of_a_wrong_argument_is_short_and_ends_with_the_message() -> None:
    """Two frames: the user's line, and the function that was called; nothing of how it found out."""
    for wrong in (
        lambda: Cluster(ncpus=4),
        lambda: Cluster(backend="local", memory="lots"),
        lambda: Cluster(scheduler="nowhere"),
        lambda: Cluster("nosuch", memory="1GB"),
        lambda: WorkerGroup(cores=0),
        lambda: WorkerGroup(ncpus=4),  # type: ignore[call-arg]
        lambda: Allocation(death_timeout="soon"),
    ):
        with pytest.raises((InvalidRequest, LookupError)) as refusal:
            wrong()
        frames = traceback.extract_tb(refusal.value.__traceback__)[1:]  # this test's own is the user's
        assert [frame.name for frame in frames] == ["<lambda>", "call"]
        assert refusal.value.__cause__ is None
        assert refusal.value.__suppress_context__
        assert "\n" not in str(refusal.value)


def test_the_whole_traceback_is_there_for_whoever_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that the command line heeds, too."""
    monkeypatch.setenv("CORRAL_TRACEBACK", "1")
    with pytest.raises(InvalidRequest) as refusal:
        Cluster(backend="local", memory="lots")
    assert len(traceback.extract_tb(refusal.value.__traceback__)) > 5


JOBQUEUE = """
jobqueue:
  slurm:
    name: dask-worker
    project: bio
    cores: 4
    memory: 8GB
    queue: batch
    walltime: '00:30:00'
    job-extra-directives: [--qos=high]
    worker-extra-args: [--resources, GPU=1]
    log-directory: null
"""

#: Every key that dask-jobqueue's own file has, for the batch system that has it, as its users fill them in.
SECTIONS: dict[str, dict[str, Any]] = {
    "slurm": {
        "name": "dask-worker", "cores": 8, "memory": "16GB", "processes": 2, "python": "/opt/python", "interface": "lo",
        "death-timeout": 60, "local-directory": "$TMPDIR", "shared-temp-directory": "/tmp/shared", "extra": ["--x"],
        "worker-command": "distributed.cli.dask_worker", "worker-extra-args": ["--resources", "GPU=1"],
        "shebang": "#!/usr/bin/env bash", "queue": "batch", "account": "bio", "walltime": "00:30:00",
        "env-extra": ["export A=1"], "job-cpu": 8, "job-mem": "20GB", "job-extra": ["--qos=high"],
        "job-directives-skip": ["--mem"], "log-directory": "/tmp/logs",
        "scheduler-options": {"dashboard_address": ":8787"},
    },
    "pbs": {"resource-spec": "select=1:ncpus=8:mem=16GB", "job-script-prologue": ["module load x"], "cores": 8},
    "sge": {"resource-spec": "h_vmem=4G", "project": "bio", "job-extra-directives": ["-pe smp 2"], "memory": "4GB"},
    "lsf": {
        "ncpus": 4, "mem": 4_000_000_000, "lsf-units": "GB", "use-stdin": True, "walltime": "01:30", "memory": "4GB",
    },
    "oar": {"memory-per-core-property-name": "memcore", "project": "bio", "memory": "4GB"},
    "htcondor": {
        "disk": "4GB", "job-extra-directives": {"+Flavour": "long"}, "submit-command-extra": ["-spool"],
        "cancel-command-extra": ["-forcex"], "shebang": "#!/usr/bin/env condor_submit", "memory": "4GB",
    },
    "moab": {"resource-spec": "nodes=1:ppn=4", "memory": "4GB"},
}  # fmt: skip


def test_a_section_of_dask_jobqueue_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to write, and where; who has written that is left alone."""
    (tmp_path / "jobqueue.yaml").write_text(JOBQUEUE)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        with pytest.warns(UserWarning, match="jobqueue.slurm") as told:
            draw({"backend": "slurm", "memory": "1GB"})
        words = str(told[0].message)
        assert str(tmp_path / "jobqueue.yaml") in words
        ours = words.partition("beside it:\n")[2].partition("\nThese")[0]
        assert "worker-extra-args" in words.partition("These have no plain translation")[2]
        (tmp_path / "corral.yaml").write_text(ours)
        with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
            script = str(draw({"backend": "slurm"}).script())
        for line in ("--account=bio", "--partition=batch", "--qos=high", "--time=0-00:30:00", "--cpus-per-task=4"):
            assert line in script
        draw({"backend": "local", "memory": "1GB"})  # which is another backend


def test_what_is_written_counts_though_dask_jobqueue_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the program has imported dask-jobqueue or not: corral's own default may be another."""
    usual = {"jobqueue": {"slurm": {"walltime": "00:30:00", "death-timeout": 60, "queue": "usual"}}}
    monkeypatch.setattr(dask.config, "defaults", [*dask.config.defaults, usual])
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__QUEUE", "usual")
    (tmp_path / "jobqueue.yaml").write_text("jobqueue: {slurm: {walltime: '00:30:00'}}\n")
    with dask.config.set(copy.deepcopy(usual)), pytest.warns(UserWarning, match="jobqueue.slurm") as told:
        draw({"backend": "slurm", "memory": "1GB"})
    words = str(told[0].message)
    assert ("walltime: 00:30:00" in words, "queue: usual" in words) == (True, True)
    assert "death-timeout" not in words


@pytest.mark.parametrize("backend", SECTIONS)
def test_every_key_of_dask_jobqueue_is_translated_or_explained(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the warning offers is taken as it is; for each key that it leaves, it says what to write."""
    import yaml  # type: ignore[import-untyped]

    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    (tmp_path / "jobqueue.yaml").write_text(yaml.safe_dump({"jobqueue": {backend: SECTIONS[backend]}}))
    written = dask.config.collect([str(tmp_path)], env={})
    with dask.config.set(written), pytest.warns(UserWarning, match=f"jobqueue.{backend}") as told:
        draw({"backend": backend, "memory": "1GB", "skip_directives": ["memory"]})
    words = str(told[0].message)
    offered, _, rest = words.partition("beside it:\n")[2].partition("\nThese")
    ours = yaml.safe_load(offered)["corral"]["backends"][backend]
    for key in SECTIONS[backend]:
        said = f"\n  {key}: " in rest
        assert said or key in KEPT or RENAMED.get(key, key) in ours, key
        if said:
            assert "=" in rest.partition(f"\n  {key}: ")[2].partition("\n")[0]
    (tmp_path / "jobqueue.yaml").unlink()
    (tmp_path / "corral.yaml").write_text(offered)
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        extra = {"skip_directives": ["memory"]} if backend in ("oar", "sge") else {}
        assert str(draw({"backend": backend, "memory": "1GB", **extra}).script())
    if backend in TRANSLATIONS:
        assert TRANSLATIONS[backend].items() <= ours.items()


#: Keys that need no word here.
KEPT = ("name", "worker-command", "use-stdin", "shebang")
#: What other keys are called here.
RENAMED = {
    "shared-temp-directory": "shared-directory", "project": "account", "job-cpu": "cores", "ncpus": "cores",
    "env-extra": "prologue", "job-script-prologue": "prologue", "job-directives-skip": "skip-directives",
    "job-extra": "extra-directives", "job-extra-directives": "extra-directives", "resource-spec": "extra-directives",
    "disk": "backend-options", "memory-per-core-property-name": "backend-options",
}  # fmt: skip
TRANSLATIONS: dict[str, dict[str, Any]] = {
    "slurm": {"cores": 8, "prologue": ["export A=1"], "shared-directory": "/tmp/shared", "queue": "batch"},
    "pbs": {"extra-directives": ["-l select=1:ncpus=8:mem=16GB"], "prologue": ["module load x"]},
    "sge": {"account": "bio", "extra-directives": ["-pe smp 2", "-l h_vmem=4G"]},
    "lsf": {"walltime": "01:30:00", "cores": 4},
    "oar": {"backend-options": {"memory_property": "memcore", "memory_of": "core"}},
    "htcondor": {"backend-options": {"disk": "4GB"}, "extra-directives": ["+Flavour = long"]},
}


def test_variables_of_dask_jobqueue_are_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what a program sets in Dask's configuration; what dask-jobqueue itself puts there is nobody's wish."""
    monkeypatch.setattr(dask.config, "paths", [])
    monkeypatch.setenv("DASK_JOBQUEUE__SLURM__QUEUE", "gpu")
    asked = {"backend": "slurm", "memory": "1GB"}
    with dask.config.set(dask.config.collect([])):
        with pytest.warns(UserWarning, match=r"DASK_JOBQUEUE__SLURM__QUEUE.*") as told:
            draw(asked)
        assert "queue: gpu" in str(told[0].message)
    monkeypatch.delenv("DASK_JOBQUEUE__SLURM__QUEUE")
    defaults = {"jobqueue": {"slurm": {"cores": None, "death-timeout": 60}}}
    monkeypatch.setattr(dask.config, "defaults", [*dask.config.defaults, defaults])
    with dask.config.set(copy.deepcopy(defaults)):
        draw(asked)
        with dask.config.set({"jobqueue.slurm.job-extra-directives": ["--qos=high"]}):
            with pytest.warns(UserWarning, match="this program.*jobqueue.slurm") as told:
                draw(asked)
            assert "--qos=high" in str(told[0].message)
            assert "death-timeout" not in str(told[0].message)


# --- what workers are -------------------------------------------------------------------------------------------


class Own(distributed.Worker):
    """A worker that takes more."""

    def __init__(self, *arguments: Any, flavour: str = "", **more: Any) -> None:
        super().__init__(*arguments, **more)


class Strict(distributed.Worker):
    """A worker of the usual kind."""


@pytest.mark.parametrize(
    ("arguments", "argument", "words"),
    [
        ({"worker_options": {"nthreads": 2}}, "worker_options", "threads="),
        ({"worker_options": {"memory_limit": "1GB"}}, "worker_options", "memory="),
        ({"worker_options": {"name": "w"}}, "worker_options", "called after their jobs"),
        ({"worker_options": {"nanny": False}}, "worker_options", "every worker has a nanny"),
        ({"worker_options": {"local_directory": "/x"}}, "worker_options", "local_directory="),
        ({"worker_options": {"reconect": True}}, "worker_options", "takes no 'reconect'"),
        ({"worker_options": ["--resources"]}, "worker_options", "not a mapping"),
        ({"worker_class": distributed.Client}, "worker_class", "not a distributed.Worker"),
        ({"worker_class": "distributed.Client"}, "worker_class", "not a distributed.Worker"),
        ({"worker_class": "os.path.join"}, "worker_class", "not a distributed.Worker"),
        ({"worker_ports": "10000:10002", "cores": 2, "processes": 2}, "worker_ports", "3 ports, and 2 workers"),
        ({"worker_ports": "10000"}, "worker_ports", "1 port, and 1 worker per node must have 2"),
        ({"death_timeout": 0}, "death_timeout", "less than 1 s"),
        ({"death_timeout": "soon"}, "death_timeout", "not a duration"),
        ({"death_timeout": float("inf")}, "death_timeout", "forever"),
        ({"threads": 0}, "threads", "at least 1"),
        ({"scheduler_options": {"protocl": "tls"}}, "scheduler_options", "Did you mean 'protocol'"),
        ({"scheduler_options": {"protocol": "tcp"}}, "scheduler_options", "security=False"),
        ({"scheduler_options": {"protocol": "tls://"}, "security": False}, "scheduler_options", "security="),
        ({"scheduler_options": {"cores": 4}}, "scheduler_options", "takes no 'cores'"),
    ],
)
def test_what_three_jobs_would_die_of_is_refused_at_once(arguments: dict[str, Any], argument: str, words: str) -> None:
    """Before anything is submitted, by the name of the argument."""
    with pytest.raises(InvalidRequest) as refusal:
        draw({"backend": "local", "memory": "1GB", **arguments})
    assert refusal.value.argument == argument
    assert words in str(refusal.value)


def test_what_workers_do_take_is_taken() -> None:
    """Their options, a class's own, a class that is only where the jobs are, and the scheduler's options."""
    for options in ({"resources": {"A": 1}}, {"preload": [Path("/x.py")]}, {"env": {"A": "1"}}, {"validate": True}):
        WorkerGroup(memory="1GB", worker_options=options)
    WorkerGroup(worker_class=f"{__name__}.Strict", worker_options={"validate": np.bool_(True)})
    WorkerGroup(worker_class=f"{__name__}.Own", worker_options={"flavour": "x", "anything": 1})
    WorkerGroup(worker_class="only.there.Worker", worker_options={"anything": 1})
    for scheduler_options in (
        {"dashboard_address": ":0"},
        {"protocol": "tls"},
        {"protocol": "tls://"},
        {"worker_ttl": "5 minutes"},
    ):
        draw({"backend": "local", "memory": "1GB", "scheduler_options": scheduler_options})


@pytest.mark.parametrize(
    ("arguments", "processes", "threads"),
    [
        ({"cores": 8, "processes": 1, "threads": 2}, 1, 2),
        ({"cores": 8, "threads": 2}, 4, 2),
        ({"cores": 1, "threads": 4}, 1, 4),
        ({"cores": 8, "gpus": 2, "threads": 1}, 2, 1),
        ({"cores": 8, "processes": 2}, 2, 4),
    ],
)
def test_threads_are_said_apart_from_cores(arguments: dict[str, Any], processes: int, threads: int) -> None:
    """Cores may be asked for because memory comes with them."""
    group = WorkerGroup(memory="8GB", **arguments)
    launcher = group.launcher_arguments("cpu", group.resources, None)
    assert {f"--workers={processes}", f"--threads={threads}"} <= set(launcher)
    assert group.worker_resources("cpu", group.resources)["cpu"] == threads
    assert group.resources.cores == arguments["cores"]


# --- numbers, paths and durations -------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [np.int64(1), np.int8(1), np.uint32(1), 4 / 4, np.float64(1.0), decimal.Decimal(1)])
def test_a_whole_number_is_one_whoever_counted(one: Any) -> None:
    """numpy's, and what a division left."""
    group = WorkerGroup(cores=one, memory="1GB", processes=one, nodes=one, gpus=one, threads=one)
    sizes = {"default": group.resources}
    for unit in ("n", "jobs", "cores"):
        assert jobs_asked_for(sizes, {unit: one}, workers={}) == {"default": 1}
    assert jobs_asked_for(sizes, {}, workers={"default": one}) == {"default": 1}
    assert type(group.cores) is int
    assert json.dumps([group.cores, group.processes, group.nodes, group.gpus, group.threads]) == "[1, 1, 1, 1, 1]"


@pytest.mark.parametrize(
    "wrong", [2.5, np.float32(0.5), True, np.bool_(True), "2", float("nan"), float("inf"), -1, [1]]
)
def test_what_is_no_whole_number_is_refused(wrong: Any) -> None:
    """Rounding in silence would ask for another size than was meant."""
    with pytest.raises(InvalidRequest, match="n: .* is not a whole number"):
        jobs_asked_for({"default": WorkerGroup().resources}, {"n": wrong}, workers={})
    with pytest.raises(InvalidRequest, match="cores: .* is not a whole number"):
        WorkerGroup(cores=wrong)


def test_workers_is_another_word_for_n() -> None:
    """Unless a group is called so."""
    two = {"default": WorkerGroup(cores=2, processes=2).resources}
    assert jobs_asked_for(two, {}, workers={"workers": 4}) == {"default": 2}
    assert jobs_asked_for(two, {"n": None}, workers={"n_workers": 4}) == {"default": 2}
    named = {"workers": WorkerGroup(cores=2, processes=2).resources, "b": WorkerGroup().resources}
    assert jobs_asked_for(named, {}, workers={"workers": 4}) == {"workers": 2}
    with pytest.raises(InvalidRequest, match="the same"):
        jobs_asked_for(two, {"n": 1}, workers={"workers": 4})


@pytest.mark.parametrize("nothing", [0, 0.0, "0", "0GB", np.int64(0), np.float64(0)])
def test_no_memory_is_answered_with_what_to_do(nothing: Any) -> None:
    """0 means all of a node to some, and no limit to others."""
    with pytest.raises(InvalidRequest, match=r"memory: .* is no memory at all; leave memory= out"):
        WorkerGroup(memory=nothing)


def test_numpy_counts_bytes_and_hours_as_well() -> None:
    """In every unit that is asked for."""
    assert _group(memory=np.int64(2**30)).memory == 2**30
    drawn = draw({
        "backend": "local", "memory": np.float64(1e9), "maximum_core_hours": np.int64(3), "parked_results": np.int64(0),
        "scheduler_port": np.int64(0), "maximum_gpu_hours": np.float32(2),
    })  # fmt: skip
    assert (drawn.maximum_core_hours, drawn.parked_results, drawn.scheduler_port) == (3, 0, 0)
    assert drawn.maximum_gpu_hours == 2


def test_every_path_may_be_a_path(tmp_path: Path) -> None:
    """Of pathlib, as everywhere in Python."""
    group = WorkerGroup(conda_env=tmp_path, python=tmp_path / "python", local_directory=tmp_path)
    assert (group.conda_env, group.python, group.local_directory) == (
        *[str(tmp_path)],
        f"{tmp_path}/python",
        str(tmp_path),
    )
    drawn = draw({
        "backend": "local", "memory": "1GB", "shared_directory": tmp_path, "log_directory": tmp_path / "logs",
        "local_directory": tmp_path, "backend_options": {"directory": tmp_path / "queue"},
    })  # fmt: skip
    assert f"--local-directory={tmp_path}" in str(drawn.script())
    assert drawn.backend_options == {"directory": f"{tmp_path}/queue"}


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("60s", 60),
        ("60 s", 60),
        ("1h30m", 5400),
        ("1h 30min", 5400),
        ("30 min", 1800),
        ("1.5h", 5400),
        (".5h", 1800),
        ("90 Minutes", 5400),
        ("1 hour, 30 minutes", 5400),
        ("2-12", 216_000),  # Slurm: days and hours
        ("2-12:30", 217_800),
        ("2-12:30:15", 217_815),
        ("1-00:00:00", 86_400),
        ("26:00:00", 93_600),  # PBS, Grid Engine: hours
        ("1:02:03", 3723),
        ("1:02:03:04", 93_784),  # TORQUE, Moab: days
        ("1 day, 2:03:04", 93_784),  # str(timedelta)
        ("0:00:01.500000", 1.5),
        ("2d", 172_800),  # Flux
        ("1w", 604_800),
        ("250ms", 0.25),
        (90, 90),
        (90.5, 90.5),
        (np.int64(90), 90),
        (np.float32(1.5), 1.5),
        (np.timedelta64(2, "m"), 120),
        (np.timedelta64(1500, "ms"), 1.5),
        (datetime.timedelta(minutes=2), 120),
        (decimal.Decimal("1.5"), 1.5),
    ],
)
def test_durations_are_read_as_they_are_written(written: Any, seconds: float) -> None:
    """The same wherever one is asked for; whole jobs' are rounded up."""
    assert seconds_in(written) == seconds
    assert parse_duration("interval", written) == seconds
    assert parse_walltime("walltime", written) == -(-seconds // 1)
    if seconds >= 1:
        assert WorkerGroup(death_timeout=written).death_seconds == seconds
        assert Settings(polling_interval=written, command_timeout=written).polling_interval == seconds
        with dask.config.set({"corral.polling-interval": written}):
            assert settings().polling_interval == seconds
    if 60 <= seconds:
        group = WorkerGroup(walltime=written, task_time=1, drain_time=np.float64(2.5))
        assert (group.walltime_seconds, group.drain_seconds) == (-(-seconds // 1), 2.5)
        json.dumps([group.walltime, group.task_time, group.drain_time, group.death_timeout])


@pytest.mark.parametrize(
    "written",
    [
        "30:00",  # half an hour to Slurm, thirty hours to LSF
        "1:75:00",
        "1-25",
        "1h30",
        "1 fortnight",
        "",
        "soon",
        "infinite",
        "UNLIMITED",
        "-5s",
        -1,
        float("nan"),
        float("inf"),
        True,
        np.bool_(True),
        np.timedelta64("NaT", "s"),
        None,
        [],
    ],
)
def test_what_is_no_duration_is_refused(written: Any) -> None:
    """With the text, and with both readings where there are two."""
    with pytest.raises(ValueError, match=r"."):
        seconds_in(written)
    with pytest.raises(InvalidRequest, match="death_timeout"):
        WorkerGroup(death_timeout=written)
    with pytest.raises(InvalidRequest, match="polling_interval"):
        Settings(polling_interval=written)


def test_a_bare_text_is_seconds_but_for_walltimes() -> None:
    """30 is minutes in scripts for Slurm and LSF, and seconds for Grid Engine."""
    assert WorkerGroup(death_timeout="30").death_seconds == 30
    with pytest.raises(InvalidRequest, match="walltime: '30' has no unit"):
        WorkerGroup(walltime="30")


# --- hosts ------------------------------------------------------------------------------------------------------


def test_an_interface_without_an_ipv4_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the argument, and with the interfaces that have one."""
    import socket
    from types import SimpleNamespace

    import psutil

    six = SimpleNamespace(family=socket.AddressFamily.AF_INET6, address="fe80::1%ib0")
    packet = SimpleNamespace(family=socket.AddressFamily.AF_PACKET, address="00:00")
    real = psutil.net_if_addrs()
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {**real, "ib0": [six, packet], "dummy0": [packet]})
    with pytest.raises(InvalidRequest, match="interface: 'ib0' has IPv6 addresses alone.*lo"):
        draw({"backend": "local", "memory": "1GB", "interface": "ib0"})
    with pytest.raises(InvalidRequest, match="scheduler_interface: 'dummy0' has no address"):
        draw({"backend": "local", "memory": "1GB", "scheduler_interface": "dummy0"})
    with pytest.raises(InvalidRequest, match="interface: 3 is not the name"):
        host_of_interface("interface", 3)  # type: ignore[arg-type]


def test_a_limit_on_processes_is_named(tmp_path: Path) -> None:
    """``ulimit -u`` leaves no thread for the scheduler's event loop: the cure is another place for it."""
    os.chmod(tmp_path, 0o777)
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            # The superuser has no limit.
            if os.geteuid() == 0:
                os.setresuid(61234, 61234, 61234)
                if not all(os.access(str(each.__file__), os.R_OK) for each in (os, pytest)):
                    os.write(writing, b"skip")
                    os._exit(0)
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
            Cluster(backend="local", memory="1GB", shared_directory=tmp_path, security=False)
        except BaseException as error:
            os.write(writing, f"{isinstance(error, CorralError)} {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = told.read()
    os.waitpid(child, 0)
    if said == "skip":
        pytest.skip("another user cannot read what is installed here")
    assert said.startswith("True")
    assert "than 1 (ulimit -u)" in said
    assert "scheduler='job'" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"silence_logs": "loud"}, "silence_logs: 'loud' is not a level of logging"),
        ({"death_timeout": -1}, "death_timeout: -1 is less than 0;"),
        ({"death_timeout": float("inf")}, "death_timeout: inf is forever"),
        ({"modules": "gcc"}, r"modules: 'gcc' is not a list of strings; write modules=\['gcc'\]"),
        ({"extra_directives": ["#SBATCH --qos=x"]}, "extra_directives: '#SBATCH --qos=x' has a prefix, .* '--qos=x'"),
        ({"interface": "nosuch0"}, "^interface: this host has no network interface 'nosuch0'"),
        ({"scheduler_interface": "nosuch0"}, "^scheduler_interface: this host has no network interface"),
        ({"colour": "red"}, r"colour: is not an argument of Cluster. Its arguments are in help\(corral.Cluster\)"),
    ],
)
def test_an_error_of_an_argument_names_it_as_it_was_written(arguments: dict[str, Any], words: str) -> None:
    """And says what to write instead."""
    with pytest.raises(InvalidRequest, match=words):
        _cluster(**{"backend": "local", "memory": "1GB", **arguments})


def test_words_of_scale_and_adapt_are_known_by_meaning(tmp_path: Path) -> None:
    """Also of a cluster that is closed: then everything says so."""
    options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "1GB"}
    with _cluster(backend="local", memory="300MB", interface="lo", backend_options=options) as c:
        with pytest.raises(InvalidRequest, match=r"ncpus: is not a size of a cluster, .*memory.*cores="):
            c.scale(ncpus=4)
        with pytest.raises(InvalidRequest, match=r"worker: is not a size .* Did you mean 'workers'"):
            c.scale(worker=4)
        with pytest.raises(InvalidRequest, match=r"max_workers: is not an argument of adapt\. .*maximum="):
            c.adapt(max_workers=4)
        with pytest.raises(InvalidRequest, match=r"minimun: .* Did you mean 'minimum'"):
            c.adapt(minimun=4)
    for closed in (c.wait_for_workers, c.adapt, lambda: c.scale(1)):
        with pytest.raises(CorralError, match="is closed"):
            closed()


# --- subclasses -------------------------------------------------------------------------------------------------


class Centre(Cluster):
    """How a centre wraps clusters: words of its own, in its own order."""

    def __init__(self, project: str, size: int = 1, *, kind: str = "small", **more: Any) -> None:
        super().__init__("local", account=project, cores=size, memory="300MB", interface="lo", **more)
        self.kind = kind


def test_a_subclass_has_arguments_of_its_own() -> None:
    """Positional ones, too; what is made is chosen for `Cluster` itself alone."""
    with Centre("bio", 2, kind="large") as cluster:
        assert (cluster.kind, cluster.groups["default"].account, cluster.groups["default"].cores) == ("large", "bio", 2)
    with pytest.raises(InvalidRequest, match="ncpus: is not an argument of Cluster"):
        Centre("bio", ncpus=3)


# --- other programs -----------------------------------------------------------------------------------------------


def test_an_address_alone_is_answered_with_what_to_write() -> None:
    """Dask says that a context is None; who has the cluster in this process is told how to give its credentials."""
    with Cluster("local", memory="300MB", interface="lo") as cluster:
        with pytest.raises(InvalidRequest, match=r"Client\(cluster\).*security=cluster\.security") as refusal:
            distributed.Client(cluster.scheduler_address, timeout=5)
        assert cluster.name in str(refusal.value)
        with distributed.Client(cluster.scheduler_address, security=cluster.security, timeout=30) as client:
            assert client.scheduler_info()["id"]
    with Cluster("local", memory="300MB", interface="lo", security=False) as cluster:
        distributed.Client(cluster.scheduler_address, timeout=30).close()


def test_another_program_finds_the_credentials_if_it_is_told_to(tmp_path: Path) -> None:
    """By Dask's own setting, from an address alone: as Prefect and notebooks' extensions connect."""
    code = (
        "import sys; from dask.distributed import Client\n"
        "with Client(sys.argv[1], timeout=30) as client: print(len(client.scheduler_info()['id']) > 5)"
    )
    with Cluster("local", memory="300MB", interface="lo") as cluster:
        _eventually(lambda: any(entry.credentials for entry in entries()))
        environment = {**os.environ, "DASK_DISTRIBUTED__CLIENT__SECURITY_LOADER": "corral.credentials_of"}
        command = [sys.executable, "-c", code, cluster.scheduler_address]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
        assert credentials_of({"address": cluster.scheduler_address}) is cluster.security
        assert credentials_of({"address": "tls://192.0.2.1:1"}) is None


def _eventually(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Poll what tells no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- the command line -------------------------------------------------------------------------------------------


def test_python_m_corral_is_the_command_line() -> None:
    """Where the script is not on PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "corral", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "corral" in done.stdout
