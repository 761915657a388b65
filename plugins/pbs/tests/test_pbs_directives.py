"""What ``#PBS`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_pbs import PBS

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=36, memory=90 * 10**9, gpus=4),
    walltime=90_061,
    queue="gpu@other",
    account="physics",
    log_directory="/scratch/a b/$c",
    environment={"OMP_NUM_THREADS": "9"},
    extra_directives=("-p 10",),
)
SELECT = "-l select=2:ncpus=36:mem=85831mb:ngpus=4"


def lines(job: Job, pbs: PBS | None = None) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#PBS ") for each in (pbs or PBS()).render_script(job).directives]


def test_the_account_of_the_environment_is_meant_where_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """PBS_ACCOUNT, as dask-jobqueue and several centres' own qsub read it."""
    plain = Job(name="x", command=("true",))
    monkeypatch.setenv("PBS_ACCOUNT", "bio")
    assert PBS().prepare_job(plain).account == "bio"
    assert PBS().prepare_job(evolve(plain, account="physics")).account == "physics"
    monkeypatch.setenv("PBS_ACCOUNT", "")
    assert PBS().prepare_job(plain).account is None
    assert "PBS_ACCOUNT" in PBS.facts.carried  # a scheduler in a job submits as well


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script."""
    script = PBS().render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#PBS -N dask-1\n"
        "#PBS -q gpu@other\n"
        "#PBS -A physics\n"
        "#PBS -l select=2:ncpus=36:mem=85831mb:ngpus=4\n"
        "#PBS -l place=scatter\n"
        "#PBS -l walltime=25:01:01\n"
        "#PBS -j oe\n"
        "#PBS -o /dev/null\n"
        "#PBS -m n\n"
        "#PBS -p 10\n"
        "\n"
        "[ ! -d '/scratch/a b/$c' ] || "
        '{ export PBS_JOB_LOG=\'/scratch/a b/$c\'/"$PBS_JOBID.log"; exec >>"$PBS_JOB_LOG" 2>&1; }\n'
        "unset OMP_NUM_THREADS\n"
    ) + job_body(JOB, job_id="${PBS_JOBID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/$c/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for memory, walltime, queue and account; one chunk needs no place."""
    assert lines(Job(name="dask-1")) == ["-N dask-1", "-l select=1:ncpus=1", "-j oe", "-o /dev/null", "-m n"]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log whose directive was skipped or replaced."""
    assert PBS().render_script(Job(name="x")).log is None
    assert PBS().render_script(Job(name="x", log_directory="/logs", skip=["o"])).log is None
    assert PBS().render_script(Job(name="x", log_directory="/logs", extra_directives=["-o /dev/null"])).log is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"account_option": "P"}, "-P physics"),
        ({"gpu_resource": "gpus"}, "-l select=2:ncpus=36:mem=85831mb:gpus=4"),
        ({"chunk": "model=bro:mpiprocs=1"}, SELECT + ":model=bro:mpiprocs=1"),
        ({"place": "scatter:excl"}, "-l place=scatter:excl"),
    ],
)
def test_a_site_says_how_to_ask(options: dict[str, object], expected: str) -> None:
    """Sites name resources and charge in their own way; what was written is read back."""
    pbs = PBS(**options)  # type: ignore[arg-type]
    assert expected in lines(JOB, pbs)
    read = pbs.parse_resources(str(pbs.render_script(JOB)))
    assert (read.account, read.resources.gpus, read.extra_directives) == ("physics", 4, ("-p 10",))


@pytest.mark.parametrize(
    ("skipped", "select"),
    [
        ("memory", "-l select=2:ncpus=36:ngpus=4"),
        ("mem", "-l select=2:ncpus=36:ngpus=4"),
        ("cores", "-l select=2:mem=85831mb:ngpus=4"),
        ("ncpus", "-l select=2:mem=85831mb:ngpus=4"),
        ("gpus", "-l select=2:ncpus=36:mem=85831mb"),
        ("ngpus", "-l select=2:ncpus=36:mem=85831mb"),
    ],
)
def test_one_resource_is_left_out_of_the_select(skipped: str, select: str) -> None:
    """PBS puts all of them into one -l; the others stay."""
    assert set(lines(evolve(JOB, skip=[skipped]))) ^ set(lines(JOB)) == {select, SELECT}


def test_skipping_is_by_whole_names() -> None:
    """Nodes take the place with them, which PBS refuses without a select; `n` is nothing's name."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["n", "l", "wall", "me"])) == everything
    assert set(everything) - set(lines(evolve(JOB, skip=["walltime"]))) == {"-l walltime=25:01:01"}
    assert set(everything) - set(lines(evolve(JOB, skip=["select"]))) == {SELECT, "-l place=scatter"}
    assert set(everything) - set(lines(evolve(JOB, skip=["place"]))) == {"-l place=scatter"}
    assert "-l select=ncpus=36:mem=85831mb:ngpus=4" in lines(evolve(JOB, skip=["nodes"]))
    assert not [line for line in lines(evolve(JOB, skip=["nodes", "cores", "memory", "gpus"])) if "select" in line]


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("-l select=1:ncpus=4+1:ncpus=8", {SELECT, "-l place=scatter"}),
        ("-l ncpus=96,mem=380gb", {SELECT, "-l place=scatter"}),
        ("-l nodes=2:ppn=8", {SELECT, "-l place=scatter"}),
        ("-lplace=excl", {"-l place=scatter"}),
        ("-l walltime=1:00:00,software=x", {"-l walltime=25:01:01"}),
        ("-joe -N other", {"-N dask-1", "-j oe"}),
        ("-l software=x -W group_list=y", set()),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: set[str]) -> None:
    """qsub refuses a request of the whole job beside a select: the user's own wins."""
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
        (Job(name="é"), "name"),
        (Job(name="x" * 231), "name"),
        (Job(name="x", queue=""), "queue"),
        (Job(name="x", queue="a\n#PBS -l mem=1gb"), "queue"),
        (Job(name="x", account="a\tb"), "account"),
        (Job(name="x", extra_directives=["-r n"]), "extra_directives"),
        (Job(name="x", extra_directives=["-J 0-9"]), "extra_directives"),
        (Job(name="x", extra_directives=["-I"]), "extra_directives"),
        (Job(name="x", extra_directives=["#PBS -p 10"]), "extra_directives"),
        (Job(name="x", extra_directives=["-p 'no end"]), "extra_directives"),
        (Job(name="x", extra_directives=["-p 1\n-I"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
    ],
)
def test_what_pbs_would_misread_is_refused(job: Job, argument: str) -> None:
    """A line break ends a directive; the error names the argument."""
    pbs = PBS()
    with pytest.raises(InvalidRequest) as caught:
        pbs.render_script(pbs.prepare_job(job))
    assert caught.value.argument == argument


def test_memory_is_rounded_up() -> None:
    """One byte more than a MiB is two MiB, before the workers' limits are taken from it."""
    job = Job(name="x", resources=Resources(memory=2**20 + 1))
    assert PBS().prepare_job(job).resources.memory == 2**21
    assert "-l select=1:ncpus=1:mem=2mb" in lines(job)


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1)


