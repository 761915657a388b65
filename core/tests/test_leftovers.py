"""What killed clusters leave, and who may remove it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from corral import Cluster
from corral.cli import main
from corral.cluster import cleanup
from corral.cluster.registration import Registration
from corral.cluster.registry import SILENT_AFTER, Entry, JobLine, entries, read
from corral.errors import ClusterNotFound
from corral.host.identity import Identity, Sight
from corral.security.credentials import Credentials

#: The job of a killed client has a script that outlives it: it is held, and never starts.
CLIENT = """
import os, signal, sys, time
from corral import Cluster, hookimpl
from corral.cluster.registry import entries

class Killer:
    @hookimpl(wrapper=True)
    def submit(self, script, count):
        conversation = yield
        def killed():
            command = next(conversation)
            yield command
            os.kill(os.getpid(), signal.SIGKILL)
        return killed() if "killed-by-its-answer" in sys.argv else conversation

c = Cluster(backend="local", memory="200MB", interface="lo", name="doomed", extra_directives=["--hold"], n_workers=2,
            plugins=[Killer()], backend_options={"directory": sys.argv[1], "cores": 2, "memory": "2GB"})
# Who kills it reads what is written. From now on there is nothing to write for a minute.
while not (wrote := entries()) or [line.state for line in wrote[0].jobs] != ["held", "held"] or wrote[0].submitted:
    time.sleep(0.05)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "corral"


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def corral(*words: str) -> str:
    ran = run(*words)
    assert ran.exit_code == 0, ran.output
    return ran.output


def jobs(queue: Path) -> list[str]:
    """States of the queue's jobs."""
    ran = subprocess.run(
        [sys.executable, "-m", "corral.local", "status", "--directory", str(queue)],
        check=True, capture_output=True, text=True, input="1_0\n1_1\n",
    )  # fmt: skip
    return [row["state"] for row in map(json.loads, ran.stdout.splitlines()) if "state" in row]


