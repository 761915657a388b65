"""What a cluster is started from."""

from __future__ import annotations

from attrs import frozen
from distributed import Security

from corral.cluster.registry import Entry
from corral.request.blueprint import Blueprint
from corral.security.credentials import Credentials, secured


@frozen(kw_only=True)
class Basis:
    """A cluster before it starts: what it is, who may connect, and what other processes are told of it."""

    blueprint: Blueprint
    #: They know no address yet.
    credentials: Credentials
    security: Security
    entry: Entry

    @classmethod
    def new(cls, blueprint: Blueprint) -> Basis:
        """For a cluster that this process has for itself."""
        credentials, security = secured(
            blueprint.security, cluster=blueprint.name, uuid=blueprint.uuid, created=blueprint.created
        )
        return cls(blueprint=blueprint, credentials=credentials, security=security, entry=Entry.of(blueprint))
