"""What ``#$`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_sge import GridEngine, directives

SITE = GridEngine(
    memory_resource="h_vmem", parallel_environment="smp", multi_node_environment="mpi-{cores}", gpu_resource="gpu"
)

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(processes=4, cores=8, memory=32 * 10**9, gpus=2),
    walltime=93_784,
    queue="all.q,long.q",
    account="physics",
    log_directory="/scratch/a b/$USER",
    environment={"LC_ALL": "de_DE.UTF-8"},
    extra_directives=("-l arch=lx-amd64",),
)


def lines(job: Job, site: GridEngine = SITE) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#$ ") for each in site.render_script(job).directives]


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script; memory is per slot, and rounded up."""
    script = SITE.render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#$ -N dask-1\n"
        "#$ -q all.q,long.q\n"
        "#$ -P physics\n"
        "#$ -pe smp 8\n"
        "#$ -l h_rt=26:03:04\n"
        "#$ -l h_vmem=3815M\n"
        "#$ -l gpu=2\n"
        "#$ -o '/scratch/a b/$$USER/$JOB_ID.$TASK_ID.log'\n"
        "#$ -j y\n"
        "#$ -S /bin/bash\n"
        "#$ -r n\n"
        "#$ -l arch=lx-amd64\n"
        "\n"
        "unset LC_ALL\n"
    ) + job_body(JOB, job_id="${JOB_ID}.${SGE_TASK_ID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/$USER/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for memory, walltime, queue, project; one slot needs no parallel environment."""
    assert lines(Job(name="dask-1"), GridEngine()) == ["-N dask-1", "-o /dev/null", "-j y", "-S /bin/bash", "-r n"]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log whose option was skipped or replaced."""
    assert SITE.render_script(Job(name="x")).log is None
    assert SITE.render_script(Job(name="x", log_directory="/logs", skip=["o"])).log is None
    assert SITE.render_script(Job(name="x", log_directory="/logs", extra_directives=["-o /dev/null"])).log is None


@pytest.mark.parametrize(
    ("options", "resources", "expected"),
    [
        ({}, Resources(nodes=3, cores=4, memory=2**30), {"-pe mpi-4 12", "-l h_vmem=256M"}),
        ({}, Resources(nodes=2, memory=2**30), {"-pe mpi-1 2", "-l h_vmem=1024M"}),
        ({"multi_node_environment": "orte"}, Resources(nodes=3, cores=4), {"-pe orte 12"}),
        ({"memory_per": "job"}, Resources(cores=4, memory=2**30), {"-pe smp 4", "-l h_vmem=1024M"}),
        (
            {"memory_resource": "mem_free,h_vmem"},
            Resources(cores=2, memory=2**30),
            {"-l mem_free=512M", "-l h_vmem=512M"},
        ),
        ({"gpu_resource": "ngpus"}, Resources(gpus=1), {"-l ngpus=1"}),
    ],
)
def test_a_site_says_how_to_ask(options: dict[str, Any], resources: Resources, expected: set[str]) -> None:
    """Names, and what memory is counted per, are each site's own; what was written is read back."""
    site = evolve(SITE, **options)
    job = site.prepare_job(Job(name="x", resources=resources))
    assert expected <= set(lines(job, site))
    read = site.parse_resources(str(site.render_script(job)))
    if "multi_node_environment" not in options:
        assert read == job
    else:  # how many of the slots are on one host, nobody knows
        assert read.extra_directives == ("-pe orte 12",)


@pytest.mark.parametrize(
    ("resources", "argument", "option"),
    [
        (Resources(memory=2**30), "memory", "memory_resource"),
        (Resources(cores=2), "cores", "parallel_environment"),
        (Resources(nodes=2), "nodes", "multi_node_environment"),
        (Resources(gpus=1), "gpus", "gpu_resource"),
    ],
)
def test_what_the_site_has_not_named_is_refused(resources: Resources, argument: str, option: str) -> None:
    """Asking for less than was meant would fill a host's memory; the error names the option, and the way without."""
    job = Job(name="x", resources=resources)
    with pytest.raises(InvalidRequest, match=rf"'{option}'.*skip_directives=\['{argument}'\]") as caught:
        GridEngine().prepare_job(job)
    assert caught.value.argument == argument
    assert GridEngine().prepare_job(evolve(job, skip=[argument])).resources == resources
    assert len(lines(GridEngine().prepare_job(evolve(job, skip=[argument])), GridEngine())) == 5


def test_a_parallel_environment_of_the_users_own_is_enough() -> None:
    """It replaces ours, and its slots are the user's affair."""
    job = Job(name="x", resources=Resources(cores=4), extra_directives=["-pe openmp 4"])
    assert "-pe openmp 4" in lines(GridEngine().prepare_job(job), GridEngine())
    assert "-pe smp 4" not in lines(job)


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("-l h_vmem=1G,arch=lx", "-l h_vmem=3815M"),
        ("-l h_rt=10:0:0", "-l h_rt=26:03:04"),
        ("-pe openmp 8", "-pe smp 8"),
        ("-r y", "-r n"),
        ("-j n -e /dev/null", "-j y"),
        ("-N other", "-N dask-1"),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: str) -> None:
    """By option, and by resource for -l; others stay."""
    job = evolve(JOB, extra_directives=[extra])
    assert replaced in lines(evolve(JOB, extra_directives=[]))
    assert replaced not in lines(job)
    assert lines(job)[-1] == extra


