"""Docstrings as text for people, whatever Python has made of them.

Python 3.13 takes their indentation away, and PYTHONOPTIMIZE=2 the docstrings themselves. So they are read from the
source where that matters.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re


def docstring(module: str, name: str | None = None) -> str:
    """The docstring of a module, or of a class or function in it, without importing it.

    Returns
    -------
    str
        Indented as `inspect.cleandoc` does; empty where there is no source, as in a frozen program.
    """
    spec = importlib.util.find_spec(module)
    source = None if spec is None or spec.loader is None else _source(spec.loader, module)
    if source is None:
        return ""
    tree = ast.parse(source)
    found = tree if name is None else next((node for node in tree.body if getattr(node, "name", None) == name), None)
    if not isinstance(found, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return ""
    return ast.get_docstring(found) or ""


def _source(loader: object, module: str) -> str | None:
    try:
        # What `importlib.abc.InspectLoader` promises; a zip archive keeps the promise too.
        source: str | None = loader.get_source(module)  # type: ignore[attr-defined]
    except (AttributeError, ImportError, OSError):
        return None
    return source


def documented(text: str) -> dict[str, str]:
    """The parameters of a NumPy docstring, however it is indented, each with its description in one line."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", inspect.cleandoc(text), re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else ():
        if match := re.fullmatch(r"\*{0,2}\w+(?:, \w+)*", line):
            names = [name for name in match[0].split(", ") if not name.startswith("*")]
            found.update(dict.fromkeys(names, ""))
        elif line.strip():
            for name in names:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found
