"""What submit description a request becomes, and what request a description is read as."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from corral.plugin import InvalidRequest, Job, ParseError, Resources, discovery, job_body
from corral_htcondor import HTCondor, description

MEBI = 2**20

JOB = Job(
    name="dask-1",
    command=("python", "-m", "corral.launch"),
    resources=Resources(processes=4, cores=8, memory=32 * 10**9, gpus=2),
    walltime=5400,
    queue="longlunch",
    account="physics.dask",
    log_directory="/scratch/a b/$100%",
    environment={"GREETING": "it's $HOME"},
    extra_directives=('+ProjectName = "dask"',),
)
CONDOR = HTCondor(queue_attribute="JobFlavour")


def lines(job: Job, condor: HTCondor = CONDOR) -> list[str]:
    """The statements of a job's script."""
    return [each.text for each in condor.render_script(job).directives]


def arguments(text: str) -> list[str]:
    """A description's arguments, as HTCondor takes them apart."""
    [line] = [line for line in text.splitlines() if line.startswith("arguments")]
    quoted = line.removeprefix('arguments = "').removesuffix('"').replace('""', '"')
    return [word.replace("''", "'") for word in re.findall(r"'((?:[^']|'')*)'", quoted)]


# --- render -----------------------------------------------------------------------------------------------------


def test_a_script_says_all_of_a_request() -> None:
    """The description, and the script that will travel in it."""
    script = CONDOR.render_script(JOB)
    assert str(script) == (
        "#!/usr/bin/env bash\n"
        "universe = vanilla\n"
        "batch_name = dask-1\n"
        "description = dask-1\n"
        "accounting_group = physics.dask\n"
        '+JobFlavour = "longlunch"\n'
        "request_cpus = 8\n"
        "request_memory = 30518M\n"
        "request_disk = 30518M\n"
        "request_gpus = 2\n"
        "allowed_job_duration = 5400\n"
        "job_max_vacate_time = 60\n"
        "output = /scratch/a b/$(DOLLAR)100%/$(ClusterId).$(ProcId).log\n"
        "error = /scratch/a b/$(DOLLAR)100%/$(ClusterId).$(ProcId).log\n"
        "should_transfer_files = NO\n"
        "getenv = PATH, HOME, USER, LOGNAME, SHELL, LANG, TZ\n"
        'environment = "CORRAL_JOB_ID=$(ClusterId).$(ProcId)"\n'
        "periodic_remove = JobStatus == 5 && HoldReasonCode =!= 1 && HoldReasonCode =!= 15\n"
        '+ProjectName = "dask"\n'
        "\n"
        "# What runs on the machine; corral hands it over as an argument:\n"
    ) + job_body(JOB, job_id="${CORRAL_JOB_ID}")
    assert (script.name, script.log) == ("dask-1", "/scratch/a b/$100%/{id}.log")


def test_what_is_not_asked_for_is_not_said() -> None:
    """The pool's defaults hold for memory, disk and walltime; output is discarded."""
    script = HTCondor().render_script(Job(name="dask-1"))
    assert [each.name for each in script.directives] == [
        "universe",
        "batch_name",
        "description",
        "request_cpus",
        "job_max_vacate_time",
        "should_transfer_files",
        "getenv",
        "environment",
        "periodic_remove",
    ]
    assert script.log is None


def test_the_initial_directory_is_a_folder_of_corral_s_own() -> None:
    """HTCondor renames a core that it finds there, and may hide what is below /tmp; the script changes its folder."""
    script = CONDOR.render_script(evolve(JOB, directory="/home/me/project", own_directory="/state/corral/$1"))
    assert "initialdir = /state/corral/$(DOLLAR)1" in [each.text for each in script.directives]
    assert "cd /home/me/project" in script.body
    assert CONDOR.parse_resources(str(script)) == CONDOR.parse_resources(str(CONDOR.render_script(JOB)))


