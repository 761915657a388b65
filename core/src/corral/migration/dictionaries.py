"""Dictionaries of arguments that a program writes out in one place and unpacks in another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from corral.request.synonyms import MEANINGS


def assigned_once(tree: ast.AST, name: str) -> ast.expr | None:
    """What a variable is, if it is assigned in one place alone."""
    values = []
    stores = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value is not None and len(targets) == 1 and _is(targets[0], name):
                values.append(node.value)
        elif isinstance(node, ast.Name | ast.arg):
            is_stored = isinstance(node, ast.arg) or not isinstance(node.ctx, ast.Load)
            stores += is_stored and name == (node.arg if isinstance(node, ast.arg) else node.id)
    return values[0] if len(values) == stores == 1 else None


def changes_of(tree: ast.AST, name: str) -> Iterator[tuple[ast.expr, str]]:
    """Where words are added to a dictionary later, and what to do there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load) and _is(node.value, name):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if key in MEANINGS:
                yield node, MEANINGS[str(key)]
            elif key is None:
                yield node, "if it is a word that corral calls otherwise, change it; an error names it"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("update", "setdefault")
            and _is(node.func.value, name)
        ):
            yield node, "change the words in it that corral calls otherwise; an error names them"


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
