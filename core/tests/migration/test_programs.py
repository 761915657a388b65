"""Programs of dask-jobqueue's users: what is said is said in corral's words, and all else stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import pytest

from corral.errors import InvalidRequest
from corral.migration.files import migrate
from corral.migration.jobqueue.words import CLUSTER_ARGUMENTS, JOB_ARGUMENTS, KINDS
from corral.migration.values import Migrated
from corral.migration.words import OF_ALL
from corral.request.arguments import CLUSTER_ARGUMENTS as OURS
from corral.request.arguments import GROUP_ARGUMENTS
from corral.request.drawing import draw

IMPORT = "from dask_jobqueue import SLURMCluster\n"


def migrated(text: str) -> Migrated:
    return migrate(text, "program.py")


def call(text: str, name: str = "Cluster") -> dict[str, ast.expr]:
    """The named arguments of the only call of that."""
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name
    ]
    [node] = found
    assert node.args == []
    return {str(each.arg): each.value for each in node.keywords}


def literals(text: str) -> dict[str, Any]:
    return {name: ast.literal_eval(value) for name, value in call(text).items()}


def lost(found: Migrated) -> list[str]:
    return [str(remark) for remark in found.remarks if remark.is_lost]


def test_a_call_in_its_program() -> None:
    """The import and the call change, and not a blank of the rest; the order and the notes are the author's."""
    before = (
        '"""Mine.  """\n'
        "import os;  from dask_jobqueue import SLURMCluster\n\n"
        "cluster = SLURMCluster(\n"
        "    cores=4,   # of each job\n"
        "    # all of a node's\n"
        "    memory='8 GB',\n"
        "    project='bio',\n"
        "    walltime='00:10:00',\n"
        "    env_extra=[\n"
        "        'export A=1',  # for the model\n"
        "        'ulimit -c 0',\n"
        "    ],\n"
        ")\n"
        "cluster.scale( 2 )  # jobs\n"
    )
    assert migrated(before).text == (
        '"""Mine.  """\n'
        "import os;  from corral import Cluster\n\n"
        "cluster = Cluster(\n"
        '    backend="slurm",\n'
        "    cores=4,  # of each job\n"
        "    memory='8 GB',  # all of a node's\n"
        "    account='bio',\n"
        "    walltime='00:10:00',\n"
        "    prologue=[\n"
        "        'export A=1',  # for the model\n"
        "        'ulimit -c 0',\n"
        "    ],\n"
        "    processes=4,\n"
        ")\n"
        "cluster.scale( 2 )  # jobs\n"
    )


def test_notes_on_what_is_no_more_stay_above() -> None:
    text = migrated(IMPORT + "c = SLURMCluster(cores=1, memory='1GB',\n    nanny=False,  # it leaks\n)\n").text
    assert "# nanny: it leaks\nc = Cluster(" in text


@pytest.mark.parametrize("class_name", KINDS)
def test_what_is_printed_is_what_corral_takes(class_name: str) -> None:
    """A script can be drawn of it, by the same backend."""
    every: Mapping[str, Mapping[str, Any]] = {
        "HTCondorCluster": {"disk": "2GB", "job_extra_directives": {"+Flavour": '"long"'}},
        "SGECluster": {"resource_spec": "mem_free=4G", "job_extra_directives": ["-pe smp 4"]},
        "LSFCluster": {"walltime": "01:30", "use_stdin": True},
        "OARCluster": {"memory_per_core_property_name": "memcore"},
    }
    own = every.get(class_name, {"job_script_prologue": ["module load x"]})
    said = ", ".join(f"{name}={value!r}" for name, value in {"cores": 4, "memory": "4GB", **own}.items())
    found = migrated(f"import dask_jobqueue\nx = dask_jobqueue.{class_name}({said})\n")
    assert lost(found) == []
    assert found.text.startswith("import corral\nx = corral.Cluster(")
    arguments = literals(found.text)
    assert arguments["backend"] == KINDS[class_name].backend
    assert str(draw(arguments).script()).startswith("#!")


#: Arguments whose values must be known to be translated.
LOOKED_INTO = {
    "nanny", "protocol", "worker_command", "worker_extra_args", "extra", "header_skip", "job_directives_skip",
    "config_name", "job_cls", "scheduler_cls", "dashboard_address", "host", "lsf_units", "use_stdin",
    "submit_command_extra", "cancel_command_extra",
}  # fmt: skip


