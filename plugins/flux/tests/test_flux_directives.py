"""What ``#flux:`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, job_body
from corral_flux import Flux

FLUX = Flux()
JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=8, memory=32 * 10**9, gpus=2),
    walltime=90_061,
    queue="pbatch",
    account="physics",
    log_directory="/scratch/a b",
    environment={"LC_ALL": "de_DE.UTF-8"},
    extra_directives=("--urgency=20",),
)
ENVIRONMENT = (
    "'--env-remove=*' --env=FLUX_F58_FORCE_ASCII=1 --env=PATH --env=HOME --env=USER --env=LOGNAME --env=SHELL "
    "--env=LANG --env=TZ"
)


def lines(job: Job) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#flux: ") for each in FLUX.render_script(job).directives]


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script."""
    script = FLUX.render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#flux: --job-name=dask-1\n"
        "#flux: --queue=pbatch\n"
        "#flux: --bank=physics\n"
        "#flux: --nodes=2\n"
        "#flux: --ntasks=2\n"
        "#flux: --cores-per-task=8\n"
        "#flux: --gpus-per-task=2\n"
        "#flux: --setattr=user.corral.memory=32000000000\n"
        "#flux: --time-limit=90061s\n"
        "#flux: '--output=/scratch/a b/{{id.f58plain}}.log'\n"
        "#flux: --setopt=exit-timeout=none --setopt=mpi=none\n"
        f"#flux: {ENVIRONMENT}\n"
        "#flux: --urgency=20\n"
        "\n"
    ) + job_body(JOB, job_id="${FLUX_JOB_ID:-$FLUX_ENCLOSING_ID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/{id}.log")


def test_bad_hosts_are_avoided() -> None:
    """Flux adds a user's own constraints to this one."""
    script = str(Flux().render_script(evolve(JOB, excluded_hosts=["n1", "n7"], extra_directives=["--requires=bigmem"])))
    assert "#flux: --requires=-host:n1,n7\n" in script
    assert "#flux: --requires=bigmem\n" in script


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for walltime, queue and bank; output that nobody wants is not kept by Flux either."""
    assert lines(Job(name="dask-1")) == [
        "--job-name=dask-1",
        "--nodes=1",
        "--ntasks=1",
        "--cores-per-task=1",
        "--output=/dev/null",
        ENVIRONMENT,
    ]


def test_memory_is_not_asked_for_and_not_refused() -> None:
    """Flux has no option for it: the request keeps it for the workers' limits, and notes it where nothing acts."""
    job = Job(name="x", resources=Resources(memory=5))
    assert FLUX.prepare_job(job) == job
    assert "--setattr=user.corral.memory=5" in lines(job)
    assert not [line for line in lines(evolve(job, skip=["memory"])) if "memory" in line]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log whose directive was skipped or replaced."""
    assert FLUX.render_script(Job(name="x")).log is None
    assert FLUX.render_script(Job(name="x", log_directory="/logs", skip=["output"])).log is None
    extra = ["--output=/logs/{{name}}"]
    assert FLUX.render_script(Job(name="x", log_directory="/logs", extra_directives=extra)).log is None


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("--cores=16", {"--ntasks=2", "--cores-per-task=8", "--gpus-per-task=2"}),
        ("--gpus-per-node=4", {"--ntasks=2", "--cores-per-task=8", "--gpus-per-task=2"}),
        ("-c16", {"--cores-per-task=8"}),
        ("-t 5m", {"--time-limit=90061s"}),
        ("-q other", {"--queue=pbatch"}),
        ("-o verbose=2", set()),
        ("-S user.x=1", set()),
        ("--env=MY_*", set()),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: set[str]) -> None:
    """Flux takes resources by task or by node, not both; what may be repeated replaces nothing."""
    job = evolve(JOB, extra_directives=[extra])
    assert set(lines(evolve(JOB, extra_directives=[]))) - set(lines(job)) == replaced
    assert lines(job)[-1] == extra


def test_skipping_is_by_whole_names() -> None:
    """Leaving `nodes` out makes it a job of one node; a user's own directive stays."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["n", "t", "cores-per", "job"])) == everything
    assert set(everything) - set(lines(evolve(JOB, skip=["walltime"]))) == {"--time-limit=90061s"}
    assert set(everything) - set(lines(evolve(JOB, skip=["nodes"]))) == {
        "--nodes=2",
        "--ntasks=2",
        "--setopt=exit-timeout=none --setopt=mpi=none",
    }


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="x", resources=Resources(memory=0)), "memory"),
        (Job(name="x", walltime=0), "walltime"),
        (Job(name="a\nb"), "name"),
        (Job(name="a\x85b"), "name"),
        (Job(name="{cc}"), "name"),
        (Job(name="x", queue=""), "queue"),
        (Job(name="x", account="{"), "account"),
        (Job(name="x", log_directory="/{{id}}"), "log_directory"),
        (Job(name="x", shebang="#!/bin/{a,b}"), "shebang"),
        (Job(name="x", extra_directives=["#flux: --exclusive"]), "extra_directives"),
        (Job(name="x", extra_directives=["--bank='no end"]), "extra_directives"),
        (Job(name="x", extra_directives=["-x\n-N4"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
    ],
)
def test_what_flux_would_misread_is_refused(job: Job, argument: str) -> None:
    """0 is no limit, a brace a template, a line break another directive; the error names the argument."""
    with pytest.raises(InvalidRequest) as caught:
        FLUX.render_script(FLUX.prepare_job(job))
    assert caught.value.argument == argument


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="{}"), min_size=1)
TEXTS |= st.text("ab \t#\"'\\$%`!;|&=", min_size=1)