@pytest.mark.parametrize("extra", ["-l h_vmem=1G", "-l arch=lx,mem_free=2G", "-pe smp 2 -l s_rss=1G"])
def test_memory_that_is_asked_for_by_hand_needs_no_name(extra: str) -> None:
    """As dask-jobqueue's resource_spec= is written, which asks for memory with the resource's own name."""
    job = Job(name="x", command=("true",), resources=Resources(memory=2**30), extra_directives=[extra])
    assert lines(GridEngine().prepare_job(job), GridEngine())[-1] == extra
    with pytest.raises(InvalidRequest, match="memory_resource"):
        GridEngine().prepare_job(evolve(job, extra_directives=["-l disk=1G"]))


def test_a_wish_replaces_nothing() -> None:
    """What follows -soft need not be fulfilled, so that what must be stays."""
    assert "-l h_vmem=3815M" in lines(evolve(JOB, extra_directives=["-soft -l h_vmem=8G"]))


def test_skipping_is_by_whole_names() -> None:
    """A resource is skipped by its name or by its word; options beside it stay."""
    everything = set(lines(JOB))
    assert set(lines(evolve(JOB, skip=["l", "h_", "p", "rt"]))) == everything
    assert everything - set(lines(evolve(JOB, skip=["h_rt"]))) == {"-l h_rt=26:03:04"}
    assert everything - set(lines(evolve(JOB, skip=["memory"]))) == {"-l h_vmem=3815M"}
    assert set(lines(evolve(JOB, skip=["cores"]))) - everything == {"-l h_vmem=30518M"}


def test_hosts_can_be_avoided() -> None:
    """Unless the user says where jobs shall run, by the long name or the short one."""
    job = Job(name="x", excluded_hosts=["n1", "n2"])
    assert "-l 'hostname=!(n1|n2)'" in lines(job)
    assert "-l 'hostname=!(n1|n2)'" not in lines(evolve(job, extra_directives=["-l h=node*"]))


def test_the_shell_is_that_of_the_first_line() -> None:
    """Grid Engine does not heed that line."""
    assert "-S /opt/bash/bin/bash" in lines(Job(name="x", shebang="#!/opt/bash/bin/bash -l"))


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="two words"), "name"),
        (Job(name="1st"), "name"),
        (Job(name="a/b"), "name"),
        (Job(name="é"), "name"),
        (Job(name="x", queue="a\n#$ -l x=1"), "queue"),
        (Job(name="x", queue="a#b"), "queue"),
        (Job(name="x", queue="-now"), "queue"),
        (Job(name="x", queue=""), "queue"),
        (Job(name="x", account="a#b"), "account"),
        (Job(name="x", log_directory="/a,b"), "log_directory"),
        (Job(name="x", log_directory="/a#b"), "log_directory"),
        (Job(name="x", extra_directives=["#$ -l x=1"]), "extra_directives"),
        (Job(name="x", extra_directives=["-l 'x=1"]), "extra_directives"),
        (Job(name="x", extra_directives=["-R y\n-l x=1"]), "extra_directives"),
        (Job(name="x", extra_directives=["qsub -R y"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
    ],
)
def test_what_grid_engine_would_misread_is_refused(job: Job, argument: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidRequest) as caught:
        SITE.render_script(SITE.prepare_job(job))
    assert caught.value.argument == argument


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#"), min_size=1) | st.text(
    "ab \"'\\$%`!;|&:{}", min_size=1
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.+-]*", fullmatch=True)