@pytest.mark.parametrize("class_name", KINDS)
def test_what_only_the_program_knows_stays_its_own(class_name: str) -> None:
    """A variable in the place of each argument is in that of one of corral's, or is told with what to do."""
    known = {*OURS, *GROUP_ARGUMENTS, "n_workers", "asynchronous", "silence_logs", "loop"}
    for argument in sorted({*JOB_ARGUMENTS, *CLUSTER_ARGUMENTS, *KINDS[class_name].own}):
        found = migrated(f"from dask_jobqueue import {class_name}\nx = {class_name}({argument}=its_value)\n")
        arguments = call(found.text)
        assert set(arguments) <= known
        carried = [value for value in arguments.values() if "its_value" in ast.unparse(value)]
        told = [
            remark.is_lost
            for remark in found.remarks
            if (remark.is_lost and remark.said.startswith(f"{argument}=its_value: "))
            or remark.said.startswith(f"{argument}=its_value is left out")
            or f"{argument}= is not an argument" in remark.said
        ]
        is_htcondors = class_name == "HTCondorCluster" and argument in ("job_extra", "job_extra_directives")
        assert bool(carried) != bool(told), (argument, found.remarks)
        assert any(told) == (argument in LOOKED_INTO or is_htcondors), argument


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("resource_spec=spec", "extra_directives=[f'-l {spec}']"),
        ("resource_spec=d['x']", "extra_directives=[f\"-l {d['x']}\"]"),
        ('resource_spec=d["x"]', "extra_directives=['-l ' + str(d['x'])]"),
        ("job_extra=['-m n', f'-M {you}']", "extra_directives=['-m n', f'-M {you}']"),
        ("job_extra=more", "extra_directives=more"),
        ("job_extra=more, resource_spec='a=1'", "extra_directives=['-l a=1', *more]"),
        ("job_extra=['-m n'], resource_spec=spec", "extra_directives=['-m n', f'-l {spec}']"),
        ("project=f'p-{n}'", "account=f'p-{n}'"),
        ("local_directory=os.getenv('TMPDIR', '/tmp')", "local_directory=os.getenv('TMPDIR', '/tmp')"),
        ("scheduler_options={'port': port, 'dashboard_address': ':0'}", "scheduler_port=port"),
        ("job_script_prologue=first + second", "prologue=first + second"),
    ],
)
def test_values_that_the_program_makes(given: str, ours: str) -> None:
    text = migrated(f"from dask_jobqueue import PBSCluster\nx = PBSCluster(cores=1, memory='1GB', {given})\n").text
    name = ours.partition("=")[0]
    assert f"{name}={ast.unparse(call(text)[name])}" == ours


def test_the_memory_and_the_cores_that_only_the_batch_system_sees() -> None:
    found = migrated(IMPORT + "SLURMCluster(cores=n, processes=m, memory='8GB', job_cpu=16, job_mem=f'{k}G')\n")
    assert {name: ast.unparse(value) for name, value in call(found.text).items()} == {
        "backend": "'slurm'", "cores": "16", "processes": "m", "memory": "'8GB'", "threads": "n // m",
        "walltime": "'00:30:00'", "extra_directives": "['--mem=' + str(f'{k}G')]",
    }  # fmt: skip


@pytest.mark.parametrize(
    "more", ["job_cpu=32", "processes=4, job_cpu=32", "worker_extra_args=['--nthreads 2']", "job_cpu=ncores"]
)
def test_there_are_as_many_workers_as_before(more: str) -> None:
    """Also where corral would divide the cores otherwise, by what else is said."""
    text = migrated(IMPORT + f"SLURMCluster(cores=16, memory='8GB', {more})\n").text.replace("ncores", "32")
    assert draw(literals(text)).resources("default").processes == 4


def test_workers_of_cores_that_only_the_program_knows() -> None:
    """Without a number of them, there are others for few cores; that is told."""
    told = "cores=n: two or three have one worker here"
    assert told in str(migrated(IMPORT + "SLURMCluster(cores=n, memory='8GB')\n").remarks)
    assert told not in str(migrated(IMPORT + "SLURMCluster(cores=n, memory='8GB', processes=2)\n").remarks)


