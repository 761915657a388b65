"""A plugin that does not keep the contract is refused, with its name, its distribution and the cure."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from corral import JobState, hookimpl
from corral.errors import InvalidRequest, PluginError
from corral.plugin import discovery
from corral.plugin.validation import HOOKS
from corral.plugin.values import Job, JobId, JobStatus

Install = Callable[..., None]

BROKEN = {
    "misspelt": ("there is no hook 'pol_status'. Did you mean 'poll_status'?", "The hooks are prepare_job,"),
    "missing_argument": ("hook 'submit' lacks its argument 'count'", "Write submit(script, count)"),
    "extra_argument": ("hook 'cancel' has an argument 'jobids' that does not exist", "Did you mean 'job_ids'?"),
    "default_argument": ("hook 'submit' gives its argument 'count' a default", "Write submit(script, count)"),
    "twice": ("hook 'detect' is answered by two methods", "Keep one"),
    "without_yield": ("hook 'find_jobs' is a conversation without a yield", "Yield a Command"),
    "with_yield": ("hook 'launch_command' yields, but is no conversation", "Return the answer"),
    "async": ("hook 'detect' is async", "yield Commands from a plain generator"),
    "missing_hook": (
        "nothing answers 'cancel', 'find_jobs', 'launch_command', 'parse_resources', 'poll_status', "
        "'read_allocation', 'submit'",
        "Add a method for each",
    ),
    "unmarked": ("method 'cancel' is not marked as a hook", "Decorate it with @hookimpl"),
    "import_error": (
        "ModuleNotFoundError: No module named 'no_such_library_of_the_batch_system'",
        "Reinstall corral-import-error",
    ),
    "no_factory": ("'corral_no_factory' is a module", "Name a class, or a function"),
    "factory_fails": ("called with no options, raised OSError: no route to localhost", "Check the options"),
    "old_contract": ("version 1.0 speaks contract v0, and corral", "Upgrade corral-old-contract"),
    "new_contract": ("version 1.0 speaks contract v2, and corral", "Upgrade corral"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_backend_is_refused(install: Install, name: str) -> None:
    """The error says who, from where, what is wrong, and what to do."""
    install("acme", f"broken/{name}")
    problem, cure = BROKEN[name]
    with pytest.raises(PluginError) as caught:
        discovery.load(name)
    assert (name, f"corral-{name.replace('_', '-')}") == (caught.value.plugin, caught.value.distribution)
    assert problem in str(caught.value)
    assert cure in str(caught.value).partition(problem)[2]
    assert f"{name!r} (distribution {caught.value.distribution})" in str(caught.value)


def test_the_original_error_is_the_cause(install: Install) -> None:
    """Whoever repairs a plugin needs the traceback."""
    install("broken/import_error")
    with pytest.raises(PluginError) as caught:
        discovery.load("import_error")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_two_distributions_with_one_name(install: Install) -> None:
    """Neither is guessed: the error names both."""
    install("acme", "broken/same_name/one", "broken/same_name/two")
    with pytest.raises(PluginError, match=r"corral-same-one 1\.0 and corral-same-two 1\.0\. Uninstall all but one"):
        discovery.load("same")


def test_a_site_that_replaces_is_refused(install: Install) -> None:
    """A site's answer instead of the backend's would be a silent surprise."""
    install("acme", "broken/replacing_site")
    expected = r"'replacing_site' \(distribution corral-replacing-site\): hook 'prepare_job' replaces .*wrapper=True"
    with pytest.raises(PluginError, match=expected):
        discovery.load("acme", site="replacing_site")


def test_a_wrapper_that_forgets_to_return_is_named(install: Install) -> None:
    """None where a Job is expected goes no further."""
    install("acme", "broken/forgetful_site")
    hook = discovery.load("acme", site="forgetful_site").hook
    with pytest.raises(PluginError, match="forgetful_site.*hook 'prepare_job' answered None where a Job is expected"):
        hook.prepare_job(job=Job(name="a"))


def test_a_backend_that_forgets_to_return_is_not_hidden_by_a_default(install: Install) -> None:
    """The core's default is not asked once the backend has an answer of its own."""
    install("acme", "broken/forgetful")
    hook = discovery.load("forgetful").hook
    with pytest.raises(PluginError, match="'forgetful': hook 'prepare_job' answered None where a Job is expected"):
        hook.prepare_job(job=Job(name="a"))


