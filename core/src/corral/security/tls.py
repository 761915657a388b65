"""TLS contexts that bear with peers who leave without a word.

Whoever is killed, and every peer that distributed closes, leaves without TLS's farewell, close_notify. With OpenSSL 3.5
(seen with Python 3.13 on Debian 13) the read that meets such an end leaves an error in a queue that all connections of
the thread share, and the next read of *another* connection fails with BrokenPipeError: python/cpython#148594. So a
cluster loses workers that are well, and a client its scheduler. With OP_IGNORE_UNEXPECTED_EOF such an end is an
ordinary one, and nothing is left behind.

The same happens where a peer has gone before the listening side has sent it session tickets, as whoever only tries
whether a scheduler answers. Nobody here takes up a session again: none are sent.

Both must be on every context in a process that has a connection of the cluster: one without them spoils the others.
Nothing is given up for it. Who can cut a connection can feign an ordinary end, but distributed's messages and HTTP's
answers say how long they are.
"""

from __future__ import annotations

import ssl


def bear_with_silent_ends(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have a context do so for the connections that it makes from then on."""
    # OpenSSL 1.1.1 has neither the option nor the error.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if context.protocol is ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    return context
