"""Laws about examples: what a centre documents, and what a site has ready-made, becomes the script that is expected."""

from __future__ import annotations

import re
from typing import Any

import pytest

from corral.errors import CorralError
from corral.testing.golden import Example, compare, golden_text, strangers
from corral.testing.silence import SilentHooks
from corral.testing.site_laws.declared import SiteLaws


class ExampleLaws(SiteLaws):
    """Of whole scripts."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "example" in metafunc.fixturenames:
            metafunc.parametrize("example", self.examples, ids=str)

    def test_an_example_becomes_this_script(self, example: Example) -> None:
        """To the letter, as it is in the folder `golden`; ``CORRAL_GOLDEN=write pytest`` writes it anew."""
        assert self.golden is not None, 'say golden = Path(__file__).parent / "golden"'
        house = self.make(**{**self.site_options, **example.site_options})
        hooks = self.hooks(house)
        group = self.group_of(house, example.arguments, example.group)
        job = hooks.prepare_job(job=self.request_of(group))
        compare(
            self.golden / f"{example.name}.sh",
            golden_text(example, self._call(example), hooks.render_script(job=job), job),
        )

    def test_examples_say_where_they_are_from(self) -> None:
        """Each has a source and a file, and each file has an example."""
        names = [example.name for example in self.examples]
        assert sorted(set(names)) == sorted(names), "two examples have one name"
        nowhere = [example.name for example in self.examples if not re.search(r"\w\.\w", example.source)]
        assert nowhere == [], "say the address of the page, or the file, that has them"
        if self.golden is not None:
            assert [] == strangers(self.golden, self.examples), f"no example has these files of {self.golden}"

    def test_every_group_can_be_had(self, house: Any, through: SilentHooks) -> None:
        """``Cluster(groups=["site.name"])``: the arguments are right, and the site itself takes them."""
        for name in getattr(house, "groups", None) or {}:
            try:
                job = through.prepare_job(job=self.request_of(self.group_of(house, {}, name)))
                through.render_script(job=job)
            except CorralError as error:
                pytest.fail(f"the group {name!r} cannot be had: {error}")
            assert job.resources.memory is not None, f"the group {name!r} does not say how much memory it has"

    def _call(self, example: Example) -> str:
        said: dict[str, Any] = {"site": self.site}
        if options := {**self.site_options, **example.site_options}:
            said["site_options"] = options
        if example.group is not None:
            said["groups"] = [f"{self.site}.{example.group}"]
        said |= {**self.arguments, **example.arguments}
        return f"Cluster({', '.join(f'{name}={value!r}' for name, value in said.items())})"
