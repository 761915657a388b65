"""``corral schema``: what the configuration may hold, for editors that check and complete YAML."""

from __future__ import annotations

import json
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from corral.cli.options import described
from corral.plugin.site_values import Key

#: What values of Python's types are in YAML; other types are for programs alone.
_NAMES: Mapping[object, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    Mapping: "object",
    Sequence: "array",
}


#: The one that is shipped, for programs that look for it beside the code: it knows the embedded backend's options.
SHIPPED = Path(__file__).parents[1] / "corral-schema.json"


@click.command()
@click.option("--path", is_flag=True, help="Print where the one is that came with corral, which knows no plugins.")
def schema(path: bool) -> None:
    """Print the JSON schema of the configuration.

    It describes what can be set under "corral:" in Dask's configuration. Editors check and complete a file that begins
    with

    # yaml-language-server: $schema=corral-schema.json
    """
    click.echo(SHIPPED if path else written(configuration_schema()), nl=path)


def written(schema: Mapping[str, Any]) -> str:
    """A schema as a file has it."""
    return json.dumps(schema, indent=2) + "\n"


def configuration_schema(backends: Collection[str] | None = None) -> dict[str, Any]:
    """The JSON schema, made from the names, types and descriptions of arguments.

    Parameters
    ----------
    backends
        Those of which options are described. Default: all that are installed.
    """
    from attrs import fields

    from corral.cluster.cluster import Cluster
    from corral.request.arguments import CLUSTER_ARGUMENTS, GROUP_ARGUMENTS
    from corral.request.settings import Settings
    from corral.request.worker_group import WorkerGroup

    group = _properties(WorkerGroup, WorkerGroup.argument_names())
    cluster = _properties(Cluster, CLUSTER_ARGUMENTS)
    # Objects are for programs alone.
    cluster["plugins"]["items"] = {"type": "string", "pattern": "^[^:]+:[^:]+$"}
    # A text is a group that the site has ready.
    cluster["groups"]["additionalProperties"] = {"anyOf": [_section(group), {"type": "string"}]}
    arguments = {**{name: group[name] for name in GROUP_ARGUMENTS}, **cluster}
    sections = {
        "description": "Arguments for one backend, by its name. They win over the general ones.",
        "type": "object",
        "properties": dict(_backends(arguments["backend_options"], backends)),
        "additionalProperties": _OF_A_BACKEND,
    }
    own = _properties(Settings, [attribute.name for attribute in fields(Settings)])
    sites = {
        "description": "Sites, by name: what their users need not say.",
        "type": "object",
        "additionalProperties": {"$ref": "#/$defs/site"},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "corral in Dask's configuration",
        "type": "object",
        "properties": {"corral": _section({**arguments, **own, "backends": sections, "sites": sites})},
        "$defs": {"site": _site({**arguments, **own}, group), "backend": _section(arguments)},
    }


#: What the section of one backend may hold.
_OF_A_BACKEND = {"$ref": "#/$defs/backend"}


def _backends(any_options: Mapping[str, Any], wanted: Collection[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those that are installed, by all of their names, each with the options that it has."""
    from corral.errors import PluginError
    from corral.plugin import discovery
    from corral.plugin.hookspecs import CONTRACT

    for plugin in discovery.installed():
        is_wanted = wanted is None or plugin.name in wanted
        if plugin.kind == "backend" and plugin.contract == CONTRACT and is_wanted:
            try:
                own = {option.name: option.schema() for option in plugin.options}
            except PluginError:
                continue  # `corral backends` says what is wrong with it
            options = {**any_options, "properties": own, "additionalProperties": False}
            its = {"properties": dict.fromkeys(("backend-options", "backend_options"), options)}
            yield plugin.name, {"allOf": [_OF_A_BACKEND, its]}


def _site(defaults: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """What the section of one site may hold."""
    from corral.plugin.site_yaml import NODE, OPTION, SITE
    from corral.request.arguments import SITE_DEFAULTS

    found = _keys(SITE)
    properties = {name: each for name, each in defaults.items() if name in SITE_DEFAULTS}
    found["properties"]["defaults"] |= _section(properties)
    found["properties"]["groups"]["additionalProperties"] = _section(group)
    found["properties"]["nodes"]["items"] = _keys(NODE)
    found["properties"]["options"]["additionalProperties"] = _keys(OPTION)
    return found


def _keys(keys: Mapping[str, Key]) -> dict[str, Any]:
    """A section of a site's, with the names that its keys have in YAML."""
    section = _section({name: {"description": key.words, **key.schema} for name, key in keys.items()})
    required = [name.replace("_", "-") for name, key in keys.items() if key.required]
    return {**section, **({"required": required} if required else {})}


def _section(properties: Mapping[str, Any]) -> dict[str, Any]:
    # Dashes and underscores mean the same.
    dashed = {name.replace("_", "-"): each for name, each in properties.items()}
    return {"type": "object", "properties": {**dashed, **properties}, "additionalProperties": False}


def _properties(owner: type, names: Iterable[str]) -> dict[str, Any]:
    words = described(owner.__module__, owner.__name__)
    hints = typing.get_type_hints(owner.__init__)  # type: ignore[misc]
    return {name: {"description": words[name], **_type(hints[name])} for name in names}


def _type(hint: Any) -> dict[str, Any]:
    """What JSON says of values of this type."""
    kinds = [hint] if typing.get_origin(hint) in _NAMES or hint in _NAMES else typing.get_args(hint)
    named = {_NAMES[kind]: kind for each in kinds if (kind := typing.get_origin(each) or each) in _NAMES}
    found: dict[str, Any] = {"type": [*named] if len(named) > 1 else next(iter(named))}
    if "array" in named:
        found["items"] = {"type": "string"}
    return found


if __name__ == "__main__":
    # `python core/src/corral/cli/schema.py`, after arguments have changed: a test compares.
    SHIPPED.write_text(written(configuration_schema(["local"])))
