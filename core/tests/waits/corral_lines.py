"""The embedded queue, as if it were a batch system of a centre."""

from attrs import evolve, frozen

from corral.local.plugin import Local


@frozen(kw_only=True)
class Lines(Local):
    facts = evolve(Local.facts, is_everywhere=False, carried=("LINES_SERVER",))