@pytest.mark.parametrize("key", ["initialdir", "initial_dir", "InitialDir", "job_iwd"])
def test_nobody_else_says_the_initial_directory(key: str) -> None:
    """It is refused with the cure, and of a description of one's own it is no request."""
    with pytest.raises(InvalidRequest, match=r"extra_directives: .*prologue=\['cd …'\]"):
        CONDOR.render_script(evolve(JOB, extra_directives=[f"{key} = /home/me"]))
    assert not CONDOR.parse_resources(f"request_cpus = 2\n{key} = /home/me\n").extra_directives


def test_a_description_carries_the_script_in_its_arguments() -> None:
    """No file has to outlive the submission; here-documents would not survive in arguments, base64 does."""
    job = evolve(JOB, prologue=['cat <<EOF\nit\'s a "here" $(document)\nEOF'])
    script = CONDOR.render_script(job)
    text = description.complete(script, 50)
    assert text.endswith("\nqueue 50\n")
    assert "\nexecutable = /usr/bin/env\ntransfer_executable = False\n" in text
    shell, option, carried = arguments(text)
    assert (shell, option) == ("bash", "-c")
    code = re.search(r"echo (\S+) \| base64 -d", carried)
    assert code is not None
    assert base64.b64decode(code[1]).decode() == script.body


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_what_travels_in_arguments_arrives(word: str) -> None:
    """Whatever the script says: the shell that is started runs just that."""
    script = CONDOR.render_script(evolve(JOB, command=["printf", "%s", word]))
    said = subprocess.run(
        ["/usr/bin/env", *arguments(description.complete(script, 1))],
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert said.stdout.decode() == word


def test_the_shebang_is_the_executable() -> None:
    """With its option, as the kernel would pass it."""
    text = description.complete(CONDOR.render_script(evolve(JOB, shebang="#!/bin/bash -l")), 1)
    assert "\nexecutable = /bin/bash\n" in text
    assert arguments(text)[:2] == ["-l", "-c"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"disk": "20GB"}, "request_disk = 19074M"),
        ({"disk": 2**30}, "request_disk = 1024M"),
        ({"walltime_attribute": "MaxRuntime"}, "+MaxRuntime = 5400"),
        ({"queue_attribute": "flavour"}, '+flavour = "longlunch"'),
    ],
)
def test_a_site_says_how_to_ask(options: dict[str, object], expected: str) -> None:
    """Sites differ in scratch space, and in attributes of their own; what was written is read back."""
    hook = discovery.load("htcondor", options={"queue_attribute": "JobFlavour", **options}).hook
    script = hook.render_script(job=JOB)
    assert expected in [each.text for each in script.directives]
    read = hook.parse_resources(text=str(script))
    assert (read.walltime, read.queue, read.extra_directives) == (5400, "longlunch", JOB.extra_directives)


@pytest.mark.parametrize("attribute", ["queue_attribute", "walltime_attribute"])
def test_an_attribute_is_a_word(attribute: str) -> None:
    """An option cannot become a statement of its own."""
    with pytest.raises(InvalidRequest, match=attribute):
        discovery.load("htcondor", options={attribute: "x = 1\nqueue"})


def test_hosts_on_which_jobs_die_are_avoided() -> None:
    """By name, as machines say it; condor_submit adds its own conditions."""
    job = evolve(JOB, excluded_hosts=["n1.farm", "n2.farm"])
    assert 'requirements = TARGET.Machine != "n1.farm" && TARGET.Machine != "n2.farm"' in lines(job)


@pytest.mark.parametrize(
    ("extra", "replaced"),
    [
        ("request_memory = 2G", "request_memory = 30518M"),
        ("RequestMemory=2G", "request_memory = 30518M"),
        ("REQUEST_DISK = 1G", "request_disk = 30518M"),
        ("universe = container", "universe = vanilla"),
        ("Periodic_Remove = False", "periodic_remove = JobStatus == 5"),
        ("getenv = True", "getenv = PATH"),
        ('MY.JobFlavour = "tomorrow"', None),
        ("stdout = /dev/null", "output = "),
    ],
)
def test_a_users_statement_replaces_ours(extra: str, replaced: str | None) -> None:
    """In whatever spelling: the last one would count anyhow, and nobody reads two of a kind."""
    job = evolve(JOB, extra_directives=[extra])
    assert lines(job)[-1] == extra
    if replaced is not None:
        assert any(line.startswith(replaced) for line in lines(JOB))
        assert not any(line.startswith(replaced) for line in lines(job)[:-1])


