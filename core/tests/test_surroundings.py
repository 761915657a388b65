"""What jobs have of the folder, the environment and the search path of the program that makes their cluster."""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.config
import pytest
from attrs import evolve

from corral import Cluster
from corral.environment import surroundings
from corral.environment.program import Program
from corral.environment.surroundings import Surroundings, inherited, is_needed, loaded_files, working_directory
from corral.errors import InvalidRequest
from corral.plugin.scripting import job_body
from corral.plugin.values import Job
from corral.remote.spec import Draft, take
from corral.request.drawing import draw
from corral.request.worker_group import WorkerGroup
from corral.text.variables import expanded


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "corral"


# --- the whole way, on the embedded queue -----------------------------------------------------------------------

PROGRAM = """
import json, os, sys
import dask
from distributed import Client
from corral import Cluster

sys.path.append(sys.argv[1])
dask.config.set({"distributed.worker.memory.terminate": 0.97, "my-own.key": [1, 2]})

def seen():
    import beside, by_variable, by_hand
    import dask
    with open("data.nc") as file:
        data = file.read()
    with open("result.txt", "w") as file:
        file.write("written")
    from distributed import get_worker
    return {
        "modules": [beside.NAME, by_variable.NAME, by_hand.NAME],
        "data": data,
        "folder": os.getcwd(),
        "terminate": get_worker().nanny and dask.config.get("distributed.worker.memory.terminate"),
        "own": dask.config.get("my-own.key"),
        "temporary": dask.config.get("temporary-directory", None),
    }

options = {"directory": sys.argv[2], "cores": 4, "memory": "8GB"}
if __name__ == "__main__":
    with Cluster(backend="local", memory="300MB", interface="lo", backend_options=options) as cluster:
        with Client(cluster) as client:
            cluster.scale(1)
            client.wait_for_workers(1, timeout=60)
            print(json.dumps(client.submit(seen).result(timeout=60)))
"""


