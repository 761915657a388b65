"""The one folder in which everything of corral's lives, and what it holds.

    corral-1000/              made and marked by corral, for one user
        CORRALDIR.TAG
        clusters/UUID/        credentials.json, order.json, client.pem
            parked/           results that no worker could take
        logs/UUID/            what the cluster's jobs print; kept.json: what of that was kept when it ended
            NAME/             the same of a batch system that is not the cluster's own
        registry/             one file for each cluster, for other processes to see
        journals/             UUID.jsonl: what became of a cluster and its jobs, for reports
        waits/                how long jobs have waited, for clusters to come
        local/HOST/           the embedded queue
        hosts/HOST/           what clusters on one host share: the ledger of commands, questions and answers
        ranks/                where the ranks of one launch meet

Nothing is removed but what corral wrote: files of names that it gives, in folders that it made, reached through the
marked folder and by no link. What is removed for its age has a name that a job's log has.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Self

from corral.host.files import HERE, Files
from corral.host.private import PrivateFolder, make_private_folder, open_private_folder
from corral.host.trust import refuse

CREDENTIALS = "credentials.json"
#: Beside a cluster's credentials, for the job that will have its scheduler.
ORDER = "order.json"
#: Beside a cluster's credentials, if programs other than corral need them.
CLIENT_PEM = "client.pem"
#: The folder for results that no worker could take when jobs left, and the names of its files.
PARKED = "parked"
PARKED_RESULT = re.compile(r"[0-9a-f]{32}\.result")
#: Beside a cluster's credentials, while a job of several nodes runs: how its other nodes begin.
NODE_SCRIPT = re.compile(r"node-[\w.-]+\.sh")

#: As CACHEDIR.TAG: a name and a beginning that nobody has by accident.
MARK = "CORRALDIR.TAG"
_SIGNATURE = "Signature: corral-8a5b7c1f0d2e4b6f9c3a1d8e7f605142"
_MARK_TEXT = (
    f"{_SIGNATURE}\n"
    "# corral made this folder, keeps its own files in it, and removes them from it.\n"
    "# Keep nothing of your own here. When none of your clusters is running, the folder may be removed.\n"
)

#: Logs of failed jobs in corral's own folder are kept for a week (s).
KEPT = 7 * 24 * 3600.0

_CLUSTERS, LOGS = "clusters", "logs"
#: In a folder of logs whose cluster has ended: which were kept (see `corral.cluster.kept_logs`).
KEPT_INDEX = "kept.json"
_UUID = re.compile(r"[0-9a-f]{32}")
#: What the batch systems' plugins call a job's log: its id, and how it ends.
_LOG = re.compile(r"\w[\w.@:+\[\]-]*\.(log|out|err|OU|ER|exit)")


class Home(NamedTuple):
    """A folder of corral's own, which may not be there yet."""

    path: Path

    @classmethod
    def of(cls, shared_directory: str | os.PathLike[str] | None = None) -> Self:
        """The user's own below a folder that several users may share; without one, the user's state directory."""
        if shared_directory is None:
            import platformdirs

            return cls(platformdirs.user_state_path("corral"))
        return cls(Path(os.path.abspath(os.path.expanduser(shared_directory))) / f"corral-{os.geteuid()}")

    @classmethod
    def around(cls, credentials: str | os.PathLike[str]) -> Self:
        """The one in which a cluster's credentials are, by their path.

        Raises
        ------
        ValueError
            No cluster has its credentials there.
        """
        path = Path(credentials)
        cluster = path.parent
        if path.name != CREDENTIALS or not _UUID.fullmatch(cluster.name) or cluster.parent.name != _CLUSTERS:
            raise ValueError(f"{path} is not a place for the credentials of a cluster")
        return cls(cluster.parent.parent)

    # --- what is where ------------------------------------------------------------------------------------------

    def cluster_folder(self, uuid: str) -> Path:
        """What only this cluster has."""
        return self.path / _CLUSTERS / _checked(uuid)

    def credentials(self, uuid: str) -> Path:
        return self.cluster_folder(uuid) / CREDENTIALS

    def log_folder(self, uuid: str) -> Path:
        """Where the logs of this cluster's jobs are, unless its user has chosen another folder."""
        return self.path / LOGS / _checked(uuid)

    @property
    def files(self) -> Files:
        """The way to files of the host on which it is."""
        return HERE

    # --- opening ------------------------------------------------------------------------------------------------

    def open(self, *, make: bool = False) -> PrivateFolder:
        """Open the marked folder.

        Parameters
        ----------
        make
            Make and mark it if it is missing, or empty.

        Raises
        ------
        FileNotFoundError
            It is not there, and is not to be made.
        NotPrivate
            Others could read it or write to it, or it was there before and is not corral's.
        OSError
        """
        with _explained():
            for _ in range(2):
                with suppress(FileNotFoundError):
                    folder = open_private_folder(self.path)
                    if _is_marked(folder):
                        return folder
                    is_empty = not folder.names()
                    folder.close()
                    if not is_empty:
                        refuse(
                            self.path,
                            "was there before, and was not made by corral",
                            "Move it away, or let corral use another folder",
                        )
                if make:
                    # Another process may be as quick.
                    with suppress(FileExistsError):
                        make_private_folder(self.path, {MARK: _MARK_TEXT})
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def make(self) -> None:
        """Make and mark it, unless it is there.

        Raises
        ------
        NotPrivate, OSError
        """
        self.open(make=True).close()

    @contextmanager
    def folder(self, *names: str, make: bool = False) -> Iterator[PrivateFolder]:
        """Have a folder below it open: ``with home.folder("registry", make=True) as registry``.

        Raises
        ------
        FileNotFoundError, NotPrivate, OSError
        """
        path = self.path.joinpath(*names)
        self.open(make=make).close()
        with open_private_folder(path, make=make) as folder:
            yield folder

    def make_log_folder(self, uuid: str, system: str = "") -> None:
        """Make the folder for the logs of a cluster's jobs.

        Parameters
        ----------
        system
            The name of the batch system that has them, if it is not the cluster's own: a folder below.

        Raises
        ------
        NotPrivate, OSError
        """
        names = [_checked(uuid), *([system] if system else [])]
        with self.folder(LOGS, *names, make=True):
            pass

    def write_new(self, path: Path, text: str) -> None:
        """Write a private file that is not there yet, below this folder, which is made and marked if it is missing.

        Raises
        ------
        FileExistsError, NotPrivate, OSError
        """
        self.make()
        with open_private_folder(path.parent, make=True) as folder:
            folder.write_new(path.name, text)

    def read(self, path: Path) -> str:
        """The text of a private file, as the file server has it now.

        Raises
        ------
        FileNotFoundError, NotPrivate, OSError
        """
        with open_private_folder(path.parent) as folder:
            # Makes an NFS client ask its server again.
            folder.names()
            return folder.read(path.name)

    # --- removing -----------------------------------------------------------------------------------------------

    def remove_credentials(self, uuid: str) -> None:
        """Remove what lets others join a cluster: what still runs takes that for its end.

        Raises
        ------
        NotPrivate, OSError
        """
        with suppress(FileNotFoundError), self.folder(_CLUSTERS, _checked(uuid)) as folder:
            folder.remove(CREDENTIALS)

    def remove_cluster(self, uuid: str, *, keeps_logs: bool = False) -> None:
        """Remove the private files of a cluster, and the folders that this empties.

        Parameters
        ----------
        keeps_logs
            Leave the folder for logs, though it be empty: one may be on its way there.

        Raises
        ------
        NotPrivate, OSError
        """
        _checked(uuid)
        with suppress(FileNotFoundError), self.open() as top:
            with suppress(FileNotFoundError), top.folder(_CLUSTERS) as clusters, clusters.folder(uuid) as cluster:
                for name in filter(NODE_SCRIPT.fullmatch, cluster.names()):  # of jobs that were killed
                    cluster.remove(name)
                with cluster.folder(PARKED) as results:
                    for name in filter(PARKED_RESULT.fullmatch, results.names()):
                        results.remove(name)
                cluster.remove_folder(PARKED)
            self._remove_files(top, _CLUSTERS, uuid, (CREDENTIALS, ORDER, CLIENT_PEM))
            if not keeps_logs:
                self._remove_logs(top, uuid, ())

    def remove_logs(self, uuid: str, logs: Iterable[str | os.PathLike[str]]) -> None:
        """Remove these logs of a cluster's jobs, and the folders that this empties; those elsewhere are left alone.

        Raises
        ------
        NotPrivate, OSError
        """
        with suppress(FileNotFoundError), self.open() as top:
            self._remove_logs(top, uuid, map(Path, logs))

    def remove_old_logs(self, now: float | None = None) -> None:
        """Remove what failed jobs left more than a week ago; empty folders may be in use still.

        Raises
        ------
        NotPrivate, OSError
        """
        limit = (time.time() if now is None else now) - KEPT
        with suppress(FileNotFoundError), self.open() as top, top.folder(LOGS) as logs:
            for uuid in filter(_UUID.fullmatch, logs.names()):
                # One that is odd does not keep the others.
                with suppress(OSError):
                    _remove_old(logs, uuid, limit)

    def _remove_logs(self, top: PrivateFolder, uuid: str, logs: Iterable[Path]) -> None:
        folder, paths = self.log_folder(uuid), list(logs)
        with suppress(FileNotFoundError), top.folder(LOGS) as clusters, clusters.folder(uuid) as cluster:
            for system in _systems(cluster):
                with suppress(OSError), cluster.folder(system) as below:
                    for path in paths:
                        if path.parent == folder / system:
                            below.remove(path.name)
                cluster.remove_folder(system)
        self._remove_files(top, LOGS, uuid, [path.name for path in paths if path.parent == folder])

    @staticmethod
    def _remove_files(top: PrivateFolder, kind: str, uuid: str, names: Iterable[str]) -> None:
        with suppress(FileNotFoundError):
            with top.folder(kind) as kinds, suppress(FileNotFoundError):
                with kinds.folder(uuid) as folder:
                    for name in names:
                        folder.remove(name)
                kinds.remove_folder(uuid)
            top.remove_folder(kind)


