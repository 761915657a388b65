"""The scripts of dask-jobqueue's users: the page translates each word by word, and what it shows is what runs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argument_table
import dask.config
import pytest
import yaml  # type: ignore[import-untyped]

from corral.migration.files import migrate
from corral.request.arguments import CLUSTER_ARGUMENTS
from corral.request.drawing import draw
from corral.request.worker_group import WorkerGroup

if TYPE_CHECKING:
    from real_life import Slurm

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "coming-from-dask-jobqueue.md").read_text()

#: Arguments of dask-jobqueue 0.9.0: of all its clusters, and of the one for each batch system; old names, too.
ARGUMENTS = [
    "name", "cores", "memory", "processes", "nanny", "protocol", "security", "interface", "death_timeout",
    "local_directory", "extra", "worker_command", "worker_extra_args", "job_extra", "job_extra_directives",
    "env_extra", "job_script_prologue", "job_script_epilogue", "header_skip", "job_directives_skip",
    "log_directory", "shebang", "python", "job_name", "config_name", "n_workers", "job_cls", "loop", "silence_logs",
    "asynchronous", "dashboard_address", "host", "scheduler_options", "shared_temp_directory", "queue", "account",
    "project", "walltime", "resource_spec", "job_cpu", "job_mem", "ncpus", "mem", "lsf_units", "use_stdin", "disk",
    "submit_command_extra", "cancel_command_extra", "memory_per_core_property_name", "scheduler_file",
]  # fmt: skip

Run = Callable[..., str]


def table() -> dict[str, str]:
    """What the page says of each argument."""
    rows = re.findall(
        r"^\| (`.*) \| (.*) \|$", PAGE.partition("## Arguments")[2].partition("\nWords of")[0], re.MULTILINE
    )
    found: dict[str, list[str]] = {}
    for left, right in rows:
        for word in re.findall(r"`(\w+)[=`]", left):
            found.setdefault(word, []).append(f"`{word}`" if right == "the same" else right)
    return {word: "; ".join(said) for word, said in found.items()}


def call(text: str, name: str) -> dict[str, ast.expr]:
    """The named arguments of the first call of something called so."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(name):
            return {str(each.arg): each.value for each in node.keywords}
    raise AssertionError(f"no call of {name}")


def shown() -> list[tuple[str, str]]:
    """Each script as it was, and the file that has it as it is."""
    parts = PAGE.partition("## Six scripts")[2].partition("\n## ")[0].split("\n### ")[1:]
    pairs = []
    for part in parts:
        [before] = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
        [after] = re.findall(r"```\{literalinclude\} examples/(\w+\.py)", part)
        pairs.append((before, after))
    return pairs


def literals(name: str) -> dict[str, Any]:
    """The arguments of an example's cluster that are written out."""
    found = {}
    for argument, value in call((EXAMPLES / name).read_text(), "Cluster").items():
        if not any(isinstance(node, ast.Name | ast.Attribute) for node in ast.walk(value)):
            found[argument] = ast.literal_eval(value)
    return found


# --- the page ---------------------------------------------------------------------------------------------------


def test_there_are_six_and_no_other() -> None:
    """Every file is shown, here or on another page, and nothing that is shown is a copy."""
    assert len(shown()) == 6
    elsewhere = {
        name
        for page in DOCS.glob("*.md")
        if page.name != "coming-from-dask-jobqueue.md"
        for name in re.findall(r"```\{literalinclude\} examples/(\w+\.py)", page.read_text())
    }
    assert not elsewhere & {name for _, name in shown()}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        *(name for _, name in shown()),
        *elsewhere,
        "corral.yaml",
    }


@pytest.mark.parametrize(("before", "after"), shown()[:5], ids=[name for _, name in shown()[:5]])
def test_each_word_is_translated_as_the_table_says(before: str, after: str) -> None:
    """And there is no word more than before."""
    was, now = call(before, "Cluster"), call((EXAMPLES / after).read_text(), "Cluster")
    said = table()
    unexplained = set(now) - {"backend"}
    for word in was:
        ours = {name for name in re.findall(r"`(\w+)[=`]", said[word]) if name in now}
        if word in now:
            ours = {word}
        assert ours, f"{word} became nothing"
        unexplained -= ours
    assert unexplained == set()


@pytest.mark.parametrize(("before", "after"), shown(), ids=[name for _, name in shown()])
def test_corral_migrate_makes_of_each_what_the_page_shows(before: str, after: str) -> None:
    """But for what a person sees: that the configuration names the backend, or that a directive need not be skipped."""
    name = "Ranks" if after == "runner.py" else "Cluster"
    found = migrate(before, "before.py")
    now, shown_after = call(found.text, name), call((EXAMPLES / after).read_text(), name)
    for argument, value in shown_after.items():
        assert argument == "skip_directives" or ast.unparse(value) == ast.unparse(now[argument])
    assert set(now) - set(shown_after) <= {"backend", "skip_directives"}
    assert found.lost == 0


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_every_argument_is_in_the_table_with_one_of_ours(argument: str) -> None:
    """Or with what makes it needless."""
    right = table()[argument]
    ours = {*CLUSTER_ARGUMENTS, *WorkerGroup.argument_names()}
    ours |= {"n_workers", "asynchronous", "silence_logs", "loop", "scheduler_file"}
    assert re.search("leave it out|left out", right) or ours & set(re.findall(r"\w+", right)), right


