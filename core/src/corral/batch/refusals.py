"""Which arguments a refused submission is about: batch systems name what they refuse in words of their own. Pure."""

from __future__ import annotations

import re

#: What is said of each argument, by whichever batch system.
_ABOUT = {
    "queue": r"\b(queue|partition)",
    "account": r"\b(account|project|charge)",
    "walltime": r"\b(wall ?(time|clock)|time limit|run ?limit)|WallDuration|TimeLimit",
    "memory": r"\bmem(ory)?\b|MaxMem",
    "gpus": r"\b(gpus?|gres)\b|MaxGRES",
    "cores": r"\b(cpus?|cores?|slots?|node configuration)\b|MaxCpu",
    "nodes": r"\b(node count|number of nodes)\b|MaxNode",
    "extra_directives": r"\b(qos|reservation|licen[cs]es?|feature|constraint|option|node name)\b|QOS",
}


def advice(message: str) -> str:
    """`` See queue= and account=.``: the arguments that a refusal is about; empty if its words are of none."""
    found = [f"{argument}=" for argument, words in _ABOUT.items() if re.search(words, message, re.IGNORECASE)]
    *others, last = found or [""]
    return f". See {', '.join(others)}{' and ' * bool(others)}{last}" if last else ""
