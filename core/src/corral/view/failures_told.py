"""What failed, as HTML: causes that are the same told once, with the evidence below."""

from __future__ import annotations

from collections.abc import Sequence

from corral.errors import counted
from corral.view.amounts import cut, moment
from corral.view.elements import Markup, element
from corral.view.overview import FailureView

#: So many causes are told, and so many failures of each.
CAUSES, EACH = 40, 5
_TASKS = 10


def section(failures: Sequence[FailureView]) -> Markup:
    """All failures, those of the most frequent cause first."""
    if not failures:
        return element("section", element("h2", "Failures"), element("p", "None."))
    alike: dict[tuple[str, str, str], list[FailureView]] = {}
    for failure in failures:
        alike.setdefault((failure.group, failure.cause, failure.hint), []).append(failure)
    causes = sorted(alike.values(), key=lambda each: -len(each))
    left = sum(len(each) for each in causes[CAUSES:])
    return element(
        "section",
        element("h2", f"Failures ({len(failures):,})"),
        element("p", "What ended without being asked to. What is alike is told once; each line can be opened."),
        *(_cause(each) for each in causes[:CAUSES]),
        element("p", f"{counted(left, 'failure')} of rarer causes are left out.", class_="note") if left else None,
    )


def _cause(alike: Sequence[FailureView]) -> Markup:
    first = alike[0]
    shown = alike[:EACH]
    count = f"{len(alike):,} × " if len(alike) > 1 else ""
    rest = len(alike) - len(shown)
    return element(
        "details",
        element("summary", element("b", f"{count}{cut(first.cause, 300)}"), f" (group {cut(first.group, 60)})"),
        element("p", first.hint) if first.hint else None,
        *(_failure(each) for each in shown),
        element("p", f"And {rest:,} more like it.", class_="faint") if rest else None,
    )


def _failure(failure: FailureView) -> Markup:
    tasks = [*failure.tasks[:_TASKS], *(["…"] if len(failure.tasks) > _TASKS else [])]
    facts = (
        ("worker" if failure.worker else "job", failure.worker or failure.job),
        ("when", moment(failure.moment) if failure.moment else ""),
        ("outcome", failure.outcome),
        ("hosts", cut(" ".join(failure.hosts), 200)),
        ("tasks", ", ".join(cut(task, 100) for task in tasks)),
        ("log", failure.log or ""),
    )
    told = [part for name, said in facts if said for part in (element("dt", name), element("dd", said))]
    tail = element("pre", "\n".join(failure.log_tail)) if failure.log_tail else None
    return element("div", element("dl", *told), tail)
