"""Whether a job asks for more than all that an account, a QOS, a user or a partition may have. Pure.

Slurm says the same word for "others use it now" and "it is less than one job": the limit's own figure tells them apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, field, frozen

from corral.plugin import Queue, parsing
from corral_slurm import directives

#: What squeue is asked of the job.
COLUMNS = "UserName Account QOS Partition tres-alloc TimeLimit NumNodes"

_REASON = re.compile(
    r"(Assoc|QOS)?(Grp|Max)(Cpu|Mem|Memory|Node|GRES)(Minutes|PerUser|PerAccount)?(Limit)?$", re.IGNORECASE
)
_TRES = {"cpu": "cpu", "mem": "mem", "memory": "mem", "node": "node", "gres": "gres/"}
_ARGUMENTS = {"cpu": "cores=", "mem": "memory=", "node": "nodes=", "gres/": "gpus="}


@frozen
class Asked:
    """What a job asks for."""

    user: str
    account: str
    qos: str
    partitions: Sequence[str]
    #: By Slurm's names; memory in MB.
    tres: Mapping[str, float]
    minutes: float
    nodes: str

    @classmethod
    def read(cls, line: str) -> Asked | None:
        """The row of `COLUMNS`; None if it is none."""
        row = line.split("|")
        if len(row) < len(COLUMNS.split()):
            return None
        user, account, qos, partitions, tres, limit, nodes, *_ = row
        try:
            seconds = directives.seconds(limit)
        except ValueError:
            seconds = None
        return cls(
            user,
            account,
            qos,
            partitions.split(","),
            dict(_amounts(tres)),
            math.inf if seconds is None else seconds / 60,
            nodes,
        )


def _amounts(text: str) -> Iterator[tuple[str, float]]:
    """``cpu=8,mem=1.50G,node=1,gres/gpu=2``."""
    for name, number, unit in re.findall(r"([\w/:-]+)=(\d+(?:\.\d+)?)([KMGTP]?)(?=,|$)", text, re.ASCII):
        yield name, float(number) if not unit else parsing.size_in_bytes(f"{number}{unit}") / directives.MEBI


@frozen(kw_only=True)
class Limit:
    """What a reason says that there is a limit on."""

    #: ``Assoc`` or ``QOS``.
    kind: str
    #: ``cpu``, ``mem``, ``node``, or ``gres/``, with which those of GPUs begin.
    tres: str
    #: How `scontrol show assoc_mgr` calls it.
    name: str = field()

    @classmethod
    def of(cls, reason: str) -> Limit | None:
        """None for reasons of other kinds."""
        match = _REASON.match(reason)
        if match is None:
            return None
        kind, all_or_each, tres, per = match[1] or "QOS", match[2].lower(), _TRES[match[3].lower()], match[4] or ""
        names = {
            ("grp", ""): "GrpTRES",
            ("grp", "minutes"): "GrpTRESMins",
            ("max", "peruser"): "MaxTRESPU",
            ("max", "peraccount"): "MaxTRESPA",
        }
        name = names.get((all_or_each, per.lower()))
        return None if name is None else cls(kind="Assoc" if kind.lower() == "assoc" else "QOS", tres=tres, name=name)


def size_words(reason: str) -> str:
    """What to change, if sbatch refuses a job for this reason because it is too large by itself; else empty."""
    limit = Limit.of(reason)
    if limit is None or limit.name == "GrpTRESMins":
        return ""
    return f"this job alone asks for more than several may have together: ask for less with {_ARGUMENTS[limit.tres]}"


def never_words(limit: Limit, asked: Asked, assoc_mgr: str, partitions: str) -> str:
    """Words, if this job alone asks for more than there may ever be; empty if others may just use it now.

    Parameters
    ----------
    assoc_mgr
        What ``scontrol show assoc_mgr`` prints: records that begin with ``ClusterName=… Account=…`` or ``QOS=…``, with
        lines such as ``GrpTRES=cpu=4(0),node=N(0)``: the limit, and what is used of it.
    partitions
        What ``scontrol -o show partition`` prints: a partition may have a QOS of its own.
    """
    # squeue says the reason of one of its partitions.
    if len(asked.partitions) > 1 and limit.kind == "QOS":
        return ""
    records = re.split(r"^(?=ClusterName=|QOS=)", assoc_mgr, flags=re.MULTILINE)
    chosen = _of_account(records, asked) if limit.kind == "Assoc" else _of_qos(records, asked, partitions)
    found = [(whose, *numbers) for whose, record in chosen for numbers in _exceeded(limit, asked, record)]
    # Where several QOS set the same limit, Slurm heeds one of them.
    hurts = any if limit.kind == "Assoc" else all
    if not found or not hurts(is_exceeded for *_, is_exceeded in found):
        return ""
    whose, wanted, most, _ = next(each for each in found if each[3])
    return _words(limit, whose, wanted, most)


def _words(limit: Limit, whose: str, wanted: float, most: float) -> str:
    argument = _ARGUMENTS[limit.tres]
    if limit.name == "GrpTRESMins":
        unit = {"cpu": "core-minutes", "mem": "MB-minutes", "node": "node-minutes", "gres/": "GPU-minutes"}[limit.tres]
        amount = "an unlimited number of" if math.isinf(wanted) else f"{wanted:g}"
        together = f"all jobs of {whose} together may use {most:g}"
        return f"it may use {amount} {unit}, and {together}; see {argument} and walltime="
    unit = {"cpu": "cores", "mem": "MB of memory", "node": "nodes", "gres/": "GPUs"}[limit.tres]
    who = {
        "GrpTRES": f"all jobs of {whose} together",
        "MaxTRESPU": f"all of one user's jobs in {whose} together",
        "MaxTRESPA": f"all of one account's jobs in {whose} together",
    }[limit.name]
    return f"it asks for {wanted:g} {unit}, and {who} may have {most:g}; see {argument}"


def _of_account(records: Sequence[str], asked: Asked) -> Iterator[tuple[str, str]]:
    """The associations that count this job: its user's in its account, and those of all accounts above."""
    parents: dict[str, str] = {}
    for record in records:
        head = re.match(r"ClusterName=\S+ Account=(\S+) UserName=(\S*) Partition=(\S*) ", record)
        if head and not head[2] and (parent := re.search(r"ParentAccount=([^\s(]+)\(", record)):
            parents[head[1]] = parent[1]
    chain = [asked.account]
    while (above := parents.get(chain[-1])) is not None and above not in chain:
        chain.append(above)
    for record in records:
        head = re.match(r"ClusterName=\S+ Account=(\S+) UserName=([^\s(]*)\S* Partition=(\S*) ", record)
        if head is None or head[1] not in chain or head[3] not in ("", *asked.partitions):
            continue
        if not head[2] or (head[1] == asked.account and head[2] == asked.user):
            yield f"account {head[1]}", record


