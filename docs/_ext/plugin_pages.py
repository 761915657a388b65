"""A page for each backend and each site of this repository, made from what it declares when the documentation is built.

The pages are in docs/backends and docs/sites, which git ignores. Each has what the plugin says of itself, what its
README says, a job script as `corral script` shows it, and on what it was run.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral.errors import CorralError
from corral.plugin import discovery
from corral.plugin.facts import BackendFacts
from corral.plugin.sites import NodeType, SiteDescription, SiteOption
from corral.request.drawing import draw
from corral.text.durations import in_words
from corral.text.sizes import size_in_words

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: The person in whose name scripts are drawn, so that a page says the same wherever it is built.
SOMEBODY = {"HOME": "/home/you", "USER": "you", "LOGNAME": "you", "SCRATCH": "/scratch/you"}
PYTHON = "/home/you/env/bin/python"
#: What a site may ask for that nobody can guess.
STAND_INS = {
    "account": "ab12",
    "storage": "scratch/ab12",
    "queue": "batch",
    "walltime": "1h",
    "shared_directory": "/scratch/you",
}
#: And what a backend asks for.
OPTIONS = {
    "oar": {"memory_property": "memcore"},
    "sge": {"memory_resource": "h_vmem", "parallel_environment": "smp"},
}


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is made, and its text."""
    for kind, page in (("backends", backend_page), ("sites", site_page)):
        found = dict(_plugins(kind))
        for name, (folder, where) in found.items():
            yield DOCS / kind / f"{name}.md", page(name, folder, where)


def _plugins(kind: str) -> Iterator[tuple[str, tuple[Path, str]]]:
    """Names of the backends or sites of this repository: each with its folder, and its module and attribute."""
    seen = set()
    for path in [ROOT / "core/pyproject.toml", *sorted(ROOT.glob("*/*/pyproject.toml"))]:
        project = tomllib.loads(path.read_text())["project"]
        for name, where in project.get("entry-points", {}).get(f"corral.{kind}.v1", {}).items():
            # Some have two names.
            if where not in seen:
                seen.add(where)
                yield name, (path.parent, where)


