"""Where a queue is kept: one SQLite file in a directory of its owner's."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from corral.host.machine import is_on_network
from corral.host.private import PrivateFolder, open_private_folder
from corral.host.trust import refuse
from corral.local.request import Refused

#: Where the records of running jobs are.
RUNNING = "running"
#: Seconds for which a transaction waits for those of other processes.
PATIENCE = 30.0


def default_directory() -> Path:
    """Where the user's own queue on this host lives.

    In the state directory, unless that is on a network file system: there SQLite's locks and `flock` may be
    missing or mean nothing. ``/var/tmp`` then; not XDG_RUNTIME_DIR, which is removed when the user logs out
    and the jobs are still running, and not TMPDIR, which differs from shell to shell.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    directory = home / "corral" / "local" / os.uname().nodename
    if is_on_network(directory):
        # Flat, below a sticky folder: nobody else can put something in its place once it is ours.
        return Path("/var/tmp") / f"corral-{os.getuid()}-{os.uname().nodename}"  # noqa: S108
    return directory


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
    try:
        _prepare(directory, file)
    except TimeoutError as error:
        raise sqlite3.OperationalError(str(error)) from None
    except OSError as error:
        raise Refused(f"whoever can write to a queue runs commands as you: {error}") from None
    connection = _connect(file)
    try:
        _refuse_if_of_another_host(connection, directory)
    except BaseException:
        connection.close()
        raise
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
    try:
        # With write-ahead logging this survives a loss of power too, less the newest transactions.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(directory: Path, file: Path) -> None:
    """Make folder and database if they are missing; refuse a folder that is not the user's alone, or holds what is not.

    SQLite opens by names. They mean the same a moment later: nobody else can write to the folder, nor put another in
    its place.
    """
    if directory == default_directory():
        from corral.host.home import Home  # other queues start without it

        if directory.is_relative_to((home := Home.of()).path):
            home.make()
    with open_private_folder(directory, make=True) as folder:
        _refuse_what_is_not_ours(folder)
        try:
            os.close(folder.open(file.name))
        except FileNotFoundError:
            _create(folder, file)
        with folder.folder(RUNNING, make=True) as running:
            _refuse_what_is_not_ours(running)


def _refuse_what_is_not_ours(folder: PrivateFolder) -> None:
    """Others may have put something there while they still could."""
    for name in folder.names():
        with suppress(FileNotFoundError):
            status = folder.status(name)
            has_names = status.st_nlink if stat.S_ISREG(status.st_mode) else 1
            if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode) or has_names > 1:
                refuse(folder.path / name, "is someone else's, or a link", "Remove it, and check what else is there")


def _create(folder: PrivateFolder, file: Path) -> None:
    """Make the database under another name: nobody must see it half made."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    os.close(folder.open(draft.name, os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    with closing(_connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO capacity VALUES (NULL, NULL, NULL, ?)", (os.uname().nodename,))
    # Another process may be as quick, and have jobs in it by now: this is not to be replaced.
    with folder.lock():
        if file.name not in folder.names():
            os.rename(draft, file)
    draft.unlink(missing_ok=True)


def _refuse_if_of_another_host(connection: sqlite3.Connection, directory: Path) -> None:
    here = os.uname().nodename
    (host,) = connection.execute("SELECT host FROM capacity").fetchone()
    if host == here:
        return
    if has_work(connection):
        raise Refused(f"the queue in {directory} belongs to host {host}, which still has jobs in it")
    connection.execute("UPDATE capacity SET host = ?", (here,))
