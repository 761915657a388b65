"""`corral doctor`: what it says of this machine, of plugins' findings, and of what a node has said."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from click.testing import CliRunner

from corral.cli import main
from corral.doctor import compared, environment, folders, network
from corral.doctor.examining import Examination
from corral.doctor.visiting import Question, Visit, Visiting
from corral.errors import BatchSystemUnavailable
from corral.host.home import MARK, Home
from corral.plugin import Command, Completed, Finding, Job, Verdict, hookimpl
from corral.ssh import errand
from corral.ssh.address import Address
from corral.ssh.connection import Connection
from corral.ssh.elsewhere import DistantHome, Elsewhere
from corral.ssh.errand import raise_again

HERE = {"corral": "1.0", "dask": "2026.8.0", "distributed": "2026.8.0", "lz4": "4.0"}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the test's own for all that is written."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "state").mkdir(mode=0o700)


def findings(**given: Any) -> dict[str, Finding]:
    examination = Examination(given={"backend": "local", **given})
    return {finding.subject: finding for finding in examination.findings()}


# --- the command ------------------------------------------------------------------------------------------------


def test_all_is_well_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a job; nobody need say how much memory it has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(main, ["doctor", "--backend=local", "--submit", "--module=json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "ok connection: job 1_0 has reached tls://" in done.output
    assert done.output.splitlines()[-1].startswith("All 12 findings are good.")
    left = [path.name for path in (tmp_path / "state" / "corral").rglob("*") if path.is_file()]
    assert not {"credentials.json", "1_0.log"} & set(left)


def test_each_finding_has_its_cure_and_the_worst_decides(tmp_path: Path) -> None:
    """In words, and as JSON."""
    options = ["doctor", "--backend=local", f"--log-directory={tmp_path / 'file' / 'logs'}"]
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, options, catch_exceptions=False)
    assert done.exit_code == 2
    assert f"!! log folder: {tmp_path}/file/logs cannot be written to: not a directory\n   -> Name a" in done.output
    done = CliRunner().invoke(main, [*options, "--json", "--submit"], catch_exceptions=False)
    found = {each["subject"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert found["log folder"]["verdict"] == "wrong"
    assert found["job"]["text"] == "none was submitted: it would fail"


@pytest.mark.parametrize(
    ("option", "subject", "words"),
    [
        ("--backend=slrum", "backend", "Did you mean 'slurm'"),
        ("--interface=ib77", "interface", "no network interface 'ib77'"),
        ("--cores=0", "cores", "0"),
        ("--group=gpu", "group", "gpu"),
    ],
)
def test_an_argument_that_cannot_be_used_is_a_finding(option: str, subject: str, words: str) -> None:
    """The rest of what can be known without it is told as well."""
    options = ["doctor", "--json", "--backend=local", option]
    done = CliRunner().invoke(main, options, catch_exceptions=False)
    assert done.exit_code == 2
    found = {each["subject"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert words in found[subject]["text"]
    assert "versions" in found


def test_a_time_that_is_none_is_refused() -> None:
    """As any word on the command line."""
    done = CliRunner().invoke(main, ["doctor", "--timeout=soon"], catch_exceptions=False)
    assert done.exit_code == 2
    assert "timeout: " in done.output


# --- plugins ----------------------------------------------------------------------------------------------------


class Quota:
    """A user's plugin with something to say."""

    @hookimpl
    def check_health(self, job: Job) -> Generator[Command, Completed, list[Finding]]:
        done = yield Command(["echo", str(job.resources.cores)])
        return [Finding(subject="quota", verdict=Verdict.WRONG, text=f"\x1b[2J{done.stdout}", cure="Remove some")]


class Fails:
    @hookimpl
    def check_health(self, job: Job) -> Generator[Command, Completed, list[Finding]]:
        yield Command(["false"])
        return []


class Leaves:
    @hookimpl
    def check_health(self, job: Job) -> Generator[Command, Completed, list[Finding]]:
        yield Command(["true"])
        raise SystemExit(3)


class Forgets:
    @hookimpl
    def check_health(self, job: Job) -> Generator[Command, Completed, list[Finding]]:
        yield Command(["true"])
        return None  # type: ignore[return-value]


def test_any_plugin_adds_findings_and_none_silences_another() -> None:
    """What fails is told with the plugin's name; what is told obeys no terminal."""
    found = findings(memory="1GB", cores=2, plugins=[Fails(), Quota(), Leaves(), Forgets()])
    assert found["quota"].text == "\\x1b[2J2\n"
    assert "exit code 1" in found["plugin Fails"].text
    assert "SystemExit: 3" in found["plugin Leaves"].text
    assert "answered None where a list of Findings" in found["plugin Forgets"].text
    assert found["plugin Fails"].verdict is Verdict.DOUBTFUL


