"""Drives conversations: runs the commands that hooks yield, without a shell and without blocking the event loop."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from attrs import field, frozen

from corral.batch.timings import CommandTimes
from corral.errors import CommandFailed, CommandNotFound, CommandNotStarted, CommandTimedOut, CorralError
from corral.host import clock, limits
from corral.plugin import discovery
from corral.plugin.values import Command, Completed, Conversation
from corral.ssh.connection import Connection
from corral.ssh.wire import Answer, Setting
from corral.text.logs import logger_of

T = TypeVar("T")

logger = logger_of("corral.batch.runner")


def command_environment(
    environ: Mapping[str, str], command: Command, enclosing: re.Pattern[str] | None = None
) -> dict[str, str]:
    """The environment in which a command runs: the user's, less what an enclosing job says, in the C locale.

    Parameters
    ----------
    enclosing
        See `Runner`.
    """
    left_out = discovery.enclosing() if enclosing is None else enclosing

    def is_passed(name: str) -> bool:
        if left_out.match(name):
            return False
        return command.inherit is None or any(fnmatch.fnmatchcase(name, pattern) for pattern in command.inherit)

    return {name: value for name, value in environ.items() if is_passed(name)} | {"LC_ALL": "C"} | dict(command.env)


@frozen(kw_only=True)
class Runner:
    """Runs commands on this host, or on another one."""

    #: Seconds for a command that names no time-out of its own.
    timeout: float = 60.0
    #: The variables in which an enclosing job speaks of itself; None: those of all batch systems.
    enclosing: re.Pattern[str] | None = None
    #: The way to where commands run; None: here.
    via: Connection | None = None
    #: How long commands took.
    times: CommandTimes = field(factory=CommandTimes, eq=False, repr=False)

    async def converse(self, conversation: Conversation[T], admit: Callable[[], Awaitable[None]] | None = None) -> T:
        """Drive a conversation to its end, and return its answer.

        Parameters
        ----------
        admit
            Awaited before each command: the command budget.
        """
        try:
            command = next(conversation)
            while True:
                try:
                    if admit is not None:
                        await admit()
                    completed = await self.run(command)
                except Exception as error:
                    command = conversation.throw(error)
                else:
                    command = conversation.send(completed)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            try:
                conversation.close()
            except Exception:
                # What it did on its way out must not hide why it was ended.
                logger.exception("a conversation failed when it was ended")

    async def run(self, command: Command) -> Completed:
        """Run one command to its end.

        Raises
        ------
        CommandFailed, CommandTimedOut, CommandNotFound, CommandNotStarted
        HostUnreachable, LoginRefused
            There is no way to the host where it should run.
        """
        timeout = self.timeout if command.timeout is None else command.timeout
        began, has_failed = time.monotonic(), True
        try:
            completed = await (
                self._run_here(command, timeout) if self.via is None else _run_there(self.via, command, timeout)
            )
            has_failed = completed.returncode != 0
        except CorralError:
            raise
        except (OSError, RuntimeError) as error:
            is_exhausted = limits.is_exhausted(error)
            if not is_exhausted and not isinstance(error, OSError):
                raise
            words = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise CommandNotStarted(command, words, is_lasting=not is_exhausted) from error
        finally:
            self.times.ran(command.argv[0], time.monotonic() - began, has_failed=has_failed)
        logger.debug("%s -> %d", shlex.join(command.argv), completed.returncode)
        if completed.returncode != 0:
            raise CommandFailed(command, completed)
        return completed

    async def _run_here(self, command: Command, timeout: float) -> Completed:
        try:
            # A session of its own: Ctrl-C in a terminal must not end a submission half-way, and a command that
            # hangs is ended together with what it started.
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=command_environment(os.environ, command, self.enclosing),
                cwd=command.cwd,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise CommandNotFound(command) from error
        try:
            async with clock.timeout(timeout):
                stdout, stderr = await process.communicate(command.stdin.encode())
        except TimeoutError:
            raise CommandTimedOut(command, timeout) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Completed(
            argv=command.argv,
            returncode=process.returncode or 0,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )


async def _run_there(via: Connection, command: Command, timeout: float) -> Completed:
    """Run a command on another host. Of this host's environment it sees nothing but what it names itself."""
    setting = Setting(inherit=command.inherit, env=command.env, cwd=command.cwd)
    try:
        answer: Answer = await via.execute(command.argv, setting, command.stdin.encode(), timeout)
    except TimeoutError:
        raise CommandTimedOut(command, timeout) from None
    if answer.code is None:
        raise CommandNotFound(command, host=str(via), path=answer.path)
    return Completed(
        argv=command.argv,
        returncode=answer.code,
        stdout=answer.stdout.decode(errors="replace"),
        stderr=answer.stderr.decode(errors="replace"),
    )