def _project(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """A program, the folder in which it is started, and its environment."""
    for name, module in (("scripts", "beside"), ("variable", "by_variable"), ("hand", "by_hand")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{module}.py").write_text(f"NAME = {module!r}\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "data.nc").write_text("42")
    # A file of this name here would keep any Python from starting that looked here first.
    (work / "random.py").write_text("raise SystemExit('this is not the random that you look for')\n")
    program = tmp_path / "scripts" / "program.py"
    program.write_text(PROGRAM)
    path = os.pathsep.join(filter(None, [str(tmp_path / "variable"), os.environ.get("PYTHONPATH")]))
    return program, work, {**os.environ, "PYTHONPATH": path, "DASK_TEMPORARY_DIRECTORY": str(work)}


@pytest.mark.timeout(120)
def test_a_program_finds_its_modules_files_and_configuration_in_its_tasks(tmp_path: Path) -> None:
    """Modules beside the script, on PYTHONPATH and on a path added by hand; relative paths; Dask's configuration."""
    program, work, environ = _project(tmp_path)
    done = subprocess.run(
        [sys.executable, program, tmp_path / "hand", tmp_path / "queue"],
        cwd=work, env=environ, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "modules": ["beside", "by_variable", "by_hand"],
        "data": "42",
        "folder": str(work),
        "terminate": 0.97,
        "own": [1, 2],
        "temporary": None,
    }
    assert (work / "result.txt").read_text() == "written"


# --- the folder -------------------------------------------------------------------------------------------------


def _run(job: Job, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", job_body(job, job_id="1")],
        cwd=cwd, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_script_changes_to_the_folder_before_what_the_user_wrote(tmp_path: Path) -> None:
    """Batch systems start jobs in $HOME, and CDPATH leads nowhere else."""
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    job = Job(name="a", command=("pwd",), prologue=("pwd",), epilogue=("pwd",), directory=str(folder))
    done = _run(job, tmp_path, CDPATH="/tmp")
    assert (done.stdout.split("\n")[:-1], done.stderr) == ([str(folder)] * 3, "")


def test_a_folder_that_is_not_on_the_node_is_a_line_in_the_log(tmp_path: Path) -> None:
    """Not a failure: many programs need nothing of it."""
    done = _run(Job(name="a", command=("pwd",), directory=str(tmp_path / "gone")), tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}\n")
    assert done.stderr == f"corral: {tmp_path}/gone is not on {os.uname().nodename}; the job starts in {tmp_path}\n"


def test_the_folder_has_the_name_that_its_user_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes may reach it by the link alone; a PWD that is not true is not believed."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    monkeypatch.setenv("PWD", str(tmp_path / "link"))
    assert working_directory() == str(tmp_path / "link")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert working_directory() == str(tmp_path / "real")


# --- the environment --------------------------------------------------------------------------------------------

ENVIRON = {
    "HDF5_USE_FILE_LOCKING": "FALSE",
    "HDF5_API_TOKEN": "t",
    "PROJ_DATA": "/proj",
    "GDAL_HTTP_USERPWD": "me:pw",
    "AWS_SECRET_ACCESS_KEY": "s",
    "AWS_PROFILE": "p",
    "https_proxy": "http://me:secret@proxy:1",
    "no_proxy": "localhost",
    "SLURM_JOB_ID": "7",
    "TMPDIR": "/tmp/7",
    "PYTHONHASHSEED": "random",
    "BASH_FUNC_module%%": "() { :; }",
}


def test_a_grid_engine_that_sets_tmp_alone_has_a_tmpdir() -> None:
    """Debian's. What is set counts, and nothing is invented."""
    assert expanded("$TMPDIR/x", {"TMP": "/tmp/7.1.all.q"}) == "/tmp/7.1.all.q/x"
    assert expanded("$TMPDIR/x", {"TMP": "/tmp/7.1.all.q", "TMPDIR": "/scratch"}) == "/scratch/x"
    with pytest.raises(ValueError, match="TMPDIR is not set here"):
        expanded("$TMPDIR/x", {})


def test_variables_are_inherited_by_name_or_pattern() -> None:
    """A pattern means what it says, and nothing that the job has of its own."""
    assert inherited(["HDF5_USE*", "PROJ_*"], ENVIRON) == {"HDF5_USE_FILE_LOCKING": "FALSE", "PROJ_DATA": "/proj"}
    assert set(inherited(["*"], ENVIRON)) == {"HDF5_USE_FILE_LOCKING", "PROJ_DATA", "AWS_PROFILE", "no_proxy"}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("HDF5_API_TOKEN", "HDF5_*"), ("AWS_SECRET_ACCESS_KEY", "AWS_*"), ("https_proxy", "*_proxy"),
     ("GDAL_HTTP_USERPWD", "GDAL_*")],
)  # fmt: skip
def test_secrets_are_passed_by_their_exact_name_alone(name: str, pattern: str) -> None:
    """By what they are called, or by a password in an address."""
    assert name not in inherited([pattern, "*"], ENVIRON)
    assert inherited([name], ENVIRON) == {name: ENVIRON[name]}


def test_a_name_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence would be found by a job, late; a pattern may match nothing."""
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    with pytest.raises(InvalidRequest, match=r"inherit_env: NOT_SET_HERE is not set here; write 'NOT_SET_HERE\*'"):
        WorkerGroup(memory="1GB", inherit_env=["NOT_SET_HERE"])
    assert not WorkerGroup(memory="1GB", inherit_env=["NOT_SET_HERE*"]).variables


def test_env_wins_over_what_is_inherited_and_that_over_our_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearer word counts."""
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("OMP_PLACES", "cores")
    spec = WorkerGroup(memory="1GB", inherit_env=["OMP_*"], env={"OMP_PLACES": "threads"})
    job = spec.request(name="a", log_directory=None, launcher_options=())
    assert (job.environment["OMP_NUM_THREADS"], job.environment["OMP_PLACES"]) == ("8", "threads")


