"""What ``#BSUB`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_lsf import LSF

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=8, memory=32 * 2**30, gpus=2),
    walltime=90_061,
    queue="gpu",
    account="my project",
    log_directory="/scratch/a b",
    environment={"LC_ALL": "de_DE.UTF-8"},
    extra_directives=("-app dask",),
)


def lines(job: Job, lsf: LSF | None = None) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#BSUB ") for each in (lsf or LSF()).render_script(job).directives]


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script; its output is in the log as it comes, without LSF's report."""
    script = LSF().render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#BSUB -J dask-1\n"
        "#BSUB -q gpu\n"
        '#BSUB -P "my project"\n'
        "#BSUB -n 16\n"
        "#BSUB -M 67108864\n"
        '#BSUB -gpu "num=2"\n'
        '#BSUB -R "span[ptile=8] rusage[mem=32768]"\n'
        "#BSUB -W 1502\n"
        "#BSUB -o /dev/null\n"
        "#BSUB -app dask\n"
        "\n"
        "[ ! -d '/scratch/a b' ] || exec >>'/scratch/a b'/\"$LSB_JOBID.$LSB_JOBINDEX.log\" 2>&1\n"
        "unset LC_ALL LSB_NTRIES LSB_DISPLAY_YEAR\n"
    ) + job_body(JOB, job_id="$LSB_JOBID.$LSB_JOBINDEX", cancelled_by="SIGINT")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/{id}.log")


def test_bad_hosts_are_avoided() -> None:
    """Also beside a condition of the user's own."""
    job = evolve(JOB, resources=Resources(), excluded_hosts=["n1", "n7"], extra_directives=['-R "select[mem>1]"'])
    assert ["-R \"select[(hname!='n1' && hname!='n7') && (mem>1)]\""] == [
        line for line in lines(job) if line.startswith("-R")
    ]


@pytest.mark.parametrize(
    ("users", "one"),
    [
        (["select[avx2]"], "select[avx2] span[ptile=8] rusage[mem=32768]"),
        (["avx2"], "select[avx2] span[ptile=8] rusage[mem=32768]"),
        (["span[hosts=1]"], "span[hosts=1] rusage[mem=32768]"),
        (["rusage[mem=8GB]"], "span[ptile=8] rusage[mem=8GB]"),
        (["rusage[scratch=9]"], "span[ptile=8] rusage[mem=32768,scratch=9]"),
        (["rusage[mem=1:duration=5,scratch=2]"], "span[ptile=8] rusage[mem=1:duration=5,scratch=2]"),
        (["select[avx2] span[ptile=4] rusage[mem=1]"], "select[avx2] span[ptile=4] rusage[mem=1]"),
        (["select[avx2]", "rusage[mem=1]"], "select[avx2] span[ptile=8] rusage[mem=1]"),
        (["{select[a]}||{select[b]}"], "{select[a]}||{select[b]}"),
        (["2*{select[a]}+1*{select[b]}"], "2*{select[a]}+1*{select[b]}"),
    ],
)
def test_there_is_one_requirement(users: list[str], one: str) -> None:
    """bsub takes -R once ("the -R option was used more than once"): what a user says replaces that of ours."""
    job = evolve(JOB, extra_directives=[f'-R "{requirement}"' for requirement in users])
    assert [line for line in lines(job) if line.startswith("-R")] == [f'-R "{one}"']
    read = LSF().parse_resources(str(LSF().render_script(job)))
    assert [line for line in lines(read) if line.startswith("-R")] == [f'-R "{one}"']


