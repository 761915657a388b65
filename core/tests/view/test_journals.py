"""The folder of journals: private, bounded, and told in clear words where something is wrong with it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from past_clusters import BEGAN, history

from corral.cli import main
from corral.errors import NotPrivate, UnreadableJournal
from corral.host.home import MARK
from corral.view import journals
from corral.view.journal import Head, Pen, encoded


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral" / "journals"


def write(number: int, *, name: str = "", began: float = BEGAN, is_last: bool = True, jobs: int = 3) -> str:
    """The journal of a cluster; returns its uuid."""
    uuid = f"{number:032x}"
    head = Head(name=name or f"cluster-{number}", uuid=uuid, backend="slurm", began=began)
    news = Pen().news(history(jobs).overview, 0, is_last=is_last)
    journals.append(uuid, encoded([head.to_line()], 0), encoded(news.lines, 10**6), begins=True)
    return uuid


def corral(*words: str) -> Result:
    return CliRunner().invoke(main, ["report", *words])


# --- private ----------------------------------------------------------------------------------------------------


def test_a_journal_is_the_user_s_alone(folder: Path) -> None:
    """Whatever the umask; so is the folder."""
    before = os.umask(0)
    try:
        uuid = write(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / f"{uuid}.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(folder.glob(".*"))


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """Neither to read nor to write."""
    write(1)
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "precious").chmod(0o600)
    (folder / f"{2:032x}.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(NotPrivate, match="is not a regular file"):
        write(2)
    with pytest.raises(NotPrivate, match="is not a regular file"):
        journals.read(f"{2:032x}")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_that_others_can_read_is_neither_read_nor_written(folder: Path) -> None:
    """And is told, with the others listed."""
    uuid = write(1)
    write(2)
    (folder / f"{uuid}.jsonl").chmod(0o644)
    size = (folder / f"{uuid}.jsonl").stat().st_size
    with pytest.raises(NotPrivate, match="others"):
        write(1)
    assert (folder / f"{uuid}.jsonl").stat().st_size == size
    done = corral()
    assert "cluster-2" in done.stdout
    assert "cluster-1" not in done.stdout
    assert f"{uuid}.jsonl is passed over" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_s_is_neither_read_nor_removed(folder: Path) -> None:
    """However old it is."""
    uuid = write(1)
    path = folder / f"{uuid}.jsonl"
    os.chown(path, 40001, -1)
    os.utime(path, (1, 1))
    with pytest.raises(NotPrivate, match="40001"):
        journals.read(uuid)
    journals.remove_old(())
    assert path.exists()
    assert "40001" in corral().stderr


def test_other_files_are_passed_over_and_told(folder: Path) -> None:
    """Of another name, of another cluster, of a later corral, or damaged at the beginning."""
    uuid = write(1)
    text = (folder / f"{uuid}.jsonl").read_bytes()
    newer = b'{"corral_journal": 9, "corral": "7.0"}\n'
    for name, content in (
        ("notes", b"x"),
        (f"{5:032x}.jsonl", text),
        (f"{6:032x}.jsonl", newer),
        (f"{7:032x}.jsonl", b""),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    found, odd = journals.listed()
    assert [each.head.uuid for each in found] == [uuid]
    words = "\n".join(map(str, odd))
    assert "it has not the name of a journal" in words
    assert f"it is of cluster {uuid}, but has another name" in words
    assert "written by corral 7.0 in format 9" in words
    assert "its first line is not that of a journal" in words
    with pytest.raises(UnreadableJournal, match=rf"{6:032x}\.jsonl cannot be read: it was written by corral 7\.0"):
        journals.read(f"{6:032x}")


def test_a_folder_that_others_can_write_to_is_told(folder: Path) -> None:
    """Nothing is read there."""
    write(1)
    folder.chmod(0o777)
    found, [odd] = journals.listed()
    assert not found
    assert str(folder) in str(odd)


# --- torn and full ----------------------------------------------------------------------------------------------


def test_what_follows_a_torn_line_is_a_line_of_its_own(folder: Path) -> None:
    """After a full disk there is room again."""
    uuid = write(1, is_last=False)
    path = folder / f"{uuid}.jsonl"
    path.write_bytes(path.read_bytes() + b'{"t": 1, "jo')
    assert journals.append(uuid, b"", b'{"t": 1772000000, "status": "closed"}\n', begins=False)
    assert journals.read(uuid).is_closed
    assert journals.read(uuid).notes == ("1 line of the journal is passed over: the file is damaged there.",)


def test_one_that_is_gone_is_not_begun_in_the_middle(folder: Path) -> None:
    """Whoever writes it is told, and begins anew."""
    assert not journals.append(f"{1:032x}", b"head\n", b"line\n", begins=False)
    assert not list(folder.iterdir())
    assert journals.size_of(f"{1:032x}") == 0


# --- bounds -----------------------------------------------------------------------------------------------------


def test_the_oldest_go_first_and_those_of_the_living_never(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, by age, and by room."""
    now = 1e9
    for number in range(10):
        write(number)
        os.utime(folder / f"{number:032x}.jsonl", (now - number, now - number))
    monkeypatch.setattr(journals, "MOST", 6)
    journals.remove_old({f"{9:032x}"}, now)
    assert sorted(int(path.stem, 16) for path in folder.iterdir()) == [0, 1, 2, 3, 4, 5, 9]
    os.utime(folder / f"{2:032x}.jsonl", (1, 1))
    journals.remove_old({f"{9:032x}"}, now)
    assert sorted(int(path.stem, 16) for path in folder.iterdir()) == [0, 1, 3, 4, 5, 9]
    monkeypatch.setattr(journals, "ROOM", 2.5 * (folder / f"{0:032x}.jsonl").stat().st_size)
    journals.remove_old(set(), now)
    assert sorted(int(path.stem, 16) for path in folder.iterdir()) == [0, 1]