def test_what_is_the_configurations_is_left_to_it() -> None:
    """A call that does not say its size has more in the configuration, a walltime, too."""
    found = migrated(IMPORT + "\ncluster = SLURMCluster(queue='long')\n")
    assert {remark.place for remark in found.remarks} == {"program.py:3"}
    assert literals(found.text) == {"backend": "slurm", "queue": "long"}
    assert "corral migrate ~/.config/dask/jobqueue.yaml" in str(found.remarks)
    assert lost(found) == []


# --- dictionaries -----------------------------------------------------------------------------------------------


def test_arguments_in_a_dictionary_are_translated_where_they_are() -> None:
    """And what is said once is not said again beside it."""
    found = migrated(
        IMPORT + "options = {'cores': 8, 'memory': '16GB', 'project': 'bio'}\n"
        "c = SLURMCluster(walltime='02:00:00', processes=2, **options)\n"
    )
    assert 'options = {"cores": 8, "memory": \'16GB\', "account": \'bio\'}\n' in found.text
    assert "c = Cluster(backend=\"slurm\", walltime='02:00:00', processes=2, **options)\n" in found.text
    assert lost(found) == []


def test_notes_in_a_dictionary_stay() -> None:
    """As those in a call."""
    found = migrated(
        IMPORT + "options = {\n    'cores': 8,  # of each job\n    # who pays\n    'project': 'bio',\n"
        "    'nanny': False,  # it leaks\n}\nc = SLURMCluster(memory='1GB', **options)\n"
    )
    assert found.text.splitlines()[1:-1] == [
        "# nanny: it leaks",
        "options = {",
        '    "cores": 8,  # of each job',
        "    \"account\": 'bio',  # who pays",
        '    "processes": 4,',
        '    "walltime": "00:30:00",',
        "}",
    ]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("def f(**kw): return SLURMCluster(**kw)", "an error names them"),
        (
            "o = {'cores': 1}\no['project'] = 'bio'\nSLURMCluster(**o)",
            "program.py:3: o['project']: it is account= here",
        ),
        ("o = {'cores': 1}\no.update(more)\nSLURMCluster(**o)", "program.py:3: o.update(more): change"),
        ("o = {'resource_spec': 'a'}\nSLURMCluster(job_extra=['b'], **o)", "put both together"),
    ],
)
def test_what_is_added_to_a_dictionary_is_told(lines: str, told: str) -> None:
    assert told in " ".join(lost(migrated(IMPORT + lines + "\n")))


# --- names ------------------------------------------------------------------------------------------------------


def test_other_names_for_the_same() -> None:
    """A class under another name, a module under another name, a part of it."""
    text = migrated(
        "import dask_jobqueue as dj\nimport dask_jobqueue.lsf\nfrom dask_jobqueue.pbs import PBSCluster as P\n"
        "a = P(cores=1, memory='1GB')\nb = dj.SLURMCluster()\nc = dask_jobqueue.lsf.LSFCluster()\n"
    ).text
    assert text.splitlines()[:3] == ["import corral", "import corral", "from corral import Cluster"]
    assert [line.partition("(")[0] for line in text.splitlines()[3:]] == [
        "a = Cluster", "b = corral.Cluster", "c = corral.Cluster",
    ]  # fmt: skip


def test_a_cluster_of_the_programs_own_keeps_its_name() -> None:
    text = migrated(IMPORT + "from distributed.deploy import Cluster\nx = SLURMCluster()\n").text
    assert text.startswith("import corral\n")
    assert 'x = corral.Cluster(backend="slurm")\n' in text


def test_a_star_imports_what_is_used() -> None:
    assert migrated("from dask_jobqueue import *\nx = OARCluster()\n").text.startswith("from corral import Cluster\n")


def test_types_are_types() -> None:
    text = migrated(IMPORT + "def f(c: SLURMCluster | None) -> bool:\n    return isinstance(c, SLURMCluster)\n").text
    assert text.endswith("def f(c: Cluster | None) -> bool:\n    return isinstance(c, Cluster)\n")


@pytest.mark.parametrize("use", ["class Ours(SLURMCluster):\n    pass", "kinds = {'slurm': SLURMCluster}", "pass"])
def test_what_is_not_called_goes_on_by_the_same_name(use: str) -> None:
    """From corral-jobqueue; the program works, and whoever runs it is told why."""
    found = migrated(f"{IMPORT}{use}\n")
    assert found.text == f"from corral_jobqueue import SLURMCluster\n{use}\n"
    assert "pip install corral-jobqueue" in " ".join(lost(found))


