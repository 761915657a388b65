"""What was really run, on which batch system, when and by whom: ``docs/tried.jsonl``, and the page that is made of it.

``--record-tried=FILE`` appends what a run of the real tests found to such a file, a line for each batch system.
``python tests/plugins/tried.py`` writes the table in ``docs/tried.md`` anew; a test holds it, and what each backend
says of itself (``BackendFacts.tried``), to the file.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, field, frozen

from corral import __version__
from corral.errors import InvalidRequest
from corral.plugin import discovery

DOCS = Path(__file__).parents[2] / "docs"
RUNS, PAGE = DOCS / "tried.jsonl", DOCS / "tried.md"
BEGIN, END = "<!-- from tried.jsonl -->\n", "<!-- end -->\n"

_Texts = tuple[str, ...]


def _texts(texts: Iterable[str]) -> _Texts:
    return tuple(texts)


@frozen(kw_only=True)
class Run:
    """One batch system, and what was run on it; an empty text or None: nobody noted it."""

    backend: str
    #: Its own name, and what it says of its version.
    batch_system: str
    version: str
    #: Folders of tests, or in words what was done by hand.
    tests: _Texts = field(converter=_texts)
    passed: int | None = None
    failed: int | None = None
    skipped: int | None = None
    #: Which `setups.ABILITIES` it lacked.
    lacks: _Texts = field(default=(), converter=_texts)
    #: Versions and the operating system of where the tests ran.
    python: str = ""
    corral: str = ""
    system: str = ""
    #: ``2026-11-30``, or how often.
    date: str
    by: str


def read(path: Path) -> list[Run]:
    """The runs in a file.

    Raises
    ------
    InvalidRequest
        A line is none; says which.
    """
    runs = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            runs.append(Run(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise InvalidRequest("tried", f"line {number} of {path} is no run: {error}") from None
    return runs


def in_words(runs: Sequence[Run]) -> str:
    """What `BackendFacts.tried` says: ``Slurm 22.05.8 and 24.11.5``."""
    versions: dict[str, dict[str, None]] = {}
    for run in runs:
        versions.setdefault(run.batch_system, {})[run.version] = None
    return "; ".join(f"{name} {' and '.join(known)}" for name, known in versions.items())


def table(runs: Sequence[Run]) -> str:
    """The page's table."""
    lines = ["| batch system | backend | what was run | result | where | when | by |", "| --- " * 7 + "|"]
    for run in sorted(runs, key=lambda run: (run.backend, run.batch_system, run.version)):
        counts = ((run.passed, "passed"), (run.failed, "failed"), (run.skipped, "skipped"))
        result = ", ".join(f"{count} {word}" for count, word in counts if count is not None) or "not counted"
        if run.lacks:
            result += f"; it lacks {', '.join(run.lacks)}"
        where = ", ".join(filter(None, [run.system, run.python and f"Python {run.python}"])) or "not noted"
        cells = (
            f"{run.batch_system} {run.version}",
            run.backend,
            ", ".join(run.tests),
            result,
            where,
            run.date,
            run.by,
        )
        lines.append(f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def written(page: str, runs: Sequence[Run]) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table(runs)}{END}{rest.partition(END)[2]}"


# --- recording --------------------------------------------------------------------------------------------------


class Recorder:
    """Counts the tests of each batch system, also those that other processes run, and appends what they found."""

    def __init__(self, path: Path | None, by: str) -> None:
        self.path, self.by = path, by
        #: What was said of each batch system, and the worst outcome of each of its tests.
        self.known: dict[str, Mapping[str, Any]] = {}
        self.outcomes: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, said in getattr(report, "batch_systems", {}).items():
            self.known[name] = said
            outcomes = self.outcomes.setdefault(name, {})
            if report.when == "call" or report.outcome != "passed":
                worse = ["passed", "skipped", "failed"]
                before = outcomes.get(report.nodeid, "passed")
                outcomes[report.nodeid] = max(before, report.outcome, key=worse.index)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for said in self.known.values():
            terminalreporter.write_line(said["said"])
        if self.path is None:
            return
        runs = list(self.runs())
        with self.path.open("a") as file:
            file.writelines(json.dumps(asdict(run)) + "\n" for run in runs)
        terminalreporter.write_line(f"{len(runs)} batch systems recorded in {self.path}")

    def runs(self) -> Iterator[Run]:
        for name, said in self.known.items():
            outcomes = self.outcomes[name]
            if not {"passed", "failed"} & set(outcomes.values()) or not said["version"]:
                continue
            yield Run(
                backend=name,
                batch_system=discovery.facts_of(name).title,
                version=said["version"],
                tests=sorted({_folder(nodeid) for nodeid, outcome in outcomes.items() if outcome != "skipped"}),
                **{word: list(outcomes.values()).count(word) for word in ("passed", "failed", "skipped")},
                lacks=sorted(said["lacks"]),
                python=platform.python_version(),
                corral=__version__,
                system=_system(),
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                by=self.by,
            )


def _folder(nodeid: str) -> str:
    """``plugins/slurm`` of ``plugins/slurm/tests/test_slurm_real.py::test``."""
    folder = nodeid.partition("::")[0].rpartition("/")[0]
    return folder.removesuffix("/tests") or "."


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("batch systems")
    group.addoption(
        "--record-tried", metavar="FILE", help="append to this file what was run on each batch system (JSON lines)"
    )
    who = "CI" if os.environ.get("CI") else "by hand"
    group.addoption("--tried-by", metavar="WHO", default=who, help=f"who ran it, for that file (default: {who})")


def pytest_configure(config: pytest.Config) -> None:
    # Of tests that run side by side, the one process that reports.
    if not hasattr(config, "workerinput"):
        path = config.getoption("--record-tried")
        recorder = Recorder(Path(path).resolve() if path else None, config.getoption("--tried-by"))
        config.pluginmanager.register(recorder, "corral-tried")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(), read(RUNS)))
