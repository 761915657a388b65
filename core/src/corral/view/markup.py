"""What HTML in a notebook is made of: tables, bars, counts and what can be unfolded, and the one style sheet.

A notebook's page is not ours: JupyterLab, the classic Notebook, VS Code and pages made of notebooks each have colours
of their own, light or dark. So text and background are the page's where it names them, else ours, both of the same
kind; there is no script, and every rule is for what is below ``.corral``. Where a page drops the style sheet, as
JupyterLab does with a notebook that it does not trust, tables and words remain.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping, Sequence

from corral.text.durations import in_words
from corral.text.printable import html
from corral.view import colours
from corral.view.colours import Colour

#: By the end of a class's name. Ends of jobs are called by their words, of which classes have no spaces.
_NAMED: Mapping[str, Colour] = {
    "ink": colours.INK,
    "faint": colours.FAINT,
    "grid": colours.GRID,
    "paper": Colour(colours.LIGHT, colours.DARK),
    **colours.PHASE,
    **{f"use-{use}": colour for use, colour in colours.USE.items()},
    "ended": colours.END[""],
    "failed": colours.END["died"],
    # What is read needs more contrast than what is seen (WCAG 2.2, 1.4.3).
    "bad": Colour("#b3093b", "#ff8a8a"),
    "link": Colour("#0b4fc4", "#8ab4f8"),
}
#: How pages say that they are light, or dark; who says nothing is as the browser wants it.
_LIGHT = ('[data-jp-theme-light="true"]', ".vscode-light", '[data-theme="light"]')
_DARK = ('[data-jp-theme-light="false"]', ".vscode-dark", ".vscode-high-contrast", '[data-theme="dark"]')

_RULES = """
.corral {
  color: var(--jp-content-font-color1, var(--vscode-editor-foreground, var(--corral-ink)));
  background: var(--jp-layout-color0, var(--vscode-editor-background, var(--corral-paper)));
  font: 13px/1.5 var(--jp-ui-font-family, var(--vscode-font-family, system-ui, sans-serif));
  padding: 2px 4px; overflow-wrap: anywhere; white-space: normal; max-width: 1200px; box-sizing: border-box;
}
.corral .corral-head { display: flex; flex-wrap: wrap; gap: 0 1.6em; align-items: baseline; margin: 0 0 4px; }
.corral .corral-name { font-weight: 600; font-size: 15px; }
.corral .corral-faint { color: var(--jp-content-font-color2, var(--corral-faint)); }
.corral .corral-bad { color: var(--corral-bad); font-weight: 600; }
.corral a { color: var(--jp-content-link-color, var(--vscode-textLink-foreground, var(--corral-link))); }
.corral .corral-wide { overflow-x: auto; }
.corral table.corral-rows { border-collapse: collapse; margin: 2px 0 6px; width: auto; table-layout: auto;
  font-size: 13px; border: 0; }
.corral table.corral-rows tr, .corral table.corral-rows tr:nth-child(n):hover { background: transparent; border: 0; }
.corral table.corral-rows th, .corral table.corral-rows td { text-align: left; vertical-align: top;
  padding: 4px 14px 4px 0; border: 0; border-top: 1px solid var(--jp-border-color2, var(--corral-grid));
  white-space: normal; max-width: 34em; }
.corral table.corral-rows thead th { border-top: 0; font-weight: 500; padding-bottom: 1px; white-space: nowrap;
  color: var(--jp-content-font-color2, var(--corral-faint)); }
.corral table.corral-rows .corral-number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.corral table.corral-rows tbody th { font-weight: 600; }
.corral .corral-counts { display: flex; flex-wrap: wrap; gap: 0 1em; }
.corral .corral-count { white-space: nowrap; font-variant-numeric: tabular-nums; }
.corral .corral-dot { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 5px; }
.corral .corral-bar { display: flex; width: 100%; min-width: 11em; height: 8px; margin: 4px 0 2px; border-radius: 2px;
  overflow: hidden; background: var(--jp-border-color2, var(--corral-grid)); }
.corral .corral-bar > span { display: block; height: 100%; min-width: 2px; }
.corral ul { margin: 2px 0 6px; padding-left: 1.3em; list-style: disc; }
.corral details { margin: 2px 0; }
.corral details > summary { cursor: pointer; display: list-item; }
.corral details > div { margin: 2px 0 6px 1.3em; }
.corral .corral-hint { margin: 0 0 4px 1.3em; }
.corral pre.corral-log { margin: 4px 0; padding: 6px 8px; max-height: 16em; overflow: auto; white-space: pre-wrap;
  font: 12px/1.4 var(--jp-code-font-family, var(--vscode-editor-font-family, monospace)); color: inherit;
  background: var(--jp-layout-color2, var(--vscode-textCodeBlock-background, transparent));
  border: 1px solid var(--jp-border-color2, var(--corral-grid)); border-radius: 2px; }
