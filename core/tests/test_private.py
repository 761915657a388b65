"""The only way to files that are the user's alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from corral.errors import NotPrivate
from corral.host.private import PrivateFolder, make_private_folder, open_private_folder


@pytest.fixture
def folder(tmp_path: Path) -> PrivateFolder:
    return open_private_folder(tmp_path / "folder", make=True)


def test_what_is_written_is_read(folder: PrivateFolder) -> None:
    """Once; and replaced whole."""
    folder.write_new("a", "one\n")
    with pytest.raises(FileExistsError):
        folder.write_new("a", "two\n")
    assert folder.read("a") == "one\n"
    folder.replace("a", "two, with \N{SNOWMAN}\n")
    folder.replace("b", "")
    assert folder.read("a") == "two, with \N{SNOWMAN}\n"
    assert folder.names() == ["a", "b"]
    assert folder.remove("a")
    assert not folder.remove("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")


def test_nothing_is_half_written(folder: PrivateFolder) -> None:
    """Where there is no room nothing is left of it, and what was there is there."""
    folder.write_new("a", "old")
    text = "\ud800"  # which no file can have
    for writing in (folder.write_new, folder.replace):
        with pytest.raises(UnicodeEncodeError):
            writing("new", text)
    with pytest.raises(UnicodeEncodeError):
        folder.replace("a", text)
    assert os.listdir(folder.path) == ["a"]
    assert folder.read("a") == "old"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_with_rights_for_others_is_refused(folder: PrivateFolder, mode: int) -> None:
    """The message says whose it is, and what to do."""
    folder.write_new("a", "")
    (folder.path / "a").chmod(mode)
    with pytest.raises(NotPrivate, match=rf"/a has mode 0{mode:o} and belongs to .*must be yours alone") as refusal:
        folder.read("a")
    assert refusal.value.cure in str(refusal.value)
    assert refusal.value.path == folder.path / "a"


def test_what_is_no_file_of_its_own_is_refused(folder: PrivateFolder, tmp_path: Path) -> None:
    """Links, pipes, folders, and files that have another name elsewhere. Nobody waits for a pipe."""
    (tmp_path / "file").touch(0o600)
    (folder.path / "link").symlink_to(tmp_path / "file")
    (folder.path / "dangling").symlink_to("nothing")
    (folder.path / "twin").hardlink_to(tmp_path / "file")
    os.mkfifo(folder.path / "pipe", 0o600)
    (folder.path / "folder").mkdir(0o700)
    for name in ("link", "dangling", "twin", "pipe", "folder"):
        with pytest.raises(NotPrivate):
            folder.read(name)
        for flags in (os.O_WRONLY, os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            with pytest.raises(NotPrivate):
                os.close(folder.open(name, flags))
    for name in ("link", "dangling", "pipe", "folder"):
        assert not folder.remove(name)
    assert len(folder.names()) == 5
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\0b"])
def test_a_name_is_no_path(folder: PrivateFolder, name: str) -> None:
    """Whoever builds names of what others say cannot leave the folder."""
    for method in (folder.read, folder.remove, folder.open, folder.folder, folder.status, folder.remove_folder):
        with pytest.raises(ValueError, match="is not the name of a file"):
            method(name)
    for writing in (folder.write_new, folder.replace):
        with pytest.raises(ValueError, match="is not the name of a file"):
            writing(name, "")
    assert folder.names() == []


@pytest.mark.parametrize("mode", [0o770, 0o750, 0o705, 0o2775])
def test_a_folder_with_rights_for_others_is_refused(folder: PrivateFolder, mode: int) -> None:
    """At the end of the way; with the command that may help."""
    folder.folder("inner", make=True).close()
    (folder.path / "inner").chmod(mode)
    for opening in (lambda: folder.folder("inner"), lambda: open_private_folder(folder.path / "inner")):
        with pytest.raises(NotPrivate, match=rf"chmod 700 {folder.path}/inner"):
            opening()


def test_the_way_goes_through_links_and_its_end_is_none(folder: PrivateFolder, tmp_path: Path) -> None:
    """Homes are links in many places; below what is private there are none."""
    folder.folder("inner", make=True).close()
    (tmp_path / "there").symlink_to(folder.path)
    (tmp_path / "again").symlink_to(f"../{tmp_path.name}/there")
    with open_private_folder(tmp_path / "again" / "inner") as inner:
        inner.write_new("a", "")
    assert (folder.path / "inner" / "a").exists()
    (folder.path / "link").symlink_to("inner")
    for opening in (lambda: folder.folder("link"), lambda: open_private_folder(tmp_path / "there")):
        with pytest.raises(NotPrivate, match="is a link or a file"):
            opening()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        open_private_folder(tmp_path / "loop" / "inner")


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o777, "everybody could replace"), (0o2770, None), (0o1777, None), (0o755, None), (0o711, None)],
)
def test_the_way_is_open_to_nobody_else(tmp_path: Path, mode: int, words: str | None) -> None:
    """A sticky folder may be: others only add. So may one of the group that the user is alone in."""
    way = tmp_path / "way"
    open_private_folder(way / "folder", make=True).close()
    way.chmod(mode)
    if words is None:
        open_private_folder(way / "folder").close()
    else:
        with pytest.raises(NotPrivate, match=words):
            open_private_folder(way / "folder")


def test_what_is_made_on_the_way_is_private(tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        open_private_folder(tmp_path / "a" / "b" / "c", make=True).close()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o7777 for path in tmp_path.rglob("*")} == {0o700}
    with pytest.raises(FileNotFoundError, match="/a/d"):
        open_private_folder(tmp_path / "a" / "d" / "e")


def test_who_empties_and_who_fills_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A folder that vanishes while something is made in it is made again."""
    is_over = threading.Event()

    def empty() -> None:
        with open_private_folder(tmp_path / "top", make=True) as top:
            # Often, but not so that nobody else has a turn.
            while not is_over.wait(0.001):
                top.remove_folder("kind")

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        for number in range(200):
            with open_private_folder(tmp_path / "top" / "kind" / str(number), make=True) as folder:
                folder.write_new("a", "")
                folder.remove("a")
            (tmp_path / "top" / "kind" / str(number)).rmdir()
    finally:
        is_over.set()
        thread.join()


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    """One that is there is left as it is, unless it is empty."""
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        make_private_folder(tmp_path / name, {"mark": "x"})
        assert (tmp_path / name / "mark").read_text() == "x"
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("new")
    for name in ("new", "file", "link"):
        with pytest.raises(FileExistsError, match=name):
            make_private_folder(tmp_path / name, {"other": "y"})
    assert sorted(os.listdir(tmp_path)) == ["empty", "file", "link", "new"]
    assert os.listdir(tmp_path / "new") == ["mark"]


