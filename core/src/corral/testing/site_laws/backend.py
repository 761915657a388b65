"""All laws of the backend with the site around it: a class for pytest, where somebody wants that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pluggy
from attrs import evolve
from hypothesis import strategies as st

from corral.plugin import discovery
from corral.plugin.values import Job
from corral.testing.conformance import BackendConformance
from corral.testing.installed import installed_plugins
from corral.testing.shipped import laws_of
from corral.testing.site_laws.declared import described_nodes, options_of

if TYPE_CHECKING:
    from corral.testing.site_laws.declared import SiteLaws

#: ``CORRAL_LAWS=all pytest`` tries all laws of the backend through the site, too.
SWITCH = "CORRAL_LAWS"


def are_wanted() -> bool:
    """True if all laws of the backend are to be tried through a site."""
    return os.environ.get(SWITCH) == "all"


def through_site(site: type[SiteLaws]) -> type[BackendConformance] | None:
    """The backend's laws, to be tried through this site with requests that it takes; None if it brings none."""
    tests = site()
    with tests.there():
        house = tests.make(**site.site_options)
        fits = tests.requests()[0]
    laws = laws_of(house.backend, options_of(house))
    if laws is None:
        return None
    # The backend's own is for the fields that a site does not look at.
    job = evolve(laws.job, resources=fits.resources, walltime=fits.walltime, queue=fits.queue, account=fits.account)

    def manager(self: BackendConformance, *around: object, **options: Any) -> pluggy.PluginManager:
        said = {**self.options, **options_of(house), **options}
        return discovery.load(house.backend, options=said, plugins=[house, *around], among=installed_plugins())

    def jobs(self: BackendConformance) -> st.SearchStrategy[Job]:
        others = laws.jobs(self)
        if not described_nodes(house):
            return others
        # What a whole node has need not be a number that the backend can write.
        prepare = manager(self).hook.prepare_job
        exact = [job for job in tests.requests() if (once := prepare(job=job)) == prepare(job=once)]
        kept = ("name", "resources", "walltime", "queue", "account")
        return st.builds(
            lambda asked, other: evolve(other, **{name: getattr(asked, name) for name in kept}),
            st.sampled_from(exact),
            others,
        )

    changes = {"manager": manager, "jobs": jobs, "job": job, "__doc__": "Its backend's laws, through the site."}
    return type("TestItsBackend", (laws,), changes)