def _systems(logs: PrivateFolder) -> list[str]:
    """The folders of batch systems in a cluster's folder for logs."""
    return [name for name in logs.names() if stat.S_ISDIR(logs.status(name).st_mode)]


def _remove_old(logs: PrivateFolder, name: str, limit: float) -> None:
    """Remove logs in this folder that are older, and the folder itself, if it is."""
    with logs.folder(name) as folder:
        for system in _systems(folder):
            _remove_old(folder, system, limit)
        for each in [each for each in folder.names() if each == KEPT_INDEX or _LOG.fullmatch(each)]:
            if folder.status(each).st_mtime < limit:
                folder.remove(each)
        is_old = os.fstat(folder.descriptor).st_mtime < limit
    if is_old:
        logs.remove_folder(name)


def _checked(uuid: str) -> str:
    if not _UUID.fullmatch(uuid):
        raise ValueError(f"{uuid!r} is not a uuid of a cluster")
    return uuid


def _is_marked(folder: PrivateFolder) -> bool:
    try:
        return folder.read(MARK).startswith(_SIGNATURE)
    except FileNotFoundError:
        return False
    except BaseException:
        folder.close()
        raise


@contextmanager
def _explained() -> Iterator[None]:
    """Say which settings choose the folder."""
    try:
        yield
    except PermissionError as error:
        from corral.errors import NotPrivate

        if not isinstance(error, NotPrivate):
            raise
        raise NotPrivate(
            error.path,
            error.problem,
            f"{error.cure}. corral's folder is set by shared_directory= or, without it, by the variable "
            "XDG_STATE_HOME.",
        ) from None
