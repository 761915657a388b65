"""``corral script``: the job script of a cluster, on paper."""

from __future__ import annotations

from typing import Any

import click

from corral.cli import completing
from corral.cli.options import cluster_arguments, cluster_options, worker_arguments, worker_options
from corral.cli.redact import Redaction
from corral.cli.tables import say, say_json


@click.command()
@cluster_options()
@worker_options
@click.option(
    "--group", shell_complete=completing.groups, help="Which group's, where the configuration has several; or a site's."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object with the script and whose it is.")
@click.pass_obj
def script(redaction: Redaction, /, group: str | None, as_json: bool, **options: Any) -> None:
    """Print the job script that a cluster would submit.

    Nothing is submitted.
    """
    from corral.request import settings
    from corral.request.blueprint import DEFAULT_GROUP
    from corral.request.drawing import draw

    redaction.hide("project", options["account"])
    given = {**cluster_arguments(options), **worker_arguments(options)}
    if group is not None and group != DEFAULT_GROUP and settings.value("groups", None) is None:
        given["groups"], group = [group], None
    blueprint = draw(given)
    redaction.hide("project", *(each.account for each in blueprint.groups.values()))
    redaction.hide("option", *map(str, blueprint.site_options.values()))
    text = str(blueprint.script(group))
    if as_json:
        choices = {name: str(choice) for name, choice in blueprint.choices.items()}
        whose = group or next(iter(blueprint.groups))
        say_json(
            {"group": whose, "backend": blueprint.backend, "site": blueprint.site, "queues": choices, "script": text}
        )
        return
    for choice in blueprint.choices.values():
        say(f'queue="auto" means {choice}', err=True)
    click.echo(text, nl=False)
