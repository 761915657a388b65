"""Clients and workers that are no ranks: the scheduler's file, and the credentials beside it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from corral.allocation.ranks import FAILURE, PATIENCE, Contact, Credentials, Ended, Exchange, find_scheduler

if TYPE_CHECKING:
    from distributed import Security


def security(scheduler_file: str) -> Security:
    """What `Client` needs beside the file: ``Client(scheduler_file=path, security=security(path))``.

    Raises
    ------
    FileNotFoundError
        The cluster has ended, or does not run yet.
    """
    return Credentials.read(_beside(scheduler_file)).security()


def _beside(scheduler_file: str) -> Path:
    path = Path(scheduler_file).absolute()
    return path.with_name(f"{path.name}.credentials")


class Outside:
    """An exchange of which those who are no ranks have a part."""

    def __init__(self, exchange: Exchange, scheduler_file: str) -> None:
        self._exchange = exchange
        self._path = _beside(scheduler_file)

    def publish(self, credentials: Credentials | None) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
        if credentials is not None:
            credentials.write(self._path)
        self._exchange.publish(credentials)

    def fetch(self) -> tuple[Credentials, Contact]:
        return self._exchange.fetch()

    def close(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
        self._exchange.close()

    @staticmethod
    def joining(scheduler_address: str | None, scheduler_file: str | None) -> Exchange:
        """For ranks that join a scheduler elsewhere.

        Raises
        ------
        ValueError
            Nothing says where it is.
        """
        if scheduler_address is None and scheduler_file is None:
            raise ValueError("scheduler=False needs scheduler_address= or scheduler_file=")
        return _Elsewhere(scheduler_address, scheduler_file)


def _address_in(scheduler_file: str) -> str:
    try:
        found = json.loads(Path(scheduler_file).read_text())
    except (OSError, ValueError) as error:
        raise Ended(FAILURE, f"{scheduler_file} does not say where the scheduler is: {error}") from error
    address = found.get("address") if isinstance(found, dict) else None
    if not isinstance(address, str):
        raise Ended(FAILURE, f"{scheduler_file} does not say where the scheduler is: it has no address")
    return address


class _Elsewhere:
    def __init__(self, scheduler_address: str | None, scheduler_file: str | None) -> None:
        self._address = scheduler_address
        self._file = scheduler_file

    def fetch(self) -> tuple[Credentials, Contact]:
        credentials = Credentials(cluster="elsewhere")
        address = self._address
        if self._file is not None:
            if _beside(self._file).exists():
                credentials = Credentials.read(_beside(self._file))
            address = address or _address_in(self._file)
        # `joining` has seen to it that one of the two is there.
        assert address is not None
        found = Credentials(
            cluster=credentials.cluster,
            addresses=(address,),
            ca=credentials.ca,
            certificate=credentials.certificate,
            key=credentials.key,
        )
        return found, asyncio.run(find_scheduler(found, PATIENCE))

    def publish(self, credentials: Credentials | None) -> None:
        raise AssertionError("no rank is the scheduler")

    def close(self) -> None:
        pass
