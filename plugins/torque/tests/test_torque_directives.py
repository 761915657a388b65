"""What ``#PBS`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_torque import Torque

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=8, memory=32 * 10**9, gpus=1),
    walltime=90_061,
    queue="batch",
    account="physics",
    log_directory="/scratch/a%b",
    extra_directives=("-p 10",),
)


def lines(job: Job, torque: Torque | None = None) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#PBS ") for each in (torque or Torque()).render_script(job).directives]


def test_the_account_of_the_environment_is_meant_where_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """PBS_ACCOUNT, as dask-jobqueue and several centres' own qsub read it."""
    plain = Job(name="x", command=("true",))
    monkeypatch.setenv("PBS_ACCOUNT", "bio")
    assert Torque().prepare_job(plain).account == "bio"
    assert Torque().prepare_job(evolve(plain, account="physics")).account == "physics"
    monkeypatch.setenv("PBS_ACCOUNT", "")
    assert Torque().prepare_job(plain).account is None
    assert "PBS_ACCOUNT" in Torque.facts.carried  # a scheduler in a job submits as well


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script; memory is the whole job's."""
    script = Torque().render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#PBS -N dask-1\n"
        "#PBS -q batch\n"
        "#PBS -A physics\n"
        "#PBS -l nodes=2:ppn=8:gpus=1\n"
        "#PBS -l mem=61036mb\n"
        "#PBS -l walltime=25:01:01\n"
        "#PBS -j oe\n"
        "#PBS -o '/scratch/a%b/$PBS_JOBID.log'\n"
        "#PBS -m n\n"
        "#PBS -p 10\n"
        "\n"
    ) + job_body(JOB, job_id="${PBS_JOBID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a%b/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for memory, walltime, queue and account."""
    assert lines(Job(name="dask-1")) == ["-N dask-1", "-l nodes=1:ppn=1", "-j oe", "-o /dev/null", "-m n"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"memory_resource": "vmem"}, "-l vmem=61036mb"),
        ({"properties": "bigmem:gen=7"}, "-l nodes=2:ppn=8:gpus=1:bigmem:gen=7"),
    ],
)
def test_a_site_says_how_to_ask(options: dict[str, object], expected: str) -> None:
    """What was written is read back."""
    torque = Torque(**options)  # type: ignore[arg-type]
    assert expected in lines(JOB, torque)
    read = torque.parse_resources(str(torque.render_script(JOB)))
    assert read.resources == evolve(JOB.resources, processes=1, memory=30518 * 2**20)
    assert read.extra_directives == ("-p 10",)


