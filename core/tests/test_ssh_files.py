"""A cluster's files on another host, which a Python there looks after."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from sshd import Sshd

from corral._version import __version__
from corral.errors import InvalidRequest, NotPrivate
from corral.ssh.connection import Connection
from corral.ssh.elsewhere import Elsewhere

pytestmark = [pytest.mark.real("sshd"), pytest.mark.timeout(120)]


@pytest.fixture
def there(way: Connection) -> Elsewhere:
    return Elsewhere.find(way, [[sys.executable]])


def test_files_there_are_as_private_as_here(there: Elsewhere, sshd: Sshd) -> None:
    """Written there with mode 0600 in folders of mode 0700, by the same code."""
    home = there.home()
    assert home.path == Path(sshd.session["XDG_STATE_HOME"]) / "corral"
    path = home.credentials("a" * 32)
    home.write_new(path, "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path.parent.parent, home.path)} == {0o700}
    assert home.read(path) == "secret"
    assert home.files.size(str(path)) == 6
    with pytest.raises(FileExistsError, match="credentials"):
        home.write_new(path, "again")
    path.chmod(0o644)
    with pytest.raises(NotPrivate, match=r"credentials\.json"):
        home.read(path)
    home.remove_cluster("a" * 32)
    with pytest.raises(FileNotFoundError):
        home.read(path)


def test_logs_and_exit_codes_are_read_there(there: Elsewhere, tmp_path: Path) -> None:
    """Bytes stay bytes."""
    (tmp_path / "1.log").write_bytes(b"\xff first\nlast\n")
    (tmp_path / "1.exit").write_text("127\n")
    (tmp_path / "2.exit").write_text("12")
    files = there.home().files
    assert files.text(str(tmp_path / "1.log")) == b"\xff first\nlast\n"
    assert files.end(str(tmp_path / "1.log"), 5) == b"last\n"
    found = files.complete_lines(str(tmp_path), {"1.exit": None, "2.exit": None, "3.exit": None})
    assert {name: line for name, (_, line) in found.items()} == {"1.exit": "127"}
    files.remove_own([str(tmp_path / "1.exit")])
    assert not (tmp_path / "1.exit").exists()
    with pytest.raises(FileNotFoundError, match=r"none\.log"):
        files.text(str(tmp_path / "none.log"))


def test_a_python_there_is_found_or_what_is_missing_is_said(way: Connection, tmp_path: Path) -> None:
    """Nobody's own is on another host, but for a workstation's; versions must agree."""
    old = tmp_path / "python-old"
    old.write_text("""#!/bin/sh\nprintf '\\ncorral-errand: {"answer": {"version": "0.0.1", "python": "x"}}\\n'\n""")
    bare = tmp_path / "python-bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    for each in (old, bare):
        each.chmod(0o700)
    assert Elsewhere.find(way, []).python == (sys.executable,)
    there = Elsewhere.find(way, [[str(old)], [str(bare)], ["/no/python"], [sys.executable]])
    assert there.python == (sys.executable,)
    for python, words in (
        (old, f"corral 0.0.1, and this Python, .* has {__version__}"),
        (bare, "does not have corral"),
        (Path("/no/python"), "there is no /no/python"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            there.check([str(python)])