def test_a_runner_is_ranks() -> None:
    found = migrated(
        "from dask_jobqueue.slurm import SLURMRunner\n"
        "with SLURMRunner(scheduler_file='s.json', scheduler_options={'port': 1, 'x': 2}) as runner: pass\n"
    )
    assert found.text.startswith("from corral.allocation.ranks import Ranks\nwith Ranks(scheduler_file='s.json', ")
    assert ast.unparse(call(found.text, "Ranks")["scheduler_port"]) == "1"
    assert "'x'" in " ".join(lost(found))


def test_a_file_by_which_only_the_tasks_find_each_other_is_left_out() -> None:
    found = migrated("from dask_jobqueue.slurm import SLURMRunner\nr = SLURMRunner(scheduler_file='s-{job_id}')\n")
    assert found.text.endswith("r = Ranks()\n")
    assert "left out" in str(found.remarks[0])


def test_dask_mpi_is_corral_mpi() -> None:
    found = migrated("from dask_mpi import initialize as go\nimport dask_mpi\ngo(nthreads=2)\ndask_mpi.execute(f)\n")
    assert found.text == (
        "from corral_mpi import initialize as go\nimport corral_mpi as dask_mpi\ngo(nthreads=2)\ndask_mpi.execute(f)\n"
    )
    assert lost(found) == []


# --- what follows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("print(cluster.job_header)", "cluster.job_script()"),
        ("cluster.start_workers(3)", "cluster.scale(n)"),
        ("cluster.adapt(minimum=0, worker_key=f)", "Leave it out"),
        ("dask.config.set({'jobqueue.slurm.queue': 'x'})", "corral.backends.slurm"),
    ],
)
def test_methods_and_settings_of_theirs_are_told(line: str, told: str) -> None:
    [remark] = lost(migrated(f"{IMPORT}cluster = SLURMCluster()\n{line}\n"))
    assert remark.startswith("program.py:3: ")
    assert told in remark


def test_remarks_are_in_corrals_words() -> None:
    """What is different everywhere is said once; no word of dask-jobqueue's is a cure."""
    found = migrated(IMPORT + "a = SLURMCluster(cores=1, memory='1GB', worker_command='x')\nb = SLURMCluster()\n")
    said = [str(remark) for remark in found.remarks]
    assert sum(OF_ALL in each for each in said) == 1
    assert not [each for each in said if "job_script_prologue=" in each or "protocol=" in each]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from dask_jobqueue import (\n", "program.py:1: this is not Python"),
        ("import dask\n", "program.py has nothing of dask-jobqueue's"),
        ("", "program.py has nothing of dask-jobqueue's"),
        ("x = '\0'", "this is not Python"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        migrated(text)


def test_bytes_are_not_characters() -> None:
    """Positions in a syntax tree are bytes."""
    text = migrated(IMPORT + "'é'; x = SLURMCluster(cores=1, memory='1GB', queue='ü'); 'ß'\n").text
    assert "queue='ü'" in text
    assert text.endswith("; 'ß'\n")
    assert text.splitlines()[1].startswith("'é'; x = Cluster(")


def test_windows_ends_of_lines_stay() -> None:
    before = "# a\n" + IMPORT + "x = SLURMCluster(\n    cores=1,\n    memory='1GB', # all\n)\n"
    assert migrated(before.replace("\n", "\r\n")).text == migrated(before).text.replace("\n", "\r\n")


def test_what_nobody_could_have_written_is_refused() -> None:
    """Without a traceback."""
    with pytest.raises(InvalidRequest):
        migrated(IMPORT + "x = " + "-" * 5000 + "1\n")


def test_lines_of_a_text_are_not_indented() -> None:
    """A value of several lines moves, unless that would change it."""
    before: Mapping[str, str] = {"prologue": 'f"""a\n  {b}""".split("\\n")'}
    text = migrated(IMPORT + f"if x:\n    c = SLURMCluster(job_script_prologue={before['prologue']})\n").text
    assert ast.unparse(call(text)["prologue"]) == ast.unparse(ast.parse(before["prologue"], mode="eval"))
