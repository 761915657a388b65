"""Job scripts: their directives as a request, and their commands as far as they are plain."""

from __future__ import annotations

import ast
import shlex
from typing import Any

import pytest
from click.testing import CliRunner

from corral.cli import main
from corral.errors import CorralError, InvalidRequest, UnknownBackend
from corral.migration.files import migrate
from corral.migration.values import Migrated
from corral.plugin import discovery

SCRIPT = """\
#!/bin/bash
#CORRAL --name=climate
#CORRAL --cores=4
#CORRAL --memory=8GiB
#CORRAL --time=02:00:00

module load python/3.11
conda activate analysis
export THREADS=4
export DATA=$HOME/data
cd "$DATA"

python -u analysis.py --year 2020 \\
    --out "a b"
echo done
"""

#: For each batch system: directives of four cores for an hour, and a mark of an array.
DIRECTIVES = {
    "flux": ("# flux: -N 1\n# flux: -n 1\n# flux: -c 4\n# flux: -t 60m\n", ""),
    "lsf": ("#BSUB -n 4\n#BSUB -W 1:00\n", "#BSUB -J a[1-10]\n"),
    "moab": ("#MSUB -l nodes=1:ppn=4,walltime=1:00:00\n", "#MSUB -t 1-10\n"),
    "oar": ("#OAR -l /nodes=1/core=4,walltime=1:00:00\n", "#OAR --array 10\n"),
    "pbs": ("#PBS -l select=1:ncpus=4\n#PBS -l walltime=1:00:00\n", "#PBS -J 1-10\n"),
    "sge": ("#$ -pe smp 4\n#$ -l h_rt=3600\n", "#$ -t 1-10\n"),
    "slurm": ("#SBATCH -c 4\n#SBATCH --time=60\n", "#SBATCH --array=1-10\n"),
}


def migrated(text: str, **options: Any) -> Migrated:
    return migrate(text, "job.sh", **options)


def lost(found: Migrated) -> list[str]:
    return [str(remark) for remark in found.remarks if remark.is_lost]


def cluster(found: Migrated) -> dict[str, Any]:
    call = ast.parse(found.text).body[-1]
    assert isinstance(call, ast.Assign)
    assert isinstance(call.value, ast.Call)
    return {str(each.arg): ast.literal_eval(each.value) for each in call.value.keywords}


def test_a_script_that_runs_one_program_is_submitted_with_it() -> None:
    found = migrated(SCRIPT)
    assert shlex.split(found.text.replace("\\\n", " ")) == [
        "corral", "submit", "--backend=local", "--name=climate", "--cores=4", "--memory=8GiB", "--walltime=02:00:00",
        "--modules=python/3.11", "--conda-env=analysis", "--env=THREADS=4", "--prologue=export DATA=$HOME/data",
        '--prologue=cd "$DATA"', "--epilogue=echo done", "analysis.py", "--year", "2020", "--out", "a b",
    ]  # fmt: skip
    assert lost(found) == []


def test_the_command_knows_every_option_that_is_printed() -> None:
    """It stops at the script, which is not there."""
    words = shlex.split(migrated(SCRIPT).text.replace("\\\n", " "))[1:]
    done = CliRunner().invoke(main, words)
    assert "'analysis.py' does not exist" in done.output


def test_a_script_can_become_a_cluster() -> None:
    """What it ran is told, with where to run it."""
    found = migrated(SCRIPT, form="cluster")
    assert cluster(found) == {
        "backend": "local", "name": "climate", "cores": 4, "memory": "8GiB", "walltime": "02:00:00",
        "modules": ["python/3.11"], "conda_env": "analysis", "env": {"THREADS": "4"},
        "prologue": ["export DATA=$HOME/data", 'cd "$DATA"'], "epilogue": ["echo done"],
    }  # fmt: skip
    [remark] = lost(found)
    assert remark.startswith("job.sh:13: python -u analysis.py")


@pytest.mark.parametrize("backend", DIRECTIVES)
def test_a_batch_system_is_known_by_its_directives(backend: str) -> None:
    if backend not in discovery.all_facts():
        pytest.skip(f"corral-{backend} is not installed")
    directives, array = DIRECTIVES[backend]
    found = migrated(f"#!/bin/sh\n{directives}")
    assert {"backend": backend, "cores": 4, "walltime": "01:00:00"}.items() <= cluster(found).items()
    if array:
        assert any("an array" in each for each in lost(migrated(f"#!/bin/sh\n{directives}{array}")))


