"""The environment in which a program runs, and what its jobs have of it: whoever made it, and without its tools."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from corral.errors import InvalidRequest
from corral.host.machine import only_here
from corral.request.activation import check_reach, conda_lines, own_lines
from corral.request.drawing import draw
from corral.request.worker_group import WorkerGroup

SHELLS = [shell for shell in ("bash", "dash", "zsh") if shutil.which(shell)]


def conda_environment(prefix: Path, *, pixi: dict[str, Any] | None = None) -> Path:
    """The layout that conda, micromamba and pixi make, with a package that has something to set."""
    for folder in ("bin", "conda-meta", "etc/conda/activate.d"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "conda-meta" / "history").touch()
    (prefix / "conda-meta" / "state").write_text(
        json.dumps(
            {"version": 1, "env_vars": {"Of_Environment": "it's $set", "not a name": "x", "GONE": "***unset***"}}
        )
    )
    # As packages do it that need no script.
    (prefix / "etc/conda/env_vars.d").mkdir()
    (prefix / "etc/conda/env_vars.d" / "package.json").write_text('{"OF_PACKAGE": "1", "OF_ENVIRONMENT": "no"}')
    (prefix / "etc/conda/env_vars.d" / "broken.json").write_text("[")
    (prefix / "etc/conda/activate.d" / "gdal-activate.sh").write_text(
        'export GDAL_DATA="$CONDA_PREFIX/share/gdal" GDAL_SEES="$OF_ENVIRONMENT"\n'
    )
    tool = prefix / "bin" / "of-environment"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    if pixi is not None:
        (prefix / "conda-meta" / "pixi").write_text(json.dumps(pixi))
    return prefix


def after(lines: list[str], shell: str = "bash", **environ: str) -> dict[str, str]:
    """The environment of a command that a job's script runs after these lines."""
    script = "\n".join(
        [*lines, f"exec {shlex.quote(sys.executable)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"]
    )
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **environ}
    )
    assert done.returncode == 0, done.stderr
    # Not a word to the job's log.
    assert not done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("tool", [{}, {"CONDA_EXE": "/gone/bin/conda"}, {"MAMBA_EXE": "/gone/bin/micromamba"}])
def test_a_conda_environment_needs_no_tool(tmp_path: Path, shell: str, tool: dict[str, str]) -> None:
    """Its programs are found, its variables set, its packages' scripts run, in this order."""
    prefix = conda_environment(tmp_path / "envs" / "my env")
    seen = after(own_lines(str(prefix), str(prefix), tool), shell)
    assert seen["CONDA_PREFIX"] == str(prefix)
    assert seen["CONDA_DEFAULT_ENV"] == "my env"
    assert seen["PATH"] == f"{prefix}/bin:/usr/bin:/bin"
    assert seen["OF_ENVIRONMENT"] == seen["GDAL_SEES"] == "it's $set"
    assert seen["GDAL_DATA"] == f"{prefix}/share/gdal"
    assert seen["OF_PACKAGE"] == "1"
    assert not {"not a name", "NOT A NAME", "GONE", "Of_Environment"} & seen.keys()


@pytest.mark.parametrize("shell", SHELLS)
def test_one_of_conda_without_scripts(tmp_path: Path, shell: str) -> None:
    """Most have none. The first of all is called base."""
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "condabin").mkdir()
    assert after(own_lines(str(tmp_path), str(tmp_path), {}), shell)["CONDA_DEFAULT_ENV"] == "base"


def test_an_environment_that_is_not_on_the_node_ends_no_job(tmp_path: Path) -> None:
    """Nobody asked for it; whether its Python is there shows next."""
    prefix = conda_environment(tmp_path / "env")
    lines = own_lines(str(prefix), str(prefix), {})
    shutil.rmtree(prefix)
    assert "GDAL_DATA" not in after(lines)


PIXI = """\
#!/bin/sh
printf '%s\\n' "$*" >>{record}
{fails}
echo 'export FROM_MANIFEST="of the project" CONDA_PREFIX={prefix}'
"""


