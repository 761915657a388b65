"""Sphinx: Markdown through MyST, the furo theme, reference pages from the docstrings."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "corral"
author = "corral developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
release = version = version_of("corral")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    # Ours, in _ext: a page for each backend and site.
    "plugin_pages",
]
exclude_patterns = ["_build", "_ext", "examples"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# `this` in a docstring is code, and a link if it is documented.
default_role = "py:obj"
add_module_names = False
maximum_signature_line_length = 88
autodoc_typehints = "both"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["corral.css"]
html_title = f"corral {release}"


#: What is said of attributes, while napoleon works.
_attributes: dict[str, list[str]] = {}


def setup(app: Sphinx) -> None:
    """Mend two things that Sphinx makes of our sources."""
    app.connect("autodoc-process-signature", _show_factories)
    # Napoleon takes "What the job runs: an argument list" for a type and what has it.
    app.connect("autodoc-process-docstring", _set_aside, priority=400)
    app.connect("autodoc-process-docstring", _put_back, priority=600)


def _show_factories(*event: Any) -> tuple[str | None, str | None]:
    """What attrs makes of a factory is shown as what it makes."""
    *_, signature, result = event
    return signature and signature.replace("NOTHING", "{}"), result


def _set_aside(_app: Sphinx, what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    if what in ("attribute", "data"):
        _attributes[name] = lines[:]
        lines[:] = ["nothing"]


def _put_back(_app: Sphinx, _what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = _attributes.pop(name, lines)