def test_a_submit_description_has_no_commands() -> None:
    if "htcondor" not in discovery.all_facts():
        pytest.skip("corral-htcondor is not installed")
    found = migrated("executable = a.sh\nrequest_cpus = 4\nrequest_memory = 2GB\nqueue\n")
    assert cluster(found) == {"backend": "htcondor", "cores": 4, "memory": "2GiB"}
    assert lost(found) == []
    assert "array" in lost(migrated("executable = a.sh\nrequest_cpus = 4\nrequest_memory = 2GB\nqueue 3\n"))[0]


def test_directives_of_two_are_told_to_be() -> None:
    if {"pbs", "torque"} - discovery.all_facts().keys():
        pytest.skip("corral-pbs or corral-torque is not installed")
    text = "#!/bin/sh\n#PBS -l nodes=1:ppn=4,mem=4gb\npython a.py\n"
    found = migrated(text)
    assert "--backend=torque" in str([str(each) for each in found.remarks])
    assert "--backend=torque" in migrated(text, backend="torque").text


def test_a_plugin_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has corral alone is told what to install."""
    only = {name: facts for name, facts in discovery.all_facts().items() if name == "local"}
    monkeypatch.setattr(discovery, "all_facts", lambda: only)
    with pytest.raises(UnknownBackend, match="pip install corral-slurm"):
        migrated("#!/bin/sh\n#SBATCH -n 1\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("./simulate", "it is not carried over"),
        ("for i in 1 2; do\n  ./simulate $i\ndone", "for i in 1 2; do …: it is not carried over"),
        ("cat <<END >x\nmodule load y\nEND", "cat <<END >x …: it is not carried over"),
        ("python a.py $INDEX", "it is not carried over"),
        ("python a.py\npython b.py", "a second program"),
    ],
)
def test_commands_that_are_the_jobs_work_are_not_run_before_workers(line: str, told: str) -> None:
    """Nothing is put into a prologue that only might belong there."""
    found = migrated(f"#!/bin/sh\n#CORRAL --memory=1GB\n{line}\n", form="submit" if "b.py" in line else None)
    assert told in " ".join(lost(found))
    assert "prologue" not in found.text


def test_dask_is_started_by_corral() -> None:
    found = migrated(
        "#!/bin/sh\n#CORRAL --memory=1GB\ndask scheduler --scheduler-file s &\nsrun -n 4 dask worker &\npython a.py\n"
    )
    assert found.text.endswith(" a.py\n")
    assert str([str(each) for each in found.remarks]).count("corral starts Dask itself") == 2


def test_conda_needs_no_lines_before_it() -> None:
    found = migrated(
        "#!/bin/sh\n#CORRAL --memory=1GB\nsource ~/conda/etc/profile.d/conda.sh\nconda activate x\npython a.py\n"
    )
    assert "--conda-env=x" in found.text
    assert "profile.d" not in found.text
    assert "job.sh:3: " in str([str(each) for each in found.remarks])


def test_the_order_of_lines_is_kept() -> None:
    """An argument would come before lines that stand before it."""
    found = migrated("#!/bin/sh\n#CORRAL --memory=1GB\nmodule purge\nmodule load x\npython a.py\n")
    assert found.text.replace(" \\\n   ", "").count("--prologue='module purge' --prologue='module load x'") == 1


def test_what_the_batch_system_must_know_is_asked_for() -> None:
    assert "memory: say how much" in lost(migrated("#!/bin/sh\n#CORRAL --cores=2\npython a.py\n"))[0]


@pytest.mark.parametrize(
    ("text", "form", "error"),
    [
        ("#!/bin/sh\necho\n", None, InvalidRequest),
        ("#!/bin/sh\n#CORRAL --memory=much\n", None, CorralError),
        ("#!/bin/sh\n#CORRAL --memory=1GB\n./x\n", "submit", InvalidRequest),
    ],
)
def test_what_cannot_be_read_is_said(text: str, form: str | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        migrated(text, form=form)
