"""Finding plugins by their metadata, and importing only what was asked for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corral.batch.detection import detect_all
from corral.batch.runner import Runner
from corral.errors import InvalidRequest, UnknownBackend
from corral.plugin import discovery
from corral.plugin.values import Detected, Job, Resources
from corral.testing import drive

Install = Callable[..., None]

HERE = Path(__file__).parent
ACME = HERE.parent / "testing" / "acme"
BARN = HERE / "site"


def python(code: str, *folders: Path) -> str:
    """Run code in a fresh interpreter that has these plugins."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def write_plugin(folder: Path, distribution: str, entry_points: str, module: str = "") -> Path:
    """Install a plugin in a folder of its own."""
    stem = distribution.replace("-", "_")
    metadata = folder / f"{stem}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    (folder / f"{stem}.py").write_text(module)
    return folder


def test_only_the_chosen_backend_is_imported() -> None:
    """Others may be slow or broken; who does not name them does not meet them."""
    code = """
import sys
from corral.plugin import discovery
discovery.load("acme")
print(sorted(name for name in sys.modules if name.startswith("corral_")))
"""
    broken = [HERE / "broken" / name for name in ("import_error", "old_contract", "misspelt", "no_factory")]
    assert python(code, ACME, BARN, *broken) == "['corral_acme']"


def test_listing_imports_nothing() -> None:
    """What is installed can be told without running any of it."""
    code = """
import sys
from corral.plugin import discovery
print([plugin.name for plugin in discovery.installed() if plugin.name in ("acme", "barn", "import_error")])
print(sorted(name for name in sys.modules if name.startswith("corral_")))
"""
    assert python(code, ACME, BARN, HERE / "broken" / "import_error") == "['acme', 'import_error', 'barn']\n[]"


def test_metadata_is_read_in_one_module_only() -> None:
    """Whatever else wants to know what is installed asks corral.plugin.discovery."""
    source = Path(discovery.__file__).parent.parent
    users = [path.name for path in source.rglob("*.py") if "importlib_metadata" in path.read_text()]
    assert users == ["discovery.py"]


def test_an_installed_plugin_says_what_it_is(install: Install) -> None:
    """Name, kind, contract, distribution, version and factory, all from its metadata."""
    install("acme", "site", "broken/new_contract")
    found = {plugin.name: plugin for plugin in discovery.installed()}
    acme = found["acme"]
    assert ("backend", "v1", "corral-acme", "1.0", "corral_acme:Acme") == (
        acme.kind,
        acme.contract,
        acme.distribution,
        acme.version,
        acme.value,
    )
    assert ("site", "v2") == (found["barn"].kind, found["new_contract"].contract)


def test_a_distribution_that_is_listed_twice_counts_once(install: Install, tmp_path: Path) -> None:
    """An editable install is found by its folder and by its metadata."""
    entry_points = (ACME / "corral_acme-1.0.dist-info" / "entry_points.txt").read_text()
    install("acme")
    again = write_plugin(tmp_path / "again", "Corral_ACME", entry_points)
    sys.path.append(str(again))  # after the other, as site-packages is
    try:
        assert ["corral-acme"] == [each.distribution for each in discovery.installed() if each.name == "acme"]
        discovery.load("acme")
    finally:
        sys.path.remove(str(again))


