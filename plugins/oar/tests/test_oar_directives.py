"""What ``#OAR`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_oar import Oar, directives

OAR = Oar(memory_property="memcore", gpu_resource="gpu")
GIB = 2**30

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=8, memory=32 * GIB, gpus=2),
    walltime=90_061,
    queue="production",
    account="physics",
    log_directory="/scratch/my logs",
    environment={"LC_ALL": "de_DE.UTF-8"},
    extra_directives=("-t besteffort",),
)


def lines(job: Job, oar: Oar = OAR) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#OAR ") for each in oar.render_script(job).directives]


def argument(job: Job, oar: Oar = OAR) -> str:
    """The value of ``-l``."""
    return next(line for line in lines(job, oar) if line.startswith("-l ")).removeprefix("-l ")


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script."""
    script = OAR.render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#OAR -n dask-1\n"
        "#OAR -q production\n"
        "#OAR --project physics\n"
        "#OAR -l /nodes=2/gpu=2/core=4,walltime=25:01:01\n"
        "#OAR -O /scratch/my logs/%jobid%.log\n"
        "#OAR -E /scratch/my logs/%jobid%.log\n"
        "#OAR -p (memcore >= 4096) AND (gpu IS NOT NULL)\n"
        "#OAR -t besteffort\n"
        "\n"
    ) + job_body(JOB, job_id="$OAR_JOB_ID")
    assert (script.name, script.log) == ("dask-1", "/scratch/my logs/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for memory, walltime, queue and project."""
    assert lines(Job(name="dask-1")) == ["-n dask-1", "-l /nodes=1/core=1", "-O /dev/null", "-E /dev/null"]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log of which one half goes elsewhere."""
    assert OAR.render_script(Job(name="x")).log is None
    for changes in ({"skip": ["O"]}, {"skip": ["E"]}, {"extra_directives": ["-O /dev/null"]}):
        assert OAR.render_script(Job(name="x", log_directory="/logs", **changes)).log is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("oar", "expected"),
    [
        (
            evolve(OAR, memory_of="node", memory_property="memnode"),
            "-p (memnode >= 32768) AND (gpu IS NOT NULL)",
        ),
        (evolve(OAR, memory_unit="G"), "-p (memcore >= 4) AND (gpu IS NOT NULL)"),
        (evolve(OAR, gpu_resource="board"), "-p (memcore >= 4096) AND (board IS NOT NULL)"),
        (evolve(OAR, node_resource="host", gpu_resource="board"), "-l /host=2/board=2/core=4,walltime=25:01:01"),
        (evolve(OAR, core_resource="thread"), "-l /nodes=2/gpu=2/thread=4,walltime=25:01:01"),
    ],
)
def test_a_site_says_how_to_ask(oar: Oar, expected: str) -> None:
    """Levels and properties have the site's names; what was written is read back."""
    assert expected in lines(JOB, oar)
    read = oar.parse_resources(str(oar.render_script(JOB)))
    assert (read.resources, read.extra_directives) == (evolve(JOB.resources, processes=1), ("-t besteffort",))


def test_gpus_are_asked_of_nodes_that_have_some() -> None:
    """To OAR, all cores without a GPU belong to one and the same."""
    job = Job(name="x", resources=Resources(gpus=1))
    assert lines(job) == ["-n x", "-l /nodes=1/gpu=1/core=1", "-O /dev/null", "-E /dev/null", "-p gpu IS NOT NULL"]


@pytest.mark.parametrize(
    ("changes", "argument", "option"),
    [
        ({"memory": GIB}, "memory", "memory_property"),
        ({"gpus": 1}, "gpus", "gpu_resource"),
    ],
)
def test_what_has_no_name_here_is_refused_with_the_options_name(
    changes: dict[str, int], argument: str, option: str
) -> None:
    """Rather than left out in silence; who wants it left out says so."""
    job = Job(name="x", resources=Resources(**changes))
    with pytest.raises(InvalidRequest, match=option) as refusal:
        Oar().prepare_job(job)
    assert refusal.value.argument == argument
    skipped = Oar().prepare_job(evolve(job, skip=[argument]))
    assert skipped.resources == job.resources
    assert lines(skipped, Oar()) == lines(Job(name="x"), Oar())


def test_units_round_up() -> None:
    """Memory to whole megabytes of each core, cores to whole shares of each GPU."""
    job = OAR.prepare_job(Job(name="x", resources=Resources(cores=4, memory=10**9, gpus=3)))
    assert job.resources == Resources(cores=6, memory=6 * 159 * 2**20, gpus=3)
    assert argument(job) == "/nodes=1/gpu=3/core=2"
    assert lines(job)[-1].startswith("-p (memcore >= 159) AND ")


# --- one condition ----------------------------------------------------------------------------------------------


def test_the_conditions_are_one() -> None:
    """OAR heeds the last -p alone: ours of memory and of hosts to avoid, and the user's, must all hold."""
    job = evolve(JOB, excluded_hosts=["n1", "n7"], extra_directives=["-p gpu_model = 'A100'", "--property=x=1 OR y=2"])
    assert lines(job)[-1] == (
        "-p (memcore >= 4096) AND ((gpu IS NOT NULL) AND "
        "((network_address NOT IN ('n1','n7')) AND ((gpu_model = 'A100') AND (x=1 OR y=2))))"
    )
    assert OAR.parse_resources(str(OAR.render_script(job))).resources.memory == 32 * GIB


def test_quotes_around_a_whole_condition_are_the_shells() -> None:
    """OAR reads no quotes, and SQL would take these for a column's name."""
    job = Job(name="x", extra_directives=["-p \"gpu_model = 'A100'\""])
    assert "-p" in (argv := next(Oar().submit(Oar().render_script(job), 1)).argv)
    assert argv[argv.index("-p") + 1] == "gpu_model = 'A100'"
    assert lines(evolve(job, excluded_hosts=["n1"]))[-1].endswith("AND (gpu_model = 'A100')")


def test_a_condition_that_is_skipped_leaves_the_users() -> None:
    """Skipping is by name: `p` is ours of this name, `memory` its part for memory."""
    job = evolve(JOB, excluded_hosts=["n1"], extra_directives=["-p x=1", "-p y=2"])
    assert lines(evolve(job, skip=["p"]))[-1] == "-p (x=1) AND (y=2)"
    assert lines(evolve(job, skip=["memory", "gpus"]))[-1].startswith("-p (network_address NOT IN ('n1'))")


# --- the user's own ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("-l /nodes=1/core=4,walltime=2", "-l /nodes=2/gpu=2/core=4,walltime=25:01:01"),
        ("-l/cpu=1", "-l /nodes=2/gpu=2/core=4,walltime=25:01:01"),
        ("--resource /cpu=1", "-l /nodes=2/gpu=2/core=4,walltime=25:01:01"),
        ("--queue=testing", "-q production"),
        ("--project other", "--project physics"),
        ("--stdout /dev/null", "-O /scratch/my logs/%jobid%.log"),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: str) -> None:
    """Two -l would be alternatives, and OAR would choose."""
    job = evolve(JOB, extra_directives=[extra])
    assert replaced in lines(evolve(JOB, extra_directives=[]))
    assert replaced not in lines(job)
    assert lines(job)[-1] == extra


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("-t besteffort", ["-t", "besteffort"]),
        ("-tbesteffort", ["-t", "besteffort"]),
        ("--hold", ["--hold"]),
        ("-k", ["-k"]),
        ("--checkpoint=60", ["--checkpoint", "60"]),
        ("-d /scratch/my work", ["-d", "/scratch/my work"]),
        ("--notify mail:me@example.org", ["--notify", "mail:me@example.org"]),
    ],
)
def test_a_line_is_one_option(extra: str, words: list[str]) -> None:
    """With the rest of the line for its value, as OAR reads scripts."""
    argv = next(OAR.submit(OAR.render_script(Job(name="x", extra_directives=[extra])), 1)).argv
    assert list(argv[-3 - len(words) : -3]) == words


