"""Where sites are written in YAML: in which files, and in which line of them each word stands.

What counts is what Dask's configuration says below ``corral: sites:``, merged from its files, its variables and the
program; then what the files say that `CORRAL_SITES` names. The key ``max-walltime`` is ``max_walltime``, as everywhere
in that configuration.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dask.config
import yaml  # type: ignore[import-untyped]
from attrs import field, frozen

from corral.errors import NotPrivate
from corral.host.trust import refuse_changeable
from corral.text.printable import printable

#: Names files, and folders of files, as PATH names folders.
VARIABLE = "CORRAL_SITES"
#: Below which keys sites stand, whoever says them.
SECTION = ("corral", "sites")
_ENDINGS = (".yaml", ".yml", ".json")

#: The way to a value: keys, and numbers of items.
Keys = tuple[Any, ...]


class _NoSitesError(Exception):
    """A file says nothing of sites."""


@frozen(kw_only=True)
class Problem:
    """Something in a file that cannot be used."""

    #: The file, or whatever else said it, and its line; 0: all of it.
    source: str
    line: int = 0
    #: What it is about, as `spelled` writes it; empty: the file.
    key: str = ""
    words: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return ": ".join(part for part in (place, self.key, self.words) if part)


@frozen(kw_only=True, eq=False)
class Source:
    """One file that says something of sites."""

    path: Path
    #: What it says, from the top.
    content: Mapping[Any, Any] = field(repr=False)
    _root: yaml.Node = field(repr=False)

    @property
    def sites(self) -> Mapping[Any, Any]:
        found = _below(self.content, SECTION)
        return found if isinstance(found, Mapping) else {}

    def says(self, path: Keys) -> bool:
        return self._node(path) is not None

    def value(self, path: Keys) -> Any:
        return _below(self.content, path)

    def line(self, path: Keys) -> int:
        """Where the key is, or the item of a list; 0 if it is not there."""
        found = self._node(path)
        return 0 if found is None else found[0].start_mark.line + 1

    def text(self, path: Keys) -> str | None:
        """A value without quotes as it is written; None for all others."""
        found = self._node(path)
        if found is None or not isinstance(found[1], yaml.ScalarNode) or found[1].style is not None:
            return None
        return str(found[1].value)

    def doubles(self, path: Keys) -> Iterator[tuple[Keys, list[int]]]:
        """Keys below this one that are said more than once, with their lines: YAML itself takes the last."""
        found = self._node(path)
        if found is not None:
            yield from _doubles(found[1], path, set())

    def _node(self, path: Keys) -> tuple[yaml.Node, yaml.Node] | None:
        """Where something begins, and what it is."""
        begins, here = self._root, self._root
        for part in path:
            if isinstance(here, yaml.SequenceNode) and isinstance(part, int) and part < len(here.value):
                begins = here = here.value[part]
                continue
            pairs = [pair for pair in _pairs(here) if _is_key(pair[0], part)]
            if not pairs:
                return None
            begins, here = pairs[0]
        return begins, here


@frozen(kw_only=True, eq=False)
class Written:
    """What there is of sites in YAML, all sources merged."""

    #: What each says, by name; not checked.
    sites: Mapping[Any, Any]
    #: Those that win over others first.
    sources: Sequence[Source] = field(repr=False)
    #: Files that could not be read.
    problems: Sequence[Problem] = ()

    def of(self, name: Any) -> list[Source]:
        """The files that say something of a site."""
        return [source for source in self.sources if source.says((*SECTION, name))]

    def place(self, path: Keys) -> tuple[str, int]:
        """Which source has said this, and in which line; 0 where there are no lines."""
        value = _below({SECTION[0]: {SECTION[1]: self.sites}}, path)
        if (variable := _variable(path)) is not None:
            return f"the variable {variable}", 0
        for source in self.sources:
            if source.says(path):
                if isinstance(value, Mapping | list | tuple) or source.value(path) == value:
                    return str(source.path), source.line(path)
                break
        return "this program", 0

    def text(self, path: Keys) -> str | None:
        """How a value is written, if that is in a file and without quotes."""
        said_by, _ = self.place(path)
        return next((source.text(path) for source in self.sources if str(source.path) == said_by), None)


def read(environ: Mapping[str, str]) -> Written:
    """All that is written of sites, as it counts now."""
    named, problems = _named(environ)
    merged = dask.config.get(".".join(SECTION), default=None)
    sites = dict(merged) if isinstance(merged, Mapping) else {}
    if merged is not None and not isinstance(merged, Mapping):
        problems.append(
            Problem(source="Dask's configuration", key=".".join(SECTION), words="must have names of sites as keys")
        )
    for source in reversed(named):
        sites = _merged(sites, source.sites)
    # For their lines alone: Dask has read them.
    configured = list(reversed(list(_configured()))) if merged else []
    return Written(sites=sites, sources=[*named, *configured], problems=problems)


def untrusted(path: Path) -> Problem | None:
    """Why what a file says is not followed: others could have written it, and it decides what jobs run."""
    try:
        refuse_changeable(path)
    except NotPrivate as error:
        return Problem(source=str(path), words=str(error).removeprefix(str(path)).lstrip())
    except OSError as error:
        return Problem(source=str(path), words=error.strerror or str(error))
    return None


def spelled(path: Keys) -> str:
    """``corral.sites.levante.nodes[0].max-walltime``."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return printable(words.lstrip("."))


