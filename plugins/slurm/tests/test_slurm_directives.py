"""What ``#SBATCH`` lines a request becomes, and what request they are read as."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_slurm import Slurm, directives

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(nodes=2, processes=4, cores=8, memory=32 * 10**9, gpus=2),
    walltime=90_061,
    queue="gpu,long",
    account="physics",
    log_directory="/scratch/a b/100%",
    environment={"LC_ALL": "de_DE.UTF-8"},
    extra_directives=("--qos=high",),
)


def lines(job: Job, slurm: Slurm | None = None) -> list[str]:
    """The header of a job's script, without its prefix."""
    return [each.text.removeprefix("#SBATCH ") for each in (slurm or Slurm()).render_script(job).directives]


def test_a_script_is_what_a_person_would_submit() -> None:
    """All that a request can say, in one script."""
    script = Slurm().render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "#SBATCH --job-name=dask-1\n"
        "#SBATCH --partition=gpu,long\n"
        "#SBATCH --account=physics\n"
        "#SBATCH --nodes=2\n"
        "#SBATCH --no-kill\n"
        "#SBATCH --ntasks-per-node=1\n"
        "#SBATCH --cpus-per-task=8\n"
        "#SBATCH --mem=30518M\n"
        "#SBATCH --gres=gpu:2\n"
        "#SBATCH --time=1-01:01:01\n"
        "#SBATCH --signal=B:TERM@0\n"
        '#SBATCH --output="/scratch/a b/100%%/%A_%a.log"\n'
        "#SBATCH --export=ALL\n"
        "#SBATCH --no-requeue\n"
        "#SBATCH --qos=high\n"
        "\n"
        "# --export=ALL passes on what sbatch sees, and corral lets it see PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ\n"
        "# and how to reach Slurm, nothing else of your environment. If you submit this yourself, it passes on all of "
        "yours.\n"
        "unset LC_ALL SLURM_JWT\n"
    ) + job_body(JOB, job_id="${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/100%/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The site's defaults hold for memory, walltime, queue and account."""
    assert lines(Job(name="dask-1")) == [
        "--job-name=dask-1",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
        "--signal=B:TERM@0",
        "--output=/dev/null",
        "--export=ALL",
        "--no-requeue",
    ]


def test_output_that_is_discarded_is_no_log() -> None:
    """Neither is a log whose directive was skipped or replaced."""
    assert Slurm().render_script(Job(name="x")).log is None
    assert Slurm().render_script(Job(name="x", log_directory="/logs", skip=["output"])).log is None
    assert Slurm().render_script(Job(name="x", log_directory="/logs", extra_directives=["-o /dev/null"])).log is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gpu_type": "a100"}, "--gres=gpu:a100:2"),
        ({"gpu_option": "gpus-per-node"}, "--gpus-per-node=2"),
        ({"gpu_option": "gpus-per-node", "gpu_type": "a100"}, "--gpus-per-node=a100:2"),
        ({"requeue": True}, "--open-mode=append"),
        ({"signal": "B:USR1@300"}, "--signal=B:USR1@300"),
        ({"signal": None}, "--no-requeue"),
    ],
)
def test_a_site_says_how_to_ask(options: dict[str, object], expected: str) -> None:
    """Sites differ in how GPUs, requeueing and warnings are asked for; what was written is read back."""
    slurm = Slurm(**options)  # type: ignore[arg-type]
    assert expected in lines(JOB, slurm)
    assert slurm.parse_resources(str(slurm.render_script(JOB))).resources.gpus == 2
    assert slurm.parse_resources(str(slurm.render_script(JOB))).extra_directives == ("--qos=high",)


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("--mem-per-cpu=2G", "--mem=30518M"),
        ("--mem=0", "--mem=30518M"),
        ("-G 4", "--gres=gpu:2"),
        ("--gres=gpu:a100:2,tmp:5", "--gres=gpu:2"),
        ("-n4", "--ntasks-per-node=1"),
        ("-c 16", "--cpus-per-task=8"),
        ("--time=UNLIMITED", "--time=1-01:01:01"),
        ("--requeue", "--no-requeue"),
        ("--export=NONE", "--export=ALL"),
        ("-J other --partition other", "--job-name=dask-1"),
        ("--mem-per-c=2G", "--mem=30518M"),
        ("--requ", "--no-requeue"),
        ("--gpus-per-n 4", "--gres=gpu:2"),
        ("--tasks 4", "--ntasks-per-node=1"),
    ],
)
def test_a_users_directive_replaces_ours(extra: str, replaced: str) -> None:
    """Slurm refuses --mem beside --mem-per-cpu: the user's own wins."""
    job = evolve(JOB, extra_directives=[extra])
    assert replaced in lines(evolve(JOB, extra_directives=[]))
    assert replaced not in lines(job)
    assert lines(job)[-1] == extra


