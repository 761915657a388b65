"""The laws that every site keeps, as pytest tests."""

from __future__ import annotations

from corral.testing.explained import explains_declarations
from corral.testing.site_laws import backend
from corral.testing.site_laws.examples import ExampleLaws
from corral.testing.site_laws.facts import SiteFactLaws
from corral.testing.site_laws.nodes import NodeLaws
from corral.testing.site_laws.requests import RequestLaws
from corral.testing.site_laws.talk import TalkLaws


@explains_declarations
class SiteConformance(RequestLaws, NodeLaws, TalkLaws, SiteFactLaws, ExampleLaws):
    """Derive a test class from it, declare what is known, and pytest finds the laws. ::

        class TestPerlmutter(SiteConformance):
            site = "perlmutter"
            arguments = {"account": "m1234"}
            hosts = ("login12.perlmutter.nersc.gov", "nid001234.perlmutter.nersc.gov")
            environment = {"NERSC_HOST": "perlmutter"}
            examples = (
                Example("one-node", "https://docs.nersc.gov/jobs/examples/", {"cores": 256, "memory": "500GB"}),
            )
            golden = Path(__file__).parent / "golden"

    `examples` are compared with the scripts in `golden`, which ``CORRAL_GOLDEN=write pytest`` writes. Nothing is
    submitted, and no host is asked anything: the test runs on a laptop as well as on the machine.

    The backend's distribution brings what its batch system was asked and answered: each recorded conversation is held
    through the site, too. ``CORRAL_LAWS=all pytest`` tries all of the backend's laws that way.
    """

    def __init_subclass__(cls) -> None:
        if backend.are_wanted() and getattr(cls, "site", None):
            # pytest looks into classes for classes.
            cls.TestItsBackend = backend.through_site(cls)  # type: ignore[attr-defined]
