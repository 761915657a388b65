"""What a cluster has cost, as people see it in a notebook."""

from __future__ import annotations

from collections.abc import Mapping

from corral.scaling.account import STATES, Account, Hours
from corral.scaling.used import Used
from corral.text.printable import html
from corral.view.amounts import size
from corral.view.hours import hours_html
from corral.view.markup import listed, page, table


def account_html(account: Account) -> str:
    """Core-hours and GPU-hours by use, what of each node was used beside what was asked for, and what would do."""
    if not account.groups:
        return page("nothing has been used")
    parts = [hours_html("core-hours", {name: _plain(usage) for name, usage in account.groups.items()})]
    if gpus := {name: _plain(usage.gpus) for name, usage in account.groups.items() if usage.gpus.total}:
        parts.append(hours_html("GPU-hours", gpus))
    if used := {name: usage.used for name, usage in account.groups.items() if usage.used.peak_memory}:
        heads = ("per node", "peak memory", "asked", "busy cores", "asked")
        parts.append(table(heads, [_row(name, each) for name, each in used.items()], numbers=range(1, 5)))
        parts.append(listed(html(f"{name}: {words}") for name, each in used.items() for words in each.advice))
    return page(*parts)


def _row(name: str, used: Used) -> list[str]:
    asked = size(used.asked_memory) if used.asked_memory else "–"
    return [html(name), size(used.peak_memory), asked, f"{used.busy_cores:.1f}", str(used.asked_cores)]


def _plain(used: Hours) -> Mapping[str, float]:
    return {state: getattr(used, state) for state in STATES}
