"""Every symptom of docs/when-something-goes-wrong.md, provoked on a real Slurm: users are told what the page says.

``pytest tests/real/test_real_symptoms.py --symptom-page=docs/when-something-goes-wrong.md`` writes the page's blocks
anew.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chores import eat_memory
from click.testing import CliRunner
from distributed import Client, KilledWorker
from real_life import Slurm, slurm_cluster, wait_until
from symptoms import Symptom

import corral
from corral import Cluster
from corral.cli import main
from corral.errors import CorralError

pytestmark = [pytest.mark.real("slurm"), pytest.mark.needs("testbed"), pytest.mark.timeout(180)]
HERE, RUN = socket.gethostname(), ("apptainer", "exec")


def told(error: BaseException) -> str:
    """The last lines of a traceback."""
    return f"{type(error).__name__}: {error}"


def told_while_waiting(jobs: int = 3, timeout: float = 90.0, **arguments: Any) -> str:
    """What somebody is told who waits in vain for the workers of such jobs."""
    with slurm_cluster(**arguments) as c:
        c.scale(jobs)
        with pytest.raises(CorralError) as error:
            c.wait_for_workers(jobs, timeout=timeout)
    return told(error.value)


def run_python(code: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Another program of the user's, which knows what the tests know."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code], env={**(environment or os.environ), "PYTHONPATH": path},
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def typed(*words: str) -> str:
    """What the command line answers, below what was typed."""
    return f"$ corral {' '.join(words)}\n{CliRunner().invoke(main, words).output.rstrip()}"


# --- no cluster -------------------------------------------------------------------------------------------------


def test_no_batch_system_answers(symptom: Symptom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    with pytest.raises(CorralError) as error:
        Cluster(memory="1GB")
    text = re.sub(r"traces of one \(.*?\)", "traces of one (SLURM_CONF)", told(error.value))
    symptom.is_told(re.sub(r"installed: .*?\)", "installed: local, slurm)", text))


def test_an_interface_that_this_host_has_not(symptom: Symptom) -> None:
    with pytest.raises(CorralError) as error:
        slurm_cluster(interface="infiniband7")
    symptom.is_told(re.sub(r"only .*?\. ", "only eth0, ib0, lo. ", told(error.value)))


def test_a_folder_to_which_others_may_write(symptom: Symptom, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(CorralError) as error:
        slurm_cluster(shared_directory=str(tmp_path / "shared"), n_workers=1)
    symptom.is_told(told(error.value))


# --- the batch system -------------------------------------------------------------------------------------------


def test_submissions_are_refused(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(queue="nosuch"))
    symptom.is_told(told_while_waiting(memory="900GB"))


def test_no_more_jobs_are_taken(symptom: Symptom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Slurm of the tests has no accounting, and so no such limits: these are the words of one that has."""
    sbatch = tmp_path / "sbatch"
    sbatch.write_text(
        "#!/bin/sh\necho 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
        "(job submit limit, user'\"'\"'s size and/or time limits)' >&2\nexit 1\n"
    )
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    symptom.is_told(told_while_waiting(timeout=5))