def test_other_generic_resources_stand_beside_gpus() -> None:
    """Slurm takes the last --gres only, but --gpus-per-node beside it."""
    job = evolve(JOB, extra_directives=["--gres=tmp:5"])
    assert "--gpus-per-node=2" in lines(job, Slurm(gpu_option="gpus-per-node"))


def test_bad_hosts_are_avoided() -> None:
    """Unless the user has a list of their own."""
    job = evolve(JOB, excluded_hosts=["n1", "n7"])
    assert "#SBATCH --exclude=n1,n7\n" in str(Slurm().render_script(job))
    own = evolve(job, extra_directives=["-x n3"])
    assert "n7" not in str(Slurm().render_script(own))


def test_skipping_is_by_whole_names() -> None:
    """Leaving `time` out leaves `ntasks-per-node` alone, and a user's own directive too."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["n", "t", "time-min", "gpus-per-nod"])) == everything
    assert set(everything) - set(lines(evolve(JOB, skip=["time"]))) == {"--time=1-01:01:01"}
    assert set(everything) - set(lines(evolve(JOB, skip=["cores", "gpus"]))) == {"--cpus-per-task=8", "--gres=gpu:2"}
    assert "--mem=0" in lines(evolve(JOB, skip=["mem"], extra_directives=["--mem=0"]))


def test_what_is_skipped_may_be_written_as_an_option() -> None:
    """With its dashes, long or short; a job says by the node how many tasks it has."""
    everything = set(lines(JOB))
    for name, option in (("-t", "--time=1-01:01:01"), ("--time", "--time=1-01:01:01"), ("-c", "--cpus-per-task=8")):
        assert everything - set(lines(evolve(JOB, skip=[name]))) == {option}
    for name in ("-n", "--ntasks", "--ntasks-per-node", "--tasks-per-node"):
        assert everything - set(lines(evolve(JOB, skip=[name]))) == {"--ntasks-per-node=1"}
    for name in ("-", "--", "-7", "--nothing"):
        assert everything == set(lines(evolve(JOB, skip=[name])))


def test_memory_is_rounded_up() -> None:
    """One byte more than a MiB is two MiB, before the workers' limits are taken from it."""
    job = Job(name="x", resources=Resources(memory=2**20 + 1))
    assert Slurm().prepare_job(job).resources.memory == 2**21
    assert "--mem=2M" in lines(job)


@pytest.mark.parametrize(
    ("job", "argument"),
    [
        (Job(name="x", resources=Resources(memory=0)), "memory"),
        (Job(name="x", walltime=0), "walltime"),
        (Job(name="a\nb"), "name"),
        (Job(name="a,b"), "name"),
        (Job(name="x", queue=""), "queue"),
        (Job(name="x", account="a\n#SBATCH --mem=0"), "account"),
        (Job(name="x", log_directory="/back\\slash"), "log_directory"),
        (Job(name="x", extra_directives=["#SBATCH --qos=high"]), "extra_directives"),
        (Job(name="x", extra_directives=["--comment='no end"]), "extra_directives"),
        (Job(name="x", extra_directives=["--qos=a\n--mem=0"]), "extra_directives"),
        (Job(name="x", extra_directives=[""]), "extra_directives"),
        (Job(name="x", resources=Resources(gpus=1), extra_directives=["--gres=tmp:5"]), "extra_directives"),
    ],
)
def test_what_slurm_would_misread_is_refused(job: Job, argument: str) -> None:
    """0 means no limit to Slurm, a line break another directive; the error names the argument."""
    slurm = Slurm()
    with pytest.raises(InvalidRequest) as caught:
        slurm.render_script(slurm.prepare_job(job))
    assert caught.value.argument == argument


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n"), min_size=1) | st.text(
    "ab \t#\"'\\$%`!;|&", min_size=1
)
PATHS = TEXTS.map(lambda text: "/" + text.replace("\\", ""))