def _of_qos(records: Sequence[str], asked: Asked, partitions: str) -> Iterator[tuple[str, str]]:
    """The job's own QOS, and its partition's."""
    names = {asked.qos}
    for partition in asked.partitions:
        names.update(re.findall(r" QoS=(\S+)", _partition(partition, partitions)))
    for record in records:
        head = re.match(r"QOS=([^\s(]+)\(", record)
        if head and head[1] in names:
            yield f"QOS {head[1]}", record


def _exceeded(limit: Limit, asked: Asked, record: str) -> Iterator[tuple[float, float, bool]]:
    """What is wanted, what may be had at most, and whether that is too little: for each limit that is set."""
    line = re.search(rf"^ *{limit.name}=(\S*)", record, re.MULTILINE)
    for name, most, used in re.findall(r"([\w/:-]+)=(\d+)\((\d+)\)", line[1] if line else ""):
        if name != limit.tres and not (limit.tres.endswith("/") and name.startswith(limit.tres)):
            continue
        wanted = asked.tres.get(name)
        if wanted is not None and limit.name == "GrpTRESMins":
            # What is used up comes back in time: this job is too large if even so there is something left.
            yield wanted * asked.minutes, float(most), wanted * asked.minutes > float(most) > float(used)
        elif wanted is not None:
            yield wanted, float(most), wanted > float(most)


def beyond_partitions(asked: Asked, partitions: str) -> str:
    """Words, if no partition of the job ever gives so many nodes, or so few, to one job; else empty."""
    if not asked.nodes.isdecimal():
        return ""
    found = []
    for name in asked.partitions:
        record = _partition(name, partitions)
        has, most, least = (re.search(rf" {limit}=(\d+)\b", record) for limit in ("TotalNodes", "MaxNodes", "MinNodes"))
        # Nodes that are down may come back; those that the partition does not have will not.
        if has and int(asked.nodes) > int(has[1]):
            found.append(f"{name} has {has[1]}")
        elif most and int(asked.nodes) > int(most[1]):
            found.append(f"{name} gives a job {most[1]} at most")
        elif least and int(asked.nodes) < int(least[1]):
            found.append(f"{name} gives a job {least[1]} at least")
        else:
            return ""
    nodes = "1 node" if asked.nodes == "1" else f"{asked.nodes} nodes"
    return f"it asks for {nodes}, and partition {' and '.join(found)}; see nodes= and queue="


def narrowed(queue: Queue, partitions: str) -> Queue:
    """The queue with what ``scontrol -o show partition`` says of its jobs, which sinfo does not."""
    told = dict(re.findall(r"(?:^| )(\w+)=(\S*)", _partition(queue.name, partitions)))

    def number(name: str) -> int | None:
        return int(told[name]) if told.get(name, "").isdecimal() else None

    cores, megabytes = number("MaxCPUsPerNode"), number("MaxMemPerNode")
    accounts = told.get("AllowAccounts", "ALL")
    # A reservation is no part of a queue's name.
    is_closed = told.get("RootOnly") == "YES" or told.get("ReqResv") == "YES"
    return evolve(
        queue,
        accepts_jobs=queue.accepts_jobs and not is_closed,
        cores=_least(queue.cores, cores),
        memory=_least(queue.memory, megabytes and megabytes * directives.MEBI),
        min_nodes=number("MinNodes") or None,
        max_nodes=number("MaxNodes"),
        accounts=() if accounts == "ALL" else accounts.split(","),
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit), default=None)


def _partition(name: str, partitions: str) -> str:
    """The line of one of them; empty if it is not listed."""
    found = re.search(rf"^PartitionName={re.escape(name)} .*$", partitions, re.MULTILINE)
    return found[0] if found else ""