def test_python_path_always_travels_and_env_may_say_otherwise() -> None:
    """It decides which code runs."""
    around = Surroundings(python_path="/mine")
    spec = WorkerGroup(memory="1GB")
    job = spec.request(name="a", log_directory=None, launcher_options=(), surroundings=around)
    assert job.environment["PYTHONPATH"] == "/mine"
    spec = evolve(spec, env={"PYTHONPATH": ""})
    job = spec.request(name="a", log_directory=None, launcher_options=(), surroundings=around)
    assert job.environment["PYTHONPATH"] == ""


@pytest.mark.parametrize("other", [{"python": "/another/python"}, {"conda_env": "other"}])
def test_libraries_travel_with_the_python_that_needs_them(other: dict[str, Any]) -> None:
    """Another Python has libraries of its own."""
    around = Surroundings(library_path="/lib/of/mine")
    own = WorkerGroup(memory="1GB").request(name="a", log_directory=None, launcher_options=(), surroundings=around)
    another = WorkerGroup(memory="1GB", **other).request(
        name="a", log_directory=None, launcher_options=(), surroundings=around
    )
    assert own.environment["LD_LIBRARY_PATH"] == "/lib/of/mine"
    assert "LD_LIBRARY_PATH" not in another.environment


def test_libraries_are_needed_if_this_very_process_has_code_from_there(tmp_path: Path) -> None:
    """A file of the folder, or one that it links to, is among what is loaded; the mere name is nothing."""
    library = next(file for file in loaded_files() if "libc" in os.path.basename(file))
    assert is_needed(os.path.dirname(library), [library])
    (tmp_path / os.path.basename(library)).symlink_to(library)
    assert is_needed(f":/nowhere:{tmp_path}", [library])
    (tmp_path / os.path.basename(library)).unlink()
    assert not is_needed(f"/nowhere:{tmp_path}", [library])


