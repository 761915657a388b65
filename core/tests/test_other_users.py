"""What other users of the same host, of the same group and of the same scratch can do to a user: nothing."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

VICTIM, NEIGHBOUR = 40001, 40002
#: Both are in it.
GROUP = 40100

#: Imported while it may still read everything that root may.
BEGIN = """
import errno, grp, json, os, pwd, sqlite3, sys, time
from contextlib import suppress
from pathlib import Path
import platformdirs
from corral import errors
from corral.errors import CorralError
from corral.host.home import Home
from corral.local.queue import Queue
from corral.local.request import Refused, Request
from corral.host.private import open_private_folder
from corral.security.credentials import Credentials
where = Path(sys.argv[2])
os.setgroups([{group}])
os.setresgid(*3 * [int(sys.argv[1])])
os.setresuid(*3 * [int(sys.argv[1])])
os.umask(0o002)
"""


def started(user: int, code: str, where: Path) -> subprocess.Popen[str]:
    """A process of this user, which finds `where` as a path."""
    text = BEGIN.format(group=GROUP) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", text, str(user), str(where)], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": str(where)}, text=True,
    )  # fmt: skip


def told(user: int, code: str, where: Path) -> str:
    """What such a process prints."""
    with started(user, code, where) as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text.strip()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that everybody may write to, as for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="corral-test-", dir="/var/tmp"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def owned(path: Path, user: int, mode: int) -> Path:
    path.mkdir()
    os.chown(path, user, GROUP)
    path.chmod(mode)
    return path


# --- one scratch for many ---------------------------------------------------------------------------------------

WRITES = """
home = Home.of(where)
home.make()
Credentials(cluster=f"of {os.getuid()}", uuid="0" * 32).write(home.credentials("0" * 32))
print(Credentials.read(home.credentials("0" * 32)).cluster, home.path.name)
"""


TRIES = """
try:
    home.make()
except CorralError as error:
    print(error)
    sys.exit()
"""


def test_two_users_of_one_scratch(scratch: Path) -> None:
    """Each has a folder of his own there."""
    assert told(VICTIM, WRITES, scratch) == f"of {VICTIM} corral-{VICTIM}"
    assert told(NEIGHBOUR, WRITES, scratch) == f"of {NEIGHBOUR} corral-{NEIGHBOUR}"
    asks = f"""
    for path in ({f"corral-{VICTIM}"!r}, {f"corral-{VICTIM}/CORRALDIR.TAG"!r}):
        with suppress(PermissionError):
            print(os.listdir(where / path) if path.endswith({str(VICTIM)!r}) else (where / path).read_text())
    """
    assert told(NEIGHBOUR, asks, scratch) == ""


def test_nothing_is_open_to_others_whatever_the_umask(scratch: Path) -> None:
    """The folders that are made on the way neither."""
    told(VICTIM, "os.umask(0)\nwhere /= 'new/folders'" + WRITES, scratch)
    made = [scratch / "new", *(scratch / "new").rglob("*")]
    assert len(made) > 5
    assert {path.stat().st_mode & 0o7777 for path in made} == {0o700, 0o600}


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (f"owned = where / 'corral-{VICTIM}'; owned.mkdir(0o777)", f"belongs to uid {NEIGHBOUR}"),
        (f"(where / 'corral-{VICTIM}').symlink_to(where / 'mine'); (where / 'mine').mkdir(0o777)", "is a link"),
        (f"(where / 'corral-{VICTIM}').touch()", "is a link or a file"),
        (f"os.mkfifo(where / 'corral-{VICTIM}', 0o666)", "is a link or a file"),
    ],
    ids=["folder", "link", "file", "pipe"],
)
def test_what_is_planted_in_the_place_of_the_folder_is_refused(scratch: Path, planted: str, words: str) -> None:
    """By whoever was quicker, on a scratch where everybody may add."""
    told(NEIGHBOUR, planted, scratch)
    tries = """
    try:
        Home.of(where).make()
    except CorralError as error:
        print(error)
    """
    said = told(VICTIM, tries, scratch)
    assert words in said
    assert "shared_directory=" in said


def test_somebody_else_s_clusters_folder_is_refused(scratch: Path) -> None:
    """It could come from a time when the folder above was open."""
    home = owned(scratch / "home", VICTIM, 0o700)
    owned(home / "clusters", NEIGHBOUR, 0o777)
    tries = """
    try:
        Credentials(cluster="a").write(where / "home" / "clusters" / "a" / "credentials.json")
    except CorralError as error:
        print(error)
    """
    assert f"home/clusters belongs to uid {NEIGHBOUR}" in told(VICTIM, tries, scratch)


# --- a folder of a group ----------------------------------------------------------------------------------------

SWAPS = """
import itertools
theirs = where / "theirs"
(theirs / "a").mkdir(parents=True)
(theirs / "a" / "credentials.json").write_text(json.dumps({"cluster": "theirs"}))
os.chmod(theirs / "a" / "credentials.json", 0o600)
print("ready", flush=True)
names = [where / "clusters", theirs, where / "aside"]
while not (where / "stop").exists():
    with suppress(OSError):
        os.rename(names[0], names[2])
        os.rename(names[1], names[0])
        os.rename(names[0], names[1])
        os.rename(names[2], names[0])
