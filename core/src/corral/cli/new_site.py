"""What ``corral new-site`` can know of the machine that it runs on, in YAML and in Python."""

from __future__ import annotations

import datetime
import json
import re
import socket
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]
from attrs import field, frozen

from corral._version import __version__
from corral.text.printable import printable

if TYPE_CHECKING:
    from corral.plugin.values import Queue

#: What marks a place that nobody but the site's author can fill.
MARK = "FILL IN"


@frozen(kw_only=True)
class Kind:
    """A kind of nodes, as a queue that was found: keys and values as `NodeType` has them."""

    values: Mapping[str, Any]
    #: What its author should look at, a sentence each.
    doubts: Sequence[str] = ()
    #: False: too little is known of it, or it takes no jobs.
    is_complete: bool = True


@frozen(kw_only=True)
class Found:
    """What is known of a machine."""

    name: str
    title: str
    backend: str
    hosts: Sequence[str]
    #: The name of this host, from which the patterns are made.
    host: str
    interfaces: Sequence[str]
    kinds: Sequence[Kind] = ()
    #: Why there are no kinds of nodes; empty if there are.
    problem: str = ""
    today: str = field(factory=lambda: datetime.datetime.now(tz=datetime.UTC).date().isoformat())


def patterns(names: Sequence[str]) -> tuple[str, list[str]]:
    """The longest name of a host, and patterns for it and for the others beside it that are called so.

    ``login3.levante.dkrz.de`` gives ``login*.levante.dkrz.de``. Without a domain it could be anybody's: then it is this
    host alone.
    """
    whole = max(names, key=len)
    host, _, domain = whole.partition(".")
    numbered = re.fullmatch(r"(.*?)\d+", host)
    return whole, [f"{numbered[1]}*.{domain}" if numbered and numbered[1] and domain else whole]


def interfaces() -> list[str]:
    """Names of this host's networks but for the one to itself."""
    return [name for _, name in socket.if_nameindex() if name != "lo"]


# --- queues -----------------------------------------------------------------------------------------------------


def kinds_of(queues: Sequence[Queue]) -> list[Kind]:
    """Queues as kinds of nodes, in the order in which ``queue="auto"`` would take them."""
    from corral.request.queues import tightest_first

    return [_kind(queue) for queue in tightest_first(queues)]


def _kind(queue: Queue) -> Kind:
    from corral.request.queues import is_for_trials
    from corral.text.sizes import size_in_words

    values: dict[str, Any] = {"name": queue.name or "default"}
    if queue.name:
        values["queue"] = queue.name
    doubts = []
    if queue.cores is not None:
        values["cores"] = queue.cores
    else:
        values["cores"] = MARK
        doubts.append(f"{MARK}: the batch system does not say how many cores its nodes have")
    if queue.memory is not None:
        values["memory"] = size_in_words(queue.memory)
    else:
        doubts.append("how much memory its nodes have is not said")
    if queue.gpus:
        values["gpus"] = queue.gpus
    if queue.max_walltime is not None:
        values["max_walltime"] = _duration(queue.max_walltime)
    if queue.min_nodes is not None and queue.min_nodes > 1:
        values["min_nodes"] = queue.min_nodes
    if queue.max_nodes is not None and queue.max_nodes >= values.get("min_nodes", 1):
        values["max_nodes"] = queue.max_nodes
    if is_for_trials(queue.name):
        values["named_only"] = True
        doubts.append("by its name, it is for trials or for people who wait at a prompt")
    elif queue.accounts:
        values["named_only"] = True
        doubts.append(f"takes jobs of these accounts alone: {', '.join(queue.accounts)}")
    if not queue.accepts_jobs:
        doubts.append("takes no jobs at present")
    return Kind(values=values, doubts=doubts, is_complete=queue.cores is not None and queue.accepts_jobs)


