"""A command on another host is the command that the backend asked for. The ssh here opens a shell on this host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corral.batch.runner import Runner
from corral.errors import CommandFailed
from corral.plugin import Command, over_ssh

#: As sshd does it: one line for a shell, which finds the variables of a login and no others.
SSH = """#!/bin/sh
[ "$1 $2" = "mary@login1 --" ] && [ $# = 3 ] || exit 97
exec env -i PATH="$PATH" HOME=/home/mary X_OWN=there Y_OWN=there LINES='a
X_FALSE=b' sh -c "$3"
"""
SHOW = ["sh", "-c", 'pwd; env; printf "%s|" "$@"; cat', "show"]


@pytest.fixture(autouse=True)
def _ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HERE", "only")


async def shown(command: Command) -> list[str]:
    done = await Runner().run(over_ssh(command, "mary@login1"))
    return done.stdout.splitlines()


async def test_its_words_and_what_it_reads_arrive() -> None:
    """With spaces, quotes and dollars; nothing is done with them."""
    words = ["two words", "it's", "$HOME `id` \\", "", "é🐂"]
    lines = await shown(Command([*SHOW, *words], stdin="#!/bin/bash\ntrue\n"))
    assert lines[-2:] == ["|".join([*words, "#!/bin/bash"]), "true"]


async def test_its_variables_and_its_folder_are_there(tmp_path: Path) -> None:
    """Beside those of a login on that host, in the C locale."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    lines = await shown(Command(SHOW, env={"SQUEUE_FORMAT": "%i $HOME"}, cwd=str(folder)))
    assert str(folder) == lines[0]
    assert {"SQUEUE_FORMAT=%i $HOME", "LC_ALL=C", "X_OWN=there", "HOME=/home/mary"} <= set(lines)
    assert "HERE=only" not in lines


async def test_it_sees_no_more_of_the_user_than_it_may() -> None:
    """`Command.inherit` is for commands that pass their environment on to jobs."""
    lines = await shown(Command(SHOW, env={"Z": "1"}, inherit=("X_*", "HOME")))
    assert {"X_OWN=there", "HOME=/home/mary", "Z=1"} <= set(lines)
    assert not [line for line in lines if line.startswith(("Y_OWN", "LINES"))]


async def test_of_what_a_shell_does_not_forget_nothing_is_said(tmp_path: Path) -> None:
    """Some variables of bash's own are so, where somebody has exported them."""
    (tmp_path / "sh").symlink_to("/bin/bash")
    (tmp_path / "ssh").write_text(SSH.replace("X_OWN", "SHELLOPTS=braceexpand X_OWN"))
    done = await Runner().run(over_ssh(Command(SHOW, inherit=("X_*",)), "mary@login1"))
    assert "X_OWN=there" in done.stdout
    assert done.stderr == ""


async def test_its_failure_is_its_own() -> None:
    with pytest.raises(CommandFailed) as failed:
        await shown(Command(["sh", "-c", "echo no >&2; exit 3"]))
    assert (failed.value.completed.returncode, failed.value.completed.stderr) == (3, "no\n")


def test_how_long_it_may_take_stays() -> None:
    """And nothing of it is left for the ssh on this side."""
    there = over_ssh(Command(["x"], timeout=5, env={"A": "1"}, cwd="/", inherit=("A",)), "login1")
    assert (there.timeout, there.env, there.cwd, there.inherit) == (5, {}, None, None)