@settings(deadline=None)
@given(queue=TEXTS, account=TEXTS, folder=TEXTS.map(lambda text: "/" + text))
def test_hostile_values_are_read_back_unchanged(queue: str, account: str, folder: str) -> None:
    """Quotes, `#`, `$`, backslashes and blanks are data."""
    job = Job(name="x", queue=queue, account=account, log_directory=folder)
    assert PBS().parse_resources(str(PBS().render_script(job))) == job


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
    """Units and times survive in both directions."""
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=memory, gpus=gpus), walltime=walltime)
    assert PBS().parse_resources(str(PBS().render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "select=2:ncpus=36:mem=90gb:ngpus=4",
            Job(resources=Resources(nodes=2, cores=36, memory=90 * 2**30, gpus=4)),
        ),
        ("select=ncpus=4", Job(resources=Resources(cores=4))),
        ("-lselect=3 -qshort", Job(resources=Resources(nodes=3), queue="short")),
        ("-l select=1:ncpus=4,walltime=30:00", Job(resources=Resources(cores=4), walltime=1800)),
        ("-l walltime=90", Job(walltime=90)),
        ("-l walltime=100:00:00", Job(walltime=360_000)),
        ("-l select=1:mem=512kb", Job(resources=Resources(memory=2**19))),
        ("-l select=1:mem=4096", Job(resources=Resources(memory=4096))),
        (
            "-l select=2:ncpus=8:arch=linux",
            Job(resources=Resources(nodes=2, cores=8), extra_directives=["-l select=2:ncpus=8:arch=linux"]),
        ),
        ("-l place=excl", Job(extra_directives=["-l place=excl"])),
        (
            "-l ncpus=8,mem=16gb",
            Job(resources=Resources(cores=8, memory=2**34), extra_directives=["-l ncpus=8,mem=16gb"]),
        ),
        (
            "-l nodes=2:ppn=8,mem=4gb",
            Job(
                resources=Resources(nodes=2, cores=8, memory=2**31),
                extra_directives=["-l nodes=2:ppn=8,mem=4gb"],
            ),
        ),
        ("-A physics -N run -h", Job(account="physics", name="run", extra_directives=["-h"])),
        ("-W group_list=x -p 10", Job(extra_directives=["-W group_list=x -p 10"])),
        ("-j oe -o /logs/", Job(log_directory="/logs")),
        ("-o /logs/run.txt", Job(extra_directives=["-o /logs/run.txt"])),
        ("-J 0-9", Job()),
    ],
)
def test_native_requests_are_understood(text: str, expected: Job) -> None:
    """Every form in which people ask PBS for something; what a Job has no word for stays a directive."""
    assert PBS().parse_resources(text) == expected
    directive = text if text.startswith("-") else f"-l {text}"
    assert PBS().parse_resources(f"#!/usr/bin/env bash\n#PBS {directive}\ntrue\n#PBS -q late\n") == expected


