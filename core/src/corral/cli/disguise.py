"""What a batch system printed, with made-up names in the place of real ones: programs still read it as it was.

Each name becomes the same one wherever it stands, a host's number stays, and columns keep their places.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import partial

from corral.cli.redact import Redaction

#: By kind; a second one of it is numbered.
_MADE_UP = {
    "user": "alice",
    "project": "physics",
    "folder": "/scratch/logs",
    "home": "/home/alice",
    "prefix": "/opt/corral",
}
_DOMAIN = "example.org"
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\.?\d)|(?<![\w:.])[0-9a-fA-F:]*:[0-9a-fA-F:]*:[0-9a-fA-F:]*(?![\w.])"
)
#: Networks of addresses that are nobody's.
_DOCUMENTED = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
_MAIL = re.compile(rf"(?<![\w.\[\]-])[A-Za-z][\w.+-]*@(?!(?:[\w-]+\.)*{re.escape(_DOMAIN)})(?:[\w-]+\.)+[A-Za-z]{{2,}}")
#: Of a host's name, what is left without its number is not told from other words if it is shorter.
_SHORTEST = 2


class Disguise(Redaction):
    """Redaction for text that programs read."""

    def __init__(self) -> None:
        super().__init__()
        self._patterns: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._kept: set[str] = set()

    def keep(self, *texts: str | None) -> None:
        """These look like addresses, and are none: ``10.1.0.6`` is a version."""
        self._kept |= {text for text in texts if text}

    def hide(self, kind: str, *names: str | None) -> None:
        """Call each of these by a made-up name."""
        for name in names:
            if not name or len(name) < _SHORTEST or name.partition(".")[0] in ("localhost", "root"):
                continue
            if kind == "host":
                self._hide_host(name)
            else:
                self._add(rf"(?<![\w-]){re.escape(name)}(?![\w-])", kind, _MADE_UP.get(kind, kind))

    def _hide_host(self, name: str) -> None:
        if re.fullmatch(r"[\d.:]+", name) or _ADDRESS.match(name):
            return  # they are found without being known
        short, _, domain = name.partition(".")
        if domain:
            self._patterns[rf"(?<=\w)\.{re.escape(domain)}(?![\w-])"] = f".{_DOMAIN}"
        stem = short.rstrip("0123456789")
        if stem == short:
            self._add(rf"(?<![\w-]){re.escape(short)}(?![\w-])", "host", "login")
        elif len(stem) >= _SHORTEST:
            # cn[01-17], too.
            self._add(rf"(?<![\w-]){re.escape(stem)}(?=\d|\[\d)", "node", "node")

    def _add(self, pattern: str, kind: str, made_up: str) -> None:
        if pattern not in self._patterns:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            # Not a digit: after that, a host's own number stands.
            self._patterns[pattern] = made_up if number == 1 else f"{made_up}{chr(ord('a') + (number - 1) % 26)}"

    def __call__(self, text: str) -> str:
        from corral.batch.queues import accounts_told

        self.hide("project", *accounts_told())
        # The longest first: a host's full name before its short one.
        for pattern in sorted(self._patterns, key=len, reverse=True):
            text = _in_columns(pattern, partial(_always, self._patterns[pattern]), text)
        text = _in_columns(_ADDRESS, self._address, text)
        return _in_columns(_MAIL, lambda _: f"someone@{_DOMAIN}", text)

    def _address(self, found: str) -> str:
        try:
            address = ipaddress.ip_address(found)
        except ValueError:
            return found
        if (
            found in self._kept
            or address.is_loopback
            or address.is_unspecified
            or any(address in each for each in _DOCUMENTED)
        ):
            return found
        number = len(self._addresses) + 1
        made_up = f"192.0.2.{number % 256}" if address.version == 4 else f"2001:db8::{number:x}"
        return self._addresses.setdefault(found, made_up)


def _always(text: str, _: str) -> str:
    return text


def _in_columns(pattern: str | re.Pattern[str], change: Callable[[str], str], text: str) -> str:
    """Text with what matches changed; of two blanks or more after it, so many are left that columns stay in place."""

    def changed(match: re.Match[str]) -> str:
        old, blanks = match[0][: match.end() - match.start() - len(match["blanks"] or "")], match["blanks"] or ""
        new = change(old)
        if len(blanks) > 1:
            blanks = " " * max(1, len(old) + len(blanks) - len(new))
        return new + blanks

    source = pattern if isinstance(pattern, str) else pattern.pattern
    return re.sub(rf"(?:{source})(?P<blanks> {{2,}})?", changed, text)
