"""docs/when-something-goes-wrong.md: each section has what users are told, held by a test, and ends in a cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from symptoms import PAGE, as_shown, blocks, essence, wrapped, write

#: Headings and texts of the page's sections.
SECTIONS = dict(re.findall(r"^### ([^\n]*)\n(.*?)(?=^##|\Z)", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE))


def test_the_page_and_its_tests_are_the_same_symptoms() -> None:
    """What a page says and nobody provokes need not be true any more."""
    tests = (Path(__file__).parent / "real/test_real_symptoms.py").read_text()
    assert sorted(blocks()) == sorted(re.findall(r"^def (test_\w+)\(", tests, re.MULTILINE))


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_section_has_real_words_and_ends_in_a_cure(heading: str) -> None:
    """A command or an argument, as the last thing that is read."""
    assert SECTIONS[heading].count("<!-- provoked by `test_") == 1
    assert SECTIONS[heading].rstrip().endswith("`.")
    assert len(re.findall(r"```text\n.+\n```\n", SECTIONS[heading], re.DOTALL)) == 1


def test_what_is_of_one_machine_is_not_shown() -> None:
    """Folders and ids; columns stay where they are."""
    text = "/tmp/x/7/corral-0a1b2c3d 34_0  n2 tls://127.0.0.1:41234 pid 77"
    assert (
        as_shown(text, {"/tmp/x/7": "/home/you"})
        == "/home/you/corral-5eed1e55 47_0  n1 tls://127.0.0.1:34567 pid 31415"
    )


def test_numbers_and_line_breaks_are_not_what_is_said() -> None:
    """They differ from run to run; a word does not."""
    assert essence("3 of 4 workers\n  after 1.5 s") == essence("2 of 9 workers after 20 s")
    assert essence("2 workers") != essence("2 jobs")


def test_long_lines_are_wrapped_and_indented() -> None:
    assert all(len(line) <= 118 for line in wrapped("  " + "word " * 60).splitlines())
    assert wrapped("  " + "word " * 60).splitlines()[1].startswith("    word")
    assert wrapped("one\n\ntwo") == "one\n\ntwo"


def test_one_block_is_written_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    block = "<!-- provoked by `{}` -->\n```text\n{}\n```\n"
    page.write_text("Words.\n\n" + block.format("test_a", "old") + block.format("test_b", "kept"))
    write(page, "test_a", "new \\1")
    assert blocks(page) == {"test_a": "new \\1\n", "test_b": "kept\n"}
    assert page.read_text().startswith("Words.\n\n<!--")
