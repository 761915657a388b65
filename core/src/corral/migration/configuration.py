"""Dask's configuration: the section ``jobqueue`` of a YAML file in corral's words; the rest stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]
from attrs import frozen

from corral.errors import InvalidRequest
from corral.migration.values import Migrated, Remark
from corral.migration.words import CLASSES, in_our_words
from corral.request.synonyms import RENAMED


@frozen(kw_only=True)
class Key:
    """One key of a section."""

    name: str
    value: Any
    #: From 1.
    line: int
    comment: str = ""


def has_section(text: str) -> bool:
    """True if it looks like a file with settings of dask-jobqueue's."""
    return re.search(r"^['\"]?jobqueue['\"]?\s*:", text, re.MULTILINE) is not None


def migrate_configuration(text: str, name: str, *, backend: str | None = None) -> Migrated | None:
    """A file of Dask's configuration in corral's words; None if it has no settings of dask-jobqueue's.

    Parameters
    ----------
    backend
        The batch system of sections whose names do not tell.

    Raises
    ------
    InvalidRequest
        It is not YAML, or not a configuration.
    """
    try:
        return _migrated(text, name, backend)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = name if mark is None else f"{name}:{mark.line + 1}"
        said = getattr(error, "problem", None) or "it cannot be read"
        raise InvalidRequest("FILE", f"{place}: this is not YAML: {said}. Mend it first") from None


def _migrated(text: str, name: str, backend: str | None) -> Migrated | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    top = _keys(root) if isinstance(root, yaml.MappingNode) else {}
    if "jobqueue" not in top:
        return None
    key, node = top["jobqueue"]
    if not isinstance(node, yaml.MappingNode):
        raise InvalidRequest("FILE", f"{name}:{key.start_mark.line + 1}: jobqueue is not a section with keys")
    reading = _Reading(name=name, text=text, backend=backend)
    found = {}
    yaml.SafeLoader("").flatten_mapping(node)
    for section, (where, inner) in _keys(node).items():
        line = where.start_mark.line + 1
        if not isinstance(inner, yaml.MappingNode):
            continue
        chosen, words = reading.section(section, list(_settings(inner, text)), line)
        if chosen and words:
            if chosen in found:
                reading.remark(
                    line,
                    f"jobqueue.{section}: there is another section for {chosen}; settings for several kinds of jobs "
                    "are corral.groups",
                )
                continue
            found[chosen] = words
    if "corral" in top:
        line = top["corral"][0].start_mark.line + 1
        reading.remark(line, "there is a section corral already: put both together, or the last of them alone counts")
    return Migrated(text=reading.replaced(key, node, found), remarks=reading.remarks)


class _Reading:
    def __init__(self, *, name: str, text: str, backend: str | None) -> None:
        self._name = name
        self._lines = text.splitlines(keepends=True)
        self._backend = backend
        self.remarks: list[Remark] = []

    def remark(self, line: int, said: str, *, is_lost: bool = True) -> None:
        self.remarks.append(Remark(place=f"{self._name}:{line}", said=said, is_lost=is_lost, line=line))

    def section(self, section: str, keys: list[Key], line: int) -> tuple[str | None, list[str]]:
        """The backend of a section, and its settings as lines of YAML."""
        said = {key.name.replace("-", "_"): key for key in keys if key.value not in (None, [], {}, "")}
        if not said:
            return None, []
        by_backend = {backend: name for name, backend in CLASSES.items()}
        chosen = section if section in by_backend else self._backend
        if chosen not in by_backend:
            self.remark(line, f"jobqueue.{section}: its name does not tell the batch system; say it: --backend=slurm")
            return None, []
        words = in_our_words(by_backend[chosen], {name: key.value for name, key in said.items()}, is_configuration=True)
        for sentence, is_lost in [*((each, True) for each in words.lost), *((each, False) for each in words.changed)]:
            named = (key.line for name, key in said.items() if re.match(rf"{name}\b", sentence))
            self.remark(next(named, line), sentence, is_lost=is_lost)
        return chosen, list(_lines(words.arguments, said))

    def replaced(self, key: yaml.Node, node: yaml.Node, found: Mapping[str, list[str]]) -> str:
        """The file with another section in the place of this one."""
        first, last = key.start_mark.line, node.end_mark.line
        if node.flow_style:
            last += 1
        # What stands before the next section, at the left, is about that.
        while last > first + 1 and re.match(r"(#.*)?\s*$", self._lines[last - 1]):
            last -= 1
        lines = ["corral:\n"] if found else []
        if len(found) == 1:
            lines.append(f"  backend: {next(iter(found))}\n")
        lines += ["  backends:\n"] if found else []
        for backend, settings in found.items():
            lines += [f"    {backend}:\n", *(f"      {line}\n" for line in settings)]
        return "".join([*self._lines[:first], *lines, *self._lines[last:]])


def _keys(node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    return {str(key.value): (key, value) for key, value in node.value}


def _settings(node: yaml.MappingNode, text: str) -> Iterator[Key]:
    lines = text.splitlines()
    # What `<<` takes from elsewhere.
    yaml.SafeLoader("").flatten_mapping(node)
    for key, value in node.value:
        line = key.start_mark.line
        # 48:00:00 without quotes is a number of seconds to YAML 1.1, and was not meant to be one.
        is_time = isinstance(value, yaml.ScalarNode) and ":" in str(value.value)
        made = value.value if is_time else yaml.SafeLoader("").construct_object(value, deep=True)
        comment = ""
        if isinstance(value, yaml.ScalarNode) and value.end_mark.line == line:
            comment = lines[line][value.end_mark.column :].strip().removeprefix("#").strip()
        yield Key(name=str(key.value), value=made, line=line + 1, comment=comment)


def _lines(arguments: Mapping[str, Any], said: Mapping[str, Key]) -> Iterator[str]:
    places = {RENAMED.get(old, old): number for number, old in enumerate(said)}
    for name, value in sorted(arguments.items(), key=lambda item: places.get(item[0], len(places))):
        written = yaml.safe_dump({name.replace("_", "-"): value}, sort_keys=False, allow_unicode=True).splitlines()
        same = [key for old, key in said.items() if old == name] or [key for key in said.values() if key.value == value]
        if len(written) == 1 and same and same[0].comment:
            written[0] += f"  # {same[0].comment}"
        yield from written