def test_the_batch_system_is_away(symptom: Symptom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = subprocess.run(["scontrol", "show", "config"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^SLURM_CONF\s*= (\S+)", configuration, re.MULTILINE)
    assert found
    # Nobody listens on port 9.
    elsewhere = re.sub(r"^SlurmctldPort=.*", "SlurmctldPort=9", Path(found[1]).read_text(), flags=re.MULTILINE)
    (tmp_path / "slurm.conf").write_text(elsewhere)
    # What is beside it is Slurm's, too.
    for plugin in Path(found[1]).parent.glob("*.lua"):
        shutil.copy(plugin, tmp_path)
    with monkeypatch.context() as broken:
        broken.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))
        text = told_while_waiting(timeout=60)
    # Perhaps just between two attempts.
    symptom.is_told(text.replace("3 being submitted", "no job is in the queue"))


# --- jobs that wait ---------------------------------------------------------------------------------------------


def test_a_walltime_that_no_job_of_the_queue_may_have(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(queue="short", walltime="1 h"))


@pytest.mark.needs("control")
def test_a_partition_that_is_closed_to_the_account(symptom: Symptom, slurm: Slurm) -> None:
    """A newer Slurm without accounting knows no accounts, and closes nothing to them: there, the job runs."""
    version = subprocess.run(["sinfo", "--version"], check=True, capture_output=True, text=True).stdout
    slurm.run("scontrol", "create", "PartitionName=climate", "Nodes=n1", "AllowAccounts=climate")
    try:
        if "22.05" in version:
            symptom.is_told(told_while_waiting(queue="climate", account="physics"))
        else:
            with slurm_cluster(queue="climate", account="physics") as c:
                c.scale(jobs=1)
                c.wait_for_workers(1, timeout=90)
    finally:
        slurm.run("scontrol", "delete", "PartitionName=climate")


def test_jobs_that_wait_for_nodes(symptom: Symptom) -> None:
    with slurm_cluster(cores=64, processes=1) as c:
        c.scale(jobs=4)
        c.wait_for_workers(3, timeout=90)
        # When it has been asked since they started.
        wait_until(lambda: "Resources" in typed("ps") and typed("ps").count(" 1/1 ") == 3, lambda: typed("ps"), 100)
        with pytest.raises(CorralError) as error:
            c.wait_for_workers(4, timeout=1)
        symptom.is_told(f"{told(error.value)}\n\n{re.sub('since .*', 'since 3 h', typed('ps'))}")


def test_jobs_that_are_held(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(timeout=15, extra_directives=["--hold"]))


def test_a_question_that_waits_for_the_budget(symptom: Symptom) -> None:
    """In a process of its own: those of this one share a budget."""
    waiting = (
        "from test_real_symptoms import told_while_waiting as told; print(told(timeout=45, prologue=['sleep 60']))"
    )
    environment = {**os.environ, "DASK_CORRAL__COMMANDS_PER_MINUTE": "1"}
    # Whether they had started when it was last asked, is chance.
    symptom.is_told(run_python(waiting, environment).stdout.replace("3 jobs running", "3 jobs pending"))


# --- jobs that end before a worker connects ---------------------------------------------------------------------


def test_a_python_that_is_not_there(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(python="/no/such/python"))


def test_a_python_without_corral(symptom: Symptom, tmp_path: Path) -> None:
    # Outside of any environment that has corral installed.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    symptom.is_told(told_while_waiting(python=str(bare)))


def in_container(tmp_path: Path, does: str) -> str:
    """What somebody is told who uses an image with an Apptainer that does this."""
    (tool := tmp_path / "apptainer").write_text(f"#!/bin/sh\n{does}\n")
    tool.chmod(0o755)
    (image := tmp_path / "analysis.sif").touch()
    return told_while_waiting(container=image, prologue=[f"PATH={tmp_path}:$PATH"])


def test_a_node_without_the_runtime(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(container="/data/a.sif", prologue=["PATH=/nowhere"]).replace(HERE, "n1"))


def test_a_node_without_the_image(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(container="/data/a.sif", launch_prefix=RUN).replace(HERE, "n1"))


def test_an_image_without_corral(symptom: Symptom, tmp_path: Path) -> None:
    does = f'while [ "$1" != python3 ]; do shift; done; shift; exec {sys.executable} -I -S "$@"'
    symptom.is_told(in_container(tmp_path, does).replace(sys.executable, "/usr/bin/python3"))


def test_a_container_that_is_ended(symptom: Symptom, tmp_path: Path) -> None:
    symptom.is_told(in_container(tmp_path, "kill $$"))


def test_another_corral(symptom: Symptom, tmp_path: Path) -> None:
    old = tmp_path / "old" / "corral"
    shutil.copytree(Path(corral.__file__).parent, old)
    (old / "_version.py").write_text('__version__ = "0.0.1"\n')
    with slurm_cluster(env={"PYTHONPATH": str(old.parent)}) as c:
        c.scale(1)
        c.wait_for_workers(1, timeout=90)
        symptom.is_told((c.logs(c.jobs[0]) or "").splitlines()[0])


def test_a_module_that_cannot_be_loaded(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(modules=["netcdf/4.9"]))


def test_a_script_that_ends_too_early(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(prologue=["source /dev/null", "exit 3"]))


def test_a_scheduler_that_cannot_be_reached(symptom: Symptom, state_directory: Path) -> None:
    with slurm_cluster() as c:
        [credentials] = state_directory.rglob("credentials.json")
        credentials.write_text(json.dumps(json.loads(credentials.read_text()) | {"addresses": ["tls://127.0.0.1:9"]}))
        c.scale(3)
        with pytest.raises(CorralError) as error:
            c.wait_for_workers(3, timeout=90)
    symptom.is_told(told(error.value))


def test_credentials_that_the_node_does_not_see(symptom: Symptom, state_directory: Path) -> None:
    symptom.is_told(told_while_waiting(prologue=[f"rm -f {state_directory}/clusters/*/credentials.json"]))


def test_a_folder_that_cannot_be_made(symptom: Symptom) -> None:
    symptom.is_told(told_while_waiting(local_directory="/proc/scratch"))


# --- workers that die -------------------------------------------------------------------------------------------


def told_of_a_death(caplog: pytest.LogCaptureFixture, task: Callable[..., Any], *arguments: Any) -> str:
    """What the log says of a task that kills its workers."""
    with slurm_cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        with pytest.raises(KilledWorker) as error:
            client.submit(task, *arguments, key="simulate").result(timeout=120)
        wait_until(lambda: bool(c.failures), lambda: repr(c))
    [warning] = [each.getMessage() for each in caplog.records if each.name == "corral" and "died" in each.getMessage()]
    return f"{told(error.value)}\n\n{warning}"


def test_a_task_that_needs_too_much_memory(symptom: Symptom, caplog: pytest.LogCaptureFixture) -> None:
    symptom.is_told(told_of_a_death(caplog, eat_memory))


def only_the_cause(text: str) -> str:
    """Without Dask's words, which are the same for all."""
    return text.rpartition("\n\n")[2]


def test_a_crash_in_compiled_code(symptom: Symptom, caplog: pytest.LogCaptureFixture) -> None:
    symptom.is_told(only_the_cause(told_of_a_death(caplog, ctypes.string_at, 0)))


def test_a_task_that_ends_its_process(symptom: Symptom, caplog: pytest.LogCaptureFixture) -> None:
    symptom.is_told(only_the_cause(told_of_a_death(caplog, os._exit, 7)))


def test_a_module_that_the_workers_lack(
    symptom: Symptom, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helpers.py").write_text("def double(number):\n    return 2 * number\n")
    spec = importlib.util.spec_from_file_location("helpers", tmp_path / "helpers.py")
    assert spec is not None
    assert spec.loader is not None
    helpers = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "helpers", helpers)
    spec.loader.exec_module(helpers)
    symptom.is_told(only_the_cause(told_of_a_death(caplog, helpers.double, 1)))


# --- what tasks find --------------------------------------------------------------------------------------------


def test_a_file_that_is_not_on_the_node(symptom: Symptom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    with monkeypatch.context() as there:
        there.chdir(project)
        c = slurm_cluster()
    project.rmdir()
    with c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        with pytest.raises(FileNotFoundError) as error:
            client.submit(open, "data.nc").result(timeout=60)
        first = (c.logs(c.jobs[0]) or "").splitlines()[0]
    symptom.is_told(f"{told(error.value)}\n\n{re.sub(r'starts in .*', 'starts in /home/you', first)}")


def test_variables_that_jobs_do_not_have(
    symptom: Symptom, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("PROJ_DATA", "/opt/proj/share")
    with slurm_cluster(extra_directives=["--hold"]) as c:
        c.scale(1)
        wait_until(lambda: bool(c.jobs), lambda: repr(c))
    symptom.is_told(next(text for text in caplog.messages if "do not have" in text))


def test_a_task_that_the_walltime_cuts_off(symptom: Symptom, caplog: pytest.LogCaptureFixture) -> None:
    with slurm_cluster(walltime="1 min") as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        future = client.submit(time.sleep, 600, key="simulate")
        wait_until(lambda: "had to leave" in caplog.text, lambda: repr(c), timeout=120)
        del future
    said = [text for text in caplog.messages if "had to leave" in text or "cut it off" in text]
    # Whether the job saw its end coming or was asked to leave just before it, is chance.
    symptom.is_told("\n\n".join(sorted(said)).replace("(retire)", "(walltime)"))


# --- clusters without their process, other programs, logs -------------------------------------------------------

DEAD = """
import time
from real_life import slurm_cluster

cluster = slurm_cluster()
cluster.scale(2)
cluster.wait_for_workers(2, timeout=90)
print(cluster.name, flush=True)
time.sleep(600)
"""


def test_a_notebook_that_has_died(symptom: Symptom) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", DEAD], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        wait_until(lambda: typed("ps").count(" 1/1") == 2, lambda: typed("ps"), timeout=30)
        process.kill()
    listed = re.sub(r"known \d+ \w+ ago", "known 5 min ago", typed("ps"))
    symptom.is_told(f"{re.sub(r' +n[123]$', '', listed, flags=re.MULTILINE)}\n\n{typed('clean', '--yes')}")


def test_jobs_that_somebody_else_cancelled(symptom: Symptom, slurm: Slurm) -> None:
    with slurm_cluster(extra_directives=["--hold"]) as c:
        c.scale(2)
        wait_until(lambda: len(c.jobs) == 2 and all(job.was_listed for job in c.jobs), lambda: repr(c))
        slurm.run("scancel", *(job.id.text for job in c.jobs))
        with pytest.raises(CorralError) as error:
            c.wait_for_workers(2, timeout=90)
    symptom.is_told(told(error.value).splitlines()[0])


def test_a_program_that_has_the_address_alone(symptom: Symptom) -> None:
    with slurm_cluster() as c:
        with pytest.raises(CorralError) as error:
            Client(c.scheduler_address)
        done = run_python(f"from distributed import Client; Client({c.scheduler_address!r})")
    symptom.is_told(f"{told(error.value)}\n\n{done.stderr.splitlines()[-1]}")


def test_what_tasks_print(symptom: Symptom) -> None:
    with slurm_cluster() as c, Client(c) as client:
        c.scale(1)
        client.wait_for_workers(1, timeout=90)
        client.submit(print, "step 12 of 40").result(timeout=60)
        [job] = c.jobs
        wait_until(lambda: "step" in typed("logs", job.id.text), lambda: typed("logs"), timeout=30)
        symptom.is_told(typed("logs", job.id.text))


def test_a_dashboard_without_its_secret(symptom: Symptom) -> None:
    with slurm_cluster() as c:
        [port] = re.findall(r":(\d+)/", c.dashboard_link)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/status")
        error.value.close()
        link = re.sub(r"/[\w-]{22}/", "/4XKn-m_EWmS1ASMVmBWKQA/", c.dashboard_link)
    symptom.is_told(f"http://127.0.0.1:{port}/status: {error.value}\n\n>>> cluster.dashboard_link\n{link!r}")
