"""What the authority is made of, and how it lies on the disk.

`authority.json` names every root, cross-certificate and intermediate, each with its certificate,
oldest first; the last of each kind is the current one. What the clock has put out of use is kept
aside for a while, should the clock have been wrong. The private keys lie beside it, one file
each, named after the key. To change anything, new key files are written first and the index is
replaced last, so a crash at any point leaves the old whole or the new whole; files that no index
names are what a crash left, and `sweep` deletes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from acmeiot import durable
from acmeiot.ca import keys, profiles

VERSION: Final = 1
INDEX: Final = "authority.json"
KEY_SUFFIX: Final = ".key"
KEPT_ASIDE: Final = 365 * profiles.DAY  # after its end, and after its successor's beginning
_ID_LENGTH: Final = 16  # hex digits: 64 bits tell the few keys of one home apart


class BrokenState(Exception):
    """The authority's files contradict each other; the message names the file and the way out."""


@dataclass(frozen=True)
class Certified:
    """A CA certificate, and what is often asked of it."""

    certificate: x509.Certificate

    @cached_property
    def id(self) -> str:
        """Return the short hex id of the key in it."""
        return self.fingerprint[:_ID_LENGTH]

    @cached_property
    def fingerprint(self) -> str:
        """Return the hex SHA-256 of the SubjectPublicKeyInfo."""
        return keys.fingerprint(self.public_key)

    @cached_property
    def public_key(self) -> keys.PublicKey:
        """Return the key in it; raise BrokenState if no CA here could have it."""
        key = self.certificate.public_key()
        if not isinstance(key, keys.PublicKey):
            raise BrokenState(f"a CA certificate holds a {type(key).__name__}")
        return key

    @cached_property
    def der(self) -> bytes:
        """Return the certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def pem(self) -> bytes:
        """Return the certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @cached_property
    def key_identifier(self) -> bytes:
        """Return the subject key identifier."""
        return profiles.key_identifier(self.certificate)

    @cached_property
    def validity(self) -> tuple[int, int]:
        """Return notBefore and notAfter in epoch seconds."""
        return profiles.validity(self.certificate)

    @property
    def not_before(self) -> int:
        """Return notBefore in epoch seconds."""
        return self.validity[0]

    @property
    def not_after(self) -> int:
        """Return notAfter in epoch seconds."""
        return self.validity[1]

    @cached_property
    def signed_by(self) -> bytes:
        """Return the key identifier of the root that signed it."""
        aki = self.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
        return aki.value.key_identifier or b""


@dataclass(frozen=True)
class Signer(Certified):
    """A CA certificate with its private key."""

    key: keys.PrivateKey

    @property
    def is_root(self) -> bool:
        """Tell whether it signed itself."""
        return self.signed_by == self.key_identifier

    def can_sign(self, now: int) -> bool:
        """Tell whether a leaf made at `now` would lie within its validity."""
        return self.not_before + profiles.BACKDATE <= now < self.not_after


@dataclass(frozen=True)
class State:
    """One whole authority; the last root and the last intermediate are the current ones.

    A cross-certificate holds one root's name and key and is signed by another root. `aside` are the
    roots and intermediates that the clock has put out of use. Immutable: a reader that has one
    needs no lock.
    """

    roots: tuple[Signer, ...]
    crosses: tuple[Certified, ...]
    intermediates: tuple[Signer, ...]
    aside: tuple[Signer, ...] = ()

    @property
    def root(self) -> Signer:
        """Return the current root."""
        return self.roots[-1]

    @property
    def intermediate(self) -> Signer:
        """Return the intermediate that signs new leaves."""
        return self.intermediates[-1]

    def root_of(self, issued: Certified) -> Signer:
        """Return the root that signed this one; raise BrokenState if it is not here."""
        for root in (*self.roots, *self.aside):
            if root.key_identifier == issued.signed_by:
                return root
        raise BrokenState(f"the root that signed {issued.id} is missing")

    def at(self, now: int) -> State:
        """Return the state with what is good at `now` in use, or none where nothing is.

        A wrong clock must not cost a home its authority: what has expired stays aside for a year
        more, and what has not begun until a new root is made. Of too many roots the oldest goes.
        """
        roots, rest = _parted(self.roots, [one for one in self.aside if one.is_root], now)
        roots = roots[-1 - profiles.OLD_ROOTS :]
        known = {root.key_identifier for root in (*roots, *rest)}
        others = [one for one in self.aside if not one.is_root]
        issuers, spent = _parted(self.intermediates, others, now)
        crosses = tuple(
            cross
            for cross in self.crosses
            if cross.not_after > now and {cross.signed_by, cross.key_identifier} <= known
        )
        issuers, spent = (
            tuple(one for one in some if one.signed_by in known) for some in (issuers, spent)
        )
        aside = (*_not_long_over(rest, roots, now), *_not_long_over(spent, issuers, now))
        return State(roots, crosses, issuers, aside)