def test_skipping_is_by_whole_names() -> None:
    """And by words for the parts of one `-l`."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["resource", "node", "t"])) == everything
    assert argument(evolve(JOB, skip=["nodes"])) == "/gpu=2/core=4,walltime=25:01:01"
    assert argument(evolve(JOB, skip=["gpus"])) == "/nodes=2/core=8,walltime=25:01:01"
    assert argument(evolve(JOB, skip=["cores"])) == "/nodes=2/gpu=2,walltime=25:01:01"
    assert argument(evolve(JOB, skip=["walltime"])) == "/nodes=2/gpu=2/core=4"
    assert argument(evolve(JOB, skip=["nodes", "cores", "gpus"])) == "walltime=25:01:01"
    assert not [line for line in lines(evolve(JOB, skip=["l"])) if line.startswith("-l")]


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="x", walltime=0), "walltime"),
        (Job(name="x", resources=Resources(memory=0)), "memory"),
        (Job(name="it's"), "name"),
        (Job(name="x" * 101), "name"),
        (Job(name="x", queue="a b"), "queue"),
        (Job(name="x", account="a\n#OAR -t besteffort"), "account"),
        (Job(name="x", log_directory="/tmp/a@b"), "log_directory"),
        (Job(name="x", log_directory="/tmp/%jobname%"), "log_directory"),
        (Job(name="x", log_directory="logs"), "log_directory"),
        (Job(name="x", extra_directives=["#OAR -t besteffort"]), "extra_directives"),
        (Job(name="x", extra_directives=["-t a\n-t b"]), "extra_directives"),
        (Job(name="x", extra_directives=["--hold -t besteffort"]), "extra_directives"),
        (Job(name="x", extra_directives=["--array 5"]), "extra_directives"),
        (Job(name="x", extra_directives=["-I"]), "extra_directives"),
        (Job(name="x", extra_directives=["besteffort"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
    ],
)
def test_what_oar_would_misread_is_refused(job: Job, argument: str) -> None:
    """A quote in a name ends in OAR's SQL; the error names the argument."""
    with pytest.raises(InvalidRequest) as refusal:
        OAR.render_script(OAR.prepare_job(job))
    assert refusal.value.argument == argument