def test_an_option_that_does_not_exist(install: Install) -> None:
    """The error names the argument, the option, and those that there are."""
    install("acme")
    with pytest.raises(InvalidRequest) as caught:
        discovery.load("acme", options={"batchsize": 10})
    assert caught.value.argument == "backend_options"
    assert str(caught.value) == (
        "backend_options: backend 'acme' has no option 'batchsize'. Options: batch_size. Did you mean 'batch_size'?"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arrays": "no"}, "'no' as its option 'arrays', which is True or False"),
        ({"max_array_size": 0}, "0 as its option 'max_array_size', which is a whole number, at least 1"),
        (
            {"memory_option": "pmem"},
            "'pmem' as its option 'memory_option', which is 'mem' or 'mem-per-cpu'. Did you mean 'mem'?",
        ),
    ],
)
def test_a_value_that_an_option_does_not_take(options: dict[str, object], words: str) -> None:
    """It is the user's, not the plugin's fault: said in one sentence, with what is taken."""
    with pytest.raises(InvalidRequest) as caught:
        discovery.load("slurm", options=options)
    assert str(caught.value) == f"backend_options: backend 'slurm' does not take {words}"


def test_an_option_of_a_site_that_does_not_exist(install: Install) -> None:
    """The same for sites."""
    install("acme", "site")
    with pytest.raises(
        InvalidRequest, match=r"^site_options: site 'barn' has no option 'project'\. Options: account\."
    ):
        discovery.load(site="barn", site_options={"project": "x"})


def test_an_option_that_must_be_given(install: Install) -> None:
    """A factory may have arguments without a default; the error names the first that is missing."""
    install("needs_options")
    with pytest.raises(
        InvalidRequest, match=r"^backend_options: backend 'picky' cannot do without the option 'server'"
    ):
        discovery.load("picky")


def test_what_a_plugin_says_of_its_options_is_passed_on(install: Install) -> None:
    """It knows best; its own error is not wrapped into another."""
    install("needs_options")
    with pytest.raises(InvalidRequest, match=r"^backend_options: there is no server 'pbs9'; pbs1 and pbs2 are$"):
        discovery.load("picky", options={"server": "pbs9"})


class Listens:
    """Hears of changes: any plugin may."""

    def __init__(self) -> None:
        self.heard: list[JobId] = []

    @hookimpl
    def job_state_changed(self, job: JobId, before: JobStatus | None, after: JobStatus) -> None:
        self.heard.append(job)


class HasNoHook:
    def submit(self, script: object, count: int) -> None: ...


class WrapsWithoutYield:
    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Job:
        return job


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        (Listens, "this is the class. Pass an object of it: Listens()"),
        (HasNoHook(), "it has no hook. Decorate its methods"),
        (WrapsWithoutYield(), "hook 'prepare_job' is a wrapper without a yield"),
    ],
)
def test_a_users_broken_plugin_is_refused(install: Install, plugin: object, problem: str) -> None:
    """What a notebook passes is held to the same rules, and named by its class."""
    install("acme")
    with pytest.raises(PluginError) as caught:
        discovery.load("acme", plugins=[plugin])
    assert problem in str(caught.value)
    assert caught.value.plugin in problem + type(plugin).__name__


def test_the_same_object_twice_is_refused(install: Install) -> None:
    """It would hear everything once only, or twice: nobody could tell."""
    install("acme")
    listener = Listens()
    with pytest.raises(PluginError, match=r"plugin '.*Listens': the same object was given twice"):
        discovery.load("acme", plugins=[listener, listener])


def test_two_objects_of_one_class_both_listen(install: Install) -> None:
    """Each has a name of its own."""
    install("acme")
    listeners = [Listens(), Listens()]
    manager = discovery.load("acme", plugins=listeners)
    manager.hook.job_state_changed(job=JobId("1"), before=None, after=JobStatus(state=JobState.RUNNING))
    assert [[JobId("1")], [JobId("1")]] == [listener.heard for listener in listeners]
    assert {"Listens", "Listens (2)"} <= {name for name, _ in manager.list_name_plugin()}


def test_every_rule_is_about_a_hook_that_exists() -> None:
    """The specification that the rules use is read from hookspecs.py."""
    assert {"submit", "job_state_changed"} <= set(HOOKS)
    assert [name for name, spec in HOOKS.items() if not spec.is_single] == ["job_state_changed", "check_health"]
