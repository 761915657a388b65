"""Plugins of a user's own, named by their path in Python: in the program, the configuration and on the command line."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import dask.config
import pytest
from attrs import evolve, frozen
from click.testing import CliRunner

from corral import hookimpl
from corral.cli import main
from corral.errors import CorralError, InvalidRequest, PluginError
from corral.plugin import discovery
from corral.plugin.user_plugins import named, path_of
from corral.plugin.values import Job
from corral.remote.spec import take
from corral.request.drawing import draw

LAB = '''
"""What our machine wants."""

from attrs import evolve, frozen
from corral import hookimpl

class Quirks:
    """Adds a directive."""

    @hookimpl(wrapper=True)
    def prepare_job(self, job):
        prepared = yield
        return evolve(prepared, extra_directives=(*prepared.extra_directives, "--comment=quirks"))

class Named(Quirks):
    def __init__(self, name="lab"):
        self.name = name

@frozen
class Frozen(Quirks):
    name: str = "lab"

class NeedsMore(Quirks):
    def __init__(self, name):
        self.name = name

class Fails(Quirks):
    def __init__(self):
        raise OSError("no licence server")

class NoHook:
    pass

def make():
    return NeedsMore("made")

ready = NeedsMore("ready")

@hookimpl
def job_state_changed(job, before, after):
    """A module can be a plugin."""
'''

GIVEN: dict[str, Any] = {"backend": "slurm", "memory": "1GB", "site": None}


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of a laboratory's, as if it were installed."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "my_lab.py").write_text(LAB)
    (folder / "needy_lab.py").write_text("import no_such_library\n")
    (folder / "broken_lab.py").write_text("raise RuntimeError('half of it')\n")
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    with dask.config.set({"corral": {}}):
        yield folder
    for name in {"my_lab", "needy_lab", "broken_lab"} & (set(sys.modules) - before):
        del sys.modules[name]


def names(*plugins: object) -> list[str]:
    """What a cluster has around its backend."""
    own = ("slurm", "corral ")
    manager = draw({**GIVEN, "plugins": plugins}).batch.manager
    return [name for name, _ in manager.list_name_plugin() if not name.startswith(own)]


@pytest.mark.parametrize("path", ["my_lab:Quirks", "my_lab:make", "my_lab:ready", "my_lab", "my_lab:Named"])
def test_a_path_is_a_class_a_function_an_object_or_a_module(path: str) -> None:
    """Classes and functions are called; errors speak of the plugin by its path."""
    assert names(path) == [path]


def test_paths_and_objects_stand_beside_each_other() -> None:
    """In the order in which they are given."""
    quirks = named("my_lab:Quirks").plugin
    assert names("my_lab:Named", quirks) == ["my_lab:Named", "Quirks"]


WRONG = {
    "my_lab:Quirk": "'my_lab:Quirk' leads nowhere: my_lab has no 'Quirk'. Did you mean 'Quirks'?",
    "my_lab:Quirks.other": "'my_lab:Quirks.other' leads nowhere: Quirks has no 'other'.",
    "no_lab:Quirks": "'no_lab:Quirks' cannot be imported: there is no module 'no_lab'. Install it, or name its folder "
    "in PYTHONPATH; the folder that you are in is not looked at",
    "my_lab.Quirks": "'my_lab.Quirks' cannot be imported: there is no module 'my_lab.Quirks'. Did you mean "
    "'my_lab:Quirks'?",
    "needy_lab:Quirks": "'needy_lab:Quirks' cannot be imported: needy_lab needs 'no_such_library', which is not there",
    "broken_lab:Quirks": "'broken_lab:Quirks' cannot be imported: broken_lab raised RuntimeError: half of it",
    "my_lab:Fails": "'my_lab:Fails' cannot be made: Fails() raised OSError: no licence server. It is called without "
    "arguments",
    "my_lab:": "'my_lab:' is not the path of a plugin. Write module:name, as in 'my_lab:Quirks'",
    "": "'' is not the path of a plugin",
    "../my_lab.py": "'../my_lab.py' is not the path of a plugin",
    "my lab:Quirks": "'my lab:Quirks' is not the path of a plugin",
    "os; print(1)": "'os; print(1)' is not the path of a plugin",
}


@pytest.mark.parametrize("path", WRONG)
def test_a_path_that_leads_nowhere_says_where_it_ends(path: str) -> None:
    """And what to write, if that can be guessed."""
    with pytest.raises(InvalidRequest) as caught:
        names(path)
    assert str(caught.value).startswith(f"plugins: {WRONG[path]}")


def test_what_needs_arguments_cannot_be_made() -> None:
    """A function can give them."""
    with pytest.raises(
        InvalidRequest, match=r"NeedsMore\(\) raised TypeError: .*'name'\. It is called without arguments"
    ):
        names("my_lab:NeedsMore")


@pytest.mark.parametrize("path", ["my_lab:NoHook", "os:sep"])
def test_what_is_no_plugin_is_refused_by_its_path(path: str) -> None:
    """It would do nothing."""
    with pytest.raises(PluginError, match=rf"^plugin '{path}': it has no hook"):
        names(path)


def test_one_text_is_no_list() -> None:
    """Its letters are no plugins."""
    with pytest.raises(InvalidRequest, match=r"^plugins: 'my_lab:Quirks' is not a list\. Write \['my_lab:Quirks'\]"):
        draw({**GIVEN, "plugins": "my_lab:Quirks"})


# --- in the configuration and on the command line ---------------------------------------------------------------


def test_those_of_the_configuration_are_there_beside_the_program_s() -> None:
    """Next to the backend; one that both name is there once."""
    with dask.config.set({"corral.plugins": ["my_lab:Quirks", "my_lab:Named"]}):
        assert names() == ["my_lab:Quirks", "my_lab:Named"]
        assert names("my_lab:Named", "my_lab:make") == ["my_lab:Quirks", "my_lab:Named", "my_lab:make"]


def test_a_backend_has_its_own() -> None:
    """As for all else that is configured."""
    with dask.config.set({"corral.plugins": ["my_lab:Quirks"], "corral.backends.slurm.plugins": ["my_lab:Named"]}):
        assert names() == ["my_lab:Named"]


@pytest.mark.parametrize("value", ["my_lab:Quirks", [3], {"my_lab": "Quirks"}])
def test_what_is_configured_must_be_paths(value: object) -> None:
    """The error says where it stands."""
    with dask.config.set({"corral.plugins": value}), pytest.raises(InvalidRequest, match=r"\(corral\.plugins\)$"):
        names()


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of Dask's that names a plugin."""
    file = tmp_path / "dask" / "corral.yaml"
    file.parent.mkdir(mode=0o755)
    file.write_text("corral: {plugins: ['my_lab:Quirks']}\n")
    file.chmod(0o644)
    monkeypatch.setattr(dask.config, "paths", [str(file.parent)])
    dask.config.refresh(paths=[str(file.parent)], env={})
    return file