@pytest.mark.parametrize(("verdict", "cure"), [(Verdict.GOOD, "Do it"), (Verdict.WRONG, ""), (Verdict.DOUBTFUL, "")])
def test_a_finding_has_a_cure_if_it_needs_one(verdict: Verdict, cure: str) -> None:
    """Whoever tells of something wrong says what to do."""
    with pytest.raises(ValueError, match="'disk'"):
        Finding(subject="disk", verdict=verdict, text="full", cure=cure)


def test_each_of_several_groups_is_looked_at_and_one_alone_if_it_is_named() -> None:
    """Its name is beside what is said of it."""
    groups = {"small": {"memory": "1GB"}, "large": {"memory": "2GB", "cores": 2}}
    given = {"backend": "local", "groups": groups, "plugins": [Quota()]}
    found = {each.subject: each.text for each in Examination(given=given).findings()}
    assert found["quota (group small)"].endswith("1\n")
    assert found["quota (group large)"].endswith("2\n")
    found = {each.subject: each.text for each in Examination(given=given, group="large").findings()}
    assert [subject for subject in found if subject.startswith("quota")] == ["quota (group large)"]


# --- here -------------------------------------------------------------------------------------------------------


def test_a_folder_that_was_made_to_look_at_it_is_removed(tmp_path: Path) -> None:
    """Nobody has asked for it yet."""
    assert folders.logs(tmp_path / "a" / "b").verdict is Verdict.GOOD
    assert list(tmp_path.glob("a*")) == []


def test_a_shared_folder_that_others_may_write_to_is_named(tmp_path: Path) -> None:
    """Also one above it."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    found = folders.home(Home.of(tmp_path / "open"))
    assert (found.verdict, str(tmp_path / "open") in found.text) == (Verdict.WRONG, True)
    assert "chmod" in found.cure


@frozen(kw_only=True)
class Over(Elsewhere):
    """Another host, whose errands are done in this process; nothing is connected to."""

    asked: list[str] = field(factory=list)

    def ask(self, what: str, **arguments: Any) -> Any:
        self.asked.append(what)
        return raise_again(json.loads(json.dumps(errand.run({"do": what, "with": arguments}))))


def test_a_shared_folder_of_another_host_is_looked_at_there(tmp_path: Path) -> None:
    """By the Python there: of the same path on this host nothing is concluded, and nothing is made of it."""
    there = Over(connection=Connection(Address("centre"), ["ssh"]), python=["python3"])
    found = folders.home(DistantHome.at(tmp_path / "corral", there), "centre")
    assert (found.verdict, found.text) == (Verdict.GOOD, f"{tmp_path}/corral on centre: private, written to")
    assert there.asked == ["write_new", "remove_private"]
    assert [path.name for path in (tmp_path / "corral").iterdir()] == [MARK]
    (tmp_path / "corral").chmod(0o755)
    assert folders.home(DistantHome.at(tmp_path / "corral", there), "centre").verdict is Verdict.WRONG


def test_a_port_that_is_taken_is_told() -> None:
    """Before a scheduler fails for it."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        found = network.listening("127.0.0.1", server.getsockname()[1])
    assert found.verdict is Verdict.WRONG
    assert "address already in use" in found.text
    assert network.listening("127.0.0.1", 0).verdict is Verdict.GOOD
    assert network.loopback("127.0.0.1") is not None