def _plugin(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


# --- backends ---------------------------------------------------------------------------------------------------


def backend_page(name: str, folder: Path, where: str) -> str:
    """What a backend says of itself, its README, a job's script, and what was run."""
    facts: BackendFacts = _plugin(where).facts
    distribution = _distribution(folder)
    readme = folder / "README.md" if folder.parent.name == "plugins" else folder / "src/corral/local/README.md"
    rows = [
        ("plugin", f'`{distribution}`, which brings `backend="{name}"`'),
        ("batch system", f"[{facts.title}]({facts.url})" if facts.url else facts.title),
        ("run for real against", facts.tried),
        ("recognised by", _traces(facts)),
        ("finds its server by", _codes(facts.carried)),
        ("not enforced", ", ".join(sorted(facts.unenforced))),
        ("queues", f"{facts.title} {facts.no_queues}" if facts.no_queues else ""),
    ]
    return "\n".join(
        [
            f"# {_capital(facts.title)}\n",
            *_table(("", ""), rows),
            "",
            f"`corral backends {name}` says the same where it is installed, and whether it answers on this host.\n",
            _beneath_title(readme),
            *_options_elsewhere(facts),
            *_backend_script(name),
            *_runs(name),
        ]
    )


def _backend_script(name: str) -> Iterator[str]:
    options = OPTIONS.get(name, {})
    words = "".join(f" --backend-option {key}={value}" for key, value in options.items())
    command = f"corral script --backend {name} --cores 8 --memory 32GB --walltime 2h{words}"
    yield from _script(command, {"backend": name, "backend_options": options})


def _traces(facts: BackendFacts) -> str:
    """What makes corral ask whether it answers."""
    kinds = {"commands": facts.commands, "variables": facts.variables, "files": facts.files}
    return "; ".join(f"{kind} {_codes(found)}" for kind, found in kinds.items() if found)


def _options_elsewhere(facts: BackendFacts) -> Iterator[str]:
    if facts.no_options:
        yield "\n## Options that others have\n"
        yield from (f"- `{name}`: {_coded(why)}" for name, why in facts.no_options.items())


def _runs(name: str) -> Iterator[str]:
    """What was run on it: lines of tried.jsonl."""
    runs = [json.loads(line) for line in (DOCS / "tried.jsonl").read_text().splitlines()]
    rows = [
        (
            f"{run['batch_system']} {run['version']}",
            ", ".join(run["tests"]),
            run.get("system", ""),
            run["date"],
            run["by"],
        )
        for run in runs
        if run["backend"] == name
    ]
    if rows:
        yield "\n## What was run\n"
        yield from _table(("version", "what", "where", "when", "by"), rows)
        yield "\n[What was really run](../tried.md) explains the words, and how your machine comes into this table."


# --- sites ------------------------------------------------------------------------------------------------------


def site_page(name: str, folder: Path, where: str) -> str:
    """What a site says of itself, what its README says, and a job's script there."""
    plugin = _plugin(where)
    said: SiteDescription = plugin.description
    known = "tried on the machine" if said.facts.is_tried else "put together from what is published, not tried there"
    rows = [
        ("plugin", f'`{_distribution(folder)}`, which brings `site="{name}"`'),
        ("batch system", f"[{discovery.facts_of(said.backend).title}](../backends/{said.backend}.md)"),
        ("with", _settings(said.backend_options)),
        ("recognised by", _evidence(said)),
        ("known from", f"{known}, {said.facts.checked}"),
    ]
    return "\n".join(
        [
            f"# {_capital(said.facts.title)}\n",
            *_table(("", ""), rows),
            "",
            *_list("What you must say", (f"`{argument}=`: {_coded(why)}" for argument, why in said.required.items())),
            *_list("Options", (f"`{option}`: {_of_option(what)}" for option, what in said.options.items())),
            *_list("What you need not say", (f"`{key}={value!r}`" for key, value in said.defaults.items())),
            *_nodes(said.nodes),
            *_list("Ready-made groups", (f"`{name}.{key}`: {_settings(it)}" for key, it in said.groups.items())),
            *_list("Advice", map(_coded, said.advice)),
            *_site_script(name, said),
            *_list("Sources", (f"<{each}>" if "//" in each else each for each in said.facts.sources)),
            "\n## What its README says\n",
            _beneath_title(folder / "README.md"),
        ]
    )


def _evidence(said: SiteDescription) -> str:
    variables = [f"{name}={value}" for name, value in said.facts.environment.items()]
    return "; ".join(filter(None, [_codes(variables), f"hosts {_codes(said.facts.hosts)}" if said.facts.hosts else ""]))


def _of_option(option: SiteOption) -> str:
    more = [f"one of {_codes(option.choices)}"] if option.choices else []
    more += ["needed"] if option.required else []
    more += [f"default `{option.default}`"] if option.default is not None else []
    return _coded(option.help) + (f" ({'; '.join(more)})" if more else "")


def _nodes(nodes: Sequence[NodeType]) -> Iterator[str]:
    """The table that `corral sites NAME` shows."""
    rows = [
        (
            node.name,
            f"`{node.queue}`" if node.queue else _codes(node.directives),
            str(node.cores),
            size_in_words(node.memory) if node.memory else "",
            str(node.gpus or ""),
            in_words(node.max_walltime) if node.max_walltime else "",
            _nodes_of_job(node),
            ", ".join([*(["whole"] if node.whole else []), *(["only by name"] if node.named_only else [])]),
        )
        for node in nodes
    ]
    if rows:
        yield "\n## Nodes\n\nThe first that takes a job gets it. Everything is per node.\n"
        heads = ("name", "queue, or what chooses it", "cores", "memory", "GPUs", "walltime", "nodes of a job", "")
        yield from _table(heads, rows)
    if any(node.whole for node in nodes):
        yield "\n*whole*: a job has its nodes for itself, and is charged for all that they have."


def _nodes_of_job(node: NodeType) -> str:
    if node.min_nodes > 1:
        return f"{node.min_nodes} to {node.max_nodes or 'any'}"
    return f"up to {node.max_nodes}" if node.max_nodes else "any"


def _site_script(name: str, said: SiteDescription) -> Iterator[str]:
    """A job of the first kind of nodes that is chosen by itself."""
    needed = {key: STAND_INS.get(key, "project1") for key in said.required}
    options = {
        key: option.choices[0] if option.choices else STAND_INS.get(key, "project1")
        for key, option in said.options.items()
        if option.required
    }
    given: dict[str, Any] = {"site": name, **needed, **({"site_options": options} if options else {})}
    words = [f"--{key.replace('_', '-')} {value}" for key, value in needed.items()]
    words += [f"--site-option {key}={value}" for key, value in options.items()]
    yield from _script(" ".join(["corral script --site", name, *words, "--cores 8 --memory 32GB --walltime 2h"]), given)


# --- both -------------------------------------------------------------------------------------------------------


def _script(command: str, given: Mapping[str, Any]) -> Iterator[str]:
    """The script of one job of eight cores."""
    asked = {"cores": 8, "memory": "32GB", "walltime": "2h", "python": PYTHON}
    with _somebody():
        try:
            blueprint = draw({**asked, **given}, scheduler_is_here=False)
            script = str(blueprint.script())
        except CorralError as error:
            raise CorralError(f"no script for {command}: {error}") from error
    yield f"\n## A job's script\n\nWhat `{command}` shows, with somebody's names:\n"
    yield f"```sh\n{_settled(script)}\n```"


@contextmanager
def _somebody() -> Iterator[None]:
    """The environment of a person who has little in it."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update({**SOMEBODY, "PATH": before.get("PATH", "")})
    # What is said of a request, the README says.
    logging.getLogger("corral").disabled = True
    try:
        yield
    finally:
        logging.getLogger("corral").disabled = False
        os.environ.clear()
        os.environ.update(before)


def _settled(script: str) -> str:
    """Without what is another one each time, and what is of this machine."""
    for pattern, word in (
        (re.escape(os.getcwd()) + r"(?=\s|$)", "/home/you/work"),
        (r"\b[0-9a-f]{32}\b", 8 * "0123"),
        (r"\bcorral-[0-9a-f]{8}\b", "corral-01230123"),
        (r"(--cluster-created=)\d+", r"\g<1>1796000000"),
        (r"(PYTHONHASHSEED=)\d+", r"\g<1>123"),
    ):
        script = re.sub(pattern, word, script)
    return script.rstrip()


def _beneath_title(readme: Path) -> str:
    """What a README says below its title and its first sentence, which the page has said."""
    text = readme.read_text()
    text = re.sub(r"\A# .*\n+(?:.*\n)+?\n", "", text)
    # Blocks as they are written for a terminal, and links that are right in the repository.
    return re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text).strip("\n") + "\n"


def _distribution(folder: Path) -> str:
    name: str = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]
    return name


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    for row in rows:
        if any(row[1:]):
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    if found := list(lines):
        yield f"\n## {title}\n"
        yield from (f"- {line}" for line in found)


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in values.items())


def _codes(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _coded(sentence: str) -> str:
    """Words such as ``account=`` and options as code, where the sentence does not mark them."""
    if "`" in sentence:
        return sentence
    return re.sub(r"""(?<!\S)([a-z_]+=(?:\[[^\]]*\]|"[^"]*"|\w*)|--[a-z][\w=-]*)""", r"`\1`", sentence)


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


# --- Sphinx -----------------------------------------------------------------------------------------------------


def write(_app: object = None) -> None:
    """Write the pages that have changed, and remove those of plugins that are no longer here."""
    made = dict(pages())
    for path in [*DOCS.glob("backends/*.md"), *DOCS.glob("sites/*.md")]:
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Before Sphinx looks which files there are."""
    app.connect("config-inited", lambda app, _config: write(app))
    return {"parallel_read_safe": True}
