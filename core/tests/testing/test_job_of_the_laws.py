"""A backend that refuses the request on which the laws are tried says so once, with what to declare."""

from __future__ import annotations

from pathlib import Path

import pytest

ACME = Path(__file__).parent / "acme"


def test_one_law_says_which_job_to_declare(pytester: pytest.Pytester) -> None:
    """The others would fail with the same words, or with none; they are skipped."""
    file = pytester.makepyfile(
        f"""
        import sys
        sys.path.insert(0, {str(ACME)!r})

        from corral.plugin.validation import NamedPlugin, assemble
        from corral.testing import BackendConformance
        from faults_of_actions import HasOneNode

        class TestSmall(BackendConformance):
            backend = "small"

            def manager(self, *around, **options):
                return assemble(NamedPlugin(name="small", plugin=HasOneNode()), [])
        """
    )
    laws = ["test_the_backend_takes_the_job_of_the_laws", "test_parse_keeps_the_shebang"]
    run = pytester.inline_run("-p", "no:randomly", "-p", "no:asyncio", *[f"{file}::TestSmall::{law}" for law in laws])
    passed, skipped, failed = run.listoutcomes()
    assert (len(passed), len(failed)) == (0, 1)
    said = str(failed[0].longrepr)
    assert said.startswith("small refuses the job on which the laws are tried, the kit's own: ")
    assert "there is one" in said
    assert "Declare one in TestSmall that it takes" in said
    assert "`job = Job(name='dask-conformance'" in said
    assert "declare `job = Job(…)`" in str(skipped[0].longrepr)