def test_output_that_is_replaced_is_no_log() -> None:
    """Nor one that is skipped."""
    assert CONDOR.render_script(evolve(JOB, extra_directives=["output = /dev/null"])).log is None
    assert CONDOR.render_script(evolve(JOB, skip=["output"])).log is None


def test_skipping_is_by_whole_names() -> None:
    """Words leave out what they mean, and the scratch space that was only guessed from the memory."""
    everything = lines(JOB)
    assert lines(evolve(JOB, skip=["request", "nodes", "output_", "mem"])) == everything
    assert set(everything) - set(lines(evolve(JOB, skip=["memory"]))) == {
        "request_memory = 30518M",
        "request_disk = 30518M",
    }
    assert "request_disk = 1M" in lines(evolve(JOB, skip=["memory"]), evolve(CONDOR, disk=1))
    condor = evolve(CONDOR, walltime_attribute="MaxRuntime")
    assert not [line for line in lines(evolve(JOB, skip=["walltime"]), condor) if "5400" in line]


# --- prepare ----------------------------------------------------------------------------------------------------


def test_memory_is_rounded_up() -> None:
    """One byte more than a MiB is two MiB, before the workers' limits are taken from it."""
    assert CONDOR.prepare_job(evolve(JOB, resources=Resources(memory=MEBI + 1))).resources.memory == 2 * MEBI


@pytest.mark.parametrize(
    ("changes", "argument", "words"),
    [
        ({"resources": Resources(nodes=2)}, "nodes", "one machine"),
        ({"resources": Resources(memory=0)}, "memory", "some"),
        ({"walltime": 0}, "walltime", "some"),
        ({"name": 'x" || true || "'}, "name", "word"),
        ({"account": "phy sics"}, "account", "word"),
        ({"queue": 'x"\nqueue 1000'}, "queue", "word"),
        ({"shebang": "python"}, "shebang", "path"),
        ({"shebang": "#!/bin/bash\nqueue"}, "shebang", "path"),
    ],
)
def test_what_htcondor_cannot_do_is_refused(changes: dict[str, Any], argument: str, words: str) -> None:
    """With the argument's name and the cure."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        CONDOR.prepare_job(evolve(JOB, **changes))
    assert caught.value.argument == argument


def test_a_queue_needs_an_attribute_and_the_error_names_the_option() -> None:
    """HTCondor has no queues; some sites' jobs have."""
    with pytest.raises(InvalidRequest, match="queue_attribute"):
        HTCondor().prepare_job(JOB)


@pytest.mark.parametrize("directory", ["/logs\nqueue 9", "/logs/$$(Memory)", "/logs\\\n", "/logs\tx", " /logs"])
def test_a_log_directory_that_no_description_can_say_is_refused(directory: str) -> None:
    """``$$`` is expanded on the machine, whatever stands before it."""
    with pytest.raises(InvalidRequest, match="log_directory"):
        CONDOR.render_script(evolve(JOB, log_directory=directory))


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "queue 5",
        "Queue",
        "request_disk",
        "--gpus=2",
        "rank = x\nqueue 10",
        "rank = x \\",
        "executable = /bin/true",
        "Arguments = x",
        "env = A=1",
        "environment = A=1",
        "max_materialize = 10",
        "max_idle = 10",
    ],
)
def test_an_extra_statement_that_would_break_the_description_is_refused(extra: str) -> None:
    """Also late materialisation: jobs that are not there yet would be taken for lost."""
    with pytest.raises(InvalidRequest, match="extra_directives"):
        CONDOR.render_script(evolve(JOB, extra_directives=[extra]))


# --- parse ------------------------------------------------------------------------------------------------------


