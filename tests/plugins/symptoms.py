"""What users are told when something goes wrong: held against docs/when-something-goes-wrong.md, or written into it.

Each block of that page stands below the name of the test that provokes it. Such a test fails if corral says anything
else; ``--symptom-page=docs/when-something-goes-wrong.md`` writes what it says into the page instead.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import define, field

PAGE = Path(__file__).parents[2] / "docs/when-something-goes-wrong.md"
#: A block of the page, below the name of its test.
BLOCK = re.compile(
    r"(?<=<!-- provoked by `)(?P<test>\w+)(?P<between>` -->\n```text\n)(?P<said>.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)
_WIDTH = 118


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("symptoms").addoption(
        "--symptom-page", type=Path, metavar="FILE", help="write what users are told into the blocks of this page"
    )


def blocks(page: Path = PAGE) -> dict[str, str]:
    """What the page says that users are told, by the tests that provoke it."""
    return {found["test"]: found["said"] for found in BLOCK.finditer(page.read_text())}


@define
class Symptom:
    """What users are told in one test."""

    test: str
    #: What stands for what is this machine's own: by what it is shown.
    own: Mapping[str, str]
    page: Path | None = None
    told: list[str] = field(factory=list)

    def is_told(self, text: object) -> None:
        """Users read this text."""
        self.told.append(str(text))

    def settle(self) -> None:
        """Compare with the page, or change it."""
        said = "\n".join(as_shown(text, self.own) for text in self.told)
        if self.page is not None:
            write(self.page, self.test, said)
        known = blocks(self.page or PAGE)
        assert self.test in known, f"the page has no block for {self.test}, which would be:\n{said}"
        assert essence(known[self.test]) == essence(said)


def write(page: Path, test: str, said: str) -> None:
    """Replace the block of one test."""

    def renewed(found: re.Match[str]) -> str:
        return f"{found['test']}{found['between']}{wrapped(said)}\n" if found["test"] == test else found[0]

    page.write_text(BLOCK.sub(renewed, page.read_text()))


def wrapped(text: str) -> str:
    """Lines as wide as a page; what goes on is indented."""
    lines = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line, _WIDTH, initial_indent="", subsequent_indent=indent + "  ", break_long_words=False,
            break_on_hyphens=False, drop_whitespace=True,
        ) or [""]  # fmt: skip
    return "\n".join(lines)


def as_shown(text: str, own: Mapping[str, str]) -> str:
    """Without what is of one machine and one run alone: folders, hosts, ids, ports, secrets, moments."""
    for there, shown in own.items():
        text = re.sub(rf"(?<![\w-]){re.escape(there)}(?![\w-])", shown, text)
    for pattern, shown in (
        (r"/\S*/spool/n\d/job\d+/", "/var/spool/slurmd/job04711/"),
        (r"corral-[0-9a-f]{8}\b", "corral-5eed1e55"),
        (r"[0-9a-f]{32}", "5eed1e55…"),
        (r"\bn[123]\b", "n1"),
        (r"(?<=127\.0\.0\.1:)\d+", "34567"),
        (r"pid \d+", "pid 31415"),
    ):
        text = re.sub(pattern, shown, text)
    # As long as they were: columns of tables stay where they are.
    return re.sub(r"\b\d+(?=_\d)", lambda found: "4711"[: len(found[0])].ljust(len(found[0]), "0"), text)


def essence(said: str) -> str:
    """What stays the same from run to run: the words, without numbers."""
    return re.sub(r"\d+([.,]\d+)*", "#", " ".join(said.split()))


@pytest.fixture
def symptom(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Symptom]:
    """Holds what a user is told against the page."""
    own = {
        str(tmp_path / "corral"): "/home/you/.local/state/corral",
        str(tmp_path): "/home/you",
        sys.executable: "/home/you/env/bin/python",
        sys.prefix: "/home/you/env",
        os.getcwd(): "/home/you/project",
        socket.gethostname(): "login1",
        getpass.getuser(): "you",
    }
    symptom = Symptom(request.function.__name__, own, request.config.getoption("--symptom-page"))
    yield symptom
    # A test that has failed has said so.
    if symptom.told:
        symptom.settle()
