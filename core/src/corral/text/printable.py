r"""Text from outside as it may be shown: the one place where it is made so.

What a batch system answers, what a job is called and what it writes to its log is somebody else's text. A terminal
obeys some of it (colours, titles, keys, a cursor that covers what was said), a line that is read from right to left
says something else than it holds, a browser runs it. Here each such character becomes the escape by which Python
writes it, ``\x1b`` or ``\u202e``: visible, harmless, and the same after a second time.
"""

from __future__ import annotations

import re

#: Controls of C0 and C1; marks that change the direction, or show nothing; separators of lines; lone surrogates.
_NOT_SHOWN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_LINES = re.compile(f"[{_NOT_SHOWN}]")
_IN_A_LINE = re.compile(f"[\t\n{_NOT_SHOWN}]")


def printable(text: str) -> str:
    """The text as one line: ends of lines and tabs are escaped as well."""
    return text if text.isprintable() else _IN_A_LINE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """The text with its lines and tabs."""
    return text if text.isprintable() else _IN_LINES.sub(_escape, text.replace("\r\n", "\n"))


def html(text: str) -> str:
    """The text inside HTML, also inside an attribute."""
    import html as markup  # not before somebody looks

    return markup.escape(printable_lines(text))


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
