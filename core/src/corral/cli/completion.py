"""``corral completion``: what shells need to complete corral's words."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what a shell needs to complete corral's words.

    For bash, into ~/.bashrc: eval "$(corral completion bash)". For zsh, into ~/.zshrc, after compinit: eval "$(corral
    completion zsh)". For fish: corral completion fish > ~/.config/fish/completions/corral.fish

    Names of clusters, jobs, groups, backends and sites are completed as well.
    """
    from click.shell_completion import get_completion_class

    from corral.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, "click has all three"
    click.echo(kind(main, {}, "corral", "_CORRAL_COMPLETE").source())