.corral.corral-closed .corral-bar, .corral.corral-closed .corral-dot { filter: grayscale(1); opacity: 0.6; }
.corral.corral-closed { color: var(--jp-content-font-color2, var(--corral-faint)); }
"""


@functools.cache
def sheet() -> str:
    """The style sheet, as an element."""

    def colours_of(kind: str) -> str:
        return " ".join(f"--corral-{name}: {getattr(colour, kind)};" for name, colour in _NAMED.items())

    def below(pages: Iterable[str]) -> str:
        return ", ".join(f"{page} .corral" for page in pages)

    light, dark = colours_of("light"), colours_of("dark")
    rules = [
        f".corral {{ {light} }}",
        f"@media (prefers-color-scheme: dark) {{ .corral {{ {dark} }} }}",
        f"{below(_LIGHT)} {{ {light} }}",
        f"{below(_DARK)} {{ {dark} }}",
        _RULES.strip(),
        *(f".corral .corral-is-{name} {{ background: var(--corral-{name}); }}" for name in _NAMED),
    ]
    return "<style>\n" + "\n".join(rules) + "\n</style>"


def page(*parts: str, is_closed: bool = False, has_sheet: bool = True) -> str:
    """Parts of HTML as one, with the style sheet; `is_closed` greys what there was."""
    kind = "corral corral-closed" if is_closed else "corral"
    return (sheet() if has_sheet else "") + f'<div class="{kind}">{"".join(parts)}</div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """Rows of cells that are HTML already; the first of each is its head. The columns `numbers` stand to the right."""
    right = set(numbers)

    def cell(kind: str, column: int, content: str) -> str:
        kinds = ' class="corral-number"' if column in right else ""
        return f"<{kind}{kinds}>{content}</{kind}>"

    head = "".join(cell("th", column, html(each)) for column, each in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(cell("td" if column else "th", column, each) for column, each in enumerate(row)) + "</tr>"
        for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if heads else ""
    # In a narrow window it is the table that is moved, not the page.
    return f'<div class="corral-wide"><table class="corral-rows">{head}<tbody>{body}</tbody></table></div>'


def bar(parts: Mapping[str, float]) -> str:
    """Shares of a whole, side by side, by the ends of their classes' names; nothing, if there is no whole."""
    whole = sum(parts.values())
    if whole <= 0:
        return ""
    shares = (
        f'<span class="corral-is-{name}" style="width: {100 * part / whole:.4g}%"></span>'
        for name, part in parts.items()
        if part > 0
    )
    return f'<div class="corral-bar" role="presentation">{"".join(shares)}</div>'


def counts(parts: Mapping[str, str]) -> str:
    """What stands beside a bar: words by the ends of their classes' names, each with its colour."""
    each = (
        f'<span class="corral-count"><span class="corral-dot corral-is-{name}"></span>{html(words)}</span> '
        for name, words in parts.items()
    )
    return f'<div class="corral-counts">{"".join(each)}</div>'


def unfolded(summary: str, body: str) -> str:
    """HTML that is shown after a click on its summary; without a body, the summary alone."""
    return f"<details><summary>{summary}</summary><div>{body}</div></details>" if body else f"<div>{summary}</div>"


def listed(items: Iterable[str]) -> str:
    """Items of HTML, each with a bullet; nothing, if there are none."""
    each = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{each}</ul>" if each else ""


def whole(text: str) -> str:
    """Text that stays in one line."""
    return f'<span class="corral-count">{html(text)}</span>'


def faint(text: str) -> str:
    """Text that is said in passing."""
    return f'<span class="corral-faint">{html(text)}</span>'


def bad(text: str) -> str:
    """Text that somebody should see."""
    return f'<span class="corral-bad">{html(text)}</span>'


def quoted(lines: Iterable[str]) -> str:
    """Lines of a log, as they are; nothing, if there are none."""
    text = html("\n".join(lines))
    return f'<pre class="corral-log">{text}</pre>' if text else ""


def clock(moment: float, now: float) -> str:
    """``14:30``, or with the day if that is another one, of a moment in seconds since the epoch."""
    then = time.localtime(moment)
    is_today = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)


def until(moment: float, now: float) -> str:
    """``in 5 min, at 14:30``; ``now`` for what is due."""
    return f"in {in_words(moment - now)}, at {clock(moment, now)}" if moment > now else "now"