async def test_a_login_shell_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that nobody logs in to has none that prints."""
    import pwd

    entry = pwd.getpwuid(os.geteuid())
    fields = [*entry[:6], "/usr/sbin/nologin"]
    monkeypatch.setattr("pwd.getpwuid", lambda uid: pwd.struct_passwd(fields))
    assert (await environment.login_shell()).verdict is Verdict.GOOD


# --- what a node says -------------------------------------------------------------------------------------------


def test_a_script_asks_its_python_whatever_the_names_of_folders(tmp_path: Path) -> None:
    """Quotes and lines of shell in a name are only a name; the Python may have nothing but its own library."""
    folder = tmp_path / 'it\'s "$HOME" `ls`'
    folder.mkdir()
    question = Question(packages=["corral", "nosuch"], modules=["json", "no.such"], folders={"log folder": str(folder)})
    job = Job(command=(sys.executable, "-I", "-S", "-P", "-m", "corral.launch"), walltime=3600, prologue=("X=1",))
    hook = Visiting(question=question).prepare_job(job=job)
    next(hook)
    with pytest.raises(StopIteration) as stopped:
        hook.send(job)
    asked: Job = stopped.value.value
    assert (asked.walltime, asked.prologue[1]) == (600, "X=1")
    script = "\n".join(asked.prologue) + f"\nexec {shlex.join(['echo', 'went on'])}\n"
    said = subprocess.run(["sh", "-e", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()
    assert said[0].startswith("corral-doctor: began 1")
    facts = json.loads(said[1].removeprefix("corral-doctor: "))
    assert facts["versions"] == {"corral": None, "nosuch": None}
    assert (facts["missing"], facts["problems"]) == (["no.such"], {})
    assert said[2] == "went on"
    assert list(folder.iterdir()) == []


FACTS: dict[str, Any] = {
    "host": "n1",
    "python": sys.version.split()[0],
    "executable": "/env/bin/python",
    "versions": HERE,
    "missing": [],
    "problems": {},
}
CONNECTED = Visit(group="default", job="7_0", began=1000.0, submitted=0.5, connected=10.0, contact="tls://10.0.0.1:4")


def told(visit: Visit, **facts: Any) -> dict[str, Finding]:
    visit = evolve(visit, facts={**FACTS, **facts})
    return {finding.subject: finding for finding in compared.findings(visit, HERE, {"mine": False})}


@pytest.mark.parametrize(
    ("facts", "subject", "verdict", "words"),
    [
        ({"python": "3.9.1"}, "python on the node", "wrong", "is Python 3.9.1, and here it is"),
        ({"versions": {**HERE, "lz4": None}}, "packages on the node", "doubtful", "lacks lz4"),
        ({"versions": {**HERE, "dask": None}}, "packages on the node", "wrong", "lacks dask"),
        ({"versions": {**HERE, "lz4": "3.0"}}, "packages on the node", "doubtful", "lz4 3.0 there and 4.0 here"),
        ({"missing": ["mine"]}, "packages on the node", "wrong", "lacks mine (mine is not here, either)"),
        ({"problems": {"log folder": "Read-only file system"}}, "log folder on the node", "wrong", "read-only"),
    ],
)
def test_what_a_node_lacks_is_named(facts: dict[str, Any], subject: str, verdict: str, words: str) -> None:
    """Each with how bad it is."""
    found = told(CONNECTED, **facts)
    assert found[subject].verdict.value == verdict
    assert words in found[subject].text
    assert {each.subject for each in found.values() if each.verdict is not Verdict.GOOD} == {subject}


@pytest.mark.parametrize(
    ("clock", "verdict"),
    [((1.5, 0.1), "good"), ((-2.5, 1.0), "good"), ((-2.5, 0.1), "doubtful"), ((40.0, 0.1), "wrong")],
)
def test_a_clock_is_judged_by_what_is_certain(clock: tuple[float, float], verdict: str) -> None:
    """A worker that takes long to answer is no clock that is wrong."""
    assert told(evolve(CONNECTED, clock=clock))["clock"].verdict.value == verdict


def test_a_connection_in_the_clear_is_doubtful() -> None:
    """As somebody has chosen it."""
    assert told(evolve(CONNECTED, contact="tcp://10.0.0.1:4"))["connection"].verdict is Verdict.DOUBTFUL


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [0.5, 9.5]),
        ({"script_began": 1004.0}, [0.5, 3.5, 6.0]),
        ({"script_began": 1064.0, "clock": (60.0, 0.0)}, [0.5, 3.5, 6.0]),
        ({"script_began": 900.0}, [0.5, 0.0, 9.5]),
        (
            {"script_began": 1004.0, "launcher": {"credentials": 0.5, "import": 2.0, "zygote": 0.5, "workers": 1.0}},
            [0.5, 3.5, 2.0, 2.0, 2.0],
        ),
    ],
)
def test_the_parts_of_a_start_are_all_of_it(more: dict[str, Any], expected: list[float]) -> None:
    """Whatever is not known of it, and whatever a clock says."""
    parts = list(compared.parts(evolve(CONNECTED, **more)).values())
    assert parts == pytest.approx(expected)
    assert sum(parts) == pytest.approx(10.0)


def test_a_submission_that_fails_is_told() -> None:
    """In the batch system's words."""
    visit = Visit(group="default", error=BatchSystemUnavailable("no answer"))
    [found] = compared.findings(visit, HERE, {})
    assert (found.subject, found.verdict, found.text) == ("job", Verdict.WRONG, "no answer")
