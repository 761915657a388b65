"""Python's log as programs read it: each record of corral's says which cluster, group and job it is about."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import corral
from corral import Cluster
from corral.errors import JobsFailed
from corral.text.logs import FACTS, PREFIX, logger_of

pytestmark = pytest.mark.timeout(120)

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "logging.md"
SOURCES = Path(corral.__file__).parent


def records(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """corral's, as dictionaries."""
    return [vars(each) for each in caplog.records if each.name.split(".")[0] == "corral"]


def test_each_record_of_a_failure_names_its_cluster_its_group_and_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From the first submission to the end of a cluster all of whose jobs die; where it says nothing, it is None."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    caplog.set_level(logging.DEBUG, "corral")
    options = {"directory": str(tmp_path / "queue"), "cores": 3, "memory": "8GB"}
    with (
        Cluster("local", name="logged", memory="200MB", prologue=["exit 3"], backend_options=options) as cluster,
        pytest.raises(JobsFailed),
    ):
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=60)
    found = records(caplog)
    assert all(f"{PREFIX}{fact}" in each for each in found for fact in FACTS)
    failures = [each for each in found if each["levelno"] >= logging.WARNING]
    assert failures
    assert {(each["corral_cluster"], each["corral_group"]) for each in failures} == {("logged", "default")}
    died = {each["corral_job"] for each in failures if each["corral_job"]}
    assert {str(job.id) for job in cluster.jobs} >= died
    assert died
    named = [each for each in found if each["message"].startswith("cluster logged")]
    assert {each["corral_cluster"] for each in named} == {"logged"}
    assert all("text/logs" not in each["pathname"] for each in found)
    submitted = next(each for each in found if each["message"].startswith("cluster logged: submitted 1 job of group"))
    assert (submitted["corral_group"], submitted["funcName"]) == ("default", "_submit")


def test_what_a_program_adds_stays() -> None:
    """Its own extras, its own formatter; a percent sign in a name is no placeholder."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(corral_cluster)s|%(corral_job)s|%(mine)s|%(message)s"))
    plain = logging.getLogger("corral.test")
    plain.addHandler(handler)
    try:
        log = logger_of("corral.test")
        log.warning("it is %d %% full", 5, cluster="50%s", job=("7_0", "7_1"), extra={"mine": 1})
        log.warning("nothing is known", extra={"mine": 2})
        log.debug("%s", 1 / 1, cluster="quiet", extra={"mine": 3})
    finally:
        plain.removeHandler(handler)
    assert stream.getvalue() == "50%s|7_0 7_1|1|cluster 50%s: it is 5 % full\nNone|None|2|nothing is known\n"


def test_no_attribute_is_one_of_pythons_own() -> None:
    """`logging` refuses to have its own overwritten, now and in versions to come."""
    assert not {f"{PREFIX}{fact}" for fact in FACTS} & set(vars(logging.makeLogRecord({})))


def test_to_import_corral_adds_no_handler_and_sets_no_level() -> None:
    """Both are the program's."""
    code = (
        "import json, logging, corral.cluster.engine, corral.remote.cluster, corral.cli; "
        "log = logging.getLogger('corral'); print(json.dumps([len(log.handlers), log.level, log.propagate]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0, logging.NOTSET, True]


def test_every_message_of_a_cluster_goes_the_same_way() -> None:
    """No module logs past `logger_of`; what the command line and the kit set up or listen to aside."""
    found = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if re.search(
            r'^logger = logging\.|getLogger\("corral[^)]*\)\.(debug|info|warning|error)', path.read_text(), re.MULTILINE
        )
    }
    assert found == set()


def test_every_attribute_is_documented() -> None:
    """A formatter is written from the page."""
    text = DOCUMENTATION.read_text()
    assert [fact for fact in FACTS if f"`{PREFIX}{fact}`" not in text] == []
