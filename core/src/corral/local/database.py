"""Where a queue is kept: one SQLite file in a directory of its owner's."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from corral.local.request import Refused

#: Seconds for which a transaction waits for those of other processes.
PATIENCE = 30.0

# AUTOINCREMENT: an id is never given twice, not even after the newest array was purged.
_SCHEMA = """
CREATE TABLE arrays (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    script TEXT NOT NULL,
    cores INTEGER NOT NULL,
    memory INTEGER NOT NULL,
    gpus INTEGER NOT NULL,
    walltime INTEGER,
    output TEXT,
    grace REAL NOT NULL,
    folder TEXT NOT NULL,
    environment TEXT NOT NULL,
    submitted REAL NOT NULL
);
CREATE TABLE jobs (
    array INTEGER NOT NULL REFERENCES arrays,
    element INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    wish TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER,
    signal INTEGER,
    devices TEXT NOT NULL DEFAULT '',
    started REAL,
    ended REAL,
    PRIMARY KEY (array, element)
) WITHOUT ROWID;
CREATE INDEX pending ON jobs (array, element) WHERE state = 'PENDING';
CREATE INDEX running ON jobs (array, element) WHERE state = 'RUNNING';
CREATE INDEX ended ON jobs (ended) WHERE ended IS NOT NULL;
CREATE TABLE capacity (cores INTEGER, memory INTEGER, gpus INTEGER, host TEXT NOT NULL);
"""


def database_file(directory: Path) -> Path:
    """A change of the schema is a change of the name: an older dispatcher may still serve the older file."""
    return directory / "queue-v1.sqlite"


def open_database(directory: Path) -> sqlite3.Connection:
    """Open the queue of a directory; both are made if they are not there yet.

    Raises
    ------
    Refused
        The directory belongs to somebody else, or to a host that still has jobs in it.
    """
    file = database_file(directory)
    if not file.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_not_ours(directory)
        _create(file)
    _refuse_if_not_ours(directory)
    connection = _connect(file)
    _refuse_if_of_another_host(connection, directory)
    return connection


def has_work(connection: sqlite3.Connection) -> bool:
    """True if there is something for a dispatcher to do."""
    (found,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'PENDING') "
        "OR EXISTS (SELECT 1 FROM jobs WHERE state = 'RUNNING')"
    ).fetchone()
    return bool(found)


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=PATIENCE, isolation_level=None)
    # With write-ahead logging this survives a loss of power too, less the newest transactions.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _create(file: Path) -> None:
    """Make the database under another name: nobody must see it half made."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    connection = _connect(draft)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(_SCHEMA)
    connection.execute("INSERT INTO capacity VALUES (NULL, NULL, NULL, ?)", (os.uname().nodename,))
    connection.close()
    with suppress(FileExistsError):  # another process was as quick
        os.link(draft, file)
    draft.unlink()


def _refuse_if_not_ours(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o002:
        raise Refused(f"{directory} belongs to another user, or everybody may write to it: use a directory of your own")


def _refuse_if_of_another_host(connection: sqlite3.Connection, directory: Path) -> None:
    here = os.uname().nodename
    (host,) = connection.execute("SELECT host FROM capacity").fetchone()
    if host == here:
        return
    if has_work(connection):
        raise Refused(f"the queue in {directory} belongs to host {host}, which still has jobs in it")
    connection.execute("UPDATE capacity SET host = ?", (here,))