@pytest.mark.parametrize("name", ["ledger", None])
def test_a_lock_is_waited_for_a_moment_only(folder: PrivateFolder, name: str | None) -> None:
    """Its holder may have been stopped. A killed one lets go."""
    holder = "from corral.host.private import *; import sys, time\nwith open_private_folder(sys.argv[1]) as folder, "
    holder += f"folder.lock({name!r}):\n    print('locked', flush=True)\n    time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(folder.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(TimeoutError, match=r"locked by another process for 0\.1 s"),
            folder.lock(name, patience=0.1),
        ):
            pass
        process.kill()
    with folder.lock(name, patience=30.0):
        pass


def test_no_descriptor_is_left_open(folder: PrivateFolder) -> None:
    """Whatever was refused."""
    (folder.path / "link").symlink_to("nothing")
    (folder.path / "open").mkdir(0o755)
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        for opening in (
            lambda: folder.read("link"),
            lambda: folder.folder("open"),
            lambda: folder.folder("link"),
            lambda: folder.folder("nothing"),
            lambda: open_private_folder(folder.path / "open" / "a" / "b"),
            lambda: open_private_folder(folder.path / "link" / "a"),
        ):
            with pytest.raises(OSError, match="."):
                opening()
        folder.replace("a", "")
        folder.folder("inner", make=True).close()
    assert len(os.listdir("/dev/fd")) == before
