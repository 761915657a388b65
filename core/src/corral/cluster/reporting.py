"""Reports of clusters: where what they are made of is found, and how they are written."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from corral.cluster.registry import Entry
from corral.cluster.registry import read as registered
from corral.errors import InvalidRequest, UnreadableJournal
from corral.host.identity import Sight

if TYPE_CHECKING:
    from corral.view.history import History
    from corral.view.overview import Overview


def history_of(uuid: str, overview: Overview) -> History:
    """A cluster that can be asked, with its past from its journal, if there is one that can be read."""
    from corral.view import journals
    from corral.view.history import History

    try:
        return journals.read(uuid).with_present(overview)
    except (OSError, UnreadableJournal):
        return History.of(overview)


def standing_of(uuid: str, *, is_closed: bool) -> str:
    """Whether a cluster lives, as far as can be seen from here: a word of `corral.view.report`."""
    from corral.view.report import ENDED

    if is_closed:
        return ENDED
    entries, _ = registered()
    return standing_in(next((entry for entry in entries if entry.uuid == uuid), None))


def standing_in(entry: Entry | None) -> str:
    """The same of one whose journal does not say that it has closed, by its entry in the registry."""
    from corral.view.report import CUT_OFF, RUNNING, UNKNOWN

    if entry is None:
        return CUT_OFF
    sight = entry.look()
    if sight is Sight.GONE:
        return CUT_OFF
    return UNKNOWN if sight is Sight.UNSEEN and entry.is_silent else RUNNING


def write_report(path: str | os.PathLike[str], history: History, standing: str) -> Path:
    """Write the page; whoever reads the file sees all of it, or what was there before.

    Raises
    ------
    InvalidRequest
        It cannot be written there; says why.
    OSError
        The disk is full, say.
    """
    from corral.view.report import report

    page = report(history, standing=standing, made=time.time())
    return write_page(path, page)


def write_page(path: str | os.PathLike[str], page: str) -> Path:
    """Write a text in one step. A link is followed; what it leads to is replaced."""
    asked = Path(os.path.expanduser(path))
    whole = Path(os.path.realpath(asked))
    if whole.is_dir():
        raise InvalidRequest("path", f"{asked} is a folder: name a file in it, like {asked / 'report.html'}")
    if whole.exists() and not whole.is_file():
        raise InvalidRequest("path", f"{asked} is no regular file, which a report could replace")
    draft = whole.parent / f".{whole.name[:100]}-{os.urandom(8).hex()}"
    try:
        # Readable for others as any file that the user makes: a report is to be shown.
        with open(draft, "x", encoding="utf-8") as file:
            file.write(page)
        os.replace(draft, whole)
    except FileNotFoundError:
        raise InvalidRequest("path", f"there is no folder {whole.parent}: make it, or name another file") from None
    except (PermissionError, NotADirectoryError) as error:
        raise InvalidRequest("path", f"{asked} cannot be written: {error.strerror}. Name another file") from None
    finally:
        with suppress(OSError):
            os.unlink(draft)
    return whole