@settings(deadline=None)
@given(name=TEXTS, queue=TEXTS, account=TEXTS, log_directory=PATHS, comment=TEXTS)
def test_hostile_values_are_read_back_unchanged(
    name: str, queue: str, account: str, log_directory: str, comment: str
) -> None:
    """Quotes, `#`, `%`, backslashes and tabs are data."""
    job = Job(
        name=name,
        queue=queue,
        account=account,
        log_directory=log_directory,
        extra_directives=[directives.written("comment", comment)],
    )
    assert Slurm().parse_resources(str(Slurm().render_script(job))) == job


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
    assert Slurm().parse_resources(str(Slurm().render_script(job))) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-p short", Job(queue="short")),
        ("-pshort -A physics", Job(queue="short", account="physics")),
        ("--partition short\n--account='my group'", Job(queue="short", account="my group")),
        ("-c 4 --ntasks-per-node=2 -N 3", Job(resources=Resources(nodes=3, cores=8))),
        ("-N2 -n 8 -c2", Job(resources=Resources(nodes=2, cores=8))),
        ("-n 5 -N 2-2", Job(resources=Resources(nodes=2, cores=3))),
        ("--mem=4000", Job(resources=Resources(memory=4000 * 2**20))),
        ("--mem=4G", Job(resources=Resources(memory=2**32))),
        ("--mem=512KB", Job(resources=Resources(memory=2**19))),
        ("--mem=1T", Job(resources=Resources(memory=2**40))),
        ("--gres=gpu", Job(resources=Resources(gpus=1), extra_directives=["--gres=gpu"])),
        ("--gres=gpu:4", Job(resources=Resources(gpus=4))),
        ("--gres=gpu:a100:4", Job(resources=Resources(gpus=4), extra_directives=["--gres=gpu:a100:4"])),
        ("--gpus-per-node=v100:2", Job(resources=Resources(gpus=2), extra_directives=["--gpus-per-node=v100:2"])),
        ("-G 4 -N 2", Job(resources=Resources(nodes=2, gpus=2), extra_directives=["--gpus=4"])),
        ("--gres=tmp:5", Job(extra_directives=["--gres=tmp:5"])),
        ("-t 30", Job(walltime=1800)),
        ("-t 30:20", Job(walltime=1820)),
        ("-t 1:30:20", Job(walltime=5420)),
        ("-t 2-6", Job(walltime=194_400)),
        ("-t 2-6:30", Job(walltime=196_200)),
        ("-t 2-6:30:15", Job(walltime=196_215)),
        ("-t UNLIMITED", Job(extra_directives=["--time=UNLIMITED"])),
        ("--mem=0", Job(extra_directives=["--mem=0"])),
        (
            "--mem-per-cpu=2G -c 4",
            Job(resources=Resources(cores=4, memory=2**33), extra_directives=["--mem-per-cpu=2G"]),
        ),
        (
            "--exclusive --constraint=haswell",
            Job(extra_directives=["--exclusive --constraint=haswell"], skip={"cores"}),
        ),
        ("-C haswell -t 30 -H", Job(walltime=1800, extra_directives=["-C haswell", "-H"])),
        ("--array=0-9 -o slurm-%j.out", Job(extra_directives=["--output=slurm-%j.out"])),
        ("-t 30 # half an hour", Job(walltime=1800)),
        ("--time=10 --time=20", Job(walltime=1200)),
    ],
)
def test_native_requests_are_understood(text: str, expected: Job) -> None:
    """Every form in which people ask Slurm for something; what a Job has no word for stays a directive."""
    assert Slurm().parse_resources(text) == expected
    assert Slurm().parse_resources(f"#!/usr/bin/env bash\n#SBATCH {text.replace(chr(10), ' ')}\ntrue\n") == expected


