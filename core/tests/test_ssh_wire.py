"""What is sent to a shell on another host, and what comes back, with shells of this host in its place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from corral.errors import InvalidRequest
from corral.request import drawing
from corral.ssh import wire
from corral.ssh.address import Address
from corral.ssh.client import Client
from corral.ssh.connection import Connection
from corral.ssh.elsewhere import Elsewhere
from corral.ssh.wire import Answer, Setting

MARK = "corral-0123456789ab"
#: Of people's own; each takes the line that ssh hands it.
LOGIN_SHELLS = [each for each in ("sh", "dash", "bash", "zsh", "tcsh", "csh", "fish", "ksh") if shutil.which(each)]
NASTY = [
    "",
    "a b",
    "it's",
    '"$HOME"',
    "`id`",
    "$(id)",
    "back\\slash",
    "two\nlines\n",
    "!x",
    "*",
    "ünï—çødé",
    "-n",
    "~",
    "%",
]


def ask(
    argv: Sequence[str],
    setting: Setting = Setting(),  # noqa: B008 - frozen
    *,
    stdin: bytes = b"",
    shell: str = "sh",
    env: Mapping[str, str] | None = None,
    seconds: float = 20.0,
) -> Answer:
    text = wire.orders(MARK, argv, setting, seconds).encode() + stdin
    done = subprocess.run(
        [shell, "-c", wire.LINE],
        input=text, capture_output=True, timeout=60, check=False, start_new_session=True,
        env={"PATH": "/usr/bin:/bin"} if env is None else env,
    )  # fmt: skip
    return wire.read(MARK, done.stdout, done.stderr)


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_words_variables_and_input_reach_a_command_unchanged(shell: str) -> None:
    """Whatever the login shell is, and whatever it makes of quotes, stars and exclamation marks."""
    script = 'printf "%s|" "$@"; printf "%s|" "$V"; cat; exit 3'
    answer = ask(
        ["sh", "-c", script, "sh", *NASTY], Setting(env={"V": "\n".join(NASTY)}), stdin=b"in\nput", shell=shell
    )
    assert answer.stdout.decode() == "|".join(NASTY) + "|" + "\n".join(NASTY) + "|in\nput"
    assert (answer.code, answer.problem) == (3, "")


def test_banners_are_no_part_of_an_answer() -> None:
    """Before and after it, on both streams, with and without an end of line."""
    told = b"Welcome!\nYou have mail" + MARK.encode() + b" 77\n77;gpu\n\n" + MARK.encode() + b" end 0\n"
    answer = wire.read(MARK, told, b"motd" + MARK.encode() + b"\nwarning\n")
    assert answer == Answer(stdout=b"77;gpu\n", stderr=b"warning\n", pid=77, code=0)


@pytest.mark.parametrize("cut", [5, 30, 40])
def test_an_answer_that_broke_off_is_none(cut: int) -> None:
    """It is not taken for a shorter one."""
    whole = MARK.encode() + b" 77\n12 RUNNING\n13 RUNNING\n\n" + MARK.encode() + b" end 0\n"
    answer = wire.read(MARK, whole[:cut], b"")
    assert answer.code is None
    assert not answer.problem


def test_what_is_not_there_is_told_apart_from_what_fails() -> None:
    """A program, and a folder; 127 is an exit code like others."""
    assert ask(["no-such-sbatch"]).problem == "missing"
    assert "/usr/bin" in ask(["no-such-sbatch"]).path
    assert ask(["/etc/passwd"]).problem == "missing", "it cannot be run"
    assert ask(["true"], Setting(cwd="/no/such")).problem == "nowhere"
    assert ask(["pwd"], Setting(cwd="/usr")).stdout == b"/usr\n"
    assert ask(["sh", "-c", "exit 127"]).code == 127


def test_only_what_matches_is_inherited() -> None:
    """As on this host: names and patterns, and what the command itself sets is set whatever they say."""
    there = {"PATH": "/usr/bin:/bin", "SBATCH_ACCOUNT": "p1", "SECRET": "s", "MULTI": "a\nSBATCH_FAKE=1", "n": "kept"}
    setting = Setting(inherit=["PATH", "SBATCH_*", "[!A-Z]*"], env={"OWN": "yes"})
    found = dict(line.split("=", 1) for line in ask(["env"], setting, env=there).stdout.decode().splitlines())
    assert {name: found.get(name) for name in (*there, "OWN", "LC_ALL")} == {
        "PATH": "/usr/bin:/bin", "SBATCH_ACCOUNT": "p1", "SECRET": None, "MULTI": None, "n": "kept", "OWN": "yes",
        "LC_ALL": "C",
    }  # fmt: skip


def test_what_a_login_shell_sets_counts_where_the_session_has_none() -> None:
    """And folders for commands come after those of the session, each once."""
    setting = Setting(usual={"SLURM_CONF": "/login", "SGE_ROOT": "/sge"}, path=["/usr/bin", "/opt/slurm/bin"])
    answer = ask(
        ["sh", "-c", 'echo "$SLURM_CONF $SGE_ROOT $PATH"'], setting, env={"PATH": "/usr/bin:/bin", "SLURM_CONF": "/own"}
    )
    assert answer.stdout == b"/own /sge /usr/bin:/bin:/opt/slurm/bin\n"


def test_a_command_ends_in_its_time_if_nobody_can_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost, and a hanging command must not stay on the login node."""
    monkeypatch.setattr(wire, "SPARE", 0)
    assert ask(["sleep", "50"], seconds=1.0).code is None