def _named(environ: Mapping[str, str]) -> tuple[list[Source], list[Problem]]:
    """The files that the variable names, the last first, and what is wrong with others."""
    sources: list[Source] = []
    problems: list[Problem] = []
    for word in environ.get(VARIABLE, "").split(os.pathsep):
        if not word.strip():
            continue
        try:
            for path in _files_of(Path(os.path.abspath(os.path.expanduser(word)))):
                if (doubt := untrusted(path)) is not None:
                    problems.append(doubt)
                    continue
                try:
                    sources.append(_parsed(path, path.read_text(encoding="utf-8")))
                except (yaml.YAMLError, UnicodeDecodeError) as error:
                    problems.append(_syntax(path, error))
                except _NoSitesError as error:
                    problems.append(Problem(source=str(path), line=1, words=str(error)))
                except OSError as error:
                    problems.append(Problem(source=str(path), words=error.strerror or str(error)))
        except OSError as error:
            words = f"{error.strerror}; the variable {VARIABLE} names it"
            problems.append(Problem(source=str(error.filename or word), words=words))
    return list(reversed(sources)), problems


def _files_of(path: Path) -> list[Path]:
    if stat.S_ISDIR(path.stat().st_mode):
        return sorted(each for each in path.iterdir() if each.suffix.lower() in _ENDINGS)
    return [path]


def _configured() -> Iterator[Source]:
    """Files of Dask's that say something of sites, in the order in which Dask reads them."""
    for place in map(Path, dask.config.paths):
        try:
            files = _files_of(place)
        except OSError:
            continue
        for path in files:
            try:
                text = path.read_text(encoding="utf-8")
                if SECTION[-1] in text:
                    yield _parsed(path, text)
            except (OSError, UnicodeDecodeError, _NoSitesError, yaml.YAMLError):
                continue  # Dask has read it, or has said why not


# One cluster asks for its sites several times, and `corral sites` for each of them: a file is parsed once.
@lru_cache(maxsize=256)
def _parsed(path: Path, text: str) -> Source:
    """A file and its lines; not to be changed.

    Raises
    ------
    yaml.YAMLError
    _NoSitesError
        It is YAML, and says nothing of sites.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    content = yaml.safe_load(text)
    if content is None:
        content, root = {}, yaml.MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(content, Mapping):
        raise _NoSitesError(f"begins with {content!r:.40}, and not with `corral:`")
    found = _below(content, SECTION)
    if not isinstance(found, Mapping):
        raise _NoSitesError("has no names of sites below `corral:` and `sites:`")
    return Source(path=path, content=content, root=root)


def _syntax(path: Path, error: yaml.YAMLError | UnicodeDecodeError) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return Problem(source=str(path), line=line, words="is not UTF-8")
    mark = getattr(error, "problem_mark", None)
    words = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).partition("\n")[0]
    if (context := getattr(error, "context", None)) is not None:
        words = f"{words}, {context}"
    words = f"this is not YAML: {words}"
    if "alias" in words:
        words += ". What begins with * must be in quotes: '*.example.org'"
    elif "'\\t'" in words:
        words += ". Indent with spaces, not with tabs"
    return Problem(source=str(path), line=0 if mark is None else mark.line + 1, words=words)


# --- keys -------------------------------------------------------------------------------------------------------


def _below(content: Any, path: Keys) -> Any:
    """What stands there; None if nothing does."""
    here = content
    for part in path:
        if isinstance(here, Mapping):
            here = next((each for key, each in here.items() if _same(key, part)), None)
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            return None
    return here


def _merged(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[Any, Any]:
    """As Dask merges its files; it takes keys that are texts alone. No mapping of `new` is in it, but copies."""
    found = dict(old)
    for key, value in new.items():
        known = next((other for other in found if _same(other, key)), key)
        before = found.get(known)
        is_section = isinstance(value, Mapping)
        found[known] = _merged(before if isinstance(before, Mapping) else {}, value) if is_section else value
    return found


def _same(key: object, part: object) -> bool:
    if isinstance(key, str) and isinstance(part, str):
        return key.replace("-", "_") == part.replace("-", "_")
    return key == part and type(key) is type(part)


def _is_key(node: yaml.Node, part: object) -> bool:
    if not isinstance(node, yaml.ScalarNode):
        return False
    if isinstance(part, str):
        return _same(node.value, part)
    # Something that is no text to YAML.
    return bool(_same(yaml.safe_load(node.value), part))


def _pairs(node: yaml.Node) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """What a mapping says, the last of two first, then what it takes over with ``<<``."""
    if not isinstance(node, yaml.MappingNode):
        return
    merged: list[yaml.Node] = []
    for key, value in reversed(node.value):
        if key.tag == "tag:yaml.org,2002:merge":
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        else:
            yield key, value
    for other in merged:
        yield from _pairs(other)


def _doubles(node: yaml.Node, path: Keys, seen: set[int]) -> Iterator[tuple[Keys, list[int]]]:
    # What has a name (&) may be there several times.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield from _doubles(each, (*path, number), seen)
    if isinstance(node, yaml.MappingNode):
        said: dict[str, list[yaml.Node]] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                said.setdefault(key.value.replace("-", "_"), []).append(key)
                yield from _doubles(value, (*path, key.value), seen)
        for keys in said.values():
            if len(keys) > 1:
                yield (*path, keys[-1].value), [key.start_mark.line + 1 for key in keys]


def _variable(path: Keys) -> str | None:
    """The variable of Dask's that says this."""
    keys = [str(part).replace("-", "_").lower() for part in path if not isinstance(part, int)]
    names = {name[5:].replace("-", "_").lower(): name for name in os.environ if name.startswith("DASK_")}
    found = ["__".join(keys[:length]) for length in range(len(keys), len(SECTION) - 1, -1)]
    return next((names[each] for each in found if each in names), None)