"""

READS = """
from collections import Counter
seen = Counter()
until = time.monotonic() + 2
while time.monotonic() < until:
    try:
        seen[Credentials.read(where / "clusters" / "a" / "credentials.json").cluster] += 1
    except (CorralError, OSError) as error:
        seen[type(error).__name__] += 1
print(*seen)
"""


def test_a_neighbour_who_may_write_to_the_folder_above_is_never_read(scratch: Path) -> None:
    """He swaps his own for the user's, thousands of times, while the user reads."""
    lab = owned(scratch / "lab", VICTIM, 0o700)
    told(VICTIM, 'Credentials(cluster="mine").write(where / "clusters" / "a" / "credentials.json")', lab)
    # As a colleague asks for, or an inherited ACL brings about.
    lab.chmod(0o2775)
    with started(NEIGHBOUR, SWAPS, lab) as neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "ready\n"
        seen = told(VICTIM, READS, lab)
        (lab / "stop").touch()
        neighbour.communicate(timeout=60)
    assert seen == "CredentialsError"


def test_a_neighbour_who_swaps_files_is_never_read(scratch: Path) -> None:
    """Nor where the file is looked at before it is opened: what was opened is looked at."""
    folder = owned(scratch / "open", VICTIM, 0o700)
    told(VICTIM, 'Credentials(cluster="mine").write(where / "clusters" / "a" / "credentials.json")', folder)
    for path in (folder, folder / "clusters", folder / "clusters" / "a"):
        path.chmod(0o2770)
        os.chown(path, VICTIM, GROUP)
    swaps = """
    here = where / "clusters" / "a"
    (here / "theirs").write_text(json.dumps({"cluster": "theirs"}))
    print("ready", flush=True)
    while not (where / "stop").exists():
        with suppress(OSError):
            os.rename(here / "credentials.json", here / "aside")
            os.symlink("theirs", here / "credentials.json")
            os.rename(here / "aside", here / "credentials.json")
    """
    with started(NEIGHBOUR, swaps, folder) as neighbour:
        assert neighbour.stdout is not None
        assert neighbour.stdout.readline() == "ready\n"
        seen = told(VICTIM, READS, folder)
        (folder / "stop").touch()
        neighbour.communicate(timeout=60)
    assert seen == "CredentialsError"


def test_a_project_s_folder_is_refused_with_a_cure(scratch: Path) -> None:
    """Its members could replace what is in it. With the sticky bit they could not."""
    project = owned(scratch / "project", 0, 0o2775)
    tries = """
    try:
        Home.of(where).make()
    except CorralError as error:
        print(error)
    """
    said = told(VICTIM, tries, project)
    assert f"{project} has mode 2775: everybody in group {GROUP} could replace what you have in it" in said
    assert f"chmod +t {project}" in said
    assert "shared_directory=" in said
    project.chmod(0o3775)
    assert told(VICTIM, tries, project) == ""


