"""What ssh says when it does not get through, and what to do about it."""

from __future__ import annotations

import re

from corral.errors import HostUnreachable, LoginRefused, excerpt

#: What a person must see to, and how; the first that fits counts.
_FATAL = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "The host shows another key than before: ask your centre whether it changed. If so, remove the old one with "
        "`ssh-keygen -R`, and accept the new one with `{try_it}`",
    ),
    (
        r"Host key verification failed|No \S+ host key is known",
        "Nobody has accepted the host's key yet: compare it with what your centre publishes, with `{try_it}`",
    ),
    (
        r"Too many authentication failures",
        "Your agent offered too many keys: name the right one with IdentityFile and IdentitiesOnly in ~/.ssh/config",
    ),
    (
        r"Permission denied|No more authentication methods|Authentication failed|no mutual signature",
        "`{try_it}` must get in: give your key to an agent with `ssh-add`, or, where a password or a second factor is "
        "asked for, log in with `{log_in}` in a terminal: corral goes on through that connection",
    ),
    (
        r"Bad owner or permissions|Bad configuration option|terminating, \d+ bad configuration|bad permissions",
        "Mend what ssh says of your configuration",
    ),
    (r"Too long for Unix domain socket|too long for Unix domain", "Set TMPDIR to a folder with a short name"),
)
_PASSING = (
    (r"Could not resolve hostname", "Is the name right, and has this host a network?"),
    (
        r"[Ss]ession open refused|administratively prohibited|no more sessions",
        "The host allows too few sessions in one connection (MaxSessions of its sshd)",
    ),
)
#: Not about the matter.
_NOISE = re.compile(r"^(\*\* |@@@|Warning: Permanently added|debug\d:|mux_client_request_session: |Control socket )")


def refusal(words: str, host: str, *, try_it: str, log_in: str) -> HostUnreachable | LoginRefused:
    """The error for what ssh has said before it gave up.

    Parameters
    ----------
    try_it
        The command by which a person sees the same.
    log_in
        The command that makes the connection through which corral goes on.
    """
    said = "; ".join(line.strip() for line in words.splitlines() if line.strip() and not _NOISE.match(line))
    said = excerpt(said or "ssh said nothing")
    for pattern, cure in _FATAL:
        if re.search(pattern, words):
            return LoginRefused(f"no way to {host}: {said}. {cure.format(try_it=try_it, log_in=log_in)}.")
    for pattern, cure in _PASSING:
        if re.search(pattern, words):
            return HostUnreachable(f"no way to {host}: {said}. {cure}.")
    return HostUnreachable(f"no way to {host}: {said}. Jobs there are not affected; corral tries again.")
