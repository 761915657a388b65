"""``corral sites``, and what other commands say of the site."""

from __future__ import annotations

import json
from collections.abc import Callable

import dask.config
import pytest
from click.testing import CliRunner

from corral.cli import main

Install = Callable[..., None]


def said(*words: str) -> str:
    """What a command prints, on standard output and standard error."""
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("meadow")
def test_what_is_installed_and_which_is_used(install_site: Install) -> None:
    """One line each, and why it is this one; those that cannot be used, too."""
    install_site("bog", "class Site: facts = 'wet'")
    text = said("sites")
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line}
    assert lines["meadow*"] == (
        "meadow* The Meadow corral-meadow 1.0 local MEADOW_HOST=meadow7 publications, not tried there (2026-11-29)"
    )
    assert "bog    " in text
    assert lines["bog"].startswith("bog (corral-bog): ")
    assert lines["bog"].endswith("has facts that are a str. Write facts = SiteFacts(title=…)")
    assert "* meadow is used: MEADOW_HOST=meadow7. site=None turns it off." in text


@pytest.mark.usefixtures("meadow")
@pytest.mark.parametrize(
    ("configured", "words"),
    [
        ({"site": "none"}, "No site is used: the configuration says so."),
        (
            {"backend": "slurm"},
            "No site is used: the configured backend 'slurm' is not that of 'meadow' (corral-meadow",
        ),
        ({"site": "meadow"}, "meadow is used: the configuration says so."),
    ],
)
def test_why_it_is_this_one_or_none(configured: dict[str, str], words: str) -> None:
    """The configuration may say."""
    with dask.config.set({"corral": configured}):
        assert words in said("sites")


def test_two_that_match_and_none(
    install_site: Install, meadow_code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """The list is what helps then, so it is no error here."""
    assert "No site is" in said("sites")
    install_site("meadow", meadow_code)
    monkeypatch.setattr("socket.gethostname", lambda: "hill3")
    assert "No site is used: none that is installed knows this host (hill3" in said("sites")
    install_site("pasture", meadow_code)
    monkeypatch.setenv("MEADOW_HOST", "m")
    assert (
        "No site is used: this host belongs to several sites: 'meadow' (corral-meadow 1.0: MEADOW_HOST=m) and"
        in said("sites")
    )


@pytest.mark.usefixtures("meadow")
def test_what_one_site_says() -> None:
    """All that a user needs before the first cluster."""
    text = said("sites", "meadow")
    for line in (
        "The Meadow: site='meadow', from corral-meadow 1.0",
        "batch system: local",
        "this host: MEADOW_HOST=meadow7",
        "known from: put together from what is published, and not tried there, 2026-11-29",
        "  the shepherd",
        "  account=: `flock` lists your accounts",
        "  gate: which gate is open (one of north, south)",
        "  memory='2GB'",
        "  meadow.large: cores=2, memory='3GB', walltime='30 min'",
    ):
        assert line in text.splitlines()


def test_the_nodes_of_a_site(install_site: Install) -> None:
    """A table, in the order in which they are tried."""
    install_site(
        "butte",
        """
        class Site(DescribedSite):
            description = SiteDescription(
                facts=SiteFacts(title="The Butte"),
                backend="slurm",
                backend_options={"arrays": False},
                nodes=(
                    NodeType(name="small", queue="s", cores=4, memory="8GB", max_walltime="2h", max_nodes=3),
                    NodeType(name="big", cores=128, gpus=4, whole=True, named_only=True, min_nodes=2),
                ),
                advice=("Do not feed the marmots.",),
            )
        """,
    )
    lines = [" ".join(line.split()) for line in said("sites", "butte").splitlines()]
    assert "batch system: slurm with arrays=False" in lines
    assert "small s 4 8GB 2 h up to 3" in lines
    assert "big 128 4 2 to any whole, only by name" in lines
    assert "Do not feed the marmots." in lines


@pytest.mark.usefixtures("meadow")
def test_sites_for_programs(install_site: Install) -> None:
    """One object each; of all, or of one."""
    install_site("moor", "class Site: backend = 'local'")
    found = {each["name"]: each for each in map(json.loads, said("sites", "--json").splitlines())}
    meadow = found["meadow"]
    assert (meadow["is_here"], meadow["is_used"], meadow["evidence"]) == (True, True, "MEADOW_HOST=meadow7")
    assert meadow["options"]["gate"]["choices"] == ["north", "south"]
    assert meadow["required"] == {"account": "`flock` lists your accounts"}
    assert found["moor"]["is_used"] is False
    [one] = map(json.loads, said("sites", "moor", "--json").splitlines())
    assert one["name"] == "moor"


@pytest.mark.parametrize(
    ("name", "cure"), [("meadwo", "Did you mean 'meadow'?"), ("prairie", "Install corral-prairie")]
)
@pytest.mark.usefixtures("prairie")
def test_a_site_that_is_not_there(install_site: Install, meadow_code: str, name: str, cure: str) -> None:
    """Whoever asks for it is told what to do."""
    install_site("meadow", meadow_code)
    for words in (["sites", name], ["script", "--memory=1GB", f"--site={name}"]):
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, cure in result.output) == (2, True), result.output


# --- other commands ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("meadow")
def test_a_script_has_what_the_site_adds() -> None:
    """Without a word; and nothing of it with --site none."""
    script = said("script", "--site-option", "gate=north")
    assert "#CORRAL --account=ewe" in script
    assert "ewe" not in said("script", "--site", "none", "--backend", "local", "--memory", "1GB")
    assert "ewe" not in said("--redact", "script", "--backend", "local")
    assert "--group=large" in said("script", "--group", "meadow.large")
    groups = {"groups": ["meadow.small", "meadow.large"]}
    with dask.config.set({"corral": groups}):
        assert "--group=large" in said("script", "--group", "large")


@pytest.mark.usefixtures("meadow")
def test_backends_show_the_site() -> None:
    """Whose batch system that is."""
    assert said("backends").splitlines()[-1] == "site: meadow is used: MEADOW_HOST=meadow7. site=None turns it off."
