"""TLS credentials of one cluster, and the private file through which its jobs get them."""

from __future__ import annotations

import datetime
import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import asdict, field, frozen

from corral._version import __version__
from corral.environment.program import Program
from corral.environment.versions import mismatch
from corral.errors import CredentialsError, HostUnreachable, LoginRefused, NotPrivate
from corral.host.home import Home
from corral.host.private import open_private_folder

if TYPE_CHECKING:
    from distributed import Security

#: A day back, for hosts whose clocks disagree; longer than any queue's wait and walltime together.
_VALID_BEFORE = datetime.timedelta(days=1)
_VALID_AFTER = datetime.timedelta(days=730)


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(values)


def _program(value: Program | dict[str, Any]) -> Program:
    return value if isinstance(value, Program) else Program(**value)


@frozen(kw_only=True)
class Credentials:
    """Where a cluster's scheduler listens, and what proves that somebody belongs to it.

    `ca`, `certificate` and `key` are PEM texts, all of them or none: without them the cluster talks plain TCP.
    """

    cluster: str
    uuid: str = field(factory=lambda: uuid.uuid4().hex)
    #: Seconds since the epoch.
    created: float = field(factory=time.time)
    #: Every address of the scheduler, the likeliest first: ``tls://10.0.0.1:4000``.
    addresses: tuple[str, ...] = field(default=(), converter=_texts)
    #: What precedes every path of its dashboard, and is as secret as the key.
    dashboard_prefix: str = field(default="", repr=False)
    ca: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    #: Of the one who made the cluster.
    program: Program = field(factory=Program, converter=_program, repr=False)
    #: Of corral, where the cluster was made.
    version: str = __version__

    @classmethod
    def create(cls, *, cluster: str, **identity: Any) -> Credentials:
        """New credentials with a certificate of their own."""
        certificate, key = _self_signed(cluster)
        return cls(cluster=cluster, ca=certificate, certificate=certificate, key=key, **identity)

    @classmethod
    def of(cls, security: Security, **identity: Any) -> Credentials:
        """What jobs need to join a cluster that has certificates of somebody else's making."""
        tls = security.get_tls_config_for_role("worker")
        return cls(ca=_pem(tls.get("ca_file")), certificate=_pem(tls.get("cert")), key=_pem(tls.get("key")), **identity)

    def security(self) -> Security:
        """What distributed's scheduler, workers and clients take; TLS both ways, or nothing."""
        from distributed import Security

        from corral.security.membership import ClusterSecurity

        if self.key is None:
            return ClusterSecurity(Security(require_encryption=False))
        certificates = {
            f"tls_{role}_{part}": text
            for role in ("scheduler", "worker", "client")
            for part, text in (("cert", self.certificate), ("key", self.key))
        }
        return ClusterSecurity(Security(require_encryption=True, tls_ca_file=self.ca, **certificates))

    def write(self, path: str | os.PathLike[str], *, home: Home | None = None) -> None:
        """Write the file that jobs read: new, private, and on the disk when this returns.

        Parameters
        ----------
        home
            The folder of corral's own that the file belongs to; made and marked before.

        Raises
        ------
        CredentialsError
            It cannot be written, or others could read it there.
        """
        write_private(Path(path), json.dumps(asdict(self)), home=home)

    def write_pem(self, path: str | os.PathLike[str]) -> None:
        """Write certificate and key, as programs other than corral read them; private like the rest.

        Raises
        ------
        CredentialsError
        """
        assert self.certificate is not None
        assert self.key is not None
        issuer = self.ca if self.ca is not None and self.ca != self.certificate else ""
        write_private(Path(path), self.certificate + self.key + issuer)

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, home: Home | None = None) -> Credentials:
        """Read what `write` wrote.

        Parameters
        ----------
        home
            On another host: the folder of corral's own there.

        Raises
        ------
        FileNotFoundError
            The cluster has ended, or the file system does not show the file yet.
        CredentialsError
            Others can read the file, it belongs to somebody else, or it is not such a file.
        """
        try:
            return read_credentials(Path(path), json.loads(read_private(Path(path), home=home)))
        except ValueError as error:
            raise CredentialsError(_INCOMPLETE.format(path=path)) from error


_INCOMPLETE = "{path} holds no credentials of a cluster, or not all of them yet"


def read_credentials(path: Path, fields: Any) -> Credentials:
    """What `asdict` made of credentials.

    Raises
    ------
    CredentialsError
        They are none, or those of another version of corral; names it.
    """
    try:
        return Credentials(**{"version": "", **fields})
    except TypeError as error:
        theirs = fields.get("version", "") if isinstance(fields, dict) and "cluster" in fields else __version__
        raise CredentialsError(mismatch(str(theirs)) or _INCOMPLETE.format(path=path)) from error


def secured(security: bool | Security, **identity: Any) -> tuple[Credentials, Security]:
    """The credentials of a new cluster, and what distributed takes.

    Parameters
    ----------
    security
        True: TLS with a certificate of its own; False: plain TCP; or certificates of somebody else's making.
    """
    identity["program"] = Program.running()
    if not isinstance(security, bool):
        from corral.security.membership import ClusterSecurity

        return Credentials.of(security, **identity), ClusterSecurity.of(security)
    credentials = Credentials.create(**identity) if security else Credentials(**identity)
    return credentials, credentials.security()


def read_private(path: Path, *, home: Home | None = None) -> str:
    """What `write_private` wrote, as the file server has it now.

    Parameters
    ----------
    home
        As for `Credentials.read`.

    Raises
    ------
    FileNotFoundError
    CredentialsError
        Others could read or replace it, or it belongs to somebody else.
    """
    try:
        return (Home(path.parent) if home is None else home).read(path)
    except NotPrivate as error:
        raise CredentialsError(f"others could use your cluster: {error}") from error


def write_private(path: Path, text: str, *, home: Home | None = None) -> None:
    """Write a file that is new, readable by its owner alone, and on the disk when this returns.

    Parameters
    ----------
    home
        The folder of corral's own that the file belongs to; made and marked before.

    Raises
    ------
    CredentialsError
    """
    try:
        if home is not None:
            home.write_new(path, text)
            return
        with open_private_folder(path.parent, make=True) as folder:
            folder.write_new(path.name, text)
    except (HostUnreachable, LoginRefused):
        raise
    except NotPrivate as error:
        raise CredentialsError(f"others could use your cluster: {error}") from error
    except OSError as error:
        raise CredentialsError(
            f"cannot write credentials to {path}: {error.strerror}. Name a directory that this host and the "
            "compute nodes share with shared_directory=."
        ) from error


def _pem(value: str | None) -> str | None:
    """The text itself: distributed takes either that or a path."""
    if value is None or "\n" in value:
        return value
    return Path(value).read_text()


def _self_signed(name: str) -> tuple[str, str]:
    # 0.1 s of imports that only the making of a cluster needs.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "corral")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID_BEFORE)
        .not_valid_after(now + _VALID_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    )