@settings(deadline=None)
@given(name=TEXTS, queue=TEXTS, account=TEXTS, log_directory=TEXTS)
def test_hostile_values_are_read_back_unchanged(name: str, queue: str, account: str, log_directory: str) -> None:
    """Quotes, `#`, backslashes and tabs are data."""
    job = Job(name=name, queue=queue, account=account, log_directory=f"/{log_directory}")
    assert FLUX.parse_resources(str(FLUX.render_script(job))) == job


@settings(deadline=None)
@given(
    nodes=st.integers(1, 2000),
    cores=st.integers(1, 512),
    memory=st.none() | st.integers(1, 2**45),
    gpus=st.integers(0, 8),
    walltime=st.none() | st.integers(1, 400 * 86400),
)
def test_amounts_are_read_back_unchanged(
    nodes: int, cores: int, memory: int | None, gpus: int, walltime: int | None
) -> None:
    """In both directions."""
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=memory, gpus=gpus), walltime=walltime)
    assert FLUX.parse_resources(str(FLUX.render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-q pdebug", Job(queue="pdebug")),
        ("-qpdebug -B physics", Job(queue="pdebug", account="physics")),
        ("-N2 -n8 -c2", Job(resources=Resources(nodes=2, cores=8))),
        ("-n 5 -N 2", Job(resources=Resources(nodes=2, cores=3))),
        ("-N 2", Job(resources=Resources(nodes=2), extra_directives=["--exclusive"])),
        ("-N 2 --exclusive", Job(resources=Resources(nodes=2), extra_directives=["--exclusive"])),
        ("-N2 --cores=9", Job(resources=Resources(nodes=2, cores=5))),
        ("-N1 --gpus-per-node=4", Job(resources=Resources(gpus=4), extra_directives=["--exclusive"])),
        ("-n2 -N1 -g2", Job(resources=Resources(cores=2, gpus=4))),
        ("-t 30", Job(walltime=1800)),
        ("-t 1.5h", Job(walltime=5400)),
        ("-t 90s", Job(walltime=90)),
        ("-t 2d", Job(walltime=172_800)),
        ("-t 1500ms", Job(walltime=2)),
        ("-t inf", Job(extra_directives=["--time-limit=inf"])),
        ("-t 0", Job(extra_directives=["--time-limit=0"])),
        ("--output=out.log", Job(extra_directives=["--output=out.log"])),
        ("--job-name='my job' --urgency=3 # why", Job(name="my job", extra_directives=["--urgency=3"])),
        ("-o mpi=none", Job(extra_directives=["-o mpi=none"])),
    ],
)
def test_requests_that_people_write(text: str, expected: Job) -> None:
    """Short options, attached or not, in the units of flux-submit(1)."""
    assert FLUX.parse_resources(text) == expected


def test_a_script_for_flux_batch_is_read() -> None:
    """With another comment sign, in capitals, up to the first command."""
    text = "#!/bin/sh\n# a job\n# FLUX: -N1\n# FLUX: -n4\n\nmodule load x\n# FLUX: -n8\n"
    assert FLUX.parse_resources(text) == Job(shebang="#!/bin/sh", resources=Resources(cores=4))


@pytest.mark.parametrize(
    ("text", "resources", "left"),
    [
        ("-N 2 -n 8 -c 4 --gpus-per-task=1", Resources(nodes=2, cores=16, gpus=4), []),
        ("-N 2 -n 5", Resources(nodes=2, cores=3), []),
        ("--nslots=4 --cores-per-slot=2 --gpus-per-slot=1 -N 2", Resources(nodes=2, cores=4, gpus=2), []),
        ("-N 2 --tasks-per-node=4", Resources(nodes=2, cores=4), ["--exclusive"]),
        ("-N 2 --cores=7 --tasks-per-node=2", Resources(nodes=2, cores=4), []),
        ("-N 2 -n 2 --exclusive", Resources(nodes=2), ["--exclusive"]),
        ("-n 4 --gpus-per-task=2", Resources(cores=4, gpus=8), []),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, left: list[str]) -> None:
    """By task, by slot or by node."""
    job = FLUX.parse_resources(text)
    assert job.resources == resources
    assert list(job.extra_directives) == left
    assert FLUX.parse_resources(str(FLUX.render_script(evolve(job, name="x")))).resources == resources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-N0", "not a job"),
        ("-n many", "invalid literal"),
        ("-t soon", "not a time"),
        ("--bank='no end", "No closing quotation"),
        ("submit -N2", "not an option"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        FLUX.parse_resources(text)