def test_aliases_are_no_conflict_and_are_listed_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two names of one distribution for one factory are one backend."""
    install("acme")
    entry_points = (
        "[corral.backends.v1]\nherd = corral_acme:Acme\nherdpro = corral_acme:Acme\nopenherd = corral_acme:Acme\n"
    )
    monkeypatch.syspath_prepend(write_plugin(tmp_path, "corral-herd", entry_points))
    assert "herd" in [plugin.name for plugin in discovery.usable("backend")]
    assert not {"herdpro", "openherd"} & {plugin.name for plugin in discovery.usable("backend")}
    assert discovery.load("openherd").has_plugin("openherd")


def test_metadata_that_cannot_be_read_disturbs_nobody(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An interrupted uninstall leaves a folder without METADATA, or worse."""
    install("acme")
    (tmp_path / "half-1.0.dist-info").mkdir()
    (tmp_path / "half-1.0.dist-info" / "entry_points.txt").write_text("[corral.backends.v1]\nhalf = half:Half\n")
    (tmp_path / "bytes-1.0.dist-info").mkdir()
    (tmp_path / "bytes-1.0.dist-info" / "entry_points.txt").write_bytes(b"[\xff\xfe corral.")
    (tmp_path / "bytes-1.0.dist-info" / "METADATA").write_text("Name: bytes\nVersion: 1.0\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with caplog.at_level(logging.DEBUG, "corral.plugin.discovery"):
            assert "acme" in [plugin.name for plugin in discovery.installed()]
    finally:
        sys.path.remove(str(tmp_path))
    assert "cannot be read" in caplog.text


def test_an_unknown_backend_is_answered_with_what_there_is(install: Install) -> None:
    """The installed names, the nearest, and what to install."""
    install("acme")
    with pytest.raises(UnknownBackend) as caught:
        discovery.load("acne")
    names = [plugin.name for plugin in discovery.usable("backend")]
    assert str(caught.value) == f"no backend named 'acne'. Installed: {', '.join(names)}. Did you mean 'acme'?"
    assert ("acne", tuple(names)) == (caught.value.name, caught.value.installed)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("flux", " Install corral-flux"),
        ("htcondr", " Did you mean 'htcondor'? Install corral-htcondor"),
        ("OpenPBS", " Did you mean 'openpbs'? Install corral-pbs"),
        ("zzz", "."),
    ],
)
def test_a_well_known_backend_that_is_not_installed(name: str, ending: str) -> None:
    """People type the batch system's name before they install its plugin."""
    code = f"""
import sys
from corral import errors
from corral.plugin import discovery
ours = discovery.installed
discovery.installed = lambda: [plugin for plugin in ours() if plugin.distribution == "corral-acme"]
try:
    discovery.load({name!r})
except errors.UnknownBackend as error:
    print(error)
"""
    assert python(code, ACME) == f"no backend named {name!r}. Installed: acme.{ending.removeprefix('.')}"


def test_an_unknown_site_is_an_invalid_argument(install: Install) -> None:
    """It names the argument and what there is."""
    install("site")
    with pytest.raises(InvalidRequest, match=r"^site: no site named 'bran'\. Installed: .*\. Did you mean 'barn'\?$"):
        discovery.load("acme", site="bran")


def test_without_a_name_and_a_site_there_is_no_backend(install: Install) -> None:
    """Which one it is, is for `detect_all` to say."""
    install("acme")
    with pytest.raises(UnknownBackend, match="no backend was named. Installed: .*acme"):
        discovery.load()


def test_a_site_names_its_backend_and_its_options(install: Install) -> None:
    """Its users say `site=` and nothing else; what they do say wins."""
    install("acme", "site")
    assert getattr(discovery.make_site("barn"), "backend", None) == "acme"
    manager = discovery.load(site="barn")
    job = manager.hook.prepare_job(job=Job(name="a", resources=Resources()))
    assert job.account == "herd"
    script = manager.hook.render_script(job=job)
    drive(manager.hook.submit(script=script, count=99), {"sudo -u herd acsub 10": "accepted: batch 1, 10 jobs\n"})
    own = discovery.load("acme", options={"batch_size": 20}, site="barn", site_options={"account": "flock"})
    assert own.hook.prepare_job(job=Job(name="a")).account == "flock"
    drive(own.hook.submit(script=script, count=99), {"sudo -u herd acsub 20": "accepted: batch 1, 20 jobs\n"})


def test_a_sites_options_are_for_its_own_backend_only(install: Install) -> None:
    """A backend that was named instead would not know them."""
    install("acme", "site")
    manager = discovery.load("local", site="barn")
    assert manager.has_plugin("local")


async def test_detection_asks_every_backend_and_survives_each(
    install: Install, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken plugin, or one whose command does not exist here, is as good as none."""
    install("acme", "broken/import_error", "broken/without_yield")
    assert "acme" not in await detect_all(Runner())
    monkeypatch.setenv("PATH", f"{ACME / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with caplog.at_level(logging.DEBUG, "corral"):
        found = await detect_all(Runner())
    assert found["acme"] == Detected(version="3.1", evidence="acstat --version")
    assert "local" not in found
    assert "backend 'import_error' cannot say whether its batch system is here: PluginError" in caplog.text
