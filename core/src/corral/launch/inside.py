"""How the launcher that a job's script starts becomes one in a container, or behind other words, on its node.

It stays outside as long as the batch system's commands are needed, which images do not have: it learns what the job was
granted, and starts a launcher on each other node. Then each of them becomes the command that runs a launcher inside: by
`exec`, so that signals and exit codes need nobody in between. What was learned goes with it as an option, because the
environment, which images and runtimes change, may not.
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from corral.host.home import Home
from corral.launch.ending import GOES_ON, Ended, Exit, say
from corral.launch.place import told
from corral.launch.runtimes import CURE, forced_variables, launch_words
from corral.launch.scratch import make_folder

if TYPE_CHECKING:
    from corral.launch.options import Options
    from corral.launch.place import Place

_LOCAL_DIRECTORY = "--local-directory="
#: Options that mean something out here alone: what a launcher is to become, and a folder with this node's variables.
_HERE = ("--inside=", _LOCAL_DIRECTORY)


def enter(options: Options, place: Place, arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become what runs a launcher inside.

    Parameters
    ----------
    arguments
        This launcher's command line.

    Raises
    ------
    Ended
        This node lacks something for it.
    """
    inside = options.inside
    assert inside is not None
    folders = _folders(options, environ)
    words = launch_words(inside, folders, environ, gpus=options.gpus)
    # What follows in the log may be the words of another program, and who reads them must know which.
    say(f"job {place.allocation.job_id} {GOES_ON} {shlex.join(words)}")
    words += ["-P", "-m", "corral.launch", *(word for word in arguments if not word.startswith(_HERE))]
    words.append(f"--allocation={told(place)}")
    if options.local_directory is not None:
        # Its variables are set out here.
        words.append(f"{_LOCAL_DIRECTORY}{options.local_directory}")
    try:
        os.execvpe(words[0], words, {**environ, **forced_variables(inside, words, environ)})  # noqa: S606 - none is needed
    except OSError as error:
        raise Ended(
            Exit.FAILED, f"cannot start {words[0]} on {socket.gethostname()}: {error.strerror}; {CURE}"
        ) from None


def _folders(options: Options, environ: Mapping[str, str]) -> list[str]:
    """What a launcher needs beside its image: corral's own folder, and where workers spill."""
    credentials = os.path.abspath(options.credentials)
    try:
        found = [str(Home.around(credentials).path)]
    except ValueError:
        found = [os.path.dirname(credentials)]
    if options.local_directory is not None:
        try:
            make_folder(options.local_directory)
        except OSError as error:
            raise Ended(Exit.FAILED, f"no directory for workers: {error}") from None
        found.append(options.local_directory)
    if os.path.isdir(scratch := environ.get("TMPDIR", "")):
        found.append(scratch)
    return list(dict.fromkeys(found))