def test_a_description_of_ones_own_is_read() -> None:
    """Keys in any case, units, comments, continued lines, attributes; what corral has no word for is kept."""
    job = CONDOR.parse_resources(
        "# my analysis\n"
        "Executable   = analyse.sh\n"
        "arguments    = $(Process)\n"
        "Request_CPUs = 4\n"
        "RequestMemory = 4GB\n"
        "request_disk = 20 GB\n"
        "batch_name = analysis\n"
        'MY.jobflavour = "workday"\n'
        "accounting_group = physics\n"
        "allowed_job_duration = 7200\n"
        "\n"
        "output = out/job.$(Process)\n"
        "requirements = (OpSysAndVer == \\\n"
        '   "AlmaLinux9")\n'
        "queue 10\n"
    )
    assert job == Job(
        name="analysis",
        queue="workday",
        account="physics",
        resources=Resources(cores=4, memory=4 * 2**30),
        walltime=7200,
        extra_directives=(
            "request_disk = 20 GB",
            "output = out/job.$(Process)",
            'requirements = (OpSysAndVer ==    "AlmaLinux9")',
        ),
    )


@pytest.mark.parametrize(
    ("text", "resources"),
    [
        (
            "mem = 4GB\ncpus = 8\nrequest_memory = $(mem)\nrequest_cpus = $(Cpus)\nqueue",
            Resources(cores=8, memory=2**32),
        ),
        ("request_memory = $(mem:2G)\nrequest_gpus = 2", Resources(memory=2**31, gpus=2)),
        ("a = $(b)\nb = 3\nRequestCpus=$(a)\nn = 4\nqueue $(n)", Resources(cores=3)),
        ("request_cpus = 2\nrequest_cpus = 4", Resources(cores=4)),
        ("universe = vanilla\nmachine_count = 1\nrequest_memory = 0.5 GB", Resources(memory=2**29)),
    ],
)
def test_never_less_is_asked_for_than_the_description_did(text: str, resources: Resources) -> None:
    """Macros of its own are filled in; the last statement about a key counts."""
    job = CONDOR.parse_resources(text)
    assert job.resources == resources
    assert CONDOR.parse_resources(str(CONDOR.render_script(evolve(job, name="x")))).resources == resources


def test_a_number_alone_is_in_mebibytes() -> None:
    """As condor_submit reads request_memory."""
    assert CONDOR.parse_resources("request_memory = 4096").resources.memory == 2**32


def test_a_sites_walltime_is_read_where_htcondors_is_not_said() -> None:
    """Descriptions of such sites have their attribute alone."""
    assert HTCondor(walltime_attribute="MaxRuntime").parse_resources("+MaxRuntime = 60").walltime == 60
    assert HTCondor().parse_resources("+MaxRuntime = 60").extra_directives == ("+MaxRuntime = 60",)


@pytest.mark.parametrize(
    "text",
    [
        "request_memory = $(mem)",
        "request_cpus = ifthenelse(x, 1, 2)",
        "accounting_group = $(group)",
        "universe = parallel\nmachine_count = 4",
        "machine_count = 2",
        "request_cpus = $(a)\na = $(b)\nb = $(a)",
        "request_gpus = 1 + 1",
        'environment = "A=1"',
        "queue 1\nqueue 2",
        "queue file from list.txt",
        "if $(x)\nrequest_cpus = 1\nendif",
        "include : other.sub",
    ],
)
def test_a_description_that_is_no_job_is_a_parse_error(text: str) -> None:
    """Macros, several kinds of jobs, files of elsewhere: only condor_submit knows what they become."""
    with pytest.raises(ParseError):
        CONDOR.parse_resources(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("$()\\\"' \n#=+ab{}%*|"), min_size=1, max_size=12))
def test_hostile_log_directories_are_refused_or_kept(text: str) -> None:
    """A path never becomes a macro, a quote or another statement."""
    job = evolve(JOB, log_directory=f"/{text}x")
    try:
        script = CONDOR.render_script(job)
    except InvalidRequest:
        return
    assert CONDOR.parse_resources(str(script)) == evolve(
        CONDOR.parse_resources(str(CONDOR.render_script(JOB))), log_directory=f"/{text}x"
    )
    output = [each.text for each in script.directives if each.name == "output"]
    assert shlex.quote(output[0].removeprefix("output = ").replace("$(DOLLAR)", "$")).count("\n") == 0