@pytest.mark.parametrize(
    ("text", "resources", "left"),
    [
        ("-l select=1:ncpus=4+1:ncpus=4", Resources(nodes=2, cores=4), []),
        (
            "-l nodes=2:ppn=8,pmem=2gb -h",
            Resources(nodes=2, cores=8, memory=2**34),
            ["-l nodes=2:ppn=8", "-h", f"-l mem={2**35}b"],
        ),
        ("-l select=1:ncpus=8 -l pmem=2gb", Resources(cores=8, memory=2**34), []),
        ("-l select=1:ncpus=8,pmem=2gb,file=1gb", Resources(cores=8, memory=2**34), ["-l file=1gb"]),
        ("-l select=1:ncpus=8:mpiprocs=2 -l pmem=2gb", Resources(cores=8, memory=2**32), None),
        ("-l select=1:ncpus=4:mem=1gb -l pmem=2gb", Resources(cores=4, memory=2**33), []),
        ("-l nodes=2:ppn=4:ncpus=2", Resources(nodes=2, cores=8), ["-l nodes=2:ppn=4:ncpus=2"]),
        ("-l nodes=2:ncpus=16", Resources(nodes=2, cores=16), ["-l nodes=2:ncpus=16"]),
        ("-l nodes=2:ppn=4 -l ngpus=4", Resources(nodes=2, cores=4, gpus=2), ["-l nodes=2:ppn=4 -l ngpus=4"]),
        ("-l nodes=1:ppn=4:gpus=2", Resources(cores=4, gpus=2), ["-l nodes=1:ppn=4:gpus=2"]),
        ("-l select=2:ncpus=4 -l place=scatter:excl", Resources(nodes=2, cores=4), ["-l place=scatter:excl"]),
        ("-l select=2 -l place=scatter:exclhost", Resources(nodes=2), ["-l place=scatter:exclhost"]),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, left: list[str] | None) -> None:
    """By chunks or for the whole job, by process or by node."""
    job = PBS().parse_resources(text)
    assert job.resources == resources
    assert left is None or list(job.extra_directives) == left
    written = lines(job)
    assert set(job.extra_directives) <= set(written)
    if not any("nodes=" in extra for extra in left or ()):
        select = next(line for line in written if "select=" in line)
        assert f"select={resources.nodes}" in select
        assert "mem" not in select or f"mem={(resources.memory or 0) >> 20}mb" in select
        assert (f"ncpus={resources.cores}" in select) == ("cores" not in job.skip)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("select=1:ncpus=4+2:ncpus=8", "several kinds"),
        ("select=0:ncpus=4", "no chunk"),
        ("select=1:ncpus=many", "invalid literal"),
        ("select=1:mem=much", "not an amount"),
        ("-l walltime=soon", "not a time"),
        ("-N 'no end", "No closing"),
        ("-Y 2", "not recognized"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        PBS().parse_resources(text)


@pytest.mark.parametrize(
    "options",
    [
        {"account_option": "a"},
        {"gpu_resource": "n gpus"},
        {"chunk": "model"},
        {"chunk": "a=b+1:c=d"},
        {"place": "scatter "},
        {"max_array_size": 0},
        {"history": 1},
    ],
)
def test_options_are_checked_at_once(options: dict[str, object]) -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        discovery.load("pbs", options=options)
