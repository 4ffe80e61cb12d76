"""The authority: what it publishes, signs and remembers; the door of this room.

One root is current and one intermediate below it signs all new leaves; `succession` says when
others take their places. All that have not expired stay published: who trusts either the old root
or the new one verifies every leaf.

What there is, is one immutable snapshot that readers take without a lock; writers take turns, put
the new state on the disk, and swap the snapshot last.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate as X509Certificate
from cryptography.x509 import (
    InvalidVersion,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import NameOID

from acmeiot import durable
from acmeiot.ca import crl, index, issue, keys, ocsp, profiles, succession
from acmeiot.ca.index import Certified, Signer, State
from acmeiot.ca.profiles import BACKDATE
from acmeiot.ca.succession import AuthorityConfig
from acmeiot.core.ports import Random
from acmeiot.core.records import AuditEntry, Certificate, Csr, Leaf, LeafRequest
from acmeiot.protocol import names
from acmeiot.protocol.names import Identifier

__all__ = ["Authority", "AuthorityConfig"]


class Authority:
    """The certificate authority of one home; fills `core.ports.Issuer`. Safe for threads."""

    def __init__(
        self,
        directory: Path,
        config: AuthorityConfig,
        state: State,
        record: Callable[[AuditEntry], None],
        random: Random,
    ) -> None:
        """Take a state that is on the disk already; `open` is how to get an authority."""
        self._directory = directory
        self._config = config
        self._record = record
        self._random = random
        self._urls = profiles.Urls(config.http_base)
        self._writing = threading.Lock()
        self._view = _View(state, self._urls)

    @classmethod
    def open(
        cls,
        directory: Path,
        config: AuthorityConfig,
        *,
        now: int,
        record: Callable[[AuditEntry], None],
        random: Random = os.urandom,
    ) -> Authority:
        """Return the authority in `directory`, made on the first start.

        Raise BrokenState or BadKeyFile when what lies there cannot be used (a new root is never
        made in place of an unreadable one), and OSError when the disk will not take it.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)

        def repaired(path: Path, mode: int) -> None:
            detail = {"mode": f"{mode:04o}", "warning": "others could read this private key"}
            record(AuditEntry(now, "key-mode", path.name, detail))

        state = index.read(directory, repaired)
        if state is None:
            state = succession.founded(config, now, random)
            index.write(directory, state, None)
            durable.sync_directory(directory.parent)
            _tell(record, now, "root", state.root)
            _tell(record, now, "intermediate", state.intermediate)
        index.sweep(directory, state)
        return cls(directory, config, state, record, random)

    # What is published.

    @property
    def root_pem(self) -> bytes:
        """Return the current root, PEM."""
        return self._view.state.root.pem

    @property
    def root_der(self) -> bytes:
        """Return the current root, DER."""
        return self._view.state.root.der

    @property
    def root_spki_sha256(self) -> str:
        """Return the hex SHA-256 of the current root's key: its identity for clients."""
        return self._view.state.root.fingerprint

    @property
    def root_name(self) -> str:
        """Return the current root's common name, which is unique to this home."""
        return common_name(self._view.state.root.certificate)

    def roots(self) -> tuple[Certified, ...]:
        """Return all roots that have not been retired, the current one first."""
        return tuple(Certified(root.certificate) for root in reversed(self._view.state.roots))

    def crosses(self) -> tuple[Certified, ...]:
        """Return the cross-certificates: what lets a client follow from one root to another."""
        return self._view.crosses

    def issuers(self) -> tuple[Certified, ...]:
        """Return all unexpired intermediates, the current one first."""
        signers = reversed(self._view.state.intermediates)
        return tuple(Certified(signer.certificate) for signer in signers)

    def issuer_certificate(self, issuer_id: str) -> bytes:
        """Return the DER certificate of an intermediate or root; raise KeyError."""
        return self._view.signers[issuer_id].der

    @property
    def uncovered(self) -> tuple[str, ...]:
        """Return the configured domains that the root's constraints leave out.

        The constraints of a root cannot be widened: only a new root (`rotate`) helps.
        """
        wanted = ("local", *self._config.domains)
        return tuple(name for name in wanted if not self.permits(Identifier("dns", name)))

    # core.ports.Issuer

    def read_csr(self, der: bytes) -> Csr:
        """Return what the CSR says after verifying its signature; raise BadCsr."""
        return issue.read_csr(der)

    def serial_of(self, der: bytes) -> str:
        """Return the serial of a certificate, hex; raise Malformed if it is none."""
        return issue.serial_of(der)

    def permits(self, identifier: Identifier) -> bool:
        """Tell whether the name constraints of root and intermediate let this one through."""
        return all(constraints.permit(identifier) for constraints in self._view.constraints)

    def longest(self) -> int:
        """Return the latest notAfter of a leaf signed now: its issuer's."""
        return self._view.state.intermediate.not_after

    def issue(self, request: LeafRequest) -> Leaf:
        """Sign one leaf with the current intermediate; raise ValueError for an impossible one."""
        return self._view.leaves.sign(request, self._random)

    def chains(self, issuer_id: str) -> Sequence[Sequence[bytes]]:
        """Return the DER chains above a leaf, without and with the root (R-30); raise KeyError.

        While an older root lives, its cross-certificate is in both.
        """
        return self._view.chains[issuer_id]

    def is_current(self, issuer_id: str) -> bool:
        """Tell whether new leaves come from this issuer."""
        return self._view.state.intermediate.id == issuer_id

    # The server's own certificate.

    def server_chain(self) -> tuple[bytes, ...]:
        """Return the DER chain for the TLS handshake, above the leaf, the root last (A-3.3-2)."""
        return tuple(self.chains(self._view.state.intermediate.id)[1])

    def issue_server(
        self, server_names: Iterable[str], addresses: Iterable[str], now: int
    ) -> tuple[bytes, bytes, int]:
        """Return a fresh P-384 key, a 30-day leaf with its whole chain (both PEM), its notAfter."""
        key = keys.make("p384")
        view = self._view
        not_before = max(now - BACKDATE, view.state.intermediate.not_before)
        request = LeafRequest(
            spki=keys.spki(key.public_key()),
            identifiers=(
                *(names.dns(name) for name in server_names),
                *(names.ip(address) for address in addresses),
            ),
            profile=profiles.SERVER_PROFILE,
            not_before=not_before,
            not_after=min(not_before + profiles.SERVER_LIFE, view.state.intermediate.not_after),
        )
        leaf = view.leaves.sign(request, self._random)
        chain = (leaf.der, *view.chains[leaf.issuer_id][1])
        return keys.encode(key), b"".join(map(_pem, chain)), leaf.not_after

    def server_until(
        self, pem: bytes, server_names: Iterable[str], addresses: Iterable[str]
    ) -> int | None:
        """Return the notAfter of a server certificate made before; None if a new one is due.

        It is, where names or addresses are others now, the chain above it has changed, or it sends
        its readers to the OCSP responder, as earlier versions made it. Raise ValueError for what
        is no certificate.
        """
        try:
            chain = load_pem_x509_certificates(pem)
        except InvalidVersion as error:
            raise ValueError(str(error)) from None
        wanted = {*map(names.dns, server_names), *map(names.ip, addresses)}
        above = tuple(one.public_bytes(Encoding.DER) for one in chain[1:])
        leaf = chain[0]
        if above != self.server_chain() or set(issue.names_in(leaf)) != wanted:
            return None
        return None if profiles.names_responder(leaf) else Certified(leaf).not_after

    # Revocation.

    def crl(self, issuer_id: str, revoked: Iterable[Certificate], number: int, now: int) -> bytes:
        """Return the DER CRL of an intermediate or (with nothing revoked) root; raise KeyError.

        `number` must be greater than that of every CRL of this issuer before.
        """
        return crl.sign(self._view.signers[issuer_id], revoked, number, now)

    def ocsp(self, request: bytes, lookup: ocsp.Lookup, now: int) -> bytes:
        """Return the DER answer to a DER OCSP request; `lookup` finds a record by its serial."""
        return ocsp.answer(request, self._view.state.intermediates, lookup, now)

    # Succession.

    def tick(self, now: int) -> bool:
        """Renew the intermediate or succeed the root if it is time; tell whether anything changed.

        Call it at every start and at least once a week. Raise OSError with nothing changed.
        """
        with self._writing:
            state = self._view.state
            new = succession.due(state, self._config, now, self._random)
            if new is not state:
                self._swap(new, now)
            return new is not state

    def reaches(self, now: int) -> bool:
        """Tell whether a root is kept that can sign at `now`, which may lie before the current."""
        state = self._view.state
        return any(one.is_root and one.can_sign(now) for one in (*state.roots, *state.aside))

    def rotate(self, now: int) -> None:
        """Make a new root and intermediate; the old root and the new vouch for each other.

        Raise OSError with nothing changed. Of more than three old roots the oldest is dropped.
        """
        with self._writing:
            new = succession.succeeded(self._view.state, self._config, now, self._random)
            self._swap(new, now)

    def _swap(self, new: State, now: int) -> None:
        """Put the state on the disk, then before everybody's eyes, then into the audit."""
        old = self._view.state
        index.write(self._directory, new, old)
        self._view = _View(new, self._urls)
        if new.root is not old.root:
            _tell(self._record, now, "root", new.root, replaces=old.root.fingerprint)
        if new.intermediate is not old.intermediate:
            _tell(self._record, now, "intermediate", new.intermediate)
        try:
            index.sweep(self._directory, new)
        except OSError as error:  # the change itself is done; the next start sweeps again
            detail = {"warning": f"cannot delete what is not needed any more: {error}"}
            self._record(AuditEntry(now, "sweep", self._directory.name, detail))


