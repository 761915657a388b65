"""The style sheet of reports: colours on light and on dark, as the reader's system has it, and on paper."""

from __future__ import annotations

from collections.abc import Iterator

from corral.view import colours
from corral.view.charts import class_of
from corral.view.colours import Colour

_RULES = """
* { box-sizing: border-box }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1040px; padding: 24px 20px 60px; overflow-wrap: anywhere }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px }
h2 { font-size: 18px; margin: 36px 0 8px; padding-top: 10px; border-top: 1px solid var(--grid) }
h3 { font-size: 15px; margin: 20px 0 6px }
p { margin: 4px 0 10px; max-width: 80ch }
.faint, .mark { color: var(--faint) }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; list-style: none; margin: 16px 0; padding: 0 }
.tiles li { border: 1px solid var(--grid); border-radius: 6px; flex: 1 1 130px; padding: 8px 12px }
.tiles b { display: block; font-size: 20px; font-variant-numeric: tabular-nums }
.note { border-left: 4px solid var(--lost); padding: 2px 0 2px 12px }
.wide { overflow-x: auto }
svg { display: block; font: 12px system-ui, sans-serif; height: auto; min-width: 640px; width: 100% }
svg text { fill: var(--ink) }
svg .mark { fill: var(--faint); font-size: 11px }
svg .name { font-weight: 600 }
svg .grid { stroke: var(--grid); stroke-width: 1 }
svg .workers { fill: var(--workers); fill-opacity: 0.35; stroke: var(--workers); stroke-width: 1.5 }
svg .wanted { fill: none; stroke: var(--wanted); stroke-width: 2; stroke-dasharray: 6 4 }
svg .wait { fill: var(--waiting); fill-opacity: 0.6 }
svg .median { fill: var(--ink) }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; list-style: none; margin: 6px 0 10px; padding: 0;
  font-size: 13px }
.swatch { border-radius: 2px; display: inline-block; height: 11px; margin-right: 6px; width: 11px }
table { border-collapse: collapse; font-size: 14px; margin: 8px 0; overflow-wrap: normal }
th, td { border-bottom: 1px solid var(--grid); padding: 4px 14px 4px 0; text-align: left; vertical-align: top }
th { color: var(--faint); font-weight: 600; white-space: nowrap }
.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap }
details { border-bottom: 1px solid var(--grid); padding: 6px 0 }
summary { cursor: pointer }
pre { background: var(--shade); border-radius: 4px; font-size: 12.5px; margin: 6px 0; max-height: 30em; overflow: auto;
  padding: 8px 10px; white-space: pre-wrap }
dl { display: grid; gap: 2px 14px; grid-template-columns: max-content 1fr; margin: 6px 0 }
dt { color: var(--faint) }
dd { margin: 0 }
footer { color: var(--faint); font-size: 13px; margin-top: 40px }
@media print {
  body { font-size: 11px; max-width: none; padding: 0 }
  svg { min-width: 0 }
  .wide, pre { max-height: none; overflow: visible }
  h2, h3 { break-after: avoid }
  .tiles, .legend, tr, details { break-inside: avoid }
  details::details-content { block-size: auto; content-visibility: visible }
  * { print-color-adjust: exact }
}
"""
_SHADE = Colour("#f3f5f8", "#1e242c")


def style_sheet() -> str:
    """All of it; light on paper."""
    named = {
        "ground": Colour(colours.LIGHT, colours.DARK),
        "ink": colours.INK,
        "faint": colours.FAINT,
        "grid": colours.GRID,
        "shade": _SHADE,
        "workers": colours.WORKERS,
        "wanted": colours.WANTED,
        "waiting": colours.PHASE["waiting"],
        "lost": colours.END["lost"],
        **dict(_classes()),
    }
    light = "; ".join(f"--{name}: {colour.light}" for name, colour in named.items())
    dark = "; ".join(f"--{name}: {colour.dark}" for name, colour in named.items())
    classes = "\n".join(
        f".{name} {{ background: var(--{name}); fill: var(--{name}) }}" for name in ["ink", *dict(_classes())]
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        # Those of what is drawn come last: text is not to be a box.
        f"{_RULES}{classes}\n"
    )


def _classes() -> Iterator[tuple[str, Colour]]:
    for kind, table in (("phase", colours.PHASE), ("end", colours.END), ("use", colours.USE)):
        for word, colour in table.items():
            yield class_of(kind, word), colour