def _duration(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


# --- YAML -------------------------------------------------------------------------------------------------------


def as_yaml(found: Found) -> str:
    """A file that can be used at once; what only its author knows is marked, in comments."""
    name = found.name
    head = f"""\
# The site {name!r} of corral: what its users need not say. Written on {printable(found.host)} by corral {__version__}.
#
# {MARK} marks what only you know. After each change, `corral script --site {name} --memory 2GB` shows a job, or every
# mistake with its line. `corral schema` is for editors that check and complete such files.
corral:
  sites:
    {name}:
      title: {scalar(found.title)}  # {MARK}: what the centre calls it
      # On which hosts it is found without site=. {MARK}: what compute nodes are called, too.
      hosts: [{", ".join(map(scalar, found.hosts))}]
      # environment: {{CLUSTER: {name}}}  # or a variable that is set on all of its hosts, and a pattern for its value
      sources: []  # {MARK}: where these facts were read: ["docs.example.org"]
      checked: {found.today}
      backend: {scalar(found.backend)}
      # What all users would write, and may override. {MARK}: the network of the compute nodes; this host has
      # {", ".join(found.interfaces) or "none"}.
      # defaults: {{interface: ib0, walltime: 2h}}
      # What nobody can guess, and where it is found. {MARK}, if jobs need an account here:
      # required: {{account: "`command` lists your projects"}}
      # Directives of all jobs, and such as no job may have:
      # directives: ["--qos=normal"]
      # skip: [memory]
"""
    return head + _nodes_in_yaml(found)


def _nodes_in_yaml(found: Found) -> str:
    indented = " " * 6
    if not found.kinds:
        node = "{name: compute, queue: compute, cores: 128, memory: 250GB, max-walltime: 8h, whole: true}"
        lines = [f"# {MARK}: kinds of nodes. {found.problem}", "# nodes:", f"#   - {node}"]
        return textwrap.indent("\n".join(lines) + "\n", indented)
    lines = [
        f"# What jobs may have of a node, as {found.backend} says it here. The first that takes a job gets it.",
        f"# {MARK}: `whole: true` where jobs have nodes for themselves, and are charged for all of them; and whose",
        "# memory is partly the system's.",
    ]
    if any(kind.is_complete for kind in found.kinds):
        lines.append("nodes:")
    else:
        lines.append("# nodes:")
    for kind in found.kinds:
        lines += [printable(f"  # {kind.values['name']}: {doubt}") for doubt in kind.doubts]
        pairs = [f"{key.replace('_', '-')}: {scalar(value)}" for key, value in kind.values.items()]
        lines.append(f"  {'- ' if kind.is_complete else '# - '}{{{', '.join(pairs)}}}")
    return textwrap.indent("\n".join(lines) + "\n", indented)


def scalar(value: object) -> str:
    """A value as YAML has it, in quotes if it would be something else without."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    is_plain = re.fullmatch(r"[A-Za-z0-9][\w .-]*", value, re.ASCII) and yaml.safe_load(value) == value
    return value if is_plain else json.dumps(value)


# --- Python -----------------------------------------------------------------------------------------------------


def as_python(found: Found) -> dict[str, str]:
    """What goes into the template of a package."""
    lines = []
    if not found.kinds:
        lines.append(f"# {MARK}: {found.problem}")
        lines.append(
            '# NodeType(name="compute", queue="compute", cores=128, memory="250GB", max_walltime="8h", whole=True),'
        )
    for kind in found.kinds:
        lines += [printable(f"# {kind.values['name']}: {doubt}") for doubt in kind.doubts]
        pairs = ", ".join(f"{key}={_literal(value)}" for key, value in kind.values.items())
        lines.append(f"{'' if kind.is_complete else '# '}NodeType({pairs}),")
    hosts = "".join(f"{_literal(host)}, " for host in found.hosts)
    return {
        "title": found.title,
        "hosts": f"({hosts.rstrip()})",
        "host": printable(found.host),
        "interfaces": ", ".join(found.interfaces) or "none",
        "today": found.today,
        "nodes": textwrap.indent("\n".join(lines), " " * 12).lstrip(),
    }


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
