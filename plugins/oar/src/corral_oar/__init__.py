"""OAR, in the order in which a job meets it: its directives, the commands about it, its life inside.

OAR reads a job's script on the node, long after its submission: so that no file has to wait for it there, the script
travels in an argument of ``oarsub``. Each job of an array has an id of its own, and questions are conditions on OAR's
table of jobs: a thousand ids are one range.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from attrs import evolve, field, frozen

from corral.plugin import (
    Allocation,
    BackendFacts,
    Command,
    CommandFailed,
    Completed,
    Conversation,
    Detected,
    Directive,
    Failure,
    InvalidRequest,
    Job,
    JobId,
    JobStatus,
    Option,
    ParseError,
    Queue,
    Resources,
    Script,
    arrayed_or_alone,
    hookimpl,
    job_body,
    parsing,
    visible_gpus,
)
from corral_oar import answers, directives

__all__ = ["Oar"]

#: OAR's own names for levels of resources, beside those of the site.
_NODES = ("nodes", "host", "network_address")
_CORES = ("core", "resource_id")

#: Characters of a command. MySQL keeps 65,535 bytes of it, and as many of the whole request, and may cut off the rest
#: without a word; the kernel takes twice as much in one argument.
_LONGEST_COMMAND = 60_000


@frozen(kw_only=True)
class Oar:
    """The backend ``oar``; its attributes are the backend's options."""

    facts: ClassVar[BackendFacts] = BackendFacts(
        title="OAR",
        url="https://oar.imag.fr",
        tried="OAR 2.5.9 and 2.6.1",
        commands=("oarsub",),
        directives=(r"#OAR\b",),
        array=r"--array\b",
        files=("/etc/oar",),
        enclosing=("OAR_*",),
        server=("OAR*",),
        no_options={"memory_option": "memory is counted by core here, unless memory_of='node'"},
        job=("OAR_JOB_ID",),
    )

    max_array_size: Annotated[
        int, Option("The most jobs in one submission: OAR has no limit of its own", at_least=1)
    ] = 1000
    arrays: Annotated[
        bool,
        Option(
            "`False` where the site refuses job arrays: each job is a submission of its own. Found out by itself "
            "where a refusal speaks of arrays"
        ),
    ] = True
    node_resource: Annotated[str, Option("The resource level of nodes, in `-l`")] = "nodes"
    core_resource: Annotated[str, Option("The resource level of cores")] = "core"
    gpu_resource: Annotated[
        str | None,
        Option(
            "The resource level of GPUs, as in `-l /nodes=1/gpu=2/core=4`; without it `gpus=` is refused. Where it "
            "is 0 on nodes without GPUs, and not empty, add `-p gpu > 0`",
            example="gpu",
        ),
    ] = None
    memory_property: Annotated[
        str | None,
        Option(
            'The property used to request memory, as in `-p "memcore >= 4000"`; without it `memory=` is refused, '
            "unless `skip_directives=['memory']` makes it just the workers' limit",
            example="memcore",
        ),
    ] = None
    memory_unit: Annotated[str, Option("The property's unit, a power of 1024", choices=("K", "M", "G"))] = "M"
    memory_of: Annotated[str, Option("Whose memory the property is", choices=("core", "node"))] = "core"

    #: What this site has refused: it is not tried again.
    _lacks: set[str] = field(factory=set, init=False, repr=False, eq=False)

    # --- directives ---------------------------------------------------------------------------------------------

    @hookimpl
    def prepare_job(self, job: Job) -> Job:
        for argument, value in (("name", job.name), ("queue", job.queue), ("account", job.account)):
            if value is not None:
                directives.check_name(argument, value)
        if job.log_directory is not None:
            directives.check_log_directory(job.log_directory)
        if job.walltime is not None and job.walltime < 1:
            raise InvalidRequest("walltime", "OAR would end the job at once")
        resources = job.resources
        if resources.gpus and "gpus" not in job.skip:
            if self.gpu_resource is None:
                raise InvalidRequest("gpus", _no_way("GPUs", "gpu_resource", "gpu", "gpus"))
            # Cores are asked for per GPU.
            resources = evolve(resources, cores=-(-resources.cores // resources.gpus) * resources.gpus)
        if resources.memory is not None and "memory" not in job.skip:
            if self.memory_property is None:
                raise InvalidRequest("memory", _no_way("memory", "memory_property", "memcore", "memory"))
            if resources.memory < 1:
                raise InvalidRequest("memory", "a job cannot do with none")
            shares = self._shares(evolve(job, resources=resources))
            resources = evolve(resources, memory=self._amount(resources.memory, shares) * self._unit * shares)
        return evolve(job, resources=resources)

    @hookimpl
    def render_script(self, job: Job) -> Script:
        extras = [directives.checked(extra) for extra in job.extra_directives]
        conditions = [] if "p" in job.skip else list(self._conditions(job))
        users = [directives.unquoted(extra.value or "") for extra in extras if extra.name == "p"]
        if len(conditions) + len(users) > 1:  # OAR heeds the last -p alone
            conditions += users
            extras = [extra for extra in extras if extra.name != "p"]
        own = {name: value for name, value in self._options(job) if name not in job.skip}
        if conditions:
            own["p"] = directives.all_of(conditions)
        for extra in extras:  # two -l would be alternatives
            own.pop(extra.name, None)
        body = job_body(job, job_id="$OAR_JOB_ID")
        if len(_command_line(job.shebang, body)) > _LONGEST_COMMAND:
            longest = max(("environment", "prologue", "epilogue"), key=lambda name: len(str(getattr(job, name))))
            raise InvalidRequest(
                longest,
                f"the job's script has {len(body.encode()):,} bytes, and travels in an argument of oarsub that takes "
                f"about {_LONGEST_COMMAND * 3 // 4:,}: put its lines into a file, and source that",
            )
        lines = [Directive(name=name, text=directives.line(name, value)) for name, value in own.items()]
        lines += [Directive(name=extra.name, text=f"{directives.PREFIX} {extra.source}") for extra in extras]
        return Script(
            name=job.name,
            shebang=job.shebang,
            directives=tuple(lines),
            body=body,
            log=f"{job.log_directory}/{{id}}.log" if job.log_directory and {"O", "E"} <= own.keys() else None,
        )

    def _options(self, job: Job) -> Iterator[tuple[str, str]]:
        """What a job asks for, as oarsub's options."""
        if job.name:
            yield "n", job.name
        if job.queue is not None:
            yield "q", job.queue
        if job.account is not None:
            yield "project", job.account
        walltime = None if "walltime" in job.skip else job.walltime
        if wanted := str(directives.Wanted(tuple(self._levels(job)), walltime)):
            yield "l", wanted
        log = "/dev/null" if job.log_directory is None else job.log_directory + directives.LOG_FILE
        yield "O", log
        yield "E", log

    def _levels(self, job: Job) -> Iterator[tuple[str, str]]:
        gpus = 0 if "gpus" in job.skip else job.resources.gpus
        if "nodes" not in job.skip:
            yield self.node_resource, str(job.resources.nodes)
        if gpus:
            yield self._gpu, str(gpus)
        if "cores" not in job.skip:
            yield self.core_resource, str(-(-job.resources.cores // max(1, gpus)))

    def _conditions(self, job: Job) -> Iterator[str]:
        """What the resources must be like."""
        memory = job.resources.memory
        if memory is not None and self.memory_property is not None and "memory" not in job.skip:
            yield directives.at_least(self.memory_property, self._amount(memory, self._shares(job)))
        if job.resources.gpus and "gpus" not in job.skip:
            yield directives.is_there(self._gpu)
        if job.excluded_hosts:
            yield f"network_address NOT IN ({','.join(map(directives.text, job.excluded_hosts))})"

    @property
    def _gpu(self) -> str:
        return self.gpu_resource or "gpu"

    @property
    def _unit(self) -> int:
        return parsing.size_in_bytes(f"1{self.memory_unit}")

    def _shares(self, job: Job) -> int:
        """Of how many shares the memory on one node is the sum. Cores that are not asked for may be but one."""
        return job.resources.cores if self.memory_of == "core" and "cores" not in job.skip else 1

    def _amount(self, memory: int, shares: int) -> int:
        """One share, in the property's unit."""
        return parsing.in_units(-(-memory // shares), self.memory_unit)

    @hookimpl
    def parse_resources(self, text: str) -> Job:
        shebang, lines = parsing.header(text, directives.PREFIX)
        try:
            options = [directives.option(line if line.startswith("-") else f"-l {line}") for line in lines]
            if sum(option.name == "l" for option in options) > 1:
                raise ValueError("several -l are alternatives, and a group of workers is of one kind")
            # OAR heeds the last of those that are said twice.
            said = {option.name: option.value or "" for option in options}
            job, left = self._read(said)
        except ValueError as error:
            raise ParseError(str(error), text) from error
        rest = [option.source for option in options if option.name not in directives.READ]
        return evolve(job, extra_directives=[*left, *rest], shebang=shebang or job.shebang)

    def _read(self, said: Mapping[str, str]) -> tuple[Job, list[str]]:
        """The job that options make together, and those that it does not say itself."""
        wanted = directives.wanted(said.get("l", ""))
        nodes, gpus, cores = wanted.amounts((self.node_resource, *_NODES), self._gpu, (self.core_resource, *_CORES))
        job = Job(
            name=said.get("n", ""),
            queue=said.get("q"),
            account=said.get("project"),
            resources=Resources(nodes=nodes, cores=cores or 1, gpus=gpus),
            walltime=wanted.walltime,
            log_directory=directives.log_directory(said),
            # Nodes without a number of cores are whole nodes.
            skip={"cores"} if wanted.levels and cores is None else (),
        )
        left = []
        if not wanted.is_of((self.node_resource, *_NODES, self.core_resource, *_CORES, self._gpu)):
            left.append(f"-l {said['l']}")
        condition = said.get("p", "")
        if self.memory_property is not None:
            amount, condition = directives.amount_of(self.memory_property, condition)
            memory = amount and amount * self._unit * self._shares(job)
            job = evolve(job, resources=evolve(job.resources, memory=memory or None))
        if gpus:
            condition = directives.without(directives.is_there(self._gpu), condition)
        if condition:
            left.append(f"-p {condition}")
        ours = dict(self._options(job))
        left += [f"-{name} {said[name]}" for name in ("O", "E") if name in said and said[name] != ours[name]]
        return job, left

    # --- commands -----------------------------------------------------------------------------------------------

    @hookimpl
    def submit(self, script: Script, count: int) -> Conversation[list[JobId]]:
        array = _oarsub(script, min(count, self.max_array_size)) if self.arrays else None
        return (
            yield from arrayed_or_alone(
                array, lambda: _alone(script), count, classify=answers.failure, lacks=self._lacks
            )
        )

    @hookimpl
    def poll_status(self, job_ids: Sequence[JobId]) -> Conversation[dict[JobId, JobStatus]]:
        done = yield _oarstat(_these(job_ids), "-f")
        table = answers.rows(done.stdout)
        if again := answers.submitted_again(table):
            # OAR does so by itself, under ids that nobody would know; corral replaces such a job anyway.
            yield from _oardel(f"resubmit_job_id IN ({','.join(again)})")
        return answers.statuses(table, {job_id.text: job_id for job_id in job_ids})

    @hookimpl
    def cancel(self, job_ids: Sequence[JobId]) -> Conversation[None]:
        yield from _oardel(_these(job_ids))

    @hookimpl
    def find_jobs(self, name: str) -> Conversation[list[JobId]]:
        whole = name.removesuffix("*")
        its = f"SUBSTR(job_name, 1, {len(whole)})" if name.endswith("*") else "job_name"
        done = yield _oarstat(f"{its} = {directives.text(whole)} AND {_LIVES}")
        # MySQL compares without case.
        return [
            JobId(text)
            for text, row in answers.rows(done.stdout).items()
            if parsing.is_called(str(row.get("name", "")), name)
        ]

    @hookimpl
    def explain_pending(self, job_id: JobId) -> Conversation[str]:
        done = yield _oarstat(_these([job_id]), "-f")
        row = answers.rows(done.stdout).get(job_id.text)
        return "" if row is None else answers.explanation(row)

    @hookimpl
    def describe_queues(self) -> Conversation[list[Queue]]:
        done = yield Command(["oarnodes", "-J"])
        return answers.default_queue(done.stdout, gpu=self.gpu_resource)

    @hookimpl
    def detect(self) -> Conversation[Detected | None]:
        done = yield Command(["oarstat", "-V"])
        match = re.search(r"^OAR version ?: (\S+)", done.stdout, re.MULTILINE)
        return Detected(version=match[1], evidence="oarstat -V") if match else None

    @hookimpl
    def classify_failure(self, completed: Completed) -> Failure | None:
        return answers.failure(completed)

    # --- inside a job -------------------------------------------------------------------------------------------

    @hookimpl
    def read_allocation(self, environ: Mapping[str, str]) -> Conversation[Allocation | None]:
        job_id, node_file = environ.get("OAR_JOB_ID"), environ.get("OAR_NODEFILE")
        if not job_id or not node_file:
            return None
        done = yield Command(["cat", node_file])
        cores = Counter(done.lines())
        if not cores or any(" " in host for host in cores):
            raise ParseError("these are not names of hosts", done.stdout)
        # OAR writes the file when it starts the job, and says in no other way when that was.
        done = yield Command(["stat", "--format=%Y", node_file])
        started, walltime = done.last_line(), environ.get("OAR_JOB_WALLTIME_SECONDS", "")
        return Allocation(
            job_id=JobId(job_id),
            hosts=list(cores),
            cores=min(cores.values()),
            gpus=visible_gpus(environ),
            ends=int(started) + int(walltime) if started.isdecimal() and walltime.isdecimal() else None,
        )

    @hookimpl
    def launch_command(self, allocation: Allocation, command: Sequence[str]) -> list[list[str]]:
        # oarsh hands its words to a shell on the other side, as one line.
        return [["oarsh", host, shlex.join(command)] for host in allocation.hosts]


_LIVES = "state NOT IN ('Terminated', 'Error')"


def _oarsub(script: Script, size: int | None) -> Conversation[list[JobId]]:
    """Submit so many jobs at once; None: one that is no part of an array."""
    lines = (line.text.removeprefix(directives.PREFIX) for line in script.directives)
    options = [word for line in lines for word in directives.option(line).words]
    array = [] if size is None else ["--array", str(size)]
    # OAR 2.6 starts no job where the folder's name has an apostrophe, and suspects the node: the script changes to it.
    done = yield Command(["oarsub", *options, *array, _command_line(script.shebang, script.body)], cwd="/")
    ids = re.findall(r"^OAR_JOB_ID=(\d+)$", done.stdout, re.MULTILINE | re.ASCII)
    if not ids:
        raise ParseError("oarsub accepted the job and its answer has no id", done.stdout + done.stderr)
    return [JobId(text) for text in ids[: size or 1]]


def _alone(script: Script) -> Conversation[JobId]:
    (job_id,) = yield from _oarsub(script, None)
    return job_id


def _these(job_ids: Iterable[JobId]) -> str:
    return directives.is_one_of(int(job_id.text) for job_id in job_ids)


def _oarstat(condition: str, *options: str) -> Command:
    return Command(["oarstat", *options, "-J", "--sql", condition])


def _oardel(condition: str) -> Conversation[None]:
    try:
        yield Command(["oardel", "--sql", f"({condition}) AND {_LIVES}"])
    except CommandFailed as error:
        complaints = Completed(stdout=error.completed.stderr).lines()
        # A job runs on for some seconds after the first time.
        if not complaints or not all(line.endswith("This job was already killed.") for line in complaints):
            raise


def _command_line(shebang: str, body: str) -> str:
    """A script in words that every login shell reads alike: OAR hands them to the user's own.

    It is not piped into the interpreter: what a command of it reads from its standard input would be the rest of it.
    """
    interpreter = shlex.join(shebang.removeprefix("#!").split() or ["bash"])
    encoded = base64.b64encode(body.encode()).decode()
    return f"""exec {interpreter} -c 'eval "$(echo {encoded} | base64 -d)"'"""


def _no_way(what: str, option: str, example: str, word: str) -> str:
    return (
        f"each site has its own name for {what}: backend_options={{'{option}': '{example}'}}, if that is the one here, "
        f"or skip_directives=['{word}'] to ask for none"
    )