@pytest.mark.parametrize(
    ("text", "resources", "left"),
    [
        ("-n 32 --ntasks-per-node=4", Resources(nodes=8, cores=4), ()),
        ("-n 32 --tasks-per-node=4 -c 2", Resources(nodes=8, cores=8), ()),
        ("-n 33 --ntasks-per-node=4", Resources(nodes=9, cores=4), ()),
        ("-N 2 -n 5 --ntasks-per-node=4", Resources(nodes=2, cores=3), ()),
        ("-N 2 --ntasks-per-node=4", Resources(nodes=2, cores=4), ()),
        ("--tasks-per-node 4", Resources(cores=4), ()),
        ("-n 4 --gpus-per-task=1", Resources(cores=4, gpus=4), ("--gpus-per-node=4",)),
        ("-n 8 -N 2 -c 3 --gpus-per-task=a100:1", Resources(nodes=2, cores=12, gpus=4), ("--gpus-per-node=a100:4",)),
        ("-n 8 --ntasks-per-node=4 --gpus-per-task=1", Resources(nodes=2, cores=4, gpus=4), ("--gpus-per-node=4",)),
        ("--gpus-per-task=2", Resources(gpus=2), ("--gpus-per-node=2",)),
        ("-G 4 --ntasks-per-gpu=2 -c 3", Resources(cores=24, gpus=4), ("--gpus=4",)),
        ("-n 8 --ntasks-per-gpu=2", Resources(cores=8, gpus=4), ()),
        ("--gpus-per-node=2 --cpus-per-gpu=8", Resources(cores=16, gpus=2), ("--gpus-per-node=2",)),
        ("--gres=gpu:2 --mem-per-gpu=40G", Resources(gpus=2, memory=80 * 2**30), ("--mem-per-gpu=40G",)),
        (
            "-N 2 -G 4 --mem-per-gpu=40G",
            Resources(nodes=2, gpus=2, memory=80 * 2**30),
            ("--gpus=4", "--mem-per-gpu=40G"),
        ),
        ("--sockets-per-node=2 --gpus-per-socket=2", Resources(gpus=4), ("--sockets-per-node=2", "--gpus-per-node=4")),
        ("--sockets-per-node=2 --ntasks-per-socket=8", Resources(cores=16), ("--sockets-per-node=2",)),
        ("-n 16 --ntasks-per-socket=8", Resources(cores=16), ()),
        ("-c 4 --mincpus=16", Resources(cores=16), ()),
        ("-n 4 --mem-per-cpu=2G -c 2", Resources(cores=8, memory=2**34), ("--mem-per-cpu=2G",)),
        ("--nodelist=n[1-3],g1", Resources(nodes=4), ("--nodelist=n[1-3],g1",)),
        ("-N 2 --exclusive", Resources(nodes=2), ("--exclusive",)),
        ("--nodes=2 --exclus", Resources(nodes=2), ("--exclus",)),
        ("-n4 --cpus-per-t=2 --mem-per-c=2G", Resources(cores=8, memory=2**34), ("--mem-per-cpu=2G",)),
        ("-n 8 --exclusive=user", Resources(cores=8), ("--exclusive=user",)),
    ],
)
def test_never_less_is_asked_for_than_the_script_did(text: str, resources: Resources, left: tuple[str, ...]) -> None:
    """Whatever is counted by task, GPU or socket is counted by node here, where each has one task."""
    job = Slurm().parse_resources(text)
    assert job.resources == resources
    assert {*job.extra_directives} - {*left} == {*left} - {*job.extra_directives}
    script = str(Slurm().render_script(job))
    assert f"--nodes={resources.nodes}\n" in script
    if resources.cores > 1:
        assert f"--cpus-per-task={resources.cores}\n" in script
    if resources.gpus and not left:
        assert f"--gres=gpu:{resources.gpus}\n" in script
    if "--exclusive" in left:
        assert "--cpus-per-task" not in script  # all of them
    assert "--ntasks-per-gpu" not in script
    assert "--gpus-per-task" not in script


def test_a_script_ends_at_its_first_command() -> None:
    """sbatch reads no directive after it, and none behind a second `#`."""
    text = "#!/bin/sh\n# a job\n##SBATCH -c 2\n#SBATCH -c 4\n\nmodule load x\n#SBATCH -c 8\n"
    assert Slurm().parse_resources(text) == Job(shebang="#!/bin/sh", resources=Resources(cores=4))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("#!/bin/sh\n#SBATCH -c 4\n#SBATCH hetjob\n#SBATCH -c 1\n", "heterogeneous"),
        ("--nodes=2-4", "one number"),
        ("--nodes=0", "one number"),
        ("--time=soon", "not a time"),
        ("--mem=much", "not an amount"),
        ("--comment='no end", "no end"),
        ("salloc -N 2", "not an sbatch option"),
        ("--gpus-per-socket=2", "--sockets-per-node"),
        ("-n 4 --tres-per-task=cpu:2,gres/gpu:1", "counts by task"),
        ("--ntasks-per-socket=4", "--sockets-per-node"),
        ("--cpus-per-gpu=4", "without a number of GPUs"),
        ("--mem-per-gpu=4G", "without a number of GPUs"),
        ("-N 2 -n 32 --ntasks-per-node=4", "32 tasks are more than 4 on each of 2"),
        ("-n 4-8", "--ntasks=4-8 is not one number"),
        ("-c four", "--cpus-per-task=four is not one number"),
        ("--mem-per=4G", "--mem-per may mean --mem-per-cpu, --mem-per-gpu: write it out"),
    ],
)
def test_what_is_no_job_is_a_parse_error(text: str, problem: str) -> None:
    """Rather than a request for something else."""
    with pytest.raises(ParseError, match=problem):
        Slurm().parse_resources(text)


def test_options_are_checked_at_once() -> None:
    """A misspelt option of the backend is an error before any job."""
    with pytest.raises(InvalidRequest, match="gpu_option"):
        discovery.load("slurm", options={"gpu_option": "gpus"})
    with pytest.raises(InvalidRequest, match="max_array_size"):
        discovery.load("slurm", options={"max_array_size": 0})
