"""``$NAME`` and ``~`` in what people write, where they mean this host's."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from contextlib import suppress

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """The text with the values of variables; each once, so that a value's own ``$`` stays.

    Raises
    ------
    ValueError
        One is not set; names it.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in environ:
            return environ[name]
        # Not every batch system sets them, but every host knows them.
        if name == "TMPDIR" and "TMP" in environ:
            return environ["TMP"]  # all that Debian's Grid Engine sets
        with suppress(KeyError):
            user = pwd.getpwuid(os.geteuid())
            return {"USER": user.pw_name, "LOGNAME": user.pw_name, "HOME": user.pw_dir}[name]
        raise ValueError(f"{text!r}: {name} is not set here")

    return _VARIABLE.sub(value, text)


def expanded_path(text: str, environ: Mapping[str, str]) -> str:
    """The same as an absolute path; ``~`` is the home directory.

    Raises
    ------
    ValueError
    """
    return os.path.abspath(expanded(os.path.expanduser(text), environ))


def has_variable(text: str) -> bool:
    """True if a shell would put the value of a variable, or the output of a command, into this text."""
    return _VARIABLE.search(text) is not None or "$(" in text or "`" in text