def test_a_file_of_one_s_own_is_followed(configuration: Path) -> None:
    """It says what code runs, as a program does."""
    assert names() == ["my_lab:Quirks"]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_that_others_can_change_is_refused(configuration: Path, what: str) -> None:
    """Nothing of it is imported."""
    (configuration if what == "file" else configuration.parent).chmod(0o777)
    with pytest.raises(
        InvalidRequest, match=r"^plugins: are code, and are not taken from a file that others can"
    ) as caught:
        names()
    assert str(configuration) in str(caught.value)
    assert "my_lab" not in sys.modules


def test_a_variable_names_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets variables of this process decides anyway."""
    monkeypatch.setenv("DASK_CORRAL__PLUGINS", "['my_lab:Quirks']")
    dask.config.refresh()
    assert names() == ["my_lab:Quirks"]


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["script", "--backend", "slurm", "--memory", "1GB", *arguments])
    return done.output


def test_the_command_line_names_them() -> None:
    """More than one, too; and its errors are sentences."""
    assert "#SBATCH --comment=quirks\n" in printed("--plugin", "my_lab:Quirks", "--plugin", "my_lab")
    assert printed("--plugin", "my_lab:Quirk") == (
        "corral: plugins: 'my_lab:Quirk' leads nowhere: my_lab has no 'Quirk'. Did you mean 'Quirks'?\n"
    )


# --- into the scheduler's job -----------------------------------------------------------------------------------


def follow(*plugins: object) -> list[str]:
    """What a cluster has around its backend in the job of its scheduler."""
    _, order = take({**GIVEN, "plugins": plugins})
    manager = draw(order.arguments, site_values=order.site_values).batch.manager
    return [name for name, _ in manager.list_name_plugin() if not name.startswith(("slurm", "corral "))]


def test_paths_follow_a_scheduler_into_its_job() -> None:
    """Those of the configuration, too, and each once, also where the same file is read there."""
    with dask.config.set({"corral.plugins": ["my_lab:Named"]}):
        assert follow("my_lab:Quirks") == ["my_lab:Named", "my_lab:Quirks"]


def test_objects_follow_where_their_class_makes_the_same() -> None:
    """By the path of their class; modules by their name."""
    lab = named("my_lab").plugin
    found = [getattr(lab, name)() for name in ("Quirks", "Named", "Frozen")]
    assert follow(*found, lab) == ["my_lab:Quirks", "my_lab:Named", "my_lab:Frozen", "my_lab"]


class Local:
    """In a module of this test, which can be imported."""

    def __init__(self, state: list[int] | None = None) -> None:
        self.state = state or []

    @hookimpl(wrapper=True)
    def prepare_job(self, job: Job) -> Generator[None, Job, Job]:
        return evolve((yield), account="physics")


def of_a_function() -> object:
    @frozen
    class Inner(Local):
        pass

    return Inner()


def of_the_program() -> object:
    return type("Mine", (Local,), {"__module__": "__main__"})()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: named("my_lab:ready").plugin, r"NeedsMore\(\) raised TypeError.*Write a function without arguments"),
        (lambda: Local([1]), r"Local\(\) makes another one\. Write a function without arguments that makes this one"),
        (of_a_function, "its class is defined in a function. Define it in a module"),
        (of_the_program, "it is defined in this program, which does not run there. Put it into a module"),
    ],
    ids=["arguments", "state", "function", "program"],
)
def test_objects_that_cannot_follow_say_why(make: Callable[[], object], why: str) -> None:
    """With what to write instead; in this process they are as good as any."""
    with pytest.raises(
        InvalidRequest, match=rf"^plugins: .* cannot follow the scheduler into another process: .*{why}"
    ):
        follow(make())
    assert discovery.load("slurm", plugins=[make()]).has_plugin("slurm")


def test_what_is_the_program_s_own_cannot_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over there, another program has its name."""
    own: Any = types.ModuleType("__main__")
    own.quirks = named("my_lab:Quirks").plugin
    own.job_state_changed = named("my_lab").plugin.job_state_changed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", own)
    for plugin in (own, "__main__", "__main__:quirks"):
        with pytest.raises(InvalidRequest, match="it is defined in this program, which does not run there"):
            follow(plugin)


def test_what_has_a_path_follows_by_it() -> None:
    """Whatever it is made of."""
    assert path_of(named("my_lab:ready")) == "my_lab:ready"
    assert follow("my_lab:make") == ["my_lab:make"]


def test_errors_are_of_corral() -> None:
    """Nothing else comes out, whatever a module does."""
    for path in WRONG:
        with pytest.raises(CorralError):
            named(path)
