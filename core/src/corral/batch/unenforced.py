"""What a job asks for and its batch system does not hold it to, in words for whoever asks."""

from __future__ import annotations

from collections.abc import Iterable

from corral.plugin.facts import BackendFacts
from corral.plugin.values import Resources

#: What that means where it is asked for.
_MEANING = {
    "cores": "workers start as many threads, but nobody keeps these cores for them",
    "memory": "Dask's workers keep to theirs by themselves, but nobody keeps it for them",
    "gpus": "nobody keeps other jobs from using them, too",
    "nodes": "nobody keeps them for the job",
    "walltime": "its own launcher ends a job then, and nobody else",
}
#: What was told before, by this process.
_told: set[str] = set()


def told_once(facts: BackendFacts, title: str, resources: Resources, walltime: int | None) -> str:
    """What is asked for and not enforced; empty if nothing is, or it was said before."""
    is_asked = {
        "cores": resources.cores > 1,
        "memory": resources.memory is not None,
        "gpus": resources.gpus > 0,
        "nodes": resources.nodes > 1,
        "walltime": walltime is not None,
    }
    vain = [name for name in _MEANING if name in facts.unenforced and is_asked[name]]
    words = f"{title} {in_words(vain)}: {'; '.join(f'{name}: {_MEANING[name]}' for name in vain)}" if vain else ""
    if words in _told:
        return ""
    _told.add(words)
    return words


def in_words(names: Iterable[str]) -> str:
    """What follows the batch system's name."""
    return f"does not hold jobs to their {' or '.join(sorted(names))}"