@settings(deadline=None)
@given(
    name=NAMES,
    queue=TEXTS.filter(lambda text: not text.startswith("-")),
    account=TEXTS.filter(lambda text: not text.startswith("-")),
    log_directory=TEXTS.map(lambda text: "/" + text.replace(",", "")),
    context=TEXTS,
)
def test_hostile_values_are_read_back_unchanged(
    name: str, queue: str, account: str, log_directory: str, context: str
) -> None:
    """Quotes, `$`, backslashes and colons are data, in the script and in what qsub is given."""
    extra = shlex.join(["-ac", f"x={context}"])
    job = Job(name=name, queue=queue, account=account, log_directory=log_directory, extra_directives=[extra])
    script = SITE.render_script(SITE.prepare_job(job))
    assert SITE.parse_resources(str(script)) == job
    argv = next(SITE.submit(script, 1)).argv
    assert {name, queue, account, f"x={context}"} <= set(argv)


@settings(deadline=None)
@given(
    nodes=st.integers(1, 2000),
    cores=st.integers(1, 512),
    memory=st.none() | st.integers(1, 2**44),
    gpus=st.integers(0, 8),
    walltime=st.none() | st.integers(1, 400 * 86400),
)
def test_amounts_are_read_back_unchanged(
    nodes: int, cores: int, memory: int | None, gpus: int, walltime: int | None
) -> None:
    """Units and times survive in both directions, and memory is never less than asked for."""
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=memory, gpus=gpus), walltime=walltime)
    prepared = SITE.prepare_job(job)
    assert (prepared.resources.memory or 0) >= (memory or 0)
    assert SITE.parse_resources(str(SITE.render_script(prepared))) == prepared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-N dask -q all.q -P physics", Job(name="dask", queue="all.q", account="physics")),
        ("-pe smp 4", Job(resources=Resources(cores=4))),
        ("-pe mpi-4 8", Job(resources=Resources(nodes=2, cores=4))),
        ("-pe openmp 4", Job(resources=Resources(cores=4), extra_directives=["-pe openmp 4"])),
        ("-pe mpi-4 6", Job(resources=Resources(cores=6), extra_directives=["-pe mpi-4 6"])),
        ("-l h_rt=3600", Job(walltime=3600)),
        ("-l h_rt=1:0:0", Job(walltime=3600)),
        ("-l h_rt=1::1", Job(walltime=3601)),
        ("-l h_rt=INFINITY", Job(extra_directives=["-l h_rt=INFINITY"])),
        ("-l h_vmem=4G", Job(resources=Resources(memory=2**32))),
        ("-l h_vmem=4g", Job(resources=Resources(memory=4 * 10**9))),
        ("-l h_vmem=0.5G -pe smp 2", Job(resources=Resources(cores=2, memory=2**30))),
        ("-l mem_free=4G", Job(extra_directives=["-l mem_free=4G"])),
        ("-l h_vmem=1G,gpu=2,arch=lx", Job(resources=Resources(memory=2**30, gpus=2), extra_directives=["-l arch=lx"])),
        ("-l h_rt=60 -l h_rt=120", Job(walltime=120)),
        ("-soft -l h_vmem=1G -q f.q -hard -q b.q", Job(queue="b.q", extra_directives=["-soft -l h_vmem=1G -q f.q"])),
        ("-V -cwd -p -100", Job(extra_directives=["-V", "-cwd", "-p -100"])),
        ("-binding set linear:4", Job(extra_directives=["-binding set linear:4"])),
        ("-t 1-10 -j y -r n", Job()),
        ("-o out.txt -j n", Job(extra_directives=["-o out.txt", "-j n"])),
        ("-o ':/a:b/$$x/$JOB_ID.$TASK_ID.log'", Job(log_directory="/a:b/$x")),
        ("-S /bin/bash", Job()),
        ("-S /bin/tcsh", Job(extra_directives=["-S /bin/tcsh"])),
        ("-q all.q # where I always go", Job(queue="all.q")),
        ("-N 'dask'", Job(name="dask")),
    ],
)  # fmt: skip
def test_native_requests_are_understood(text: str, expected: Job) -> None:
    """Every form in which people ask Grid Engine for something; what a Job has no word for stays a directive."""
    assert SITE.parse_resources(text) == expected
    assert SITE.parse_resources(f"#!/usr/bin/env bash\n#$ {text}\ntrue\n") == expected


