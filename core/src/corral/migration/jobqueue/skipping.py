"""`job_directives_skip`, which dask-jobqueue looks for anywhere in its lines, as names of directives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from corral.migration.jobqueue import native
from corral.migration.jobqueue.words import Kind


@frozen
class Skipped:
    """What is left out."""

    #: In corral's words.
    names: tuple[str, ...]
    #: The user's own resource_spec is.
    has_spec: bool = False
    #: Sentences: what dask-jobqueue would have left out beside what was named.
    spared: tuple[str, ...] = ()


def skipped(kind: Kind, said: Mapping[str, Any], words: Iterable[str]) -> Skipped:
    """What these words leave out of a job.

    A word that names a directive (``-t``, ``cpus-per-task``, ``-l walltime``) leaves out that one alone: as a part of
    text it would be in others too, as ``-t`` is in ``--cpus-per-task``. Other words leave out each line they are in.
    """
    if kind.backend == "htcondor":
        return Skipped(tuple(name for word in words for name in native.CONDOR_NAMES.get(str(word), ())))
    lines = native.lines(kind, said)
    names: dict[str, None] = {}
    has_spec, spared = False, []
    for word in map(str, words):
        named = [line for line in lines if word in _called(kind, line)]
        found = [line for line in lines if word in line.text]
        if named and len(found) > len(named):
            others = ", ".join(line.text for line in found if line not in named)
            spared.append(f"job_directives_skip={word!r} leaves out the directive of that name, and not also {others}")
        for line in named or found:
            names |= dict.fromkeys(line.names)
            has_spec = has_spec or line.is_spec
    return Skipped(tuple(names), has_spec, tuple(spared))


def _called(kind: Kind, line: native.Line) -> Sequence[str]:
    """All that a directive may be called: ``--mem=27G``, ``--mem=``, ``--mem``, ``mem``; ``-l walltime``."""
    text = line.text.removeprefix(f"{kind.prefix} ")
    option, _, value = text.partition(" ") if not text.startswith("--") else re.split("([= ])", text, maxsplit=1)
    found = [line.text, text, option, option.lstrip("-"), f"{option} ", f"{option}="]
    if option == "-l" and (part := value.partition("=")[0]):
        found += [part, f"{part}=", f"{option} {part}", f"{option} {part}="]
    return found