@pytest.mark.parametrize(
    ("skipped", "gone", "instead"),
    [
        ("memory", {"-l mem=61036mb"}, set()),
        ("cores", {"-l nodes=2:ppn=8:gpus=1"}, {"-l nodes=2:gpus=1"}),
        ("gpus", {"-l nodes=2:ppn=8:gpus=1"}, {"-l nodes=2:ppn=8"}),
        ("nodes", {"-l nodes=2:ppn=8:gpus=1", "-l mem=61036mb"}, {"-l nodes=1:ppn=8:gpus=1", "-l mem=30518mb"}),
        ("walltime", {"-l walltime=25:01:01"}, set()),
        ("m", {"-m n"}, set()),
        ("me", set(), set()),
    ],
)
def test_one_field_is_left_out(skipped: str, gone: set[str], instead: set[str]) -> None:
    """TORQUE puts three into one list; the others stay."""
    everything, rest = set(lines(JOB)), set(lines(evolve(JOB, skip=[skipped])))
    assert (everything - rest, rest - everything) == (gone, instead)


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("-l nodes=n1:ppn=4+n2:ppn=8", {"-l nodes=2:ppn=8:gpus=1"}),
        ("-lprocs=16", {"-l nodes=2:ppn=8:gpus=1"}),
        ("-l pmem=4gb", {"-l mem=61036mb"}),
        ("-L tasks=2:lprocs=8:memory=30gb", {"-l nodes=2:ppn=8:gpus=1", "-l mem=61036mb"}),
        ("-l walltime=1:00:00,software=x", {"-l walltime=25:01:01"}),
        ("-W x=y -r n", set()),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: set[str]) -> None:
    """The user's own wins."""
    changed = lines(evolve(JOB, extra_directives=[extra]))
    assert set(lines(JOB)) - set(changed) == replaced | {"-p 10"}
    assert changed[-1] == extra


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="x", resources=Resources(memory=0)), "memory"),
        (Job(name="x", walltime=0), "walltime"),
        (Job(name="1x"), "name"),
        (Job(name="a b"), "name"),
        (Job(name="x" * 241), "name"),
        (Job(name="x", queue="a\n#PBS -l mem=1gb"), "queue"),
        (Job(name="x", account=""), "account"),
        (Job(name="x", log_directory="/two words"), "log_directory"),
        (Job(name="x", log_directory="/$(id)"), "log_directory"),
        (Job(name="x", log_directory="/~mary"), "log_directory"),
        (Job(name="x", log_directory="/a:b"), "log_directory"),
        (Job(name="x", extra_directives=["-t 0-9"]), "extra_directives"),
        (Job(name="x", extra_directives=["-p 'no end"]), "extra_directives"),
        (Job(name="x", extra_directives=["-p 1\n-I"]), "extra_directives"),
    ],
)
def test_what_torque_would_misread_is_refused(job: Job, argument: str) -> None:
    """It expands names of logs; the error names the argument."""
    torque = Torque()
    with pytest.raises(InvalidRequest) as caught:
        torque.render_script(torque.prepare_job(job))
    assert caught.value.argument == argument


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


@settings(deadline=None)
@given(queue=TEXTS, account=TEXTS)
def test_hostile_values_are_read_back_unchanged(queue: str, account: str) -> None:
    """Quotes, `#`, `$`, backslashes and blanks are data."""
    job = Job(name="x", queue=queue, account=account)
    assert Torque().parse_resources(str(Torque().render_script(job))) == job


@settings(deadline=None)
@given(
    nodes=st.integers(1, 2000),
    cores=st.integers(1, 512),
    memory=st.none() | st.integers(1, 2**24).map(lambda mebi: mebi * 2**20),
    gpus=st.integers(0, 8),
    walltime=st.none() | st.integers(1, 400 * 86400),
)
def test_amounts_are_read_back_unchanged(
    nodes: int, cores: int, memory: int | None, gpus: int, walltime: int | None
) -> None:
    """Units and times survive in both directions, and what is per node and what per job."""
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=memory, gpus=gpus), walltime=walltime)
    assert Torque().parse_resources(str(Torque().render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "nodes=2:ppn=8,mem=4gb,walltime=30:00",
            Job(resources=Resources(nodes=2, cores=8, memory=2**31), walltime=1800),
        ),
        ("-l nodes=3:ppn=8:gpus=2 -q short", Job(resources=Resources(nodes=3, cores=8, gpus=2), queue="short")),
        ("-lwalltime=90 -joe -N run", Job(walltime=90, name="run")),
        (
            "-l nodes=1:ppn=4:bigmem",
            Job(resources=Resources(cores=4), extra_directives=["-l nodes=1:ppn=4:bigmem"]),
        ),
        ("-l pmem=2gb", Job(resources=Resources(memory=2**31))),
        ("-l vmem=2gb", Job(extra_directives=["-l vmem=2gb"])),
        ("-o run.txt -t 0-9 -V", Job(extra_directives=["-V", "-o run.txt"])),
    ],
)
def test_native_requests_are_understood(text: str, expected: Job) -> None:
    """What a Job has no word for stays a directive."""
    assert Torque().parse_resources(text) == expected


