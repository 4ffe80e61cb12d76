"""What the plain HTTP listener gives to verifiers: CRLs and OCSP answers, seldom signed.

An answer is kept until half of its life is gone or the facts behind it change. Nothing is signed
while the clock is in doubt; what was signed before is still given.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from acmeiot.ca import crl, ocsp
from acmeiot.ca.roots import Authority
from acmeiot.core.ports import Clock, Store
from acmeiot.core.records import CRL_NUMBER, Certificate

_MAX_ANSWERS: Final = 512


class NotYet(Exception):
    """Nothing can be signed now; the text says why."""


@dataclass(frozen=True, slots=True)
class _Kept:
    facts: object
    until: int
    der: bytes


class Publisher:
    """Sign and keep CRLs and OCSP answers; thread-safe."""

    def __init__(self, authority: Authority, store: Store, clock: Clock) -> None:
        self._authority, self._store, self._clock = authority, store, clock
        self._lock = threading.Lock()
        self._crls: dict[str, _Kept] = {}
        self._answers: OrderedDict[bytes, _Kept] = OrderedDict()

    def crl(self, issuer_id: str) -> bytes:
        """Return the DER CRL of an intermediate or root; raise KeyError or NotYet."""
        self._authority.issuer_certificate(issuer_id)
        now = self._clock.now()
        revoked = self._store.revoked(issuer_id, now)
        facts = tuple(certificate.serial for certificate in revoked)
        with self._lock:
            kept = self._crls.get(issuer_id)
            if kept is not None and kept.facts == facts and now < kept.until:
                return kept.der
            self._check_clock()
            der = self._authority.crl(issuer_id, revoked, self._next_number(), now)
            self._crls[issuer_id] = _Kept(facts, now + crl.LIFE // 2, der)
            return der

    def _next_number(self) -> int:
        with self._store.writing():
            number = int(self._store.fact(CRL_NUMBER) or "0") + 1
            self._store.put_fact(CRL_NUMBER, str(number))
        return number

    def ocsp(self, request: bytes) -> bytes:
        """Return the DER answer to an OCSP request (RFC 6960); raise NotYet."""
        now = self._clock.now()
        with self._lock:
            kept = self._answers.get(request)
        if kept is not None and now < kept.until and kept.facts == self._facts_of(kept):
            return kept.der
        self._check_clock()
        seen: list[Certificate | None] = []

        def lookup(serial: str) -> Certificate | None:
            certificate = self._store.certificate_by_serial(serial)
            seen.append(certificate)
            return certificate

        der = self._authority.ocsp(request, lookup, now)
        if seen and seen[0] is not None:
            self._keep(request, _Kept(_facts(seen[0]), now + ocsp.LIFE // 2, der))
        return der

    def _facts_of(self, kept: _Kept) -> object:
        serial = kept.facts[0] if isinstance(kept.facts, tuple) else ""
        certificate = self._store.certificate_by_serial(serial)
        return None if certificate is None else _facts(certificate)

    def _keep(self, request: bytes, kept: _Kept) -> None:
        with self._lock:
            self._answers[request] = kept
            if len(self._answers) > _MAX_ANSWERS:
                self._answers.popitem(last=False)

    def _check_clock(self) -> None:
        doubt = self._clock.doubt()
        if doubt is not None:
            raise NotYet(doubt)


def _facts(certificate: Certificate) -> tuple[str, int | None]:
    return certificate.serial, certificate.revoked_at
