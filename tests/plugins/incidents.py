"""Faults, timed: what the tests of faults measure, and the table that they write.

``--fault-table=docs/faults.md`` renews the rows of the tests that passed in this run, and leaves the others.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from real_life import Slurm, wait_until

BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"
HEADER = """\
| fault | noticed after | over after | tasks lost | doubled jobs | leftovers | test |
| --- | --- | --- | --- | --- | --- | --- |
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("faults").addoption(
        "--fault-table", type=Path, metavar="FILE", help="write what tests of faults measured into this file's table"
    )


def pytest_configure(config: pytest.Config) -> None:
    if (path := config.getoption("--fault-table")) is not None:
        config.pluginmanager.register(FaultTable(path), "corral-fault-table")


class FaultTable:
    """Collects the rows of one run of the tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        # The last phase says whether anything was left.
        if report.when == "teardown" and report.passed and "fault" in found:
            cells = [str(found["fault"]), _seconds(found.get("noticed")), _seconds(found.get("over"))]
            cells += [str(found.get(name, "–")) for name in ("tasks lost", "doubled jobs", "leftovers")]
            self.rows[report.nodeid] = f"| {' | '.join(cells)} | `{report.nodeid}` |"

    def pytest_sessionfinish(self) -> None:
        before, _, rest = self.path.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        known = {row.split("`")[1]: row for row in table.splitlines() if row.endswith("` |")}
        rows = sorted((known | self.rows).values(), key=lambda row: row.split("`")[1])
        self.path.write_text(f"{before}{BEGIN}\n{HEADER}" + "".join(f"{row}\n" for row in rows) + f"{END}{after}")


def _seconds(value: object) -> str:
    return f"{value:.1f} s" if isinstance(value, float) else "–"


@define
class Incident:
    """One fault: when it happened, when it was noticed and over, and what it did to jobs and tasks."""

    slurm: Slurm
    tell: Callable[[str, object], None]
    _began: float | None = None
    _clusters: set[str] = field(factory=set)

    def begins(self) -> None:
        self._began = time.monotonic()

    def is_noticed(self) -> None:
        """The user has been told, or could see it."""
        self._tell_time("noticed")

    def is_over(self) -> None:
        """What was wanted is there again, or the error has been raised."""
        self._tell_time("over")

    def _tell_time(self, name: str) -> None:
        assert self._began is not None
        self.tell(name, round(time.monotonic() - self._began, 1))

    @contextmanager
    def watched(self, cluster: str, wanted: int) -> Iterator[None]:
        """Look at Slurm's queue all the while: there are never more jobs at once than wanted."""
        self._clusters.add(cluster)
        most = 0
        is_over = threading.Event()

        def look() -> None:
            nonlocal most
            while not is_over.wait(0.3):
                with suppress(subprocess.SubprocessError):  # the controller may be the fault
                    most = max(most, len(self.slurm.queue(cluster, "PENDING,RUNNING,SUSPENDED")))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()
        assert most <= wanted
        self.tell("doubled jobs", max(0, most - wanted))

    def ran_once(self, marks: Path, tasks: int) -> None:
        """Each of so many tasks has left its mark, once."""
        counts = Counter(map(int, marks.read_text().split()))
        assert counts == dict.fromkeys(range(tasks), 1)
        self.tell("tasks lost", tasks - len(counts))

    def has_left(self) -> list[str]:
        """Jobs that are still in the queue."""
        return [job for cluster in self._clusters for job in self.slurm.queue(cluster)]


@pytest.fixture
def incident(request: pytest.FixtureRequest, slurm: Slurm, leaves_nothing: None, record_property: Any) -> Any:
    """Measures the fault that the test's mark names, and sees to it that nothing is left."""
    [fault] = request.node.iter_markers("fault")
    variant = f": {request.node.callspec.id}" if hasattr(request.node, "callspec") else ""
    record_property("fault", fault.args[0] + variant)
    incident = Incident(slurm, record_property)
    yield incident
    wait_until(lambda: not incident.has_left(), lambda: f"left in the queue: {incident.has_left()}")
    # `leaves_nothing` looks at the rest after this, and fails if there is any.
    record_property("leftovers", 0)