#: As sshd does it: the last word is a line for a shell.
SSH = """#!/bin/sh
printf '%s\\n' "$@" >"$0.said"
while [ $# -gt 1 ]; do shift; done
exec setsid -w sh -c "$1"
"""


async def test_nothing_of_a_command_is_in_an_argument_of_ssh(tmp_path: Path) -> None:
    """Arguments are seen by everybody on both hosts. All that ssh is given is always the same."""
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o700)
    way = Connection(Address("centre"), [str(ssh)])
    way._client = client = Client(way.address, [str(ssh)])
    setting = Setting(env={"TOKEN": "secret"}, inherit=["PATH", "secret*"], cwd="/usr")
    answer = await way._execute(["sh", "-c", "echo $TOKEN; cat; # secret"], setting, b"secret input", 20.0)
    assert answer.stdout == b"secret\nsecret input"
    assert (tmp_path / "ssh.said").read_text().splitlines() == [*client.through[1:], wire.LINE]
    assert not any("secret" in word for word in (*client.through, wire.LINE))
    client.end()


def test_a_nul_is_refused() -> None:
    """No argument of a command can have one."""
    with pytest.raises(InvalidRequest, match="NUL"):
        wire.quoted("a\0b")


def test_variables_of_a_login_shell() -> None:
    """Whatever it prints besides."""
    text = f"Welcome\nPATH=/banner\n\n{MARK}\nPATH=/a:/b\nSLURM_CONF=/x y\nodd\n"
    assert wire.variables_of(text, MARK) == {"PATH": "/a:/b", "SLURM_CONF": "/x y"}
    assert wire.variables_of("PATH=/a", MARK) == {}


@pytest.mark.parametrize("shell", LOGIN_SHELLS)
def test_whatever_the_login_shell_is_home_is_known(shell: str, tmp_path: Path) -> None:
    """Where a folder begins with a tilde, it must not be another one; tcsh takes no -l beside -c."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": shutil.which(shell) or ""}
    found = wire.variables_of(ask([*wire.LOGIN, "told"], env=env).stdout.decode(), "told")
    assert (found["HOME"], found["HOSTNAME"]) == (str(tmp_path), os.uname().nodename)


def test_a_folder_that_nobody_there_can_expand_is_refused() -> None:
    """A login shell that did not answer: neither the root there nor the home here is meant."""
    silent = Elsewhere(connection=Connection(Address("centre"), ["ssh"]), python=["python3"])
    for text in ("~/runs", "$HOME/runs", "${USER}"):
        with pytest.raises(InvalidRequest, match="shared_directory: .*centre.*write the whole path"):
            drawing._directory("shared_directory", text, silent)
    assert drawing._directory("shared_directory", "/runs", silent) == Path("/runs")


# --- addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ssh://login1", ["--", "login1"]),
        ("ssh://me@login.example.org:2222", ["-l", "me", "-p", "2222", "--", "login.example.org"]),
        ("ssh://My-Alias_2", ["--", "My-Alias_2"]),
        ("ssh://me@[::1]:22", ["-l", "me", "-p", "22", "--", "::1"]),
    ],
)
def test_an_address_as_ssh_takes_it(text: str, words: list[str]) -> None:
    """An alias keeps its capitals; what is printed can be read again."""
    address = Address.parse(text)
    assert list(address.words) == words
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("login1", "'ssh://login1'"), ("", "ssh://login"), ("ssh://", "ssh://host"), (7, "ssh://login"),
        ("ssh://-oProxyCommand=id", "ssh://host"), ("ssh://a b", "ssh://host"), ("ssh://host/path", "ssh://host"),
        ("ssh://host:0", "ssh://host"), ("ssh://host:99999", "ssh://host"), ("ssh://-l@host", "ssh://host"),
        ("ssh://host\n", "ssh://host"), ("http://host", "ssh://"), ("ssh://höst", "ssh://host"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_form(value: object, words: str) -> None:
    """No part of it can become an option of ssh's."""
    with pytest.raises(InvalidRequest, match="via") as error:
        Address.parse(value)
    assert words in str(error.value)


def test_a_password_is_refused_and_not_shown() -> None:
    """It would stand in programs, histories and lists of processes."""
    with pytest.raises(InvalidRequest, match="no password") as error:
        Address.parse("ssh://me:hunter2@host")
    assert "hunter2" not in str(error.value)
