"""Neither a site, a user's plugin nor a directive can change the name of a job: corral finds its jobs by it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Generator
from typing import Any

import pytest
from attrs import evolve

from corral import Cluster, hookimpl
from corral.errors import InvalidRequest, PluginError
from corral.plugin import Directive, Resources, discovery
from corral.plugin.validation import NamedPlugin, assemble
from corral.plugin.values import Job, Script

JOB = Job(
    name="dask-1", command=("true",), resources=Resources(memory=2**30), walltime=3600, log_directory="/scratch/logs"
)

CHANGES = "changes the job's name from 'dask-1' to"

Wrapper = Generator[None, Any, Any]


class Renames:
    """As people do who want to see whose jobs these are."""

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Wrapper:
        prepared = yield
        return evolve(prepared, name=f"barn-{prepared.name}")


class RenamesByDirective:
    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Wrapper:
        prepared = yield
        return evolve(prepared, extra_directives=(*prepared.extra_directives, "--job-name=barn"))


class LeavesTheNameOut:
    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Wrapper:
        prepared = yield
        return evolve(prepared, skip=prepared.skip | {"job-name"})


class RenamesTheScript:
    @hookimpl(wrapper=True)
    def render_script(self, job: Job) -> Wrapper:
        script = yield
        return evolve(script, name="barn")


class RenamesInTheScript:
    @hookimpl(wrapper=True)
    def render_script(self, job: Job) -> Wrapper:
        script: Script = yield
        return evolve(script, directives=(*script.directives, Directive(name="mine", text="#SBATCH -J barn")))


class Completes:
    """What a site is there for."""

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Wrapper:
        prepared = yield
        return evolve(prepared, account="physics", extra_directives=("--qos=long",), skip=prepared.skip | {"mem"})

    @hookimpl(wrapper=True)
    def render_script(self, job: Job) -> Wrapper:
        script: Script = yield
        return evolve(script, body=script.body + "\n# barn")


def submitted(*plugins: object, job: Job = JOB) -> str:
    """The script that would be submitted."""
    hook = discovery.load("slurm", plugins=plugins).hook
    return str(hook.render_script(job=hook.prepare_job(job=job)))


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        (Renames(), f"hook 'prepare_job' {CHANGES} 'barn-dask-1'"),
        (RenamesByDirective(), f"hook 'prepare_job' {CHANGES} 'barn', in its directives"),
        (LeavesTheNameOut(), "hook 'prepare_job' leaves out the job's name 'dask-1'"),
        (RenamesTheScript(), f"hook 'render_script' {CHANGES} 'barn'"),
        (
            RenamesInTheScript(),
            "hook 'render_script' changes the job's name from 'dask-1' to 'barn', in its directives",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_a_plugin_that_changes_the_name_is_refused(plugin: object, problem: str) -> None:
    """It says who does it, what, why that cannot be, and the cure; whoever else stands around is not blamed."""
    with pytest.raises(PluginError) as caught:
        submitted(Completes(), plugin)
    assert str(caught.value) == (
        f"plugin {type(plugin).__name__!r}: {problem}. corral finds its jobs by their names: when a submission was not "
        "answered, and to clean up. Leave the name as it is; users choose it with Cluster(name=…)"
    )


def test_a_plugin_that_completes_may_do_so() -> None:
    """The name is there, and what was added, too."""
    script = submitted(Completes())
    assert "#SBATCH --job-name=dask-1\n" in script
    assert "#SBATCH --qos=long\n" in script


def test_the_distribution_of_a_site_is_named(install: Callable[..., None]) -> None:
    """As in all that is said of plugins."""
    install("acme", "broken/renaming_site")
    hook = discovery.load("acme", site="renaming_site").hook
    with pytest.raises(
        PluginError, match=r"^plugin 'renaming_site' \(distribution corral-renaming-site\): hook 'prepare_job' changes"
    ):
        hook.prepare_job(job=JOB)


def test_a_backend_may_write_names_as_it_must(install: Callable[..., None]) -> None:
    """One that shortens them is right: the name that it gives is the job's."""
    install("acme")
    acme = importlib.import_module("corral_acme")

    class Short(acme.Acme):  # type: ignore[misc,name-defined]
        @hookimpl
        def prepare_job(self, job: Job) -> Job:
            return evolve(job, name=job.name[:4])

    hook = assemble(NamedPlugin(name="short", plugin=Short()), [NamedPlugin.of_user(Completes())]).hook
    assert hook.prepare_job(job=JOB).name == "dask"


def test_a_script_that_cannot_be_read_is_someone_else_s_problem() -> None:
    """A directive that the backend refuses is refused by it, in its own words."""

    class Asks:
        @hookimpl(wrapper=True)
        def prepare_job(self, job: Job) -> Wrapper:
            prepared = yield
            return evolve(prepared, extra_directives=("--array=1-3",))

    with pytest.raises(InvalidRequest, match="extra_directives"):
        submitted(Asks())


@pytest.mark.parametrize(("backend", "directive"), [("slurm", "-J barn"), ("local", "--name=barn")])
def test_nor_does_a_directive_of_the_user_s(backend: str, directive: str) -> None:
    """What renames is told, before anything is submitted; others of the same request are not blamed."""
    asked = [directive, "--comment=why"]
    with pytest.raises(InvalidRequest) as caught:
        Cluster(
            backend=backend,
            name="dask",
            memory="1GB",
            extra_directives=asked,
        )
    assert re.sub(r"dask-\w{8}-1", "dask-1", str(caught.value)) == (
        f"extra_directives: with {directive!r} the job is called 'barn', not 'dask-1'. corral finds its jobs by their "
        "names: when a submission was not answered, and to clean up. Leave that out; what the names of all jobs begin "
        "with is the cluster's name="
    )


def test_a_name_is_not_left_out() -> None:
    """The same with ``skip_directives``."""
    with pytest.raises(
        InvalidRequest, match=r"^skip_directives: the job's name, 'dask-\w+-1', is needed\. corral finds"
    ):
        Cluster(backend="slurm", name="dask", memory="1GB", skip_directives=["job-name"])
