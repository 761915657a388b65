"""Laws about facts: how a site is recognised, where it was read, and that what it names is there."""

from __future__ import annotations

import datetime
import fnmatch
import re
from collections.abc import Mapping
from typing import Any

import pytest
from attrs import fields

from corral.errors import CorralError, InvalidRequest
from corral.plugin.sites import DescribedSite, SiteDescription, SiteFacts, SiteOption
from corral.request.arguments import KNOWN
from corral.request.settings import Settings
from corral.request.sites import defaults_here
from corral.testing.silence import silence
from corral.testing.site_laws.declared import (
    SiteLaws,
    accepted,
    description_of,
    options_of,
)

#: Hosts and variables that are nobody's, or somebody else's.
NOBODYS_HOSTS = (
    "", "localhost", "localhost.localdomain", "login", "login1", "login01.example.org", "n1", "node001", "nid001234",
    "c1", "compute-1-1", "gpu01", "ip-10-0-0-1.ec2.internal", "laptop", "laptop.local", "raspberrypi", "b1", "r01",
)  # fmt: skip
NOBODYS_VARIABLES: tuple[Mapping[str, str], ...] = (
    {},
    {"USER": "mary", "HOME": "/home/mary", "PATH": "/usr/bin:/bin", "HOSTNAME": "login1"},
    {"SLURM_CLUSTER_NAME": "cluster", "SLURM_JOB_ID": "1", "CLUSTER": "cluster", "SITE": "site", "LMOD_SYSTEM": "x"},
    {"PBS_JOBID": "1.server", "SGE_CLUSTER_NAME": "p6444", "SGE_ROOT": "/opt/sge", "LSB_JOBID": "1"},
)


