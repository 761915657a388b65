"""Extra directives with which corral could not follow a job: refused by every backend, before a submission."""

from __future__ import annotations

import re

import pytest

from corral.errors import InvalidRequest
from corral.plugin import discovery
from corral.request.drawing import draw

#: What else a job of an unknown site needs.
OPTIONS = {"oar": {"memory_property": "memcore"}, "sge": {"memory_resource": "h_vmem"}}

#: How each batch system is told what a job is called.
NAMES = {
    "flux": ["--job-name=barn"], "htcondor": ["batch_name = barn", "JobBatchName = barn"], "local": ["--name=barn"],
    "lsf": ["-J barn", "-J barn[1-3]"], "moab": ["-N barn"], "oar": ["-n barn", "--name=barn"], "pbs": ["-N barn"],
    "sge": ["-N barn"], "slurm": ["-J barn", "--job-name=barn", "--job-n barn"], "torque": ["-N barn"],
}  # fmt: skip

#: With these a submission waits, or submits no job, several, or another one; or the script is read otherwise.
OTHERS = {
    "flux": ["--dry-run", "--cc=1-3", "--bcc=1-3", "--wait", "--watch", "--help"],
    "htcondor": ["queue 3", "max_idle = 1", "executable = /bin/true"],
    "local": [],
    "lsf": ["-K", "-I", "-Ip", "-ISs", "-pack file", "-V"],
    "moab": ["-I", "-t 1-3", "-z"],
    "oar": ["--array 3", "-I", "-C 5", "-S", "--help", "--resubmit=5"],
    "pbs": ["-I", "-J 1-3", "-C '#X'", "-z", "-W block=true", "-W umask=077,block=true"],
    "sge": ["-t 1-3", "-sync y", "-now yes", "-verify", "-b y", "-C '#X'", "-@ file"],
    "slurm": ["--array=1-3", "-a 1-3", "--wait", "-W", "--test-only", "--wrap=ls", "--help", "--version", "--wai"],
    "torque": ["-I", "-t 1-3", "-C '#X'", "-z"],
}

#: What looks like one of those.
TAKEN = {
    "slurm": ["--wait-all-nodes=1", "--comment=--wait", "--hold"],
    "sge": ["-sync n", "-hold_jid 5", "-now no"],
    "pbs": ["-W block=false", "-W umask=077", "-h"],
    "lsf": ["-H", "-Zs", "-app Idle"],
    "flux": ["--flags=waitable", "--urgency=3"],
    "oar": ["-t besteffort"],
    "htcondor": ['+ProjectName = "batch_name"'],
}


def script_of(backend: str, *directives: str) -> str:
    """The script of a job."""
    asked = {"backend": backend, "name": "dask", "memory": "1GB", "extra_directives": directives}
    return str(draw(asked | {"backend_options": OPTIONS.get(backend, {})}).script())


def each(table: dict[str, list[str]]) -> list[object]:
    """Of all backends."""
    return [pytest.param(backend, one, id=f"{backend} {one}") for backend in table for one in table[backend]]


def test_every_backend_is_asked() -> None:
    """A new one says how it is told such things."""
    installed = {plugin.name for plugin in discovery.usable("backend")}
    assert installed == {*NAMES} == {*OTHERS}


@pytest.mark.parametrize(("backend", "directive"), each(NAMES))
def test_jobs_keep_their_names(backend: str, directive: str) -> None:
    """It says what the name would be, why that cannot be, and where names are said."""
    with pytest.raises(InvalidRequest) as caught:
        script_of(backend, directive)
    assert re.fullmatch(
        rf"extra_directives: with '{re.escape(directive)}' the job is called '?(barn|otherwise)'?, not 'dask-\w+-1'\. "
        r"corral finds its jobs by their names: .* begin with is the cluster's name=",
        str(caught.value),
    )


@pytest.mark.parametrize("directive", ['+JobBatchName = "barn"', 'MY.JobBatchName = "barn"', "batch_name = my run"])
def test_htcondor_s_other_ways_to_say_it(directive: str) -> None:
    """The attribute itself, and a name of several words, which nobody could look for."""
    with pytest.raises(InvalidRequest, match="corral finds its jobs by"):
        script_of("htcondor", directive)


@pytest.mark.parametrize(("backend", "directive"), each(OTHERS))
def test_jobs_stay_ones_that_can_be_followed(backend: str, directive: str) -> None:
    """It is refused before anything is asked of the batch system."""
    with pytest.raises(InvalidRequest, match="^extra_directives: "):
        script_of(backend, directive)


@pytest.mark.parametrize(("backend", "directive"), each(TAKEN))
def test_what_only_looks_so_is_taken(backend: str, directive: str) -> None:
    """It stands in the script as it was written."""
    assert directive in script_of(backend, directive)
