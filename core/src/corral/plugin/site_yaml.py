"""A site that is written in YAML: its keys, what may stand there, and all that is wrong with it at once.

The tables say what :class:`SiteDescription` and its parts take, for those who read a file, for those who write one with
an editor that knows the JSON schema, and for the documentation. What the arguments of a cluster are, which `defaults`,
`required` and `groups` speak of, is known elsewhere: here they are names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from corral.errors import InvalidRequest
from corral.plugin import site_files
from corral.plugin.site_files import SECTION, Problem, Written
from corral.plugin.site_values import (
    At,
    Key,
    Unusable,
    anything,
    argument,
    count,
    day,
    directives,
    duration,
    each_of,
    mapping_of,
    memory,
    regular_expression,
    section,
    sentence,
    sentences,
    text,
    texts,
    truth,
    walk,
)
from corral.plugin.sites import DescribedSite, NodeType, SiteDescription, SiteFacts, SiteOption


def nodes(value: Any, at: At) -> tuple[NodeType, ...]:
    """Kinds of nodes, each with a name of its own."""
    if not isinstance(value, list | tuple):
        raise Unusable(f"{at.spelled(value)}, where a list belongs: begin each kind of nodes with a dash")
    found: list[NodeType | None] = list(each_of(_node, value, at))
    names: set[str] = set()
    for number, node in enumerate(found):
        if node is not None and node.name in names:
            at.below(number).tell(f"there are nodes named {node.name!r} already")
        names |= set() if node is None else {node.name}
    return tuple(node for node in found if node is not None)


def _node(value: Any, at: At) -> NodeType | None:
    node: NodeType | None = section(NODE, NodeType)(value, at)
    if node is not None and node.max_nodes is not None and node.max_nodes < node.min_nodes:
        raise Unusable(f"max-nodes is {node.max_nodes}, which is less than min-nodes, {node.min_nodes}")
    return node


def _option(value: Any, at: At) -> SiteOption | None:
    option: SiteOption | None = section(OPTION, SiteOption)(value, at)
    if option is None or option.default is None:
        return option
    if option.choices and option.default not in option.choices:
        raise Unusable(f"the default {option.default!r} is none of the choices: {', '.join(option.choices)}")
    if option.pattern and not re.fullmatch(option.pattern, option.default):
        raise Unusable(f"the default {option.default!r} does not match the pattern {option.pattern!r}")
    return option


# --- keys -------------------------------------------------------------------------------------------------------

_TEXT: Mapping[str, Any] = {"type": "string"}
_TRUTH: Mapping[str, Any] = {"type": "boolean"}
_TEXTS: Mapping[str, Any] = {"type": "array", "items": _TEXT}
_NAMED_TEXTS: Mapping[str, Any] = {"type": "object", "additionalProperties": _TEXT}


def _number(least: int) -> Mapping[str, Any]:
    return {"type": "integer", "minimum": least}


NODE: Mapping[str, Key] = {
    "name": Key(words="What users may write as queue=, too.", read=text, schema=_TEXT, required=True),
    "queue": Key(words="The queue or partition; left out: directives choose the nodes.", read=text, schema=_TEXT),
    "cores": Key(
        words="The most cores that a job may have of a node.", read=count(1), schema=_number(1), required=True
    ),
    "memory": Key(words="The most memory that a job may have of a node: 250GB.", read=memory, schema=_TEXT),
    "gpus": Key(words="How many GPUs a node has.", read=count(0), schema=_number(0)),
    "max_walltime": Key(words="The longest that a job may last: 12h.", read=duration, schema=_TEXT),
    "min_nodes": Key(words="The least nodes of a job.", read=count(1), schema=_number(1)),
    "max_nodes": Key(words="The most nodes of a job.", read=count(1), schema=_number(1)),
    "whole": Key(
        words="Whether jobs have nodes for themselves, and are charged for all of them.", read=truth, schema=_TRUTH
    ),
    "named_only": Key(
        words="Whether these nodes are chosen only by name, as those for debugging are.", read=truth, schema=_TRUTH
    ),
    "directives": Key(
        words="Native directives of jobs on these nodes, without the prefix.", read=directives, schema=_TEXTS
    ),
    "skip": Key(words="Directives that jobs on these nodes must not have.", read=texts, schema=_TEXTS),
}

OPTION: Mapping[str, Key] = {
    "help": Key(words="What it is, and where its value is found.", read=sentence, schema=_TEXT, required=True),
    "required": Key(words="Whether users must say it.", read=truth, schema=_TRUTH),
    "default": Key(words="Its value if it is not said.", read=text, schema=_TEXT),
    "pattern": Key(words="A regular expression for the whole value.", read=regular_expression, schema=_TEXT),
    "choices": Key(words="The only values.", read=texts, schema=_TEXTS),
    "directives": Key(
        words="Native directives of all jobs if it is said, with the value for {value}.", read=directives, schema=_TEXTS
    ),
}

FACTS: Mapping[str, Key] = {
    "title": Key(words="The site's own name: DKRZ Levante.", read=text, schema=_TEXT),
    "hosts": Key(
        words='Patterns of the names of its hosts, login and compute nodes alike: "levante*.dkrz.de".',
        read=texts, schema=_TEXTS,
    ),
    "environment": Key(
        words="Variables that are set on all of its hosts, with a pattern of the value.",
        read=mapping_of(text), schema=_NAMED_TEXTS,
    ),
    "sources": Key(words="Where these facts were read.", read=texts, schema=_TEXTS),
    "checked": Key(words="When: 2026-11-29.", read=day, schema=_TEXT),
    "is_tried": Key(words="Whether somebody has tried this on the machine itself.", read=truth, schema=_TRUTH),
}  # fmt: skip

SITE: Mapping[str, Key] = {
    **FACTS,
    "backend": Key(words="The batch system: slurm.", read=text, schema=_TEXT, required=True),
    "backend_options": Key(
        words="Options of the backend plugin.", read=mapping_of(anything, named=argument), schema={"type": "object"}
    ),
    "defaults": Key(
        words="Arguments of clusters and settings, for users who do not say them.",
        read=mapping_of(anything, named=argument), schema={"type": "object"},
    ),
    "required": Key(
        words="Arguments that users must say, each with a sentence that says where its value is found.",
        read=mapping_of(sentence, named=argument), schema=_NAMED_TEXTS,
    ),
    "options": Key(
        words="What this site asks of its users beside corral's arguments: site_options.",
        read=mapping_of(_option), schema={"type": "object"},
    ),
    "groups": Key(
        words="Ready-made groups of workers: arguments of WorkerGroup, by the group's name.",
        read=mapping_of(mapping_of(anything, named=argument)),
        schema={"type": "object"},
    ),
    "nodes": Key(
        words="Its kinds of nodes; the first that takes a job gets it.", read=nodes, schema={"type": "array"}
    ),
    "directives": Key(words="Native directives of all jobs, without the prefix.", read=directives, schema=_TEXTS),
    "skip": Key(words="Directives that no job may have.", read=texts, schema=_TEXTS),
    "advice": Key(words="What users should know before their first cluster.", read=sentences, schema=_TEXTS),
}  # fmt: skip


# --- sites ------------------------------------------------------------------------------------------------------


def described(name: Any, written: Written) -> tuple[SiteDescription | None, list[Problem]]:
    """What is written of one site, and everything that is wrong with it; None if anything is."""
    problems = [doubt for source in written.of(name) if (doubt := site_files.untrusted(source.path)) is not None]
    at = At(written=written, path=(*SECTION, name), problems=problems)
    for source in written.of(name):
        for path, lines in source.doubles(at.path):
            words = f"is said in the lines {', '.join(map(str, lines))}, and YAML takes the last. Remove all but one"
            key = site_files.spelled(path)
            problems.append(Problem(source=str(source.path), line=lines[-1], key=key, words=words))
    if name in ("auto", "none"):
        at.tell(
            f"no site can be called {name}: site={name!r} means {'no site' if name == 'none' else 'that of the host'}"
        )
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        at.tell("this is no name of a site: it has letters, digits, dots, dashes and underscores")
    found = walk(SITE, written.sites.get(name), at)
    if problems:
        return None, in_order(problems, written)
    facts = {key: found.pop(key) for key in FACTS if key in found}
    return SiteDescription(facts=SiteFacts(**{"title": name, **facts}), **found), []


def facts_of(name: Any, written: Written) -> SiteFacts:
    """What is said to recognise a site by, as far as it can be read: what is wrong is told when somebody uses it."""
    said = written.sites.get(name)
    own = {key: each for key, each in said.items() if argument(str(key)) in FACTS} if isinstance(said, Mapping) else {}
    at = At(written=written, path=(*SECTION, name), problems=[])
    own = {key: [each] if key == "hosts" and isinstance(each, str) else each for key, each in own.items()}
    found = {key: each for key, each in walk(FACTS, own, at).items() if each is not None}
    return SiteFacts(**{"title": str(name), **found})


def sentence_of(name: str, problems: Sequence[Problem]) -> str:
    """All that is wrong with a site, a line each."""
    if len(problems) == 1:
        return f"{name!r} cannot be used: {problems[0]}"
    return "\n  ".join([f"{name!r} cannot be used. It has {len(problems)} mistakes:", *map(str, problems)])


@frozen(kw_only=True, eq=False)
class WrittenSite:
    """What stands for an entry point."""

    name: Any
    written: Written = field(repr=False)

    def load(self) -> type[DescribedSite]:
        return plugin_class(self.name, self.written)


def plugin_class(name: Any, written: Written) -> type[DescribedSite]:
    """The plugin of a site; if anything is wrong with it, one that says so when it is made."""
    description, problems = described(name, written)
    if description is not None:
        return type(str(name), (DescribedSite,), {"description": description})
    sentence = sentence_of(name, problems)
    said = written.sites[name]
    backend = said.get("backend") if isinstance(said, Mapping) else None

    def refuse(_self: object, **_options: Any) -> None:
        raise InvalidRequest("site", sentence)

    # Whether this host is its own is asked all the same.
    own = {"facts": facts_of(name, written), "backend": backend if isinstance(backend, str) else "", "__init__": refuse}
    return type(str(name), (DescribedSite,), own)


def in_order(problems: Sequence[Problem], written: Written) -> list[Problem]:
    """By file and line, each once."""
    sources = [str(source.path) for source in written.sources]
    rank = {source: number for number, source in enumerate(sources)}
    return sorted(
        dict.fromkeys(problems), key=lambda problem: (rank.get(problem.source, -1), problem.source, problem.line)
    )