@pytest.mark.parametrize("argument", ["environment", "prologue", "epilogue"])
def test_a_script_that_is_too_long_is_refused_before_oar_cuts_it(argument: str) -> None:
    """It travels in one argument, and MySQL would keep its beginning."""
    long = {"environment": {"LONG": "x" * 50_000}, "prologue": ["x" * 50_000], "epilogue": ["x" * 50_000]}
    with pytest.raises(InvalidRequest, match="source that") as refusal:
        OAR.render_script(Job(name="x", **{argument: long[argument]}))  # type: ignore[arg-type]
    assert refusal.value.argument == argument
    fits = OAR.render_script(Job(name="x", prologue=["x" * 40_000]))
    assert all(len(word) < 2**16 for word in next(OAR.submit(fits, 1)).argv)


# --- read back --------------------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[\w.:@+-]{1,100}", fullmatch=True, alphabet=st.characters(codec="ascii"))
PATHS = st.text("ab Z9/._-", max_size=30).map("/".__add__)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1)


@settings(deadline=None)
@given(name=NAMES, queue=NAMES, account=NAMES, log_directory=PATHS, comment=VALUES)
def test_hostile_values_are_read_back_unchanged(
    name: str, queue: str, account: str, log_directory: str, comment: str
) -> None:
    """Quotes, `%`, backslashes and braces of a user's own directive are data."""
    job = Job(
        name=name, queue=queue, account=account, log_directory=log_directory, extra_directives=[f"--notify {comment}"]
    )
    assert OAR.parse_resources(str(OAR.render_script(OAR.prepare_job(job)))) == job


@settings(deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]))
    | st.text("'\"\\%{}()$` \n#;-=\t", min_size=1)
    | st.sampled_from(["x' OR '1'='1", "a'); die(1);#", "%jobname%", "$(id)"])
)
def test_a_hostile_value_is_refused_or_harmless(text: str) -> None:
    """Of what reaches OAR's SQL and Perl, nothing can end a quote."""
    for argument in ("name", "queue", "account", "log_directory"):
        value = f"/x{text}" if argument == "log_directory" else f"x{text}"
        try:
            script = OAR.render_script(OAR.prepare_job(Job(**{"name": "x", argument: value})))  # type: ignore[arg-type]
        except InvalidRequest:
            continue
        assert not set("'\"\\\n%(){}$;") & set(value)
        assert any(value in word for word in next(OAR.submit(script, 1)).argv)