def test_without_a_folder_there_is_nothing(folder: Path) -> None:
    """And reading makes none."""
    assert journals.listed() == ([], [])
    journals.remove_old(())
    assert journals.forget([f"{1:032x}"]) == 0
    with pytest.raises(FileNotFoundError):
        journals.read(f"{1:032x}")
    assert not folder.parent.exists()


# --- corral report ----------------------------------------------------------------------------------------------


def test_it_lists_what_there_is() -> None:
    """Newest first; for programs, too."""
    assert "There are no journals" in corral().output
    write(1)
    write(2, began=BEGAN + 5, is_last=False)
    rows = corral().output.splitlines()
    assert [row.split()[0] for row in rows[1:3]] == ["cluster-2", "cluster-1"]
    assert "cut off" in rows[1]
    assert "ended" in rows[2]
    plain = [json.loads(line) for line in corral("--json").output.splitlines()]
    assert [(each["head"]["name"], each["standing"]) for each in plain] == [
        ("cluster-2", "cut off"),
        ("cluster-1", "ended"),
    ]


def test_of_several_of_one_name_the_newest_is_meant(tmp_path: Path) -> None:
    """The others are told; a uuid chooses."""
    write(0xA << 124, name="twin", jobs=1)
    newest = write(0xB << 124, name="twin", began=BEGAN + 5)
    page = tmp_path / "page.html"
    done = corral("twin", "--output", str(page))
    assert f"Written to {page}" in done.stdout
    assert "the newest of 2 clusters of this name" in done.stderr
    assert f"{newest}" in page.read_text()
    assert "--uuid a0000000 began 2026-" in done.stderr
    assert f"{0xA << 124:032x}" in corral("twin", "--uuid=a0", "--output=-").stdout
    done = corral("twin", "--uuid=c")
    assert done.exit_code == 1
    assert "no journals of clusters 'twin' have a uuid that begins with 'c'" in done.stderr


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    """Nobody has to list them first."""
    write(1, name="simulation")
    assert "no journal of a cluster 'simulatoin'. Did you mean 'simulation'?" in corral("simulatoin").output


def test_a_page_is_named_after_its_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder where one is, whatever the name holds."""
    monkeypatch.chdir(tmp_path)
    write(1, name="../odd name")
    assert corral("../odd name").exit_code == 0
    assert (tmp_path / "_odd_name-report.html").exists()


def test_all_is_known_to_programs() -> None:
    """History and how it stands."""
    write(1, jobs=5)
    found = json.loads(corral("cluster-1", "--json").output)
    assert (len(found["overview"]["jobs"]), found["standing"], found["is_closed"]) == (5, "ended", True)


def test_journals_can_be_forgotten(folder: Path) -> None:
    """One by its name, or all; then the folder goes as well."""
    write(1)
    write(2)
    write(3)
    assert corral("cluster-2", "--forget").output == "Forgotten: 1 journal.\n"
    assert corral("--forget").output == "Forgotten: 2 journals.\n"
    assert [path.name for path in folder.parent.iterdir()] == [MARK]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/page.html", "there is no folder"),
        (".", "is a folder: name a file in it"),
        ("file/page.html", "cannot be written: Not a directory"),
        ("/dev/null", "is no regular file"),
    ],
)
def test_where_nothing_can_be_written_is_told(
    output: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the cure, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    write(1)
    before = sorted(tmp_path.iterdir())
    done = corral("cluster-1", "--output", output)
    assert done.exit_code == 2
    assert words in done.output
    assert sorted(tmp_path.iterdir()) == before


def test_a_page_for_strangers_names_nobody(tmp_path: Path) -> None:
    """Hosts and users become words, in the file, too."""
    write(1, jobs=40)
    done = CliRunner().invoke(main, ["--redact", "report", "cluster-1", "--output", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page.html").read_text()
    assert "node1" not in text
    assert "&lt;host 2&gt;" in text
    assert "<host" not in text
    assert "node1" in corral("cluster-1", "--output=-").output