@pytest.mark.parametrize(
    ("text", "resources", "left"),
    [
        ("-n 32 -R span[ptile=4]", Resources(nodes=8, cores=4), []),
        ("-n 4 -gpu num=1/task", Resources(cores=4, gpus=4), ["-gpu num=1/task"]),
        ("-n 8 -R span[ptile=4] -gpu num=1/task", Resources(nodes=2, cores=4, gpus=4), ["-gpu num=1/task"]),
        ("-n 4 -gpu num=2/host", Resources(cores=4, gpus=2), ["-gpu num=2/host"]),
        ("-n 4 -R rusage[mem=2GB/task]", Resources(cores=4, memory=2**33), ['-R "rusage[mem=2GB/task]"']),
        ("-n 4 -R rusage[mem=2GB/host]", Resources(cores=4, memory=2**31), ['-R "rusage[mem=2GB/host]"']),
        ("-M 1GB -R rusage[mem=2GB]", Resources(memory=2**31), ['-R "rusage[mem=2GB]"']),
        ("-x", Resources(), ["-x"]),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, left: list[str]) -> None:
    """Whatever a thing is counted by."""
    job = LSF().parse_resources(text)
    assert job.resources == resources
    assert list(job.extra_directives) == left
    assert set(left) <= set(lines(job)) or any("rusage" in line for line in lines(job))


def test_a_limit_that_our_jobs_do_not_say_stays() -> None:
    """Where the site reserves memory and limits none."""
    options: dict[str, Any] = {"memory_options": ["reservation"]}
    job = LSF(**options).parse_resources("-M 4GB")
    assert (job.resources.memory, job.extra_directives) == (2**32, ("-M 4GB",))


def test_what_is_not_asked_for_is_not_said() -> None:
    """One slot is what LSF gives unasked, and mail is what it sends unless told not to."""
    assert lines(Job(name="dask-1")) == ["-J dask-1", "-o /dev/null"]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log whose directive was skipped or replaced."""
    jobs = [
        Job(name="x"),
        Job(name="x", log_directory="/logs", skip=["o"]),
        Job(name="x", log_directory="/logs", extra_directives=["-o /logs/%J"]),
    ]
    for job in jobs:
        script = LSF().render_script(job)
        assert script.log is None
        assert "exec >>" not in script.body


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["-M 33554432", '-R "span[hosts=1] rusage[mem=32768]"']),
        ({"memory_unit": "KB"}, ["-M 33554432", '-R "span[hosts=1] rusage[mem=33554432]"']),
        ({"memory_unit": "GB"}, ["-M 32", '-R "span[hosts=1] rusage[mem=32]"']),
        ({"memory_options": ["limit"]}, ["-M 33554432", '-R "span[hosts=1]"']),
        ({"memory_options": ["reservation"]}, ['-R "span[hosts=1] rusage[mem=32768]"']),
        ({"memory_options": []}, ['-R "span[hosts=1]"']),
        ({"memory_per_slot": True}, ["-M 33554432", '-R "span[hosts=1] rusage[mem=4096]"']),
        (
            {"memory_per_slot": True, "memory_unit": "MB", "memory_options": ["reservation"]},
            ['-R "span[hosts=1] rusage[mem=4096]"'],
        ),
    ],
)
def test_a_site_says_how_memory_is_asked_for(options: dict[str, object], expected: list[str]) -> None:
    """Units, options, and whether it is counted by slot are the site's; the same amount is read back."""
    lsf = LSF(**options)  # type: ignore[arg-type]
    job = Job(name="x", resources=Resources(cores=8, memory=32 * 2**30))
    written = lines(lsf.prepare_job(job), lsf)
    assert expected == [line for line in written if line.startswith(("-M", "-R"))]
    read = lsf.parse_resources(str(lsf.render_script(job)))
    assert read.resources.memory == (None if options.get("memory_options") == [] else 32 * 2**30)


@pytest.mark.parametrize(
    ("options", "memory"),
    [
        ({}, 2**20),
        ({"memory_unit": "KB"}, 2**10),
        ({"memory_unit": "GB"}, 2**30),
        ({"memory_per_slot": True}, 3 * 2**20),
    ],
)
def test_memory_is_rounded_up(options: dict[str, object], memory: int) -> None:
    """One byte is a whole unit, of each slot where they are counted; the workers' limits follow."""
    job = Job(name="x", resources=Resources(cores=3, memory=1))
    assert LSF(**options).prepare_job(job).resources.memory == memory  # type: ignore[arg-type]


def test_a_walltime_is_in_whole_minutes() -> None:
    """-W has no seconds."""
    assert LSF().prepare_job(Job(name="x", walltime=61)).walltime == 120
    assert "-W 2" in lines(Job(name="x", walltime=61))


def test_gpus_can_be_a_resource_of_the_sites() -> None:
    """Before 10.1 LSF had no -gpu."""
    lsf = LSF(gpu_resource="ngpus_excl_p")
    job = Job(name="x", resources=Resources(gpus=2, memory=2**30))
    assert lines(job, lsf)[2] == '-R "rusage[mem=1024,ngpus_excl_p=2]"'
    assert lsf.parse_resources(str(lsf.render_script(job))).resources == job.resources


def test_machines_of_whole_nodes_get_neither_slots_nor_requirements() -> None:
    """LSF with CSM refuses -n and -R."""
    lsf = LSF(nnodes=True)
    job = evolve(JOB, extra_directives=['-alloc_flags "smt4"'])
    assert lines(job, lsf) == [
        "-J dask-1",
        "-q gpu",
        '-P "my project"',
        "-nnodes 2",
        "-W 1502",
        "-o /dev/null",
        '-alloc_flags "smt4"',
    ]
    assert lsf.parse_resources(str(lsf.render_script(job))).resources == Resources(nodes=2)


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("-n 4", {"-n 16"}),
        ("-M 1GB", {"-M 67108864"}),
        ("-W 1:00/host", {"-W 1502"}),
        ('-gpu "num=1:mode=shared"', {'-gpu "num=2"'}),
        ("-q other -P other", {"-q gpu", '-P "my project"'}),
        ("-x", set()),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: set[str]) -> None:
    """Each option that LSF takes once."""
    job = evolve(JOB, extra_directives=[extra])
    assert set(lines(evolve(JOB, extra_directives=[]))) - set(lines(job)) == replaced
    assert lines(job)[-1] == extra


