"""Sphinx: Markdown through MyST, the furo theme, reference pages from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "corral"
author = "corral developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx's name
release = version = version_of("corral")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"corral {release}"
