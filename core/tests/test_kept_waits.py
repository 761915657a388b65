"""What clusters remember for one another of how long jobs have waited."""

from __future__ import annotations

import json
import os
import stat
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from corral.cli import main
from corral.cluster import kept_waits
from corral.host.home import MARK
from corral.scaling.history import MEMORABLE, Asked, Wait
from corral.simulation import Queue

ASKED = Asked(backend="lines", queue="batch", cores=1, walltime=3600)


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


def wait(number: int, waited: float = 60.0, ago: float = 100.0, asked: Asked = ASKED) -> Wait:
    return Wait(
        asked=asked, submission=f"c-{number}", job=str(number), submitted=time.time() - ago, waited=waited,
        started_up=5.0,
    )  # fmt: skip


def add(*waits: Wait) -> None:
    kept_waits.add(waits, time.time())


def jobs(waits: list[Wait]) -> list[int]:
    return sorted(int(each.job) for each in waits)


def corral(*words: str) -> Result:
    return CliRunner().invoke(main, ["waits", *words])


# --- files ------------------------------------------------------------------------------------------------------


def test_nothing_is_remembered_at_first(state_directory: Path) -> None:
    """And reading makes nothing."""
    assert kept_waits.read() == []
    assert kept_waits.forget() == 0
    assert not state_directory.exists()


def test_what_is_remembered_is_private(state_directory: Path) -> None:
    """Nobody else learns when, and of which queue, somebody asks for what."""
    add(wait(1), wait(2))
    assert jobs(kept_waits.read()) == [1, 2]
    folder = state_directory / "waits"
    [file] = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o700, 0o600]


def test_many_files_become_one(state_directory: Path) -> None:
    """Nothing is lost, and a draft that somebody left is removed in time."""
    for number in range(kept_waits.FILES):
        add(wait(number))
    folder = state_directory / "waits"
    draft = folder / ".new-0011"
    draft.touch()
    os.utime(draft, (1, 1))
    assert len(os.listdir(folder)) == kept_waits.FILES + 1
    add(wait(99))
    assert len(os.listdir(folder)) == 1
    assert jobs(kept_waits.read()) == [*range(kept_waits.FILES), 99]


def test_no_more_than_enough_are_kept_of_a_queue() -> None:
    """The latest; those that are too old go; other queues are none of its business."""
    other = evolve(ASKED, queue="other")
    add(*(wait(number, ago=100_000.0 - number) for number in range(kept_waits.KEPT + 5)))
    add(wait(9001, asked=other), wait(9002, asked=other, ago=MEMORABLE + 10))
    for number in range(9100, 9100 + kept_waits.FILES):
        add(wait(number, asked=other))
    found = kept_waits.read()
    assert jobs([each for each in found if each.asked == ASKED]) == [*range(5, kept_waits.KEPT + 5)]
    assert jobs([each for each in found if each.asked == other]) == [9001, *range(9100, 9100 + kept_waits.FILES)]


def test_what_is_too_old_goes_with_the_next_that_is_written(state_directory: Path) -> None:
    """Also where little is written."""
    add(wait(1, ago=MEMORABLE + 10), wait(2))
    [file] = (state_directory / "waits").iterdir()
    week_ago = time.time() - kept_waits.OLD - 10
    os.utime(file, (week_ago, week_ago))
    assert jobs(kept_waits.read()) == [1, 2]
    add(wait(3))
    assert jobs(kept_waits.read()) == [2, 3]
    assert len(os.listdir(state_directory / "waits")) == 1