def test_skipping_is_by_whole_names() -> None:
    """Leaving `n` out leaves `nnodes` and `J` alone; a word takes its part of -R."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["name", "r", "num", "app-x"])) == everything
    assert set(everything) - set(lines(evolve(JOB, skip=["n"]))) == {"-n 16"}
    assert '-R "span[ptile=8]"' in lines(evolve(JOB, skip=["memory"]))
    assert '-R "span[hosts=1] rusage[mem=32768]"' in lines(evolve(JOB, skip=["nodes"]))


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="x", resources=Resources(memory=0)), "memory"),
        (Job(name="x", walltime=0), "walltime"),
        (Job(name="a b"), "name"),
        (Job(name="a[1]"), "name"),
        (Job(name="1a"), "name"),
        (Job(name="x", queue=""), "queue"),
        (Job(name="x", queue="#q"), "queue"),
        (Job(name="x", account="a\n#BSUB -n 9"), "account"),
        (Job(name="x", account='it\'s "it"'), "account"),
        (Job(name="x", extra_directives=["#BSUB -x"]), "extra_directives"),
        (Job(name="x", extra_directives=['-Jd "no end']), "extra_directives"),
        (Job(name="x", extra_directives=["-x\n-n 9"]), "extra_directives"),
        (Job(name="x", extra_directives=["-sp"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
    ],
)
def test_what_lsf_would_misread_is_refused(job: Job, argument: str) -> None:
    """A word that bsub cannot read back, a name that is no array's; the error names the argument."""
    with pytest.raises(InvalidRequest) as caught:
        LSF().render_script(LSF().prepare_job(job))
    assert caught.value.argument == argument


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="'"), min_size=1)
TEXTS |= st.text("ab \t#'\\$%`!;|&=[]", min_size=1)
TEXTS = TEXTS.filter(lambda text: not text.startswith("#"))
PATHS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(lambda text: f"/{text}")


@settings(deadline=None)
@given(queue=TEXTS, account=TEXTS, log_directory=PATHS)
@example(queue="'#", account='"#', log_directory="/")
def test_hostile_values_are_read_back_unchanged(queue: str, account: str, log_directory: str) -> None:
    """Quotes of one kind, `#`, backslashes and tabs are data; in a path, everything is."""
    job = Job(name="x", queue=queue, account=account, log_directory=log_directory)
    read = LSF().parse_resources(str(LSF().render_script(job)))
    assert (read.queue, read.account) == (queue, account)
    assert read.log_directory == log_directory


