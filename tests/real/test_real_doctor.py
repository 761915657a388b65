"""What `corral doctor` says where all is well, and of twelve set-ups each of which is wrong in one way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import setups
from click.testing import CliRunner
from operators import Operator
from real_life import Slurm

from corral.cli import main

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("leaves_nothing")]

Findings = dict[str, dict[str, Any]]
Told = tuple[int, Findings]


def doctor(*options: str, before: Sequence[str] = ()) -> Told:
    """The exit code, and the worst finding about each subject."""
    done = CliRunner().invoke(main, [*before, "doctor", "--json", *options], catch_exceptions=False)
    order = ["good", "doubtful", "wrong"]
    found = sorted(map(json.loads, done.stdout.splitlines()), key=lambda each: order.index(each["verdict"]))
    return done.exit_code, {each["subject"]: each for each in found}


def small() -> list[str]:
    """A job as small as they come."""
    return setups.of("slurm").words()


def on_slurm(*options: str, before: Sequence[str] = ()) -> Told:
    return doctor(*small(), *options, before=before)


def ails(told: Told) -> Findings:
    """All that is not good, without what stands for it on a cluster of one host."""
    code, found = told
    bad = {subject: each for subject, each in found.items() if each["verdict"] != "good"}
    assert code == max(1 if each["verdict"] == "doubtful" else 2 for each in bad.values())
    return {subject: each for subject, each in bad.items() if "is loopback" not in each["text"]}


def the_only_cause(told: Told, subject: str, words: str) -> None:
    """The doctor names this, and nothing else but that it submitted no job for it."""
    found = ails(told)
    found.pop("job", None) if subject != "job" else None
    assert list(found) == [subject], found
    assert re.search(f"(?s){words}", found[subject]["text"]), found[subject]["text"]
    assert found[subject]["cure"]


def test_all_is_well(operator: Operator) -> None:
    """On every batch system: a job that is submitted, connects and tells of its node."""
    code, found = doctor("--submit", f"--timeout={operator.patience}", *operator.setup.words())
    assert code == 0, found
    assert {each["verdict"] for each in found.values()} == {"good"}
    assert {"batch system", "packages on the node", "folders on the node", "clock", "connection"} <= set(found)
    assert "tls://" in found["connection"]["text"]
    figures = found["start"]["figures"]
    assert sum(figures.values()) == pytest.approx(2 * figures["in_all_s"])
    assert len(figures) == 6, "all parts are known"
    assert operator.count("doctor-") == 0


# --- twelve set-ups that are wrong ------------------------------------------------------------------------------


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], str]:
    """Makes a Python that does something first."""

    def make(line: str) -> str:
        (wrapper := tmp_path / "python").write_text(f"#!/bin/sh\n{line}\n")
        wrapper.chmod(0o755)
        return f"--python={wrapper}"

    return make


@pytest.fixture
def twin(tmp_path: Path) -> Callable[..., str]:
    """Makes an environment like this one, but for some packages."""

    def make(*without: str, **other: str) -> str:
        folder = tmp_path / "twin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        [packages] = folder.glob("lib/python*/site-packages")
        [ours] = [Path(path) for path in sys.path if Path(path, "dask").is_dir() and Path(path, "click").is_dir()][:1]
        for entry in ours.iterdir():
            name, is_info = entry.name.partition("-")[0], entry.name.endswith(".dist-info")
            if name in without or entry.name == "__pycache__":
                continue
            if is_info and name in other:
                changed = packages / f"{name}-{other[name]}.dist-info"
                shutil.copytree(entry, changed)
                metadata = (changed / "METADATA").read_text()
                (changed / "METADATA").write_text(re.sub(r"(?m)^Version: .*", f"Version: {other[name]}", metadata))
            else:
                (packages / entry.name).symlink_to(entry)
        return f"--python={folder / 'bin' / 'python'}"

    return make


@pytest.mark.real("slurm")
class TestOnSlurm:
    """Each names its cause."""

    def test_wrong_interface(self) -> None:
        the_only_cause(
            doctor("--backend=slurm", "--memory=1GB", "--interface=ib7"), "interface", "no .* interface 'ib7'"
        )

    @pytest.mark.needs("root", "here")
    def test_an_address_that_jobs_do_not_reach(self, python: Callable[[str], str]) -> None:
        cut_off = python(f'exec unshare --net -- {sys.executable} "$@"')
        told = on_slurm("--submit", "--death-timeout=2s", cut_off)
        the_only_cause(told, "address", r"no scheduler answered within .* tried tls://127\.0\.0\.1")

    def test_wrong_python(self) -> None:
        told = on_slurm("--submit", "--python=/no/such/python", before=["--redact"])
        the_only_cause(told, "python on the node", "on <host.*/no/such/python: No such file")

    def test_missing_package(self, twin: Callable[..., str]) -> None:
        told = on_slurm("--submit", twin("distributed"))
        the_only_cause(told, "packages on the node", "lacks distributed")

    def test_unwritable_log_folder(self) -> None:
        the_only_cause(on_slurm("--submit", "--log-directory=/sys/logs"), "log folder", "/sys/logs.* not permitted")

    @pytest.mark.needs("testbed", "control")
    def test_queue_without_access(self, slurm: Slurm) -> None:
        slurm.run("scontrol", "create", "PartitionName=climate", "Nodes=n1", "AllowAccounts=climate")
        try:
            the_only_cause(on_slurm("--queue=climate"), "queue", "'climate' .* need an account")
        finally:
            slurm.run("scontrol", "delete", "PartitionName=climate")

    def test_no_such_queue(self) -> None:
        the_only_cause(on_slurm("--queue=nosuch"), "queue", "no queue 'nosuch'")

    @pytest.mark.needs("testbed")
    def test_walltime_over_the_limit(self) -> None:
        the_only_cause(on_slurm("--queue=short", "--walltime=1h"), "queue", "'short' .* walltime= is at most 10 min")

    def test_controller_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said = subprocess.run(["scontrol", "show", "config"], check=True, capture_output=True, text=True).stdout
        found = re.search(r"^SLURM_CONF\s*= (\S+)", said, re.MULTILINE)
        assert found
        # Nobody listens on port 9.
        elsewhere = re.sub(r"^SlurmctldPort=.*", "SlurmctldPort=9", Path(found[1]).read_text(), flags=re.MULTILINE)
        (tmp_path / "slurm.conf").write_text(elsewhere)
        # What is beside it is Slurm's, too.
        for plugin in Path(found[1]).parent.glob("*.lua"):
            shutil.copy(plugin, tmp_path)
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        the_only_cause(on_slurm("--submit"), "batch system", "does not answer: .*[Uu]nable to contact")

    def test_clock_skew(self, python: Callable[[str], str], tmp_path: Path) -> None:
        (tmp_path / "ahead").mkdir()
        code = "import time\nreal = time.time\ntime.time = lambda: real() + 90\n"
        (tmp_path / "ahead" / "sitecustomize.py").write_text(code)
        ahead = python(f'PYTHONPATH={tmp_path}/ahead:$PYTHONPATH exec {sys.executable} "$@"')
        the_only_cause(on_slurm("--submit", ahead), "clock", "1.5 min ahead of")

    def test_other_dask(self, twin: Callable[..., str]) -> None:
        told = on_slurm("--submit", twin(dask="2020.1.0"))
        the_only_cause(told, "packages on the node", r"dask 2020\.1\.0 there and \d+\.\S+ here")

    def test_private_files_that_others_may_read(self, tmp_path: Path) -> None:
        (shared := tmp_path / "shared").mkdir(mode=0o700)
        own = shared / f"corral-{os.geteuid()}"
        own.mkdir(mode=0o755)
        the_only_cause(on_slurm("--submit", f"--shared-directory={shared}"), "shared folder", f"{own} has mode 0755")

    def test_login_shell_that_prints(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".profile").write_text("echo Welcome to the cluster\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        the_only_cause(on_slurm(), "login shell", "prints .* Welcome to the cluster")

    @pytest.mark.needs("root", "here")
    def test_full_shared_folder(self, small_disk: Path) -> None:
        the_only_cause(on_slurm("--submit", f"--shared-directory={small_disk}"), "shared folder", "is full")


@pytest.mark.real("slurm")
class TestAJobThatWaits:
    """It is never left behind."""

    def test_who_waits_too_long_is_told_why(self, slurm: Slurm) -> None:
        told = on_slurm("--submit", "--extra-directives=--hold", "--timeout=1s")
        the_only_cause(told, "job", "no worker has come so far: job .* is held")
        assert slurm.queue("doctor-") == {}

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_ends_with_the_doctor(
        self, number: signal.Signals, code: int, slurm: Slurm, eventually: Callable[..., None]
    ) -> None:
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        words = ["env", "--default-signal=INT", sys.executable, "-m", "corral.cli", "doctor", *small(), "--submit"]
        words.append("--extra-directives=--hold")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                eventually(lambda: slurm.queue("doctor-"), timeout=60)
            finally:
                # Nobody else would end it.
                process.send_signal(number)
            said, _ = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert slurm.queue("doctor-") == {}
        assert "Traceback" not in said


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    (disk := tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)
