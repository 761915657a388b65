"""What stands under ``corral:`` in Dask's configuration."""

from __future__ import annotations

from pathlib import Path

import attrs
import dask.config
import pytest

from corral.batch.detection import decide, traces
from corral.errors import InvalidRequest, UnknownBackend
from corral.plugin.values import Detected
from corral.request.drawing import draw
from corral.request.settings import Settings, settings
from corral.request.worker_group import WorkerGroup
from corral.text.docstrings import docstring, documented


def test_the_program_wins_over_the_backend_s_section_over_the_rest() -> None:
    """Dashes and underscores mean the same."""
    configured = {"corral": {"walltime": "03:00:00", "memory": "1GB", "backends": {"local": {"memory": "2GB"}}}}
    with dask.config.set(configured):
        blueprint = draw({"backend": "local", "cores": 1})
        assert blueprint.groups["default"].resources.memory == 2 * 10**9
        assert blueprint.groups["default"].walltime_seconds == 10800
        assert draw({"backend": "local", "memory": "3GB"}).groups["default"].resources.memory == 3 * 10**9


def test_an_unknown_key_is_a_warning_with_the_nearest_one() -> None:
    """A typo must not silently mean the default. Once: who reads it twice looks for a second one."""
    with (
        dask.config.set({"corral": {"wall-time": "1h"}}),
        pytest.warns(UserWarning, match=r"corral\.wall_time.*'walltime'") as told,
    ):
        draw({"backend": "local", "memory": "1GB"})
    assert len(told) == 1


def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has to find the place."""
    file = tmp_path / "corral.yaml"
    file.write_text("corral:\n  walltime: '00:30'\n  commands-per-minute: many\n")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with dask.config.set(dask.config.collect([str(tmp_path)], env={})):
        with pytest.raises(InvalidRequest, match=r"LSF.*\(corral\.walltime in .*corral\.yaml\)"):
            draw({"backend": "local", "memory": "1GB"})
        with pytest.raises(
            InvalidRequest, match=r"'many' is not a number above 0 \(corral\.commands-per-minute in .*yaml"
        ):
            settings()


def test_waits_are_remembered_or_not() -> None:
    """A word that Python takes for true may mean the opposite."""
    assert settings().remember_waits
    with dask.config.set({"corral.remember-waits": False}):
        assert not settings().remember_waits
    for value in ("no", 0, None):
        with (
            dask.config.set({"corral": {"remember-waits": value}}),
            pytest.raises(InvalidRequest, match=r"is neither true nor false \(corral\.remember-waits\)"),
        ):
            settings()


def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables win over files, so they are looked at first."""
    monkeypatch.setenv("DASK_CORRAL__CORES", "0")
    with (
        dask.config.set({"corral": {"cores": 0}}),
        pytest.raises(InvalidRequest, match="in the variable DASK_CORRAL__CORES"),
    ):
        draw({"backend": "local", "memory": "1GB"})


@pytest.mark.parametrize("described", [WorkerGroup, Settings])
def test_every_option_is_documented_once(described: type) -> None:
    """The docstring serves the command line's help and the documentation as well."""
    words = documented(docstring(described.__module__, described.__name__))
    names = [attribute.name for attribute in attrs.fields(described) if attribute.init]
    assert sorted(words) == sorted(names)
    assert all(words.values())


def test_the_batch_system_that_answers_is_chosen() -> None:
    """One is a choice, two are a question."""
    assert decide({"slurm": Detected(version="22.05")}, ["sbatch"])[0] == "slurm"
    with pytest.raises(UnknownBackend, match="slurm, sge"):
        decide({"slurm": Detected(version="22.05"), "sge": Detected(version="8.1.9")}, [])


def test_a_login_node_is_never_taken_over() -> None:
    """Where there are traces of a batch system, the embedded queue is used only if somebody says so."""
    with pytest.raises(UnknownBackend, match="backend='local'"):
        decide({}, ["SLURM_CONF"])
    assert decide({}, [])[0] == "local"


def test_traces_are_commands_variables_and_files(tmp_path: Path) -> None:
    """Whether or not they answer."""
    command = tmp_path / "bsub"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    assert {"bsub", "SGE_ROOT"} <= set(traces({"PATH": str(tmp_path), "SGE_ROOT": "/sge"}))


def test_a_journal_is_kept_or_not() -> None:
    """As with waits, only true and false will do."""
    assert settings().journal
    with dask.config.set({"corral.journal": False}):
        assert not settings().journal
    with (
        dask.config.set({"corral": {"journal": "no"}}),
        pytest.raises(InvalidRequest, match=r"is neither true nor false \(corral\.journal\)"),
    ):
        settings()
