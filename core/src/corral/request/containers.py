"""``container=`` and ``launch_prefix=``: what the workers' Python is put into on each node."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from corral.errors import InvalidRequest
from corral.launch.runtimes import BY_FILE, USUAL, prefix_problem, runtime_in
from corral.request.texts import check_line
from corral.text.variables import expanded_path

#: ``docker://…``, ``oras://…``, ``docker-archive:…``: no file of that name.
_ADDRESS = re.compile(r"[a-z][a-z0-9+-]*:")


def checked_prefix(value: object) -> tuple[str, ...]:
    """The words of ``launch_prefix=``.

    Raises
    ------
    InvalidRequest
    """
    if isinstance(value, str):
        try:
            cure = f"; give its words one by one: launch_prefix={shlex.split(value)}"
        except ValueError:
            cure = ""
        raise InvalidRequest("launch_prefix", f"{value!r} is one text{cure}")
    if not isinstance(value, Sequence):
        raise InvalidRequest("launch_prefix", f"{value!r} is not a list of words")
    for word in value:
        check_line("launch_prefix", word)
    return tuple(value)


def checked_image(image: str | os.PathLike[str] | None, prefix: Sequence[str], conda_env: object) -> str | None:
    """The image of ``container=``; a file's path is absolute, with the values that variables have here.

    Raises
    ------
    InvalidRequest
        Nothing here runs it, or a relative path leads to nothing.
    """
    if image is None:
        return None
    image = os.fspath(image)
    check_line("container", image)
    if conda_env is not None:
        raise InvalidRequest(
            "conda_env",
            f"{conda_env!r} would be activated outside of the container; leave it out, and name the image's own Python "
            "with python=",
        )
    if prefix and (problem := prefix_problem(prefix)):
        raise InvalidRequest("launch_prefix", problem)
    if runtime_in(prefix or USUAL) not in BY_FILE or _ADDRESS.match(image):
        return image
    try:
        path = expanded_path(image, os.environ)
    except ValueError as error:
        raise InvalidRequest("container", str(error)) from None
    if not os.path.exists(path) and not os.path.isabs(os.path.expanduser(image)) and not image.startswith("$"):
        raise InvalidRequest(
            "container",
            f"{path} is not there; write the path of an image that all nodes see, or an address such as docker://…",
        )
    return path