def test_a_python_that_lives_on_its_library_path_takes_it_along(tmp_path: Path) -> None:
    """Seen in a process whose extension module's library is found there and nowhere else."""
    import _ctypes

    libffi = next((file for file in loaded_files() if "libffi" in file), None)
    if libffi is None:
        pytest.skip(f"{_ctypes.__name__} needs no library here")
    (tmp_path / "libffi.so.8").symlink_to(libffi)
    (tmp_path / os.path.basename(libffi)).unlink(missing_ok=True)
    (tmp_path / os.path.basename(libffi)).write_bytes(Path(libffi).read_bytes())
    (tmp_path / "libffi.so.8").unlink()
    (tmp_path / "libffi.so.8").symlink_to(os.path.basename(libffi))
    code = """
import ctypes
from corral.environment.surroundings import Surroundings
print(Surroundings.here().library_path)
"""

    def seen(path: str) -> str:
        environ = {**os.environ, "LD_LIBRARY_PATH": path}
        return subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
        ).stdout

    assert seen(str(tmp_path)) == f"{tmp_path}\n"
    assert seen(str(tmp_path / "empty")) == "None\n"


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was told before."""
    monkeypatch.setattr(surroundings, "_told", set())


@pytest.mark.usefixtures("untold")
def test_what_was_left_out_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, without secrets, with the cure; what jobs have as it is here is not named."""
    for name in list(os.environ):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in surroundings.MATTERING):
            monkeypatch.delenv(name)
    for name, value in {**ENVIRON, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOADEDMODULES", "gcc/12:hdf5/1.14")
    around = Surroundings.here()
    job = WorkerGroup(memory="1GB", inherit_env=["PROJ_*"]).request(
        name="a", log_directory=None, launcher_options=(), surroundings=around
    )
    around.tell_left_out(job)
    around.tell_left_out(job)
    around.tell_left_out(evolve(job, prologue=["module load netcdf"]))
    variables = (
        "jobs do not have these variables of yours, or not your values: HDF5_USE_FILE_LOCKING, "
        "MKL_NUM_THREADS; if they need them: inherit_env=['HDF5_USE_FILE_LOCKING', 'MKL_NUM_THREADS']"
    )
    modules = ". jobs do not load the modules that you have loaded; if they need them: modules=['gcc/12', 'hdf5/1.14']"
    assert caplog.messages == [variables + modules, variables]


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("untold")
def test_the_first_submission_tells_what_was_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the making of a cluster, which may submit nothing."""
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "1GB"}
    with Cluster(backend="local", memory="300MB", interface="lo", backend_options=options) as cluster:
        assert "HDF5_USE_FILE_LOCKING" not in caplog.text
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=60)
        assert caplog.text.count("jobs do not have these variables") == 1


def test_a_scheduler_in_a_job_does_not_look_at_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, folder and values of the configuration are those of whoever made the cluster."""
    monkeypatch.setenv("PROJ_DATA", "/proj")
    monkeypatch.setenv("PROJECT_OF_MINE", "physics")
    with dask.config.set({"corral": {"inherit-env": ["PROJ_DATA"], "account": "$PROJECT_OF_MINE"}}):
        given: dict[str, Any] = {"backend": "local", "memory": "1GB", "scheduler": "job", "scheduler_options": {}}
        blueprint, order = take(given)
        draft = Draft.of(given)
    assert order.arguments["env"] == {"PROJ_DATA": "/proj"}
    assert order.arguments["inherit_env"] == []
    assert order.configuration["corral"] == {"account": "physics"}
    assert order.surroundings.directory == os.getcwd() == draft.job.directory
    assert draft.job.environment["PROJ_DATA"] == "/proj"
    assert blueprint.request("default", 1).account == "physics"


# --- env= -------------------------------------------------------------------------------------------------------


def test_numbers_are_taken_as_text() -> None:
    """As YAML and people write them."""
    assert WorkerGroup(memory="1GB", env={"OMP_NUM_THREADS": 4, "RATIO": 0.5}).variables == {
        "OMP_NUM_THREADS": "4",
        "RATIO": "0.5",
    }


@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ("/x:$PATH", r"""prologue=\['export A="/x:\$PATH"'\]; or, if it is meant literally: prologue=\["export A="""),
        ("${HOME}/x", "prologue="),
        ("$(module list)", "prologue="),
        (True, "write '1' or '0'"),
        (None, "leave it out, or unset it in prologue="),
    ],
)
def test_values_that_would_surprise_are_refused_with_the_cure(value: Any, cure: str) -> None:
    """A job with a PATH that begins with /x and ends with a dollar finds nothing."""
    with pytest.raises(InvalidRequest, match=cure):
        WorkerGroup(memory="1GB", env={"A": value})


# --- python= and shebang= ---------------------------------------------------------------------------------------


def test_python_may_be_the_words_of_a_command() -> None:
    """A container's, say."""
    words = ["apptainer", "exec", "my image.sif", "python3"]
    job = WorkerGroup(memory="1GB", python=words).request(name="a", log_directory=None, launcher_options=())
    assert job.command[:7] == (*words, "-P", "-m", "corral.launch")


def test_one_text_with_blanks_is_no_python_unless_it_is_a_file(tmp_path: Path) -> None:
    """The cure is the list."""
    with pytest.raises(InvalidRequest, match=r"not a file here.*python=\['apptainer', 'exec', 'x.sif', 'python3'\]"):
        WorkerGroup(memory="1GB", python="apptainer exec x.sif python3")
    file = tmp_path / "a python"
    file.touch()
    job = WorkerGroup(memory="1GB", python=str(file)).request(name="a", log_directory=None, launcher_options=())
    assert job.command[0] == str(file)


@pytest.mark.parametrize("value", [[], ["a\nb"], [1], 7, {"a": 1}])
def test_what_is_no_command_is_refused(value: Any) -> None:
    """By the argument's name."""
    with pytest.raises(InvalidRequest, match="python"):
        WorkerGroup(memory="1GB", python=value)


