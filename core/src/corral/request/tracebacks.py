"""Errors of arguments, told from where the user stands: a few lines of traceback, and the message last."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from corral.errors import InvalidRequest, UnknownBackend

P = ParamSpec("P")
R = TypeVar("R")


def tells_plainly(function: Callable[P, R]) -> Callable[P, R]:
    """Raise errors of arguments from this public function itself: who wrote a wrong word need not read corral's code.

    The whole traceback is there when the variable CORRAL_TRACEBACK is set.
    """

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except (InvalidRequest, UnknownBackend) as error:
            if os.environ.get("CORRAL_TRACEBACK"):
                raise
            raise error.with_traceback(None) from None

    return call
