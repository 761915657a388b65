"""What a site's users need not say, and what they must."""

from __future__ import annotations

from collections.abc import Callable

import dask.config
import pytest

from corral.errors import InvalidRequest, PluginError
from corral.plugin.values import Job
from corral.request.drawing import draw
from corral.request.worker_group import WorkerGroup

Install = Callable[..., None]


def job_of(**given: object) -> Job:
    blueprint = draw(given)
    return blueprint.request(next(iter(blueprint.groups)), 1)


@pytest.mark.usefixtures("meadow")
def test_program_before_configuration_before_site() -> None:
    """corral.backends.NAME, too, and each alone."""
    assert job_of().queue == "grass"
    with dask.config.set({"corral": {"queue": "clover"}}):
        assert job_of().queue == "clover"
    with dask.config.set({"corral": {"queue": "clover", "backends": {"local": {"queue": "hay"}}}}):
        assert job_of().queue == "hay"
        assert job_of(queue="oats").queue == "oats"


@pytest.mark.usefixtures("meadow")
def test_settings_have_defaults_of_the_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    """How often it wants to be asked; the configuration knows better."""
    assert draw({}).settings.polling_interval == 420.0
    with dask.config.set({"corral.polling-interval": "3 min"}):
        assert draw({}).settings.polling_interval == 180.0
    monkeypatch.delenv("MEADOW_HOST")
    assert draw({"backend": "local", "memory": "1GB"}).settings.polling_interval == 60.0


