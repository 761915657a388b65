"""What is read from a site's ``lsf.conf``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corral.plugin import Job, Resources
from corral_lsf import LSF


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ("LSF_UNIT_FOR_LIMITS=MB\n", ["-M 32768", "mem=32768"]),
        ("LSF_UNIT_FOR_LIMITS=KB\n  LSF_UNIT_FOR_LIMITS = g  # the last one counts\n", ["-M 32", "mem=32"]),
        ("#LSF_UNIT_FOR_LIMITS=MB\nLSB_JOB_MEMLIMIT=y\n", ["-M 33554432", "mem=32768"]),
        (None, ["-M 33554432", "mem=32768"]),
    ],
)
def test_the_unit_of_limits_is_read_from_the_configuration_of_this_host(
    conf: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who asks for 32 GiB must get 32 TiB, or a refusal, because a site has another unit."""
    if conf is not None:
        (tmp_path / "lsf.conf").write_text(conf)
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    job = Job(name="x", resources=Resources(memory=32 * 2**30))
    written = str(LSF().render_script(LSF().prepare_job(job)))
    for each in expected:
        assert re.search(rf"{each}\b", written), written
    assert LSF(memory_unit="KB").memory_unit == "KB", "an option wins"


def test_a_unit_that_is_none_of_ours_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than asking for a thousandth."""
    (tmp_path / "lsf.conf").write_text("LSF_UNIT_FOR_LIMITS=PB\n")
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    with pytest.raises(ValueError, match="memory_unit"):
        LSF()