def test_the_tables_are_what_the_code_makes_of_each_word() -> None:
    """``python tests/plugins/argument_table.py`` writes them."""
    assert argument_table.page(PAGE) == PAGE


def test_the_configuration_is_what_the_warning_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the page shows is made by corral, of the one that it shows before."""
    [before] = re.findall(r"```yaml\n(jobqueue:.*?)```", PAGE, re.DOTALL)
    (tmp_path / "jobqueue.yaml").write_text(before)
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    written = dask.config.collect([str(tmp_path)], env={})
    with dask.config.set(written), pytest.warns(UserWarning, match="jobqueue.slurm") as told:
        draw({"backend": "slurm"} | {"memory": "1GB"})
    offered = yaml.safe_load(str(told[0].message).partition("beside it:\n")[2])
    # Which backend it is, the class has said.
    assert {"corral": {"backend": "slurm", **offered["corral"]}} == yaml.safe_load(
        (EXAMPLES / "corral.yaml").read_text()
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("climatology.py", ["#SBATCH --partition=batch", "#SBATCH --account=bio", "#SBATCH --comment=climate"]),
        ("sweep.py", ["#PBS -q workq", "#PBS -A UBIO0001", "#PBS -l select=1:ncpus=1:mem=1GB", "cd $PBS_O_WORKDIR"]),
        ("words.py", ["#$ -q all.q", "#$ -pe smp 2", "#$ -l mem_free=400M", "#$ -l h_rt=00:10:00"]),
        ("inference.py", ["#SBATCH --partition=gpu", "#SBATCH --gres=gpu:1", "#SBATCH --cpus-per-task=2"]),
    ],
)
def test_the_jobs_ask_for_what_they_asked_for(name: str, lines: list[str]) -> None:
    """Without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        script = str(draw(literals(name)).script()).splitlines()
    assert set(lines) <= set(script)
    assert not any(line.startswith("#SBATCH --mem") for line in script) or name != "inference.py"


# --- their jobs -------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, state_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run an example in a folder of its own; gives what it printed."""
    monkeypatch.setenv("DASK_CORRAL__COMMANDS_PER_MINUTE", "1000")
    monkeypatch.chdir(tmp_path)

    def run_it(name: str, *arguments: str, change: Mapping[str, str] | None = None) -> str:
        script = tmp_path / name
        text = (EXAMPLES / name).read_text()
        for old, new in (change or {}).items():
            assert old in text
            text = text.replace(old, new)
        script.write_text(text)
        done = subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, timeout=150
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_it


@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("leaves_nothing")
def test_jobs_of_several_workers(run: Run, tmp_path: Path) -> None:
    """An array, two jobs of two workers, and logs where they were asked for."""
    assert run("climatology.py", "--interface=lo") == "climatology (12, 90, 180)\n"
    assert len(list((tmp_path / "dask-logs").glob("*.log"))) == 2


@pytest.mark.real("pbs")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
def test_as_many_jobs_as_there_is_work_for(run: Run) -> None:
    """Futures as they are done."""
    assert run("sweep.py") == "best (1.0, 'x=3.0')\n"


@pytest.mark.timeout(180)
def test_as_many_jobs_as_there_is_work_for_without_pbs(run: Run) -> None:
    """On corral's own queue, which knows no directive of PBS."""
    change = {
        'backend="pbs"': 'backend="local"',
        'queue="workq"': 'interface="lo"',
        '"-l select=1:ncpus=1:mem=1GB", "-j oe"': "",
    }
    assert run("sweep.py", change=change) == "best (1.0, 'x=3.0')\n"


@pytest.mark.real("sge")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("leaves_nothing")
def test_grid_engine(run: Run) -> None:
    """Memory and slots by directives alone."""
    assert run("words.py") == "words 1000 500\n"


@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("leaves_nothing")
def test_gpus(run: Run) -> None:
    """Each task has a GPU to itself, and knows which."""
    assert re.fullmatch(r"inferred \[0, 1, 2, 3, 4, 5, 6, 7\] on \d\n", run("inference.py"))


@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("leaves_nothing")
def test_all_in_the_configuration(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script says nothing about its jobs."""
    (tmp_path / "dask").mkdir()
    shutil.copy(EXAMPLES / "corral.yaml", tmp_path / "dask")
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path / "dask"))
    printed = run("pipeline.py")
    assert "#SBATCH --hint=nomultithread\n" in printed
    assert printed.endswith("summary 4940\n")


@pytest.mark.real("slurm")
@pytest.mark.needs("testbed")
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("leaves_nothing")
def test_one_job_started_by_srun(slurm: Slurm, tmp_path: Path) -> None:
    """Four ranks: two of them work."""
    output = tmp_path / "job.out"
    line = f"srun --ntasks=4 --overlap {sys.executable} {EXAMPLES / 'runner.py'}"
    wants = ["--ntasks=4", "--nodes=2", "--mem=900", "--time=5", f"--output={output}"]
    job = slurm.run("sbatch", "--parsable", *wants, f"--wrap={line}").strip()
    assert slurm.exit_code(job) == 0, output.read_text()
    assert "squares 285 on 2\n" in output.read_text()
