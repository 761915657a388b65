"""What may be declared is explained where people look: `help`, and the reference, which is made of the same text."""

from __future__ import annotations

import inspect
import pydoc

import pytest

from corral.testing import BackendConformance, SiteConformance


@pytest.mark.parametrize("laws", [BackendConformance, SiteConformance])
def test_each_declaration_is_explained_by_help(laws: type) -> None:
    """Its name, its type, and what it is for; nothing of the kit's own."""
    declared = {
        name
        for cls in laws.__mro__
        for name, kind in inspect.get_annotations(cls).items()
        if str(kind).startswith("ClassVar") and not name.startswith("_")
    }
    text = inspect.getdoc(laws) or ""
    section = text.partition("Attributes\n----------\n")[2]
    explained = {line.partition(" : ")[0] for line in section.splitlines() if not line.startswith(" ")}
    assert declared == explained
    assert max(len(line) for line in section.splitlines()) <= 100
    assert "Attributes\n |  ----------" in pydoc.render_doc(laws, renderer=pydoc.plaintext)  # type: ignore[attr-defined]


def test_an_explanation_is_the_comment_of_the_source() -> None:
    """Of several lines, too."""
    told = inspect.getdoc(BackendConformance) or ""
    assert "transcripts : Path\n    The folder of the recorded answers; `corral record` fills one.\n" in told
    assert "alone : Submits | None\n    Two jobs where arrays are refused, an answer for each; None:" in told
