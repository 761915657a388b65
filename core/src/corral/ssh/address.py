"""Where commands are carried: ``ssh://me@login.example.org:2222``, or an alias of the user's ssh configuration."""

from __future__ import annotations

import re
from typing import Self

from attrs import frozen

from corral.errors import InvalidRequest

#: What could be an option of ssh's, or more than one word of a shell's (ProxyCommand has %h), is no name.
_PATTERN = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][\w.@+-]*)@)?(?P<host>[A-Za-z0-9_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)


@frozen
class Address:
    """A host that OpenSSH's client can reach."""

    #: A name, an address, or an alias.
    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, value: object) -> Self:
        """What ``via=`` says.

        Raises
        ------
        InvalidRequest
        """
        if not isinstance(value, str) or not value.startswith("ssh://"):
            example = f"ssh://{value}" if isinstance(value, str) and re.fullmatch(r"[\w.@-]+", value) else ""
            raise InvalidRequest("via", f"{value!r} is not of the form {example or 'ssh://login.example.org'!r}")
        found = _PATTERN.fullmatch(value)
        if found is None and "@" in value and ":" in value.removeprefix("ssh://").partition("@")[0]:
            # Not shown: it is, or may be, a password.
            raise InvalidRequest(
                "via", "an address holds no password: use a key, an agent, or be asked at the terminal"
            )
        port = int(found["port"]) if found and found["port"] else None
        if found is None or port == 0 or (port or 0) > 65535:
            raise InvalidRequest("via", f"{value!r} is not of the form 'ssh://user@host:port', or 'ssh://host'")
        return cls(host=found["host"].strip("[]"), user=found["user"], port=port)

    @property
    def words(self) -> tuple[str, ...]:
        """As arguments of ssh, after all options."""
        user = () if self.user is None else ("-l", self.user)
        port = () if self.port is None else ("-p", str(self.port))
        return (*user, *port, "--", self.host)

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + ("" if self.port is None else f":{self.port}")
