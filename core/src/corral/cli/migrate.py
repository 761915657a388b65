"""``corral migrate``: files that were written for other tools, in corral's words."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import click
from attrs import asdict

from corral.cli.tables import say, say_json, show_file
from corral.errors import InvalidRequest, ParseError, counted

#: The exit code if something could not be carried over.
LOST = 1
#: Bytes: no program is larger, and what has no end is none.
_MOST = 50_000_000


@click.command()
@click.option("--backend", help="The batch system, where the file does not tell: slurm, pbs, …")
@click.option(
    "--as", "form", type=click.Choice(["submit", "cluster"]),
    help="What a job script becomes: a command that submits its Python program, or a Cluster. Default: the command, if "
    "it runs one Python program.",
)  # fmt: skip
@click.option("--diff", is_flag=True, help="Print what changes, as a patch.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it there instead of printing it."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="For programs: one JSON object with the new text and what is to be known of it.",
)
@click.argument("file", type=click.Path(allow_dash=True))
@click.pass_context
def migrate(
    ctx: click.Context, file: str, backend: str | None, form: str | None, diff: bool, output: Path | None, as_json: bool
) -> None:
    """Say in corral's words what a file for another tool says.

    FILE is a Python program or a notebook that uses dask-jobqueue or dask-mpi, a YAML file with a section "jobqueue",
    or a job script of any batch system; - is the standard input. It is read, never run, and never changed.

    What is different now, and what could not be carried over, is told line by line on the standard error. The exit code
    is 0, or 1 if something could not be carried over, or 2 if there is nothing that could be translated.
    """
    from corral.migration.files import migrate as migrated

    name = "<stdin>" if file == "-" else file
    text = _read(file)
    try:
        found = migrated(text, name, backend=backend, form=form)
    except ParseError as error:
        raise InvalidRequest("FILE", f"{name}: {error.problem}") from None
    if diff:
        lines = difflib.unified_diff(
            text.splitlines(keepends=True), found.text.splitlines(keepends=True), name, f"{name} (corral)"
        )
        shown = "".join(lines)
    else:
        shown = found.text
    if as_json:
        remarks = [asdict(remark) for remark in found.remarks]
        say_json({"file": name, "text": shown, "remarks": remarks, "lost": found.lost})
    if output is None:
        if not as_json:
            show_file(shown.encode())
    elif file != "-" and output.exists() and output.samefile(file):
        raise InvalidRequest("output", f"{output} is the file itself, which is never changed; name another")
    else:
        try:
            output.write_text(shown, encoding="utf-8")
        except OSError as error:
            raise InvalidRequest("output", f"{output} cannot be written: {error.strerror}") from None
    sys.stdout.flush()
    if as_json:
        ctx.exit(LOST if found.lost else 0)
    for remark in found.remarks:
        say(str(remark), err=True)
    if found.lost:
        say(f"corral: {counted(found.lost, 'thing')} could not be carried over", err=True)
        ctx.exit(LOST)


def _read(file: str) -> str:
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(_MOST + 1)
        else:
            with Path(file).open("rb") as opened:
                raw = opened.read(_MOST + 1)
    except OSError as error:
        raise InvalidRequest("FILE", f"{file} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST:
        raise InvalidRequest(
            "FILE", f"{file} is larger than {_MOST // 10**6} MB; a notebook is smaller without its outputs"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        said = f"{file} is not text in UTF-8: {error.reason} at byte {error.start}. Save it so"
        raise InvalidRequest("FILE", said) from None