@settings(deadline=None)
@given(
    nodes=st.integers(1, 2000),
    shares=st.integers(1, 64),
    memory=st.none() | st.integers(1, 2**24),
    gpus=st.integers(0, 8),
    walltime=st.none() | st.integers(1, 400 * 86400),
)
def test_amounts_are_read_back_unchanged(
    nodes: int, shares: int, memory: int | None, gpus: int, walltime: int | None
) -> None:
    """Units, levels and times survive in both directions."""
    cores = shares * max(1, gpus)
    amount = memory and memory * cores * 2**20
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=amount, gpus=gpus), walltime=walltime)
    assert OAR.parse_resources(str(OAR.render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nodes=2/core=4,walltime=1:0:0", Job(resources=Resources(nodes=2, cores=4), walltime=3600)),
        ("-l /nodes=2/core=4", Job(resources=Resources(nodes=2, cores=4))),
        ("-l nodes=2/core=4, walltime = 2", Job(resources=Resources(nodes=2, cores=4), walltime=7200)),
        ("--resource=host=2/core=4,walltime=0:30", Job(resources=Resources(nodes=2, cores=4), walltime=1800)),
        ('-l "core=4,walltime=0:0:90"', Job(resources=Resources(cores=4), walltime=90)),
        ("-l walltime=3", Job(walltime=10_800)),
        ("-l {gpu_model = 'A100'}/nodes=1/core=2", Job(resources=Resources(cores=2), extra_directives=["KEPT"])),
        ("-l /switch=1/nodes=2/cpu=2/core=4", Job(resources=Resources(nodes=2, cores=8), extra_directives=["KEPT"])),
        ("-l /nodes=1/gpu=2/core=3", Job(resources=Resources(cores=6, gpus=2))),
        ("-l /nodes=2", Job(resources=Resources(nodes=2), skip=["cores"])),
        ("-l host=1/core=ALL", Job(skip=["cores"], extra_directives=["KEPT"])),
        ("-q production", Job(queue="production")),
        ("-qproduction\n--project=physics", Job(queue="production", account="physics")),
        ("-n a\n-n b", Job(name="b")),
        ("-p memcore >= 1024", Job(resources=Resources(memory=GIB))),
        ("-p memcore > 1024", Job(extra_directives=["KEPT"])),
        ("-p a=1\n-p b=2", Job(extra_directives=["-p b=2"])),
        ("-O out.%jobid%", Job(extra_directives=["KEPT"])),
        ("--array 10\n-t besteffort\n-t idempotent", Job(extra_directives=["-t besteffort", "-t idempotent"])),
    ],
)
def test_native_requests_are_understood(text: str, expected: Job) -> None:
    """As a script and as the bare lines; what a Job has no word for stays a directive."""
    if expected.extra_directives == ("KEPT",):
        expected = evolve(expected, extra_directives=[text])
    assert OAR.parse_resources(text) == expected
    option_lines = [line if line.startswith("-") else f"-l {line}" for line in text.split("\n")]
    script = "#!/usr/bin/env bash\n" + "".join(f"#OAR {line}\n" for line in option_lines) + "true\n"
    assert OAR.parse_resources(script) == expected


def test_whole_nodes_are_asked_for_as_they_were() -> None:
    """A number of cores would make less of them."""
    read = OAR.parse_resources("-l nodes=2,walltime=1")
    assert argument(read) == "/nodes=2,walltime=01:00:00"


def test_a_script_ends_at_its_first_command() -> None:
    """Its own shebang is kept."""
    text = "#!/bin/sh\n# a job\n##OAR -l core=2\n#OAR -l core=4\n\nmodule load x\n#OAR -l core=8\n"
    assert OAR.parse_resources(text) == Job(shebang="#!/bin/sh", resources=Resources(cores=4))


@pytest.mark.parametrize(
    ("text", "resources", "is_ours"),
    [
        ("-l /nodes=2/cpu=2/core=4", Resources(nodes=2, cores=8), True),
        ("-l /switch=2/nodes=4/core=2", Resources(nodes=8, cores=2), False),
        ("-l nodes=2/gpu=2/core=4", Resources(nodes=2, cores=8, gpus=2), True),
        ("-l core=4", Resources(cores=4), True),
        ("-l nodes=1/core=ALL", Resources(), False),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, is_ours: bool) -> None:
    """Either in our own words, or as it was written."""
    job = OAR.parse_resources(text)
    assert job.resources == resources
    written = lines(OAR.prepare_job(evolve(job, name="x")), OAR)
    assert is_ours or any(request in line for request in (text, text.removeprefix("-l ")) for line in written)
    assert set(job.extra_directives) <= set(written)
    assert OAR.parse_resources("\n".join(written)).resources == resources


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-l /nodes=1/core=4\n-l /nodes=2/core=2", "alternatives"),
        ("-l /nodes=1+/core=2", "one group"),
        ("-l /nodes=BEST/core=1", "not a number of nodes"),
        ("-l /nodes=0", "not a number of resources"),
        ("-l core", "not a number of resources"),
        ("-l core=1,walltime=soon", "one group"),
        ("-l core=1,walltime=1:2:3:4", "not a walltime"),
        ("-- nodes=1", "not one option"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        OAR.parse_resources(text)


def test_options_are_checked_at_once() -> None:
    """A misspelt option of the backend is an error before any job."""
    for options in ({"memory_of": "cpu"}, {"memory_unit": "MB"}, {"max_array_size": 0}):
        with pytest.raises(InvalidRequest, match=next(iter(options))):
            discovery.load("oar", options=options)


def test_many_ids_are_a_short_condition() -> None:
    """A range where it is shorter than its numbers."""
    assert directives.is_one_of([7, 5, 6]) == "job_id IN (5,6,7)"
    assert directives.is_one_of(range(60, 1060)) == "job_id BETWEEN 60 AND 1059"
    assert directives.is_one_of([*range(60, 66), 1, 99]) == "job_id BETWEEN 60 AND 65 OR job_id IN (1,99)"
    assert len(directives.is_one_of(range(10_000_000, 10_020_000, 2))) < 100_000