@pytest.mark.parametrize(
    "shebang",
    [
        "#!/bin/tcsh",
        "#!/bin/csh -f",
        "#!/usr/bin/env fish",
        "#!/usr/bin/env python3",
        "#!/usr/bin/perl",
        "#!/usr/bin/nu",
    ],
)
def test_a_shell_that_cannot_run_the_script_is_refused(shebang: str, cluster: Callable[..., Cluster]) -> None:
    """In silence it would lose env= and all that corral exports."""
    with pytest.raises(InvalidRequest, match="shebang: .*Write '#!/bin/bash'"):
        cluster(shebang=shebang)


@pytest.mark.parametrize(
    "shebang",
    ["#!/bin/sh", "#!/bin/bash -l", "#!/usr/bin/env -S bash -l", "#!/bin/ksh93", "#!/opt/zsh/bin/zsh-5.9"],
)
def test_shells_like_sh_are_taken(shebang: str) -> None:
    """However they are called."""
    assert "exec x" in job_body(Job(name="a", command=("x",), shebang=shebang), job_id="1")


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Cluster]:
    """Makes clusters on a queue of the test's own."""

    def make(**arguments: Any) -> Cluster:
        options = {"directory": str(tmp_path / "queue"), "cores": 2, "memory": "1GB"}
        return Cluster(**{"backend": "local", "memory": "200MB", "backend_options": options, **arguments})

    return make


# --- folders and names of this host -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["log-directory", "shared-directory"])
def test_folders_in_a_configuration_file_may_name_variables_of_this_host(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file serves all users."""
    monkeypatch.setenv("SCRATCH_OF_MINE", str(tmp_path))
    with dask.config.set({"corral": {key: "$SCRATCH_OF_MINE/it"}}):
        blueprint = draw({"backend": "local", "memory": "1GB"})
    found = blueprint.chosen_log_directory if key == "log-directory" else blueprint.shared_directory
    assert found == tmp_path / "it"


def test_account_and_queue_in_a_configuration_file_may_name_variables_of_this_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The project is in a variable at many sites."""
    monkeypatch.setenv("PROJECT_OF_MINE", "physics")
    with dask.config.set(
        {"corral": {"account": "${PROJECT_OF_MINE}", "backends": {"local": {"queue": "$PROJECT_OF_MINE-q"}}}}
    ):
        job = draw({"backend": "local", "memory": "1GB"}).request("default", 1)
    assert (job.account, job.queue) == ("physics", "physics-q")


@pytest.mark.parametrize("key", ["log-directory", "shared-directory", "account", "queue"])
def test_a_variable_that_is_not_set_is_told_with_the_file(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a folder called $SCRATCH is made, or a queue asked for that nobody has."""
    file = tmp_path / "corral.yaml"
    file.write_text(f"corral:\n  {key}: $NOT_SET_HERE/x\n")
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with (
        dask.config.set({"corral": {key: "$NOT_SET_HERE/x"}}),
        pytest.raises(InvalidRequest, match=rf"{key.replace('-', '_')}: .*NOT_SET_HERE is not set here.*{file}"),
    ):
        draw({"backend": "local", "memory": "1GB"})


# --- the search path --------------------------------------------------------------------------------------------


def test_the_search_path_is_what_the_program_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two parts: what the program appended must not come before the standard library of a job's Python."""
    early, late = tmp_path / "early", tmp_path / "late"
    early.mkdir()
    late.mkdir()
    own = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.path, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")[:-1]
    monkeypatch.setattr(sys, "path", ["", str(early), *own, str(late), str(tmp_path / "gone"), "__editable__.finder"])
    program = Program.running()
    assert program.first == (os.getcwd(), str(early))
    assert str(late) in program.last
    # What .pth files name is there as well; a job with the same Python has it already.
    assert not {entry for entry in program.last if "site-packages" in entry or "lib-dynload" in entry}