def test_hosts_that_write_at_once_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock is needed: each writes files of its own, and two that tidy up at once say the same twice."""
    monkeypatch.setattr(kept_waits, "FILES", 2)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: add(wait(number)), range(200)))
    assert jobs(kept_waits.read()) == [*range(200)]


def test_whoever_was_killed_while_tidying_up_has_harmed_nothing(state_directory: Path) -> None:
    """What is there twice counts once."""
    add(wait(1))
    folder = state_directory / "waits"
    [file] = folder.iterdir()
    copy = folder / f"{'ab' * 16}.jsonl"
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o600)
    assert jobs(kept_waits.read()) == [1]


@pytest.mark.parametrize(
    "damage",
    [b"", b"\n\n", b"{", b"null\n7\n[]\n", b"\xff\xfe\x00", b"[" * 100_000, b'{"backend": "lines"}', b"\x00" * 4096],
)
def test_damaged_lines_are_passed_over(state_directory: Path, damage: bytes) -> None:
    """And what stands beside them is read."""
    add(wait(1))
    [file] = (state_directory / "waits").iterdir()
    file.write_bytes(damage + b"\n" + file.read_bytes() + damage)
    assert jobs(kept_waits.read()) == [1]
    for number in range(2, 2 + kept_waits.FILES):
        add(wait(number))
    assert jobs(kept_waits.read()) == [*range(1, 2 + kept_waits.FILES)]


def test_files_of_others_are_neither_read_nor_removed(state_directory: Path) -> None:
    """A name that corral gives to no file; one that others can read; a link."""
    add(wait(1))
    folder = state_directory / "waits"
    [file] = folder.iterdir()
    (folder / "notes.jsonl").write_bytes(file.read_bytes().replace(b'"1"', b'"2"'))
    (folder / "notes.jsonl").chmod(0o600)
    open_to_all = folder / f"{'ab' * 16}.jsonl"
    open_to_all.write_bytes(file.read_bytes().replace(b'"1"', b'"3"'))
    open_to_all.chmod(0o644)
    (folder / f"{'cd' * 16}.jsonl").symlink_to(folder / "notes.jsonl")
    assert jobs(kept_waits.read()) == [1]
    for number in range(4, 4 + kept_waits.FILES):
        add(wait(number))
    assert {"notes.jsonl", f"{'ab' * 16}.jsonl", f"{'cd' * 16}.jsonl"} <= set(os.listdir(folder))


def test_what_is_remembered_can_be_forgotten(state_directory: Path) -> None:
    """All of it, and the folder."""
    add(wait(1), wait(2))
    assert corral("--forget").output == "Forgotten: 2 waits.\n"
    assert [path.name for path in state_directory.iterdir()] == [MARK]
    assert corral("--forget").output == "Forgotten: 0 waits.\n"


# --- corral waits -----------------------------------------------------------------------------------------------


def test_waits_are_shown_by_queue() -> None:
    """With what would start sooner."""
    short = evolve(ASKED, walltime=600)
    add(*(wait(number, 7200.0) for number in range(9)), *(wait(100 + number, 40.0, asked=short) for number in range(8)))
    add(wait(200, 3.0, asked=Asked(backend="pbs")), wait(201, ago=MEMORABLE + 60, asked=Asked(backend="old")))
    head, *rows = corral().output.splitlines()
    assert head.split()[:3] == ["backend", "queue", "jobs"]
    assert [row.split() for row in rows[:2]] == [
        ["lines", "batch", "17", "40", "s", "2", "h", "2", "h", "5", "s"],
        ["pbs", "(default)", "1", "3", "s", "3", "s", "3", "s", "5", "s"],
    ]
    assert "lines: in queue 'batch' jobs of at most 10 min" in rows[2]
    assert len(corral("--queue", "").output.splitlines()) == 2
    [told] = [json.loads(line) for line in corral("--json", "--backend", "pbs").output.splitlines()]
    assert told == {
        "backend": "pbs", "queue": "", "server": "", "jobs": 1, "quartiles": [3.0, 3.0, 3.0], "start_up": 5.0,
        "advice": [],
    }  # fmt: skip


def test_no_waits_are_an_answer_too() -> None:
    shown = corral()
    assert (shown.exit_code, shown.output) == (0, "No waits are remembered of jobs of the last 30 days.\n")
    assert corral("--toml").exit_code == 1


def test_the_simulator_reads_what_was_recorded(tmp_path: Path) -> None:
    """Jobs wait there as they did here, in the same order."""
    asked = evolve(ASKED, queue='a "quoted" \\ queue 😀')
    add(*(wait(number, float(number), ago=1000 - number, asked=asked) for number in range(40)))
    add(wait(99, asked=Asked(backend="pbs")))
    several = corral("--toml")
    assert several.exit_code == 2
    assert "--backend pbs" in several.output
    file = tmp_path / "mine.toml"
    file.write_text(corral("--toml", "--backend", "lines").output)
    queue = Queue.read(file)
    assert queue.title == 'lines, a "quoted" \\ queue 😀'
    assert queue.start_up == 5.0
    assert list(queue.trace) == [*range(40)]
    assert set(tomllib.loads(file.read_text())) == {"title", "start_up", "trace"}