def test_two_resources_for_memory_are_one_amount() -> None:
    """The first counts, and another that says otherwise stays."""
    site = evolve(SITE, memory_resource="mem_free,h_vmem")
    same = site.parse_resources("-l mem_free=1G,h_vmem=1024M")
    assert (same.resources.memory, same.extra_directives) == (2**30, ())
    more = site.parse_resources("-l mem_free=1G,h_vmem=2G")
    assert (more.resources.memory, more.extra_directives) == (2**30, ("-l h_vmem=2G",))


def test_a_script_is_read_to_its_end() -> None:
    """Unlike other batch systems, Grid Engine reads options below the first command too."""
    text = "#!/bin/bash\n# a job\n##$ -pe smp 2\n#$-pe smp 4\n\nmodule load x\n#$ -q late.q\n"
    assert SITE.parse_resources(text) == Job(shebang="#!/bin/bash", queue="late.q", resources=Resources(cores=4))


@pytest.mark.parametrize(
    ("text", "resources", "is_ours"),
    [
        ("-pe smp 8 -l h_vmem=2G", Resources(cores=8, memory=2**34), True),
        ("-l h_vmem=2G -pe mpi-4 8", Resources(nodes=2, cores=4, memory=2**33), True),
        ("-l mem_free=2G", Resources(), False),
        ("-l exclusive=true -pe smp 4", Resources(cores=4), True),
        ("-l h_rt=INFINITY", Resources(), False),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, is_ours: bool) -> None:
    """Either in our own words, or as it was written."""
    job = SITE.parse_resources(text)
    assert job.resources == resources
    written = lines(SITE.prepare_job(evolve(job, name="x")), SITE)
    assert is_ours or any(request in line for request in (text, text.removeprefix("-l ")) for line in written)
    assert set(job.extra_directives) <= set(written)
    assert SITE.parse_resources("\n".join(written)).resources == resources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-pe smp 2-8", "one number of slots"),
        ("-pe smp 0", "one number of slots"),
        ("-l h_rt=soon", "not a time"),
        ("-l h_vmem=much", "not an amount"),
        ("-N 'no end", "quotation"),
        ("qsub -N x", "not an option"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        SITE.parse_resources(text)


def test_options_are_checked_at_once() -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match="memory_per"):
        discovery.load("sge", options={"memory_per": "host"})
    with pytest.raises(InvalidRequest, match="max_array_size"):
        discovery.load("sge", options={"max_array_size": 0})


def test_a_line_is_words_as_qsub_reads_them() -> None:
    """An option's values end where the next option begins."""
    assert directives.options(["-pe smp 4 -V -l 'a=x y',b=2"]) == [
        ("-pe", "smp", "4"),
        ("-V",),
        ("-l", "a=x y"),
        ("-l", "b=2"),
    ]


@pytest.mark.parametrize("line", ["#$ -l mem_free", "#$-l mem_free", "#$ -l gpu", "#$ -l h_rt"])
def test_a_resource_without_an_amount_stays_the_user_s(line: str) -> None:
    """Also if it is one that a Job has a word for."""
    job = GridEngine(memory_resource="mem_free", gpu_resource="gpu").parse_resources(f"#!/bin/sh\n{line}\n")
    assert job.extra_directives == (f"-l {line.rsplit(maxsplit=1)[-1]}",)


def test_without_arrays_a_job_is_called_by_its_number() -> None:
    """Its log too; nothing else of the script differs."""
    job = Job(name="x", command=["true"], log_directory="/logs")
    script = str(GridEngine(arrays=False).render_script(job))
    assert "-o '/logs/$JOB_ID.log'" in script
    assert 'CORRAL_JOB_ID="${JOB_ID}"' in script
    with_arrays = str(GridEngine().render_script(job))
    assert script == with_arrays.replace("$JOB_ID.$TASK_ID.log", "$JOB_ID.log").replace(".${SGE_TASK_ID}", "")
    assert GridEngine(arrays=False).parse_resources(script).log_directory == "/logs"