class _View:
    """A state, and all that readers ask of it, worked out once."""

    def __init__(self, state: State, urls: profiles.Urls) -> None:
        self.state = state
        self.leaves = issue.LeafSigner(state.intermediate, urls)
        self.signers = {signer.id: signer for signer in (*state.roots, *state.intermediates)}
        known = {root.key_identifier for root in state.roots}
        self.crosses = tuple(
            one for one in state.crosses if {one.signed_by, one.key_identifier} <= known
        )
        self.constraints = tuple(
            profiles.Constraints.of(signer.certificate)
            for signer in (state.root, state.intermediate)
        )
        self.chains = {signer.id: _chains(state, signer) for signer in state.intermediates}


def _chains(state: State, signer: Signer) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the chains above a leaf of this intermediate, without and with its root.

    The order is what OpenSSL needs, which takes the first fitting issuer and never goes back:
    cross-certificates before the root of the same name. Who trusts that root looks there first.
    With two and more old roots no order suits OpenSSL and GnuTLS alike: GnuTLS clients then need
    one of the old roots beside the newest, which is why all of them are published.
    """
    root = state.root_of(signer)
    chain = (signer.der, *(cross.der for cross in _path_to_others(state, root)))
    return chain, (*chain, root.der)


def _path_to_others(state: State, root: Signer) -> list[Certified]:
    """Return the cross-certificates from `root` down to the oldest root, then up to newer ones."""
    by_subject = {(one.key_identifier, one.signed_by): one for one in state.crosses}
    ids = [one.key_identifier for one in state.roots]
    place = state.roots.index(root)
    down = zip(ids[place:0:-1], ids[place - 1 :: -1] if place else (), strict=False)
    up = zip(ids[place:-1], ids[place + 1 :], strict=True)
    return [by_subject[step] for step in (*down, *up) if step in by_subject]


def common_name(certificate: X509Certificate) -> str:
    """Return the common name of one of our issuers."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def _pem(der: bytes) -> bytes:
    return load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _tell(
    record: Callable[[AuditEntry], None], now: int, event: str, signer: Signer, **more: object
) -> None:
    detail = {"spki_sha256": signer.fingerprint, "not_after": signer.not_after, **more}
    subject = signer.certificate.subject.rfc4514_string()
    record(AuditEntry(now, event, subject, detail))