def test_a_group_of_one_is_nobody_else(scratch: Path) -> None:
    """Where each user has a group for himself the umask is 002, and homes have mode 775."""
    user = pwd.getpwnam("daemon")
    home = owned(scratch / "home", user.pw_uid, 0o775)
    os.chown(home, user.pw_uid, user.pw_gid)
    assert told(user.pw_uid, WRITES, home) == f"of {user.pw_uid} corral-{user.pw_uid}"
    os.chown(home, user.pw_uid, GROUP)
    assert f"everybody in group {GROUP}" in told(user.pw_uid, WRITES.replace("home.make()", TRIES), home)


def test_a_folder_of_somebody_else_s_is_no_way(scratch: Path) -> None:
    """Who owns a folder can replace what others have in it, whatever its mode."""
    theirs = owned(scratch / "theirs", NEIGHBOUR, 0o755)
    owned(theirs / "mine", VICTIM, 0o700)
    tries = """
    try:
        Home.of(where / "mine").make()
    except CorralError as error:
        print(error)
    """
    assert f"belongs to uid {NEIGHBOUR}, who could replace" in told(VICTIM, tries, theirs)


def test_links_on_the_way_are_the_user_s_or_root_s(scratch: Path) -> None:
    """A home folder may be a link, even to a relative one above; somebody else's link leads nowhere."""
    home = owned(scratch / "real", VICTIM, 0o755)
    (scratch / "link").symlink_to("real/../real")
    assert told(VICTIM, "where /= 'link'" + WRITES, scratch) == f"of {VICTIM} corral-{VICTIM}"
    assert (home / f"corral-{VICTIM}" / "clusters").is_dir()
    os.lchown(scratch / "link", NEIGHBOUR, GROUP)
    tries = """
    try:
        Home.of(where / "link").make()
    except CorralError as error:
        print(error)
    """
    assert f"is a link that belongs to uid {NEIGHBOUR}" in told(VICTIM, tries, scratch)


# --- the embedded queue -----------------------------------------------------------------------------------------

OPENS = """
try:
    Queue(where).close()
except Refused as error:
    print(error)
"""


def test_a_queue_in_a_group_s_folder_is_refused(scratch: Path) -> None:
    """Whoever can write there could have his commands run."""
    assert "has mode 2775, and must be yours alone" in told(VICTIM, OPENS, owned(scratch / "q", VICTIM, 0o2775))


def test_a_planted_database_is_refused(scratch: Path) -> None:
    """Its jobs would run as the user. The same of all that stands beside it."""
    queue = owned(scratch / "q", NEIGHBOUR, 0o700)
    plants = """
    Queue(where).submit(Request(), "#!/bin/sh\\nid\\n", count=1, grace=1, folder="/", environment={})
    """
    told(NEIGHBOUR, plants, queue)
    os.chown(queue, VICTIM, GROUP)
    assert "queue-v1.sqlite is someone else's, or a link" in told(VICTIM, OPENS, queue)


@pytest.mark.parametrize("name", ["queue-v1.sqlite", "queue-v1.sqlite-wal", "lock", "dispatcher.log", "running"])
def test_a_planted_link_is_refused(scratch: Path, name: str) -> None:
    """What it leads to would be written to, as the user."""
    queue = owned(scratch / "q", VICTIM, 0o700)
    precious = scratch / "precious"
    precious.write_text("thesis")
    os.chown(precious, VICTIM, GROUP)
    (queue / name).symlink_to(precious)
    assert f"{name} is someone else's, or a link" in told(VICTIM, OPENS, queue)
    (queue / name).unlink()
    os.link(precious, queue / name)
    assert f"{name} is someone else's, or a link" in told(VICTIM, OPENS, queue)
    assert precious.read_text() == "thesis"
