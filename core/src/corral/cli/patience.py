"""Asking a batch system for somebody at a prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from corral.cli.tables import say

T = TypeVar("T")

#: Nobody likes a silent prompt for longer (s).
SILENT_FOR = 3.0


def ask(question: Coroutine[None, None, T]) -> T:
    """Wait for an answer; after a while, say what is waited for."""
    return asyncio.run(_patiently(question))


async def _patiently(question: Coroutine[None, None, T]) -> T:
    words = "waiting for the batch system, or for room in your command budget (commands-per-minute)"
    told = asyncio.get_running_loop().call_later(SILENT_FOR, lambda: say(words, err=True))
    try:
        return await question
    finally:
        told.cancel()