@contextlib.contextmanager
def client(queue: Path) -> Iterator[subprocess.Popen[str]]:
    """A cluster in a process of its own, with two held jobs."""
    with subprocess.Popen([sys.executable, "-c", CLIENT, str(queue)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def rewritten(**changes: Any) -> Entry:
    """The only entry, which its process will write again within a minute."""
    [found] = entries()
    changed = evolve(found, **changes)
    changed.write()
    return changed


def elsewhere(process: Identity | None = None) -> Identity:
    """The same process, as somebody on another host sees it."""
    return evolve(process or Identity(), host="another")


def entry(**fields: Any) -> Entry:
    return Entry(**{"name": "a", "uuid": secrets.token_hex(16), "backend": "local", **fields})


def dead() -> Identity:
    """A process that has ended."""
    return evolve(Identity(), pid=2**22 + 1)


def test_a_killed_cluster_is_cleaned_and_a_living_one_is_not(queue: Path, state_directory: Path) -> None:
    """First nothing to do, then a dry run, then the real one."""
    with client(queue) as process:
        assert "doomed" in corral("ps")
        assert "Nothing to clean" in corral("clean", "--yes")
        process.send_signal(signal.SIGKILL)
    assert "its process is gone" in corral("ps")
    dry = corral("clean")
    assert "would remove doomed" in dry
    assert "2 jobs 1_0 1_1" in dry
    assert list(state_directory.rglob("credentials.json"))
    assert "cancelled 2 jobs 1_0 1_1" in corral("clean", "--yes")
    assert not list(state_directory.rglob("credentials.json"))
    assert not list(entries())
    assert jobs(queue) == ["CANCELLED", "CANCELLED"]


def test_jobs_of_a_client_that_died_before_it_heard_their_ids_are_found(
    queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry knows how their names begin before they are submitted."""
    ran = subprocess.run([sys.executable, "-c", CLIENT, str(queue), "killed-by-its-answer"], check=False, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    [left] = entries()
    monkeypatch.setattr(cleanup, "LANDING", 1.0)
    assert (list(left.jobs), left.prefixes) == ([], (f"doomed-{left.uuid[:8]}-",))
    assert "cancelled 2 jobs 1_0 1_1" in corral("clean", "--yes")
    assert jobs(queue) == ["CANCELLED", "CANCELLED"]


# --- which process ----------------------------------------------------------------------------------------------


def test_a_process_is_known_by_what_no_clock_changes() -> None:
    """A step of the host's clock moves what psutil says of its beginning; ticks after boot stay."""
    assert entry(started=1.0, heartbeat=time.time() + 86400).look() is Sight.LIVES
    assert entry(process=evolve(Identity(), ticks=Identity().ticks + 1)).look() is Sight.GONE
    assert entry(process=dead()).look() is Sight.GONE


@pytest.mark.parametrize("field", ["host", "boot", "namespaces"])
def test_a_process_that_cannot_be_looked_at_is_not_gone(field: str) -> None:
    """Another host's, another container's, another boot's: its number is somebody else's here."""
    assert entry(process=evolve(dead(), **dict[str, Any]({field: "another"}))).look() is Sight.UNSEEN
    assert entry(process=evolve(Identity(), **dict[str, Any]({field: ""}))).look() is Sight.UNSEEN


def test_only_a_machine_that_was_started_anew_has_ended_what_it_had() -> None:
    """Not one of the same name that has been heard of since, nor one that cannot be told from its twins."""
    before = evolve(Identity(), boot="another", machine="this")
    assert not before.ended_with_its_boot(1.0)
    if Identity().machine:
        before = evolve(Identity(), boot="another")
        assert before.ended_with_its_boot(1.0)
        assert not before.ended_with_its_boot(time.time())
        assert not evolve(before, host="another").ended_with_its_boot(1.0)
    assert not Identity().ended_with_its_boot(1.0)


@pytest.mark.skipif(
    subprocess.run(["unshare", "-pf", "--mount-proc", "true"], check=False, capture_output=True).returncode != 0,
    reason="namespaces of pids cannot be made here",
)
def test_a_container_of_the_same_host_name_cleans_nothing_that_lives(queue: Path) -> None:
    """In its namespace there is no process of that number."""
    with client(queue):
        ran = subprocess.run(
            ["unshare", "-pf", "--mount-proc", sys.executable, "-m", "corral.cli", "clean", "--yes"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert "Nothing to clean" in ran.stdout
        # The same, when nothing has been written for an hour.
        rewritten(heartbeat=time.time() - 3600)
        subprocess.run(
            ["unshare", "-pf", "--mount-proc", sys.executable, "-m", "corral.cli", "clean", "--yes"], check=True
        )
        assert jobs(queue) == ["HELD", "HELD"]
        assert len(entries()) == 1


# --- death is not concluded from silence ------------------------------------------------------------------------


def test_a_silent_cluster_that_answers_lives(queue: Path) -> None:
    """From another login node, with a full home: it is asked itself, and proves that it has the cluster's key."""
    with client(queue):
        rewritten(process=elsewhere(entries()[0].process), heartbeat=time.time() - 10 * SILENT_AFTER)
        said = corral("clean", "--yes", "--force")
        assert "Nothing to clean" in said
        assert "left alone" not in said
        assert entries()[0].is_silent
        assert jobs(queue) == ["HELD", "HELD"]
        assert len(entries()) == 1


def test_a_silent_cluster_that_does_not_answer_is_doubtful(queue: Path, state_directory: Path) -> None:
    """Nothing of it is touched unless somebody takes the blame."""
    with client(queue) as process:
        process.send_signal(signal.SIGSTOP)
        # Not before its last thread has stopped.
        os.waitpid(process.pid, os.WUNTRACED)
        known = rewritten(process=elsewhere(entries()[0].process), heartbeat=time.time() - 3 * 3600)
        said = corral("clean", "--yes")
        assert "left alone" in said
        assert "Run corral clean on another, or say --force if you are sure that it is dead" in said
        assert "last heard from 3 h ago" in said
        assert "tls://" in said
        assert jobs(queue) == ["HELD", "HELD"]
        assert list(state_directory.rglob("credentials.json"))
        evolve(known, heartbeat=time.time()).write()
        assert "Nothing to clean" in corral("clean", "--yes", "--force")
        known.write()
        assert "cancelled 2 jobs" in corral("clean", "--yes", "--force")
        assert jobs(queue) == ["CANCELLED", "CANCELLED"]
        assert not entries()


def test_another_cluster_behind_its_address_is_no_answer(queue: Path, state_directory: Path) -> None:
    """Ports are used again: only who has the cluster's key speaks for it."""
    with client(queue):
        [path] = state_directory.rglob("credentials.json")
        stranger = entry(process=elsewhere(), heartbeat=1.0)
        folder = state_directory / "clusters" / stranger.uuid
        folder.mkdir(mode=0o700)
        addresses = json.loads(path.read_text())["addresses"]
        Credentials.create(cluster="stranger", uuid=stranger.uuid, addresses=addresses).write(
            folder / "credentials.json"
        )
        evolve(stranger, credentials=str(folder / "credentials.json")).write()
        assert "not the scheduler of this cluster" in corral("clean", "--yes")


def test_a_silent_cluster_whose_job_has_ended_is_dead(queue: Path) -> None:
    """The batch system knows of a process that lived in a job."""
    options = {"directory": str(queue)}
    uuid = secrets.token_hex(16)
    known = entry(
        uuid=uuid, scheduler="job", scheduler_job="7_0", scheduler_name=f"a-{uuid[:8]}-0", process=elsewhere(),
        backend_options=options,
    )  # fmt: skip
    known.write()
    assert "Nothing to clean" in corral("clean", "--yes")
    evolve(known, heartbeat=1.0).write()
    assert "job 7_0, in which it was, has ended" in corral("clean")
    assert "removed a" in corral("clean", "--yes")


# --- what is said -----------------------------------------------------------------------------------------------


def test_jobs_that_do_not_end_keep_their_entry(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be cancelled is named, and can be cleaned the next time; nothing is said that is not so."""
    with client(queue):
        pass
    monkeypatch.syspath_prepend(Path(__file__).parent / "leftovers")
    monkeypatch.setattr(cleanup, "ENDING", 3.0)
    rewritten(site="lazy")
    ran = run("clean", "--yes")
    assert ran.exit_code == 1
    assert "stays registered: cancelled 0 jobs; still in the queue: 2 jobs 1_0 (held) 1_1 (held)" in ran.output
    assert len(entries()) == 1
    assert jobs(queue) == ["HELD", "HELD"]
    rewritten(site=None)
    assert "cancelled 2 jobs" in corral("clean", "--yes")


def test_what_is_old_is_shown_as_old() -> None:
    """A job of a cluster that died is not running because it was."""
    line = JobLine(id="7_0", group="default", state="running", hosts=["n1"], workers=1, expected_workers=1)
    entry(process=dead(), jobs=[line], heartbeat=time.time() - 720).write()
    entry(name="b", jobs=[line]).write()
    entry(name="c", process=elsewhere(), jobs=[line], heartbeat=time.time() - 7200).write()
    shown = corral("ps")
    assert shown.count("was running") == 2
    assert "its process is gone; see corral clean\n  last known 12 min ago:" in shown
    assert "last heard from 2 h ago\n  last known 2 h ago:" in shown
    assert corral("logs").count("was running") == 2
    told = {found["name"]: found for found in map(json.loads, corral("ps", "--json").splitlines())}
    assert {name: found["sight"] for name, found in told.items()} == {"a": "gone", "b": "lives", "c": "unseen"}
    assert 719 < told["a"]["age"] < 760
    assert [name for name, found in told.items() if found["is_gone"]] == ["a"]
    assert [name for name, found in told.items() if found["is_silent"]] == ["a", "c"]


def test_why_is_shown_as_it_was_written() -> None:
    """On demand, by group; to programs always; and whoever wrote nothing of it is listed all the same."""
    why = {"big": "1 job wanted, 1 works: nothing to do", "small": "no job wanted: nothing to do"}
    entry(why=why).write()
    entry(
        name="b", process=dead(), why={"big": "3 jobs wanted, none there: submit 3"}, heartbeat=time.time() - 7200
    ).write()
    line = JobLine(id="7_0", group="default", state="running", hosts=["n1"], workers=1, expected_workers=1)
    old = entry(name="c", jobs=[line])
    old.write()
    fields = json.loads(old.path.read_text())
    assert (fields.pop("why"), fields["jobs"][0].pop("phase")) == ({}, "")
    old.path.write_text(json.dumps(fields))
    assert "wanted" not in corral("ps")
    shown = corral("ps", "--why")
    assert "\n  big: 1 job wanted, 1 works: nothing to do\n  small: no job wanted: nothing to do\n" in shown
    assert "\n  big: 3 jobs wanted, none there: submit 3 (2 h ago)\n" in shown
    assert re.search(r"^7_0 +default +running +1/1 +n1$", shown, re.MULTILINE)
    told = {found["name"]: found["why"] for found in map(json.loads, corral("ps", "--json").splitlines())}
    assert told == {"a": why, "b": {"big": "3 jobs wanted, none there: submit 3"}, "c": {}}


# --- files that are none of corral's ----------------------------------------------------------------------------

WHOLE: dict[str, Any] = {"name": "odd", "uuid": "ab" * 16, "backend": "local", "started": 1.0, "heartbeat": 1.0}


def plain(**changes: Any) -> str:
    return json.dumps({**WHOLE, **changes})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{half", "not JSON"),
        ("{}", "$.name"),
        ("[]", "a list"),
        ('"text"', "a str"),
        ("null", "a NoneType"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00rubbish", "not JSON"),
        (plain(uuid="../../../projects/precious"), "not 32 hexadecimal digits"),
        (plain(uuid="AB" * 16), "not 32 hexadecimal digits"),
        (plain(uuid="cd" * 16), "has another name"),
        (plain(uuid=["ab" * 16]), "is no str @ $.uuid"),
        (plain(prefixes=["thesis-run"]), "which no job of cluster"),
        (plain(prefixes=["thesis-"]), "which no job of cluster"),
        (plain(prefixes=["abababab-*"]), "which no job of cluster"),
        (plain(prefixes=["x\nabababab-"]), "which no job of cluster"),
        (plain(prefixes="abababab-"), "which no job of cluster"),
        (plain(credentials="/home/me/thesis/credentials.json"), "not where cluster"),
        (plain(credentials=f"/x/../clusters/{'ab' * 16}/credentials.json"), "not where cluster"),
        (plain(credentials=f"clusters/{'ab' * 16}/credentials.json"), "not where cluster"),
        (plain(started="yesterday"), "is no float @ $.started"),
        (plain(started=float("nan")), "not a time"),
        (plain(heartbeat=True), "is no float @ $.heartbeat"),
        (plain(process=7), "$.process"),
        (plain(process={"pid": "1; rm"}), "is no int @ $.process.pid"),
        (plain(scheduler="moon"), "$.scheduler"),
        (plain(name="a\x1b[2Jb"), "not one printable line"),
        (plain(jobs="abc"), "$.jobs"),
        (plain(jobs=[{"id": 1, "group": "a", "state": "running"}]), "is no str"),
        (plain(jobs={"id": 1}), "$.jobs"),
        (plain(why="abc"), "$.why"),
        (plain(why={"default": 7}), "is no str"),
    ],
    ids=range(32),
)
def test_an_odd_file_is_passed_over_and_told(state_directory: Path, text: str | bytes, problem: str) -> None:
    """No command ends for it, none does what it says, and the others are listed."""
    living = entry(name="mine")
    living.write()
    path = state_directory / "registry" / f"{WHOLE['uuid']}.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    check_it_is_passed_over(path, problem, living)
    assert path.exists()


def check_it_is_passed_over(path: Path, problem: str, living: Entry) -> None:
    found, odd = read()
    assert found == [living]
    assert [each.path for each in odd] == [path]
    assert problem in odd[0].problem
    for words in (["ps"], ["ps", "--json"], ["clean"], ["clean", "--yes"], ["logs"]):
        ran = run(*words)
        assert ran.exit_code == 0, ran.output
        assert ran.output.count(f"{path} is passed over") == 1
    assert "mine" in corral("ps")
    with pytest.raises(ClusterNotFound, match="there is no cluster 'odd'"):
        Cluster.connect("odd")


@pytest.mark.parametrize("kind", ["pipe", "link", "dangling link", "folder", "huge", "readable", "foreign"])
def test_what_is_no_private_file_is_passed_over_and_told(state_directory: Path, tmp_path: Path, kind: str) -> None:
    """Nothing hangs on a pipe, follows a link, or fills the memory."""
    living = entry(name="mine")
    living.write()
    path = state_directory / "registry" / f"{WHOLE['uuid']}.json"
    elsewhere = tmp_path / "elsewhere.json"
    match kind:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "link":
            elsewhere.write_text(plain())
            elsewhere.chmod(0o600)
            path.symlink_to(elsewhere)
        case "dangling link":
            path.symlink_to(elsewhere)
        case "folder":
            path.mkdir(mode=0o700)
        case "huge":
            path.touch(0o600)
            os.truncate(path, 2**30)
        case "readable":
            path.write_text(plain())
            path.chmod(0o644)
        case "foreign":
            if os.geteuid() != 0:
                pytest.skip("only root can give files away")
            path.write_text(plain())
            path.chmod(0o600)
            os.chown(path, 65534, 65534)
    check_it_is_passed_over(path, "", living)


def test_a_registry_of_somebody_else_s_is_told(state_directory: Path) -> None:
    """Whoever could write there could have anything cleaned."""
    entry().write()
    (state_directory / "registry").chmod(0o777)
    assert "has mode 0777, and must be yours alone" in corral("ps")
    assert entries() == []


def test_a_backend_that_is_not_installed_stops_nothing_else(
    state_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be cleaned is told, and is a failure; the rest is cleaned."""
    monkeypatch.setattr(cleanup, "ENDING", 1.0)
    entry(name="first", backend="nosuch", process=dead(), started=1.0).write()
    uuid = secrets.token_hex(16)
    options = {"directory": "/dev/null/queue"}
    entry(
        name="second", uuid=uuid, process=dead(), prefixes=[f"a-{uuid[:8]}-"], backend_options=options, started=2.0
    ).write()
    entry(name="third", process=dead(), backend_options={"directory": str(state_directory / "q")}, started=3.0).write()
    ran = run("clean", "--yes")
    assert ran.exit_code == 1
    assert "first (nosuch" in ran.output
    assert "removed third" in ran.output
    assert sorted(left.name for left in entries()) == ["first", "second"], ran.output


def test_a_registry_that_cannot_be_written_is_told_once(
    state_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full home, a quota: other processes will not see that it lives."""
    state_directory.mkdir(mode=0o700)
    (state_directory / "registry").touch()
    registration = Registration(entry(name="mute"))
    registration.renew()
    registration.announce(f"mute-{registration.entry.uuid[:8]}-1")
    told = [record.levelname for record in caplog.records if "mute cannot record that it" in record.message]
    assert told == ["WARNING"]
    (state_directory / "registry").unlink()
    registration.settle("mute-1")
    registration.renew()
    assert [found.name for found in entries()] == ["mute"]
    registration.remove()
    registration.renew()
    assert entries() == []


def test_what_a_process_was_writing_when_it_was_killed_goes_with_its_entry() -> None:
    """At once: nobody writes it any more. What another cluster writes stays."""
    mine, other = entry(), entry()
    mine.write()
    for uuid in (mine.uuid, other.uuid):
        program = (
            "import os\n"
            "from corral.cluster.registry import Entry\n"
            "os.replace = lambda *_, **__: os._exit(9)\n"
            f"Entry(name='a', uuid='{uuid}', backend='local').write()\n"
        )
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    mine.remove()
    [draft] = mine.path.parent.iterdir()
    assert other.uuid in draft.name