@pytest.mark.usefixtures("meadow")
@pytest.mark.parametrize("value", [None, ""])
def test_what_a_variable_does_not_say_is_required(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A variable that is not set, or empty, gives nothing; the error says where the value is found."""
    if value is None:
        monkeypatch.delenv("MEADOW_ACCOUNT")
    else:
        monkeypatch.setenv("MEADOW_ACCOUNT", value)
    with pytest.raises(InvalidRequest) as caught:
        draw({})
    assert str(caught.value) == "account: The Meadow needs one: `flock` lists your accounts"
    with pytest.raises(InvalidRequest, match=r"`flock` lists your accounts \(group 'b'\)"):
        draw({"groups": {"a": WorkerGroup(memory="1GB", account="ram"), "b": WorkerGroup(memory="1GB")}})
    with dask.config.set({"corral.account": "lamb"}):
        assert job_of().account == "lamb"


@pytest.mark.usefixtures("meadow")
def test_a_bad_value_of_the_sites_says_so(install_site: Install, meadow_code: str) -> None:
    """The user has not written it, and must know whom to ask."""
    install_site("bog", meadow_code.replace('"2GB"', '"much"').replace("MEADOW_HOST", "BOG_HOST"))
    with pytest.raises(InvalidRequest, match=r"^memory: .*'much'.* \(site 'bog'\)$"):
        draw({"site": "bog"})
    assert draw({"site": "bog", "memory": "1GB"}).site == "bog"
    install_site("fen", meadow_code.replace("7 min", "often").replace("MEADOW_HOST", "BOG_HOST"))
    with pytest.raises(InvalidRequest, match=r"^polling_interval: .* \(site 'fen'\)$"):
        draw({"site": "fen"})
    install_site("mire", meadow_code.replace('"memory": "2GB"', '"memroy": "2GB"').replace("MEADOW_HOST", "BOG_HOST"))
    with pytest.raises(PluginError, match="'mire'.*'memroy'.*Did you mean 'memory'"):
        draw({"site": "mire"})


@pytest.mark.usefixtures("meadow")
def test_options_are_checked_and_are_for_a_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong one says how this host came to have a site; one without a site is no mistake in the configuration."""
    with pytest.raises(InvalidRequest) as caught:
        draw({"site_options": {"gate": "west"}})
    assert str(caught.value) == (
        "site_options: The Meadow has no gate 'west': it is one of north, south (site 'meadow' (corral-meadow 1.0: "
        "MEADOW_HOST=meadow7); site=None turns it off)"
    )
    with dask.config.set({"corral.site-options": {"gate": "north"}}):
        assert draw({}).site_options == {"gate": "north"}
        monkeypatch.delenv("MEADOW_HOST")
        assert draw({"backend": "local", "memory": "1GB"}).site is None
    with pytest.raises(InvalidRequest, match="^site_options: are for a site, and none that is installed is this"):
        draw({"backend": "local", "memory": "1GB", "site_options": {"gate": "north"}})
    with pytest.raises(InvalidRequest, match="^site_options: are for a site, and site= says that none is used"):
        draw({"backend": "local", "memory": "1GB", "site": "none", "site_options": {"gate": "north"}})


# --- groups -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("meadow")
@pytest.mark.parametrize("asked", [["meadow.large", "small"], {"large": "large", "small": "meadow.small"}])
def test_groups_by_name(asked: object) -> None:
    """A list, or a mapping; in full, or without the site that is in use anyway."""
    for given, configured in (({"groups": asked}, {}), ({}, {"groups": asked})):
        with dask.config.set({"corral": configured}):
            groups = draw(given).groups
        assert {name: (group.cores, group.memory) for name, group in groups.items()} == {
            "large": (2, "3GB"),
            "small": (1, "1GB"),
        }
        assert groups["large"].account == "ewe"


@pytest.mark.usefixtures("meadow")
def test_the_program_knows_better_than_a_ready_made_group() -> None:
    """What it says beside them is for all; the configuration only fills them in."""
    with dask.config.set({"corral": {"walltime": "3h", "modules": ["shears"]}}):
        blueprint = draw({"groups": ["large", "small"], "memory": "2GB"})
    large, small = blueprint.groups["large"], blueprint.groups["small"]
    assert (large.memory, small.memory) == ("2GB", "2GB")
    assert (large.walltime, small.walltime) == ("30 min", "3h")
    assert large.modules == ["shears"]


def test_a_bad_value_of_a_ready_made_group_says_so(install_site: Install, meadow_code: str) -> None:
    """What the program says beside it is the program's."""
    install_site("bog", meadow_code.replace('"memory": "3GB"', '"memory": "lots"'))
    given = {"site": "bog", "account": "ram", "groups": ["large"]}
    with pytest.raises(InvalidRequest, match=r"^memory: .*'lots'.* \(site 'bog', group 'large'\)$"):
        draw(given)
    with pytest.raises(InvalidRequest, match=r"^memory: .*'few'[^()]*$"):
        draw({**given, "memory": "few"})


@pytest.mark.usefixtures("meadow")
def test_ready_made_groups_beside_ones_own() -> None:
    """A mapping may hold both."""
    groups = draw({"groups": {"mine": WorkerGroup(memory="5GB"), "small": "meadow.small"}}).groups
    assert (groups["mine"].memory, groups["small"].memory) == ("5GB", "1GB")


@pytest.mark.usefixtures("meadow", "prairie")
@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (
            ["meadow.lrage"],
            "The Meadow has no group 'lrage'. It has: meadow.small, .*. Did you mean 'large'?",
        ),
        (["medow.large"], "the site in use is 'meadow'. Sites that are installed: .*meadow.*. Did you mean 'meadow'?"),
        (["prairie.small"], "'prairie.small' is a site's, and the site in use is 'meadow'. Install corral-prairie"),
        (["large", "meadow.large"], "'large' is there twice"),
        ([], "is not a mapping of names to WorkerGroups, nor a list of a site's"),
        (7, "is not a mapping of names to WorkerGroups, nor a list of a site's"),
    ],
)
def test_groups_that_are_none(asked: object, problem: str) -> None:
    """Each error names what there is."""
    with pytest.raises(InvalidRequest, match=problem.replace("?", r"\?")):
        draw({"groups": asked})


def test_groups_of_a_site_that_is_not_in_use(install_site: Install, meadow_code: str) -> None:
    """The cure is to choose it."""
    install_site("meadow", meadow_code)
    with pytest.raises(InvalidRequest, match="^groups: 'meadow.large' is a site's, and no site is in use. Choose it"):
        draw({"backend": "local", "groups": ["meadow.large"]})
    with pytest.raises(InvalidRequest, match="'large' is a site's, and no site is in use. Name one with site="):
        draw({"backend": "local", "groups": ["large"]})
