"""The folder of corral's own: what it makes there, and what it never removes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import evolve
from click.testing import CliRunner

from corral import Cluster
from corral.cli import main
from corral.cluster.registry import Entry, entries
from corral.errors import CorralError, CredentialsError, NotPrivate
from corral.host.home import CREDENTIALS, MARK, Home
from corral.host.identity import Identity
from corral.security.credentials import Credentials

UUID = "0123456789abcdef" * 2
#: More than a week ago.
LONG_AGO = time.time() - 8 * 86400


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


def aged(path: Path) -> Path:
    """A file, or folder, of more than a week ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def files(folder: Path) -> dict[str, str]:
    """All files below a folder, those that links lead to included."""
    found: dict[str, str] = {}
    for parent, _, names in os.walk(folder, followlinks=True):
        found |= {os.path.relpath(os.path.join(parent, name), folder): Path(parent, name).read_text() for name in names}
    return found


def test_files_of_the_user_s_survive(tmp_path: Path) -> None:
    """Logs of experiments, and what links lead to, at a cluster's start and end, and when a dead one is cleaned."""
    proj, thesis = tmp_path / "proj", tmp_path / "thesis"
    aged(proj / "logs" / "experiment1" / "results.csv").write_text("42")
    aged(proj / "logs" / UUID / "1.log").write_text("of another program")
    aged(proj / "clusters" / UUID / CREDENTIALS).write_text("of another program")
    aged(thesis / "chapter.log").write_text("chapter one")
    (proj / "logs" / "latest").symlink_to(thesis)
    for path in (proj / "logs" / "experiment1" / "results.csv", proj / "logs" / UUID / "1.log", thesis / "chapter.log"):
        aged(path)
    before = files(proj)
    assert len(before) == 4

    home = Home.of(proj)
    home.make()
    # Where a user might put them all the same.
    with home.folder("logs", make=True):
        (home.path / "logs" / "latest").symlink_to(thesis)
        (home.path / "logs" / "d41d8cd98f00b204e9800998ecf8427e").symlink_to(thesis)
    with Cluster(
        backend="local", memory="100MB", interface="lo", shared_directory=proj,
        backend_options={"directory": str(tmp_path / "q")},
    ):  # fmt: skip
        assert {key: text for key, text in files(proj).items() if key in before} == before
    for credentials in (home.credentials(UUID), proj / "clusters" / UUID / CREDENTIALS):
        process = evolve(Identity(), pid=2**22 + 1)
        Entry(name="a", uuid=UUID, backend="local", process=process, credentials=str(credentials)).write()
        ran = CliRunner().invoke(main, ["clean", "--yes"])
        assert ran.exit_code == 0, ran.output
    assert {key: text for key, text in files(proj).items() if key in before} == before
    assert (thesis / "chapter.log").read_text() == "chapter one"


def test_a_folder_that_was_there_is_not_taken_over(tmp_path: Path) -> None:
    """It is told what to do; an empty one may be used."""
    home = Home.of(tmp_path)
    home.path.mkdir(0o700)
    home.make()
    assert (home.path / MARK).exists()

    (home.path / MARK).write_text("something else")
    with pytest.raises(NotPrivate, match=r"was there before, and was not made by corral.*shared_directory="):
        home.make()
    aged(home.path / "logs" / UUID / "1.log")
    for removing in (
        lambda: home.remove_cluster(UUID),
        home.remove_old_logs,
        lambda: home.remove_logs(UUID, ["1.log"]),
    ):
        with pytest.raises(NotPrivate):
            removing()
    assert (home.path / "logs" / UUID / "1.log").exists()
    with pytest.raises(CredentialsError, match="was not made by corral"):
        Credentials(cluster="a").write(home.credentials(UUID), home=home)