@pytest.mark.parametrize(
    ("text", "resources", "left"),
    [
        ("-l nodes=2:ppn=8,pmem=2gb", Resources(nodes=2, cores=8, memory=2**34), []),
        ("-l nodes=2:ppn=4,mem=64gb,pmem=2gb", Resources(nodes=2, cores=4, memory=2**35), []),
        ("-l pmem=2gb,nodes=2:ppn=4,mem=1gb,file=1gb", Resources(nodes=2, cores=4, memory=2**33), ["-l file=1gb"]),
        ("-l file=1gb,pmem=2gb -n", Resources(memory=2**31), ["-l file=1gb", "-n"]),
        ("-l nodes=1:ppn=4,pvmem=2gb", Resources(cores=4, memory=2**33), []),
        ("-l nodes=1:ppn=4,vmem=8gb", Resources(cores=4), ["-l vmem=8gb"]),
        ("-l ncpus=8", Resources(cores=8), ["-l ncpus=8"]),
        ("-l nodes=2,tpn=8", Resources(nodes=2, cores=8), ["-l tpn=8", "-l nodes=2"]),
        ("-L tasks=1:lprocs=8:memory=4gb", Resources(cores=8, memory=2**32), ["-L tasks=1:lprocs=8:memory=4gb"]),
        ("-L tasks=2:lprocs=8:place=node", Resources(nodes=2, cores=8), ["-L tasks=2:lprocs=8:place=node"]),
        ("-n -l nodes=1:ppn=4", Resources(cores=4), ["-n"]),
        ("-l nodes=1:ppn=4 -l naccesspolicy=singlejob", Resources(cores=4), ["-l naccesspolicy=singlejob"]),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, left: list[str]) -> None:
    """By process or by node, for the whole job or for each task."""
    job = Torque().parse_resources(text)
    assert job.resources == resources
    assert list(job.extra_directives) == left
    assert set(left) <= set(lines(job))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nodes=1:ppn=4+2:ppn=8", "several kinds"),
        ("nodes=n17:ppn=4", "not a number"),
        ("nodes=0", "not a number"),
        ("-l procs=16", "how many nodes"),
        ("-l size=24", "how many nodes"),
        ("-L tasks=2:lprocs=8", "place=node"),
        ("-L tasks=1 -L tasks=2", "several -L"),
        ("nodes=1:ppn=many", "invalid literal"),
        ("mem=much", "not an amount"),
        ("-l walltime=soon", "not a time"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        Torque().parse_resources(text)


@pytest.mark.parametrize("options", [{"memory_resource": "rss"}, {"properties": "a b"}, {"max_array_size": 0}])
def test_options_are_checked_at_once(options: dict[str, object]) -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        discovery.load("torque", options=options)


def test_memory_by_core_is_rounded_up() -> None:
    """A core's share, as pmem counts it, whatever the number of nodes; the node gives at least what was asked for."""
    torque = Torque(memory_resource="pmem")
    asked = Job(name="x", resources=Resources(nodes=2, cores=3, processes=3, memory=4000 * 2**20))
    job = torque.prepare_job(asked)
    assert job.resources.memory == 4002 * 2**20
    directives = [each.text for each in torque.render_script(job).directives]
    assert "#PBS -l pmem=1334mb" in directives
    assert "#PBS -l nodes=2:ppn=3" in directives
    skipped = torque.render_script(evolve(job, skip=["cores"]))
    assert "#PBS -l pmem=4002mb" in [each.text for each in skipped.directives]


def test_a_worker_that_is_larger_than_a_core_is_refused_where_memory_is_by_core() -> None:
    """No process may have more than pmem: it would die with an eighth of its memory."""
    torque = Torque(memory_resource="pmem")
    job = Job(name="x", resources=Resources(cores=8, memory=2**34))
    with pytest.raises(InvalidRequest, match="processes=8"):
        torque.prepare_job(job)
    # Without that resource, or with all of the memory for the core that there may be, it does not die.
    for word in ("memory", "pmem", "cores"):
        assert torque.prepare_job(evolve(job, skip=[word])).resources == job.resources
