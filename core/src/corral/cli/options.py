"""Options of the command line, made from the arguments of `WorkerGroup` and their documentation."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import click

from corral.cli import completing
from corral.errors import InvalidRequest
from corral.request.worker_group import WorkerGroup
from corral.text.docstrings import docstring, documented

F = TypeVar("F", bound=Callable[..., Any])

#: Arguments of `Cluster` that are options of commands.
_CLUSTER = (
    "backend", "backend_options", "site", "site_options", "via", "plugins", "name", "shared_directory", "log_directory",
)  # fmt: skip
#: What a shell completes after some of them.
_WORDS = {"backend": completing.backends, "site": completing.sites, "name": completing.clusters}
#: Those of commands that do all of their work on this host.
HERE = tuple(name for name in _CLUSTER if name != "via")
#: Arguments of `WorkerGroup` that are; its backend and the options of that are those of the cluster here.
_WORKER = tuple(name for name in WorkerGroup.argument_names() if name not in ("backend", "backend_options"))
#: Arguments that hold several texts: the option is repeated.
_REPEATED = {
    "extra_directives", "skip_directives", "modules", "prologue", "epilogue", "inherit_env", "launch_prefix",
    "preimport",
}  # fmt: skip
_NUMBERS = {"cores": int, "processes": int, "threads": int, "nodes": int, "gpus": int}


def described(module: str, name: str, options: Collection[str] = ()) -> dict[str, str]:
    """What a class says of its parameters, as --help says it; importing `Cluster` takes a second, and is not needed."""
    # Without the source there are no words, and an option is an option all the same.
    return defaultdict(str, spoken(documented(docstring(module, name)), options))


def spoken(descriptions: Mapping[str, str], options: Collection[str]) -> dict[str, str]:
    """Descriptions as --help says them: without marks, and with the names of options as they are typed."""

    def plain(match: re.Match[str]) -> str:
        return _option(match[1]) if match[1] in options else match[1]

    return {name: re.sub(r"`(.+?)`", plain, words.replace("``", "")) for name, words in descriptions.items()}


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def cluster_options(*, by_default: str = "", only: Collection[str] = _CLUSTER) -> Callable[[F], F]:
    """Give a command options for what describes a cluster as a whole, or for some of that.

    Parameters
    ----------
    by_default
        Which batch system, in words.
    """

    def decorate(command: F) -> F:
        # An option that the command does not have is not spelled as one.
        words = described("corral.cluster.cluster", "Cluster", [name for name in _CLUSTER if name in only])
        if by_default:
            words["backend"] = f"{words['backend'].partition(' Default:')[0]} Default: {by_default}."
        for name in reversed([name for name in _CLUSTER if name in only]):
            option = _option(name)
            if name == "backend_options":
                backend_option(command)
            elif name == "site_options":
                site_option(command)
            elif name == "plugins":
                click.option(
                    "--plugin", "plugins", multiple=True, metavar="MODULE:NAME",
                    help="A plugin of your own, by its path in Python: my_lab:Quirks. May be repeated.",
                )(command)  # fmt: skip
            else:
                click.option(option, help=words[name], shell_complete=_WORDS.get(name))(command)
        return command

    return decorate


def backend_option(command: F) -> F:
    """Give a command the option whose texts `plugin_options` reads."""
    return click.option(
        "--backend-option", "backend_options", multiple=True, metavar="NAME=VALUE",
        help="An option of the backend plugin. May be repeated.",
    )(command)  # fmt: skip


def site_option(command: F) -> F:
    """Give a command the option whose texts `plugin_options` reads as the site's."""
    return click.option(
        "--site-option", "site_options", multiple=True, metavar="NAME=VALUE",
        help="An option of the site's. May be repeated.",
    )(command)  # fmt: skip


def cluster_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as arguments of `Cluster`."""
    arguments = {name: options[name] for name in _CLUSTER if options.get(name) not in (None, ())}
    if "backend_options" in arguments:
        arguments["backend_options"] = plugin_options(arguments["backend_options"])
    if "site_options" in arguments:
        arguments["site_options"] = plugin_options(arguments["site_options"], "site_options")
    return arguments


def refuse_via(why: str) -> None:
    """Refuse a configuration that carries commands to another host, where that makes no sense.

    Raises
    ------
    InvalidRequest
    """
    from corral.request import settings

    if (via := settings.value("via", None)) is not None:
        error = InvalidRequest("via", f"{via!r} is configured, and this command has no use for another host: {why}")
        raise settings.located(error, "")


def worker_options(command: F) -> F:
    """Give a command one option for each argument of `WorkerGroup`."""
    return worker_options_for(_WORKER)(command)


def worker_options_for(names: Collection[str]) -> Callable[[F], F]:
    """Give a command one option for each of these arguments of `WorkerGroup`."""
    return lambda command: _with_worker_options(command, names)


def _with_worker_options(command: F, names: Collection[str]) -> F:
    words = described(WorkerGroup.__module__, WorkerGroup.__name__, _WORKER)
    for name in reversed([name for name in _WORKER if name in names]):
        option = _option(name)
        if name == "env":
            click.option(option, multiple=True, metavar="NAME=VALUE", help=f"{words[name]} May be repeated.")(command)
        elif name == "worker_options":
            click.option(option, metavar="JSON", help=words[name])(command)
        elif name in _REPEATED:
            click.option(option, multiple=True, metavar="TEXT", help=f"{words[name]} May be repeated.")(command)
        else:
            click.option(option, type=_NUMBERS.get(name, str), help=words[name])(command)
    return command


def worker_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as arguments of `WorkerGroup`."""
    arguments = {name: options[name] for name in _WORKER if options.get(name) not in (None, ())}
    if "env" in arguments:
        arguments["env"] = assignments("env", arguments["env"])
    if "worker_options" in arguments:
        arguments["worker_options"] = json_object("worker_options", arguments["worker_options"])
    return arguments


def json_object(argument: str, text: str) -> dict[str, Any]:
    """A mapping, as JSON spells it."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(argument, f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequest(argument, f"{text} is not a JSON object")
    return found


def assignments(argument: str, texts: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping."""
    found = {}
    for text in texts:
        name, is_assignment, value = text.partition("=")
        if not is_assignment:
            raise InvalidRequest(argument, f"{text!r} is not of the form NAME=VALUE")
        found[name] = value
    return found


def plugin_options(texts: Sequence[str], argument: str = "backend_options") -> dict[str, Any]:
    """Options of a plugin; a value that is JSON (a number, true, a list) is taken as such, else as text.

    Python's ``True`` and ``False`` are what they are in ``backend_options=``, from where they are copied.
    """
    found: dict[str, Any] = {}
    for name, value in assignments(argument, texts).items():
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = {"True": True, "False": False}.get(value, value)
    return found