class SiteFactLaws(SiteLaws):
    """Of `SiteFacts`, and of all that a site names."""

    @pytest.fixture
    def facts(self, house: Any) -> SiteFacts:
        facts = getattr(house, "facts", None)
        if facts is None:
            assert not self.hosts, "it has no facts: say facts = SiteFacts(title=…, hosts=…)"
            pytest.skip("it has no facts: it is used where it is named")
        assert isinstance(facts, SiteFacts), f"its facts are a {type(facts).__name__}, and no SiteFacts"
        return facts

    @pytest.fixture
    def description(self, house: Any) -> SiteDescription:
        if (description := description_of(house)) is None:
            pytest.skip("it has no description")
        return description

    # --- detection -----------------------------------------------------------------------------------------------

    def test_the_site_is_recognised(self, facts: SiteFacts) -> None:
        """By the name of each of its hosts alone, and by each of its variables alone."""
        unseen = [host for host in self.hosts if not facts.evidence([host], {})]
        assert unseen == [], f"none of its patterns ({', '.join(facts.hosts) or 'none'}) is for these hosts"
        for name in facts.environment:
            value = self.environment.get(name)
            assert value is not None, f"say what {name} is there: environment = {{{name!r}: …}}"
            assert facts.evidence([], {name: value}), f"{name}={value} is not like {facts.environment[name]!r}"

    def test_every_pattern_is_tried(self, facts: SiteFacts) -> None:
        """A pattern for which there is no host may never have met one."""
        idle = [
            pattern
            for pattern in facts.hosts
            if not any(fnmatch.fnmatchcase(host.lower(), pattern.lower()) for host in self.hosts)
        ]
        assert idle == [], "name a host in `hosts` for each of these"
        assert facts.hosts or facts.environment, "nothing says where it is: it is used only by those who name it"

    def test_no_other_host_is_taken_for_the_site(self, facts: SiteFacts) -> None:
        """A laptop, a container, another centre's login node, the same variable with another value."""
        taken = [host for host in (*NOBODYS_HOSTS, *self.strangers) if facts.evidence([host], {})]
        assert taken == [], "these hosts are not the site's"
        others = [*NOBODYS_VARIABLES, *({name: value} for name in facts.environment for value in ("", "elsewhere"))]
        assert [each for each in others if facts.evidence([], each)] == [], "these are not the site's variables"

    # --- where it was read -----------------------------------------------------------------------------------------

    def test_facts_say_where_they_were_read_and_when(self, facts: SiteFacts) -> None:
        """Centres change; whoever looks after it must know what to read again."""
        assert facts.title.strip(), "say its title, as the centre writes it"
        assert facts.sources, "say where the facts were read: sources=(…,)"
        assert [each for each in facts.sources if not re.search(r"\w\.\w|\s", each)] == [], "these are no addresses"
        try:
            day = datetime.date.fromisoformat(facts.checked)
        except ValueError:
            pytest.fail(f"checked={facts.checked!r} is no day: write it like 2026-11-29")
        # A day that has begun somewhere.
        tomorrow = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)
        assert day <= tomorrow, f"nobody has read anything on {day} yet"

    # --- what it names ---------------------------------------------------------------------------------------------

    def test_defaults_are_arguments(self, house: Any) -> None:
        """Of `Cluster`, of a group, or settings; and they have values that these take."""
        try:
            said = self.defaults_of(house)
            names = {attribute.name for attribute in fields(Settings)}
            Settings(**{name: value for name, value in said.items() if name in names})
            self.group_of(house, {})
        except CorralError as error:
            pytest.fail(f"a default cannot be used: {error}")

    def test_what_is_required_is_explained(self, house: Any) -> None:
        """Names of arguments, each with a sentence that says where its value is found."""
        required: Mapping[str, str] = getattr(house, "required", None) or {}
        assert set() == set(required) - set(KNOWN), "there are no such arguments"
        assert [name for name, words in required.items() if len(words.split()) < 2] == [], "say where it is found"
        # One with a variable of the user's is a default for those who have set it.
        always = defaults_here(self.site, getattr(house, "defaults", None) or {}, {})
        defaults = always.keys() | (self.defaults_of(house).keys() - self.arguments.keys())
        assert set() == set(required) & defaults, "these have a default and need none"

    def test_groups_are_made_of_arguments(self, house: Any) -> None:
        """Of `WorkerGroup`, by names that can be written after a dot."""
        for name, arguments in (getattr(house, "groups", None) or {}).items():
            assert re.fullmatch(r"[A-Za-z][\w-]*", name), f"the group {name!r}: use letters, digits, _ and -"
            group_arguments = set(self.group_of(house, {}).argument_names())
            assert set() == set(arguments) - group_arguments, f"the group {name!r} has no such arguments"

    def test_the_backend_has_such_options(self, house: Any) -> None:
        """`backend` is installed, and takes all of `backend_options`."""
        try:
            self.hooks(house)
        except CorralError as error:
            pytest.fail(f"{house.backend!r} with {dict(options_of(house))} cannot be had: {error}")

    def test_making_it_does_nothing_else(self, house: Any) -> None:
        """`corral sites` makes all of them, on any host."""
        # What finds it reads files; one that is written in a file is read from that.
        make = type(house) if isinstance(house, DescribedSite) else self.make
        with silence:
            make(**self.site_options)

    # --- options ---------------------------------------------------------------------------------------------------

    def test_options_are_explained(self, description: SiteDescription) -> None:
        """Each says what it is, and its pattern can be read."""
        for name, option in description.options.items():
            assert re.fullmatch(r"[A-Za-z_]\w*", name), f"the option {name!r}: use letters, digits and _"
            assert len(option.help.split()) > 1, f"the option {name!r} does not say what it is"
            re.compile(option.pattern)
            wordless = [line for line in option.directives if "{value}" not in line]
            assert wordless == [] or len(option.choices) == 1, f"the option {name!r} has no {{value}} in {wordless}"

    def test_options_do_something(self, description: SiteDescription) -> None:
        """Two values of each give two requests."""
        for name, option in description.options.items():
            values = self._values(name, option)
            got = []
            for value in values[:2]:
                hooks = self.hooks(self.make(**{**self.site_options, name: value}))
                got.append([accepted(hooks, asked) for asked in self.requests()])
            assert got[0] != got[1], f"{name}={values[0]!r} and {name}={values[1]!r} make the same requests"

    def test_wrong_options_are_refused(self, description: SiteDescription) -> None:
        """One that is not there, one that is missing, one that would begin another line."""
        wrong = [{**self.site_options, "no_such_option": "x"}]
        for name, option in description.options.items():
            value = self._values(name, option)[0]
            wrong += [{**self.site_options, name: bad} for bad in ("", f"{value}\n#SBATCH --wrap=1", f"{value}\0")]
            if option.choices:
                wrong.append({**self.site_options, name: "-".join(option.choices)})
            if option.required:
                wrong.append({other: said for other, said in self.site_options.items() if other != name})
        for options in wrong:
            try:
                self.make(**options)
            except InvalidRequest:
                continue
            pytest.fail(f"it is made with {options}")

    def _values(self, name: str, option: SiteOption) -> tuple[str, str]:
        """Two values of an option."""
        values = [*self.option_values.get(name, ()), *option.choices]
        assert len(values) > 1, f'say two values of it: option_values = {{{name!r}: ("…", "…")}}'
        return values[0], values[1]