@pytest.mark.parametrize("scheduler", ["process", "job"])
def test_a_refused_folder_is_what_a_cluster_tells(
    tmp_path: Path, scheduler: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And not what its closing finds there a moment later."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(CorralError, match=r"everybody could replace.*shared_directory="):
        Cluster(
            backend="local", memory="100MB", interface="lo", shared_directory=shared, scheduler=scheduler,
            backend_options={"directory": str(tmp_path / "q")},
        )  # fmt: skip
    assert os.listdir(shared) == []
    assert "left where they are" not in caplog.text
    assert not list(entries())


def test_many_may_be_the_first(tmp_path: Path) -> None:
    """The folder appears with its mark: nobody sees it without."""
    homes = [Home.of(tmp_path / str(number)) for number in range(20)]
    troubles = []

    def make(barrier: threading.Barrier) -> None:
        for home in homes:
            barrier.wait()
            try:
                with home.folder("registry", make=True) as folder:
                    folder.write_new(uuid4().hex, "")
            except Exception as error:
                troubles.append(error)

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=make, args=(barrier,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    for home in homes:
        assert sorted(path.name for path in home.path.iterdir()) == [MARK, "registry"]
        assert [path.name for path in home.path.parent.iterdir()] == [home.path.name], "no drafts are left"
        assert len(os.listdir(home.path / "registry")) == 4


def test_a_cluster_leaves_and_takes_along_what_is_its_own(tmp_path: Path) -> None:
    """Its private files go, and the folders that this empties; what has another name stays."""
    home, other = Home.of(tmp_path), uuid4().hex
    Credentials(cluster="a").write(home.credentials(UUID), home=home)
    home.make_log_folder(UUID)
    home.remove_cluster(UUID)
    assert [path.name for path in home.path.iterdir()] == [MARK]

    for uuid in (UUID, other):
        Credentials(cluster="a").write(home.credentials(uuid), home=home)
    notes = home.cluster_folder(UUID) / "notes.txt"
    notes.touch()
    home.remove_cluster(UUID)
    assert os.listdir(home.cluster_folder(UUID)) == ["notes.txt"]
    assert os.listdir(home.cluster_folder(other)) == [CREDENTIALS]


@pytest.mark.parametrize("uuid", ["..", "../../precious", "", "a" * 31, "A" * 32, f"{UUID}/.."])
def test_what_is_no_uuid_names_nothing(tmp_path: Path, uuid: str) -> None:
    """A registry file may say anything."""
    home = Home.of(tmp_path)
    home.make()
    with pytest.raises(ValueError, match="uuid"):
        home.remove_cluster(uuid)
    with pytest.raises(ValueError, match="not a place for the credentials"):
        Home.around(f"{home.path}/clusters/{uuid}/credentials.json")


def test_old_logs_go_after_a_week_and_new_folders_stay(tmp_path: Path) -> None:
    """Only files that have names as jobs' logs have, and an empty folder may belong to a cluster that is new."""
    home, new = Home.of(tmp_path), uuid4().hex
    home.make_log_folder(UUID)
    home.make_log_folder(new)
    old, other, young = (home.log_folder(UUID) / name for name in ("77_0.log", "results.csv", "78.log"))
    for path in (old, other):
        aged(path)
    young.touch()
    home.remove_old_logs(now=LONG_AGO + 6 * 86400)
    assert old.exists()
    home.remove_old_logs()
    assert sorted(os.listdir(home.log_folder(UUID))) == ["78.log", "results.csv"]
    assert home.log_folder(new).exists()
    young.unlink()
    other.unlink()
    aged(home.log_folder(UUID))
    home.remove_old_logs()
    assert not home.log_folder(UUID).exists()


def test_logs_are_removed_where_corral_s_are_alone(tmp_path: Path) -> None:
    """A log that a job wrote elsewhere is the user's."""
    home, elsewhere = Home.of(tmp_path), tmp_path / "1.log"
    home.make_log_folder(UUID)
    for path in (elsewhere, home.log_folder(UUID) / "1.log", home.log_folder(UUID) / "2.log"):
        path.touch()
    home.remove_logs(UUID, [elsewhere, home.log_folder(UUID) / "1.log"])
    assert elsewhere.exists()
    assert os.listdir(home.log_folder(UUID)) == ["2.log"]
    home.remove_logs(UUID, [home.log_folder(UUID) / "2.log"])
    assert not home.log_folder(UUID).exists()


def test_logs_of_another_batch_system_have_a_folder_below(tmp_path: Path) -> None:
    """They go as the others do: one by one, with their cluster, or for their age."""
    home = Home.of(tmp_path)
    home.make_log_folder(UUID, "local")
    folder = home.log_folder(UUID)
    paths = [folder / "1.log", folder / "local" / "1.log", folder / "local" / "2.log"]
    for path in paths:
        path.touch()
    home.remove_logs(UUID, paths[:2])
    assert [path.exists() for path in paths] == [False, False, True]
    home.remove_cluster(UUID)
    assert paths[2].exists()
    aged(paths[2])
    home.remove_old_logs()
    assert not paths[2].exists()
    aged(folder / "local")
    home.remove_old_logs()
    aged(folder)
    home.remove_old_logs()
    assert not folder.exists()
    home.make_log_folder(UUID, "local")
    home.remove_cluster(UUID)
    assert [path.name for path in home.path.iterdir()] == [MARK]


def test_what_jobs_of_several_nodes_leave_behind_goes_with_the_cluster(tmp_path: Path) -> None:
    """The job was killed, and nobody else would remove it: it has the job's variables."""
    home, uuid = Home(tmp_path / "corral"), uuid4().hex
    with home.folder("clusters", uuid, make=True) as folder:
        folder.write_new(CREDENTIALS, "{}")
        folder.write_new("node-8_1_.server.sh", "exit 0")
    home.remove_cluster(uuid)
    assert not home.cluster_folder(uuid).exists()
