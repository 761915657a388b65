"""What this host is called, without asking a name server: that may hang, and every cluster would wait for it."""

from __future__ import annotations

import socket
from pathlib import Path

_HOSTS = Path("/etc/hosts")
_RESOLVER = Path("/etc/resolv.conf")


def host_names(hosts: Path = _HOSTS, resolver: Path = _RESOLVER) -> list[str]:
    """The names of this host: its own, those that its file of hosts has beside that, and its own in its domain.

    Parameters
    ----------
    hosts, resolver
        Files as in hosts(5) and resolv.conf(5); what cannot be read says nothing.
    """
    own = socket.gethostname()
    short = own.partition(".")[0]
    names = [own]
    for words in _lines(hosts):
        # An address, and what it is called.
        if own in words[1:] or short in words[1:]:
            names += [word for word in words[1:] if not word.startswith("localhost")]
    # The first is the host's own; a centre with two machines has both in the list of each. Only the last line counts.
    domains = [words[1] for words in _lines(resolver) if words[0] in ("search", "domain") and len(words) > 1]
    if "." not in own and domains:
        names.append(f"{own}.{domains[-1].strip('.')}")
    return list(dict.fromkeys(names))


def _lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