@pytest.mark.parametrize("state", ["works", "fails", "gone"])
def test_pixi_is_asked_for_what_the_project_sets(tmp_path: Path, state: str) -> None:
    """It must neither solve nor install; without it, or where it fails, the environment is set up all the same."""
    marker = {"manifest_path": "/project of mine/pixi.toml", "environment_name": "gpu", "pixi_version": "0.72.0"}
    prefix = conda_environment(tmp_path / ".pixi" / "envs" / "gpu", pixi=marker)
    pixi, record = tmp_path / "pixi", tmp_path / "record"
    record.touch()
    pixi.write_text(PIXI.format(record=record, prefix=prefix, fails="exit 1" if state == "fails" else ""))
    pixi.chmod(0o755)
    lines = own_lines(str(prefix), str(prefix), {"PIXI_EXE": str(pixi)})
    if state == "gone":
        pixi.unlink()

    seen = after(lines)

    assert seen["CONDA_PREFIX"] == str(prefix)
    assert (seen.get("FROM_MANIFEST"), seen.get("GDAL_DATA")) == (
        ("of the project", None) if state == "works" else (None, f"{prefix}/share/gdal")
    )
    said = "shell-hook --shell=bash --frozen --no-install --manifest-path=/project of mine/pixi.toml --environment=gpu"
    assert record.read_text().splitlines() == ([] if state == "gone" else [said])


@pytest.mark.skipif("dash" not in SHELLS, reason="there is no dash here")
def test_pixi_is_asked_in_bash_alone(tmp_path: Path) -> None:
    """What it says is for bash: another shell may end at the first word of it."""
    marker = {"manifest_path": "/project/pixi.toml", "environment_name": "default"}
    prefix = conda_environment(tmp_path / "env", pixi=marker)
    pixi = tmp_path / "pixi"
    pixi.write_text("#!/bin/sh\necho '[[ -n x ]] && source /dev/null'\n")
    pixi.chmod(0o755)
    lines = own_lines(str(prefix), str(prefix), {"PIXI_EXE": str(pixi)})
    assert after(lines, "dash")["GDAL_DATA"] == f"{prefix}/share/gdal"


def test_pixi_is_not_asked_about_others(tmp_path: Path) -> None:
    """A conda environment in which pixi is installed; nor where its mark cannot be read."""
    prefix = conda_environment(tmp_path / "env")
    assert "shell-hook" not in "".join(own_lines(str(prefix), str(prefix), {"PIXI_EXE": sys.executable}))
    (prefix / "conda-meta" / "pixi").write_text("[]")
    assert "shell-hook" not in "".join(own_lines(str(prefix), str(prefix), {"PIXI_EXE": sys.executable}))


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("tool", ["venv", "uv"])
def test_a_virtual_environment(tmp_path: Path, tool: str, shell: str) -> None:
    """A real one; its programs are found."""
    prefix = tmp_path / "environment"
    if tool == "uv":
        beside = os.path.dirname(sys.executable)
        if (uv := shutil.which("uv", path=os.pathsep.join([beside, os.environ["PATH"]]))) is None:
            pytest.skip("uv is not installed")
        subprocess.run(
            [uv, "venv", "--offline", "--no-config", "--quiet", "--python", sys.executable, str(prefix)],
            check=True, env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
    else:
        venv.create(prefix, symlinks=True)
    python = str(prefix / "bin" / "python")
    told = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix); print(sys.base_prefix)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen_prefix, base = told.stdout.splitlines()

    seen = after(own_lines(seen_prefix, base, {}), shell, PYTHONHOME="/else")

    assert seen["VIRTUAL_ENV"] == str(prefix)
    assert seen["PATH"] == f"{prefix}/bin:/usr/bin:/bin"
    assert "PYTHONHOME" not in seen


def test_a_virtual_environment_over_one_of_conda(tmp_path: Path) -> None:
    """Both are set up, the virtual one first in PATH."""
    base = conda_environment(tmp_path / "base")
    prefix = tmp_path / "environment"
    prefix.mkdir()
    (prefix / "pyvenv.cfg").touch()
    seen = after(own_lines(str(prefix), str(base), {}))
    assert seen["PATH"] == f"{prefix}/bin:{base}/bin:/usr/bin:/bin"
    assert seen["GDAL_DATA"] == f"{base}/share/gdal"


def test_a_python_of_the_system_has_no_environment() -> None:
    assert own_lines("/usr", "/usr", {"CONDA_EXE": sys.executable, "PIXI_EXE": sys.executable}) == []


# --- environments that are named --------------------------------------------------------------------------------


def test_a_conda_environment_by_its_path_needs_no_tool_either(tmp_path: Path) -> None:
    """But it was asked for: without it the job ends, in the words that have a hint."""
    prefix = conda_environment(tmp_path / "env")
    lines = conda_lines(str(prefix))
    assert after(lines)["GDAL_DATA"] == f"{prefix}/share/gdal"
    shutil.rmtree(prefix)
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"corral: conda activate {prefix} failed: no such environment is on this node" in done.stderr