@settings(deadline=None)
@given(
    nodes=st.integers(1, 2000),
    cores=st.integers(1, 512),
    memory=st.none() | st.integers(1, 2**24).map(lambda mebi: mebi * 2**20),
    gpus=st.integers(0, 8),
    walltime=st.none() | st.integers(1, 400 * 1440).map(lambda minutes: minutes * 60),
)
def test_amounts_are_read_back_unchanged(
    nodes: int, cores: int, memory: int | None, gpus: int, walltime: int | None
) -> None:
    """In both directions."""
    job = Job(resources=Resources(nodes=nodes, cores=cores, memory=memory, gpus=gpus), walltime=walltime)
    assert LSF().parse_resources(str(LSF().render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-q short", Job(queue="short")),
        ("-P 'my project' -J dask[1-9]%3", Job(name="dask", account="my project")),
        ("-n 4", Job(resources=Resources(cores=4))),
        ("-n4 -W10", Job(resources=Resources(cores=4), walltime=600)),
        ("-n 2,8", Job(resources=Resources(cores=2))),
        ('-n 8 -R "span[ptile=4]"', Job(resources=Resources(nodes=2, cores=4))),
        ("-n 9 -R span[ptile=4]", Job(resources=Resources(nodes=3, cores=4))),
        ("-M 4000000", Job(resources=Resources(memory=4_096_000_000))),
        ("-M 4GB!", Job(resources=Resources(memory=2**32))),
        ('-R "rusage[mem=500]"', Job(resources=Resources(memory=500 * 2**20))),
        (
            '-R "select[avx2] rusage[ngpus=1,mem=2GB]"',
            Job(resources=Resources(memory=2**31), extra_directives=['-R "select[avx2] rusage[ngpus=1,mem=2GB]"']),
        ),
        ("-gpu num=2", Job(resources=Resources(gpus=2))),
        (
            '-gpu "num=2:mode=shared"',
            Job(resources=Resources(gpus=2), extra_directives=["-gpu num=2:mode=shared"]),
        ),
        ("-W 1:30", Job(walltime=5400)),
        ("-W 90/IntelI5", Job(walltime=5400)),
        ("-o out.%J -x", Job(extra_directives=["-x", "-o out.%J"])),
        ("-app dask # why", Job(extra_directives=["-app dask # why"])),
    ],
)
def test_requests_that_people_write(text: str, expected: Job) -> None:
    """In the words and units of bsub(1); what a Job cannot say stays as it was written."""
    assert LSF().parse_resources(text) == expected


def test_lines_are_read_wherever_they_stand() -> None:
    """bsub does not stop at the first command, as others do."""
    text = "#!/bin/sh\n# a job\n # BSUB -n 4\nmodule load x\n#BSUB -q late\n"
    assert LSF().parse_resources(text) == Job(shebang="#!/bin/sh", queue="late", resources=Resources(cores=4))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-n 0", "a slot at least"),
        ("-nnodes 3", "'nnodes': True"),
        ("-n 8 -R \"span[ptile='!']\"", "not a number of slots"),
        ("-n many", "invalid literal"),
        ("-W soon", "not a time"),
        ("-M much", "not an amount"),
        ("-Jd 'no end", "quote has no end"),
        ("-q", "no value"),
        ("bsub -n 2", "not an option"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        LSF().parse_resources(text)


@pytest.mark.parametrize(
    "options",
    [
        {"memory_unit": "bytes"},
        {"memory_options": ["soft"]},
        {"launcher": "ssh"},
        {"job_table": "json"},
        {"max_array_size": 0},
    ],
)
def test_options_are_checked_at_once(options: dict[str, object]) -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match=next(iter(options))):
        discovery.load("lsf", options=options)


def test_without_arrays_a_job_is_called_by_its_number() -> None:
    """Its log too; nothing else of the script differs."""
    job = Job(name="x", command=["true"], log_directory="/logs")
    script = LSF(arrays=False).render_script(job)
    assert 'exec >>/logs/"$LSB_JOBID.log"' in script.body
    assert 'CORRAL_JOB_ID="$LSB_JOBID"' in script.body
    assert str(script) == str(LSF().render_script(job)).replace(".$LSB_JOBINDEX", "")
    assert LSF().parse_resources(str(script)).log_directory == "/logs"
