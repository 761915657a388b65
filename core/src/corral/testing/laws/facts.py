"""Laws about facts: what a backend says of its batch system agrees with what its jobs were seen to have."""

from __future__ import annotations

import fnmatch
import re

from corral.testing.driving import converse
from corral.testing.laws.declared import Laws
from corral.testing.recordings import Inside
from corral.testing.silence import SilentHooks


class FactLaws(Laws):
    """Of `BackendFacts`."""

    def test_what_a_job_is_told_of_itself_is_told_to_no_other(self, hooks: SilentHooks, inside: Inside) -> None:
        """Its variables are among `BackendFacts.enclosing`: without them, what was its environment is no job's."""
        enclosing = self._facts().enclosing
        environ = {
            name: value
            for name, value in inside.environ_from(self.transcripts).items()
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in enclosing)
        }
        seen = converse(hooks.read_allocation(environ=environ), lambda _: "")
        assert seen is None, f"still taken for a job: {sorted(environ)}"

    def test_what_finds_the_server_is_no_jobs(self) -> None:
        """`BackendFacts.carried` follows a scheduler into its job; what is told of a job does not."""
        facts = self._facts()
        both = [name for name in facts.carried if any(fnmatch.fnmatchcase(name, each) for each in facts.enclosing)]
        assert both == []

    def test_its_own_scripts_are_known_by_their_directives(self, hooks: SilentHooks) -> None:
        """`BackendFacts.directives` matches a line of each: `corral migrate` must know whose a script is."""
        patterns = self._facts().directives
        script = str(hooks.render_script(job=hooks.prepare_job(job=self.job)))
        assert not patterns or any(re.match(pattern, line) for pattern in patterns for line in script.splitlines())