@pytest.mark.parametrize("name", ["micromamba", "mamba"])
def test_a_name_is_looked_up_by_the_tool_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """micromamba's, as it is documented: `micromamba shell hook` defines a function of that name."""
    tool = tmp_path / name
    tool.write_text(
        '#!/bin/sh\n[ "$*" = "shell hook --shell bash" ] || exit 1\n'
        f'echo "{name}() {{ export ACTIVATED=\\"\\$* in $MAMBA_ROOT_PREFIX\\"; }}"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("MAMBA_EXE", str(tool))
    monkeypatch.setenv("MAMBA_ROOT_PREFIX", "/roots/mine")
    monkeypatch.delenv("CONDA_EXE", raising=False)
    lines = conda_lines("mine")
    monkeypatch.undo()
    assert after(lines)["ACTIVATED"] == "activate mine in /roots/mine"


def test_conda_itself_is_asked_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path; what is gone is not run, but modules= may bring one."""
    monkeypatch.delenv("MAMBA_EXE", raising=False)
    monkeypatch.setenv("CONDA_EXE", sys.executable)
    assert conda_lines("mine")[0] == f'eval "$({sys.executable} shell.bash hook)"'
    monkeypatch.setenv("CONDA_EXE", "/gone/bin/conda")
    assert conda_lines("mine")[0] == 'eval "$(conda shell.bash hook)"'


def test_a_virtual_environment_is_not_one_of_conda(tmp_path: Path) -> None:
    """What to write instead is said."""
    (tmp_path / "pyvenv.cfg").touch()
    with pytest.raises(InvalidRequest, match=f"write python='{tmp_path}/bin/python'"):
        WorkerGroup(memory="1GB", conda_env=tmp_path).request(name="a", log_directory=None, launcher_options=())


# --- what only this host has ------------------------------------------------------------------------------------

MOUNTS = """\
21 1 8:1 / / rw - {root} /dev/root rw
22 21 0:20 / /dev/shm rw - tmpfs tmpfs rw
23 21 8:2 / /tmp rw - xfs /dev/sdb rw
24 21 0:30 / /home rw - nfs4 server:/home rw
25 24 0:31 / /home/me/fast rw - tmpfs tmpfs rw
26 23 0:32 / /tmp/shared rw - lustre mgs:/x rw
27 21 8:3 / /opt rw - ext4 /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/shm/env", "/dev/shm is in the memory of this host (tmpfs)"),
        ("/home/me/fast/env", "/home/me/fast is in the memory of this host (tmpfs)"),
        ("/tmp/env", "/tmp is a file system of this host (xfs) for temporary files"),
        ("/tmp/shared/env", None),
        ("/home/me/env", None),
        ("/opt/conda", None),
        ("/usr", None),
    ],
)
@pytest.mark.parametrize("root", ["ext4", "tmpfs", "overlay"])
def test_only_what_is_certain_counts(tmp_path: Path, path: str, why: str | None, root: str) -> None:
    """Nodes without disks have their root in memory, all alike; a local disk may be exported to others."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS.format(root=root))
    assert only_here(Path(path), mountinfo) == why


@pytest.fixture
def memory() -> Any:
    """A folder in memory, where there is one."""
    folder = Path("/dev/shm") / f"corral-test-{os.getpid()}"
    if only_here(folder) is None:
        pytest.skip("/dev/shm is not in memory here")
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


def test_an_environment_in_memory_is_refused(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cure, before anything is submitted. The embedded queue's jobs run here, and have it."""
    monkeypatch.setattr(sys, "prefix", str(memory))
    for group in ({}, {"container": "docker://a"}):
        with pytest.raises(InvalidRequest) as raised:
            draw({"backend": "slurm", "memory": "1GB", **group})
        assert raised.value.argument == "python"
        assert f"{memory} is on no other host: /dev/shm is in the memory of this host (tmpfs)" in str(raised.value)
    draw({"backend": "local", "memory": "1GB"})
    # Who names it knows better.
    draw({"backend": "slurm", "memory": "1GB", "python": sys.executable})
    draw({"backend": "slurm", "memory": "1GB", "conda_env": "mine"})


def test_so_is_a_virtual_environment_whose_python_is_there(memory: Path) -> None:
    with pytest.raises(InvalidRequest, match=str(memory)):
        check_reach("/home/me/env/bin/python", "/usr", str(memory))