def _parted(
    used: Sequence[Signer], aside: Sequence[Signer], now: int
) -> tuple[tuple[Signer, ...], tuple[Signer, ...]]:
    """Return those to use at `now`, oldest first, and the others."""
    back = [one for one in aside if one.can_sign(now)]
    stay = [one for one in used if one.can_sign(now)]
    rest = [one for one in (*aside, *used) if not one.can_sign(now)]
    # Clocks are corrected a little: only where one comes back does the date say where it belongs.
    return tuple(sorted((*back, *stay), key=_begins) if back else stay), tuple(rest)


def _begins(one: Signer) -> int:
    return one.not_before


def _not_long_over(rest: Sequence[Signer], used: Sequence[Signer], now: int) -> tuple[Signer, ...]:
    """Return those of `rest` that have not been over, and succeeded, for a year."""
    long_succeeded = bool(used) and used[-1].not_before + KEPT_ASIDE <= now
    return tuple(one for one in rest if not long_succeeded or one.not_after + KEPT_ASIDE > now)


def write(directory: Path, state: State, known: State | None) -> None:
    """Make `state` the one on the disk, in place of `known`; raise OSError with `known` intact."""
    before = {signer.id for signer in _signers(known)} if known else set()
    for signer in _signers(state):
        if signer.id not in before:
            keys.save(directory / (signer.id + KEY_SUFFIX), signer.key)
    document = {
        "version": VERSION,
        "roots": [_text(root) for root in state.roots],
        "crosses": [_text(cross) for cross in state.crosses],
        "intermediates": [_text(signer) for signer in state.intermediates],
        "aside": [_text(signer) for signer in state.aside],
    }
    durable.write(directory / INDEX, json.dumps(document, indent=1).encode("ascii"))


def read(directory: Path, repaired: Callable[[Path, int], None]) -> State | None:
    """Return the state on the disk, None if there is no index; raise BrokenState or BadKeyFile.

    `repaired` hears of key files whose mode was too wide.
    """
    path = directory / INDEX
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise BrokenState(f"{path} is not JSON; restore the state from a backup") from None
    if not isinstance(document, dict):
        raise BrokenState(f"{path} is not a JSON object; restore the state from a backup")
    try:
        return _state(directory, document, repaired)
    except (
        KeyError, TypeError, ValueError, IndexError, x509.ExtensionNotFound, x509.InvalidVersion,
    ) as error:  # fmt: skip
        raise BrokenState(f"{path} is damaged ({error}); restore it from a backup") from error


def _state(
    directory: Path, document: dict[str, Any], repaired: Callable[[Path, int], None]
) -> State:
    if document["version"] != VERSION:
        raise BrokenState(
            f"{directory / INDEX} has version {document['version']!a}, this program reads {VERSION}"
        )

    def signers(texts: list[object]) -> tuple[Signer, ...]:
        return tuple(_signer(directory, text, repaired) for text in texts)

    state = State(
        signers(document["roots"]),
        tuple(Certified(_certificate(text)) for text in document["crosses"]),
        signers(document["intermediates"]),
        signers(document.get("aside", [])),  # earlier versions kept none
    )
    for issued in (
        *state.crosses,
        *state.aside,
        state.root,
        *state.intermediates,
        state.intermediate,
    ):
        state.root_of(issued)
    return state


def _signer(directory: Path, text: object, repaired: Callable[[Path, int], None]) -> Signer:
    bare = Certified(_certificate(text))
    path = directory / (bare.id + KEY_SUFFIX)
    key = keys.load(path, repaired)
    if keys.spki(key.public_key()) != keys.spki(bare.public_key):
        raise BrokenState(f"{path} is not the key of its certificate; restore it from a backup")
    return Signer(bare.certificate, key)


def sweep(directory: Path, state: State) -> list[str]:
    """Delete key files that `state` does not name and half-written files; return their names."""
    wanted = {signer.id + KEY_SUFFIX for signer in _signers(state)}
    left_over = [
        path
        for path in sorted(directory.iterdir())
        if path.name.endswith(durable.TEMPORARY)
        or (path.name.endswith(KEY_SUFFIX) and path.name not in wanted)
    ]
    for path in left_over:
        path.unlink()
    return [path.name for path in left_over]


def _signers(state: State) -> tuple[Signer, ...]:
    return (*state.roots, *state.intermediates, *state.aside)


def _text(certified: Certified) -> str:
    return certified.pem.decode("ascii")


def _certificate(text: object) -> x509.Certificate:
    if not isinstance(text, str):
        raise TypeError("a certificate is not a string")
    return x509.load_pem_x509_certificate(text.encode("ascii"))
