"""Blocks of code in docs/*.md: found, and run one after the other as a reader would type them.

``python tests/plugins/page_blocks.py PAGE`` runs the blocks of one page and prints what came of each as JSON. Python
runs in one namespace, `console` and `sh` in a shell in the same folder. A comment before a block says what its text
does not::

    <!-- not run: there is no GPU here -->
    <!-- run with: cluster = Cluster(memory="1GB") -->     first, and where the page takes it for granted
    <!-- what it printed -->                               a ``text`` block: what the block before it prints
    <!-- lines begin so -->                                what a command prints depends on where it is run

Where a page names a batch system, its request is drawn for that one, and then run on the embedded queue: with what that
queue does not have left out, and as if it had every core that is asked for.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<word>not run|run with|what it printed|lines begin so)(?:: ?(?P<said>(?:(?!-->).)*?))?\s*-->\n)?"
    r"```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

#: Arguments that mean a batch system, a network or a node that is not here.
ELSEWHERE = (
    "queue", "account", "extra_directives", "skip_directives", "nodes", "interface", "scheduler_interface",
    "worker_interface", "scheduler_port", "container", "launch_prefix", "python", "shared_directory", "modules", "site",
)  # fmt: skip


@frozen(kw_only=True)
class Block:
    """One block of a page."""

    page: str
    #: Of its first line of code, from 1.
    line: int
    #: ``python``, ``console``, ``sh`` …
    kind: str
    text: str
    #: Why it is not run; empty: it is.
    not_run: str = ""
    #: Code that is run before it.
    given: str = ""
    #: True: the output of the block before it.
    is_output: bool = False
    #: True: of its output, only how lines begin is always the same.
    varies: bool = False

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """Every block of a page that has a language."""
    text = path.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        word, said = match["word"], (match["said"] or "").strip()
        found.append(
            Block(
                page=path.stem,
                line=text[: match.start("text")].count("\n") + 1,
                kind=match["kind"],
                text=match["text"],
                not_run=said if word == "not run" else "",
                given=said if word == "run with" else "",
                is_output=word == "what it printed",
                varies=word == "lines begin so",
            )
        )
    return found


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a block for a shell, each with what is shown of its output."""
    if block.kind == "sh":
        yield block.text, ""
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        last = next(number for number, line in enumerate(lines) if not line.rstrip().endswith("\\"))
        yield "\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])


# --- the embedded queue in the place of batch systems -----------------------------------------------------------


def stand_in(folder: Path) -> list[Any]:
    """From here on, what a program asks of any batch system is drawn for that, and had of an embedded queue.

    Returns a list of the clusters that will have been made.
    """
    made: list[Any] = []
    from corral import Cluster
    from corral.request.drawing import draw

    original = Cluster.__init__
    options = {"directory": str(folder / "queue"), "cores": 64, "memory": "900TB", "gpus": 100}

    def local(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in ELSEWHERE}

    def init(self: Any, backend: str | None = None, **given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in NOT_DRAWN}
        is_here = given.get("scheduler") != "job" and "interface" not in " ".join(given)
        asked = draw({"backend": backend, **own}, scheduler_is_here=is_here)
        for group in asked.groups:
            asked.script(group)
        given = local(given)
        if isinstance(groups := given.get("groups"), Mapping):
            given["groups"] = {name: _group(group) for name, group in groups.items()}
        if "scheduler_options" in given and given.get("scheduler") == "job":
            given["scheduler_options"] = local(given["scheduler_options"])
        if given.get("scheduler") != "job":
            given["interface"] = "lo"
        original(self, "local", **{**given, "backend_options": options})
        made.append(self)

    def _group(group: Any) -> Any:
        return evolve(group, **{name: _default(type(group), name) for name in ELSEWHERE if name in group.given})

    init.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    Cluster.__init__ = init  # type: ignore[method-assign]
    return made


NOT_DRAWN = ("n_workers", "asynchronous", "silence_logs", "loop")


def _default(owner: type, name: str) -> Any:
    from attrs import NOTHING, fields_dict

    default = fields_dict(owner)[name].default
    return default if default is not NOTHING else None


# --- running ----------------------------------------------------------------------------------------------------


def run(page: Path) -> Iterator[tuple[Block, list[str]]]:
    """Run what a page has, and say what each block printed: a console block one text for each command."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run or block.is_output or block.kind not in ("python", "console", "sh"):
            continue
        if block.kind == "python":
            _python(block.given, namespace, block.name)
            yield block, [_python(block.text, namespace, block.name)]
        else:
            if block.given:
                _shell(block.given)
            yield block, [_shell(command) for command, _ in commands(block)]


def _python(text: str, namespace: dict[str, Any], name: str) -> str:
    printed = io.StringIO()
    code = compile(text, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, namespace))
        else:
            exec(code, namespace)
    return printed.getvalue()


def _shell(command: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100
    )
    return done.stdout


def arguments_of_corral(block: Block) -> Iterator[list[str]]:
    """What is said to the command `corral` in a block for a shell, one list for each call."""
    for command, _ in commands(block):
        for line in command.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;&]", line):
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:
                    continue
                words = words[1:] if words[:1] in (["exec"], ["nohup"]) else words
                if words[:1] == ["corral"]:
                    yield [word for word in words[1:] if not word.startswith(">")]


def loosely(text: str) -> list[str]:
    """Lines without what is another each time: numbers, ids, hosts, paths, how wide a column is."""
    for pattern, word in (
        (r"(?<=\()\S*/\S+(?=\))|(?<![\w.])~?/[\w./~-]+", "PATH"),
        (r"'(slurm|local)'|\b(slurm|local)\b(?=  )", "BACKEND"),
        (r"\b[0-9a-f]{8,}\b", "ID"),
        (r"(FAILED) \(\w+\)", r"\1"),
        (r"\b(?:job )?(?:local:)?\d+_\d+(?:-\d+)?\b", "JOB"),
        (r"\b(on) [\w.-]+", r"\1 HOST"),
        (r"(\d/\d +)[\w.-]+", r"\1HOST"),
        (r"\d[\d,.:_]*", "0"),
        (r"[ \t]+", " "),
    ):
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def unlike(shown: str, printed: str, *, varies: bool = False) -> list[str]:
    """Lines that a page shows, and that were not printed, in this order."""
    left = iter(loosely(printed))
    words = 2 if varies else None
    return [line for line in loosely(shown) if not any(_begins(line, words) == _begins(other, words) for other in left)]


def _begins(line: str, words: int | None) -> list[str]:
    return line.split()[:words]


def main() -> None:
    """Run the page that is named, in this folder; what stops it is said at the end."""
    page = Path(sys.argv[1])
    made = [] if "--as-it-is" in sys.argv else stand_in(Path.cwd())
    done = []
    problem = ""
    try:
        for block, printed in run(page):
            done.append((block.name, printed))
    except BaseException:
        problem = traceback.format_exc()
    for cluster in made:
        with contextlib.suppress(Exception):
            cluster.shutdown(timeout=20)
    sys.stdout.write("\n" + json.dumps({"done": done, "problem": problem}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Functions of a page are pickled by value, as those of a script are.
    sys.modules.pop("page_blocks", None)
    main()
    os._exit(0)
