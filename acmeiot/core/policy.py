"""What this home allows: names, addresses, keys, lifetimes (draft-sweet-iot-acme 3.2.3, 4.1).

Every refusal says which rule, which value, and what to change in which client. The checks that
need no look at the network stand in `Policy`; whose name it is, is decided in `ownership.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from acmeiot.core.records import Csr, Order
from acmeiot.protocol import names
from acmeiot.protocol.errors import BadCsr, InvalidContact, InvalidProfile, RejectedIdentifier
from acmeiot.protocol.messages import contact_host
from acmeiot.protocol.names import Identifier

DAY: Final = 86400
BACKDATE: Final = 3600  # a device's clock may be an hour behind (specs 5.1)
# A-3.2.4-1: 89 days is the longest whole-day life within three calendar months of any start.
MAX_LIFE: Final = 89 * DAY

# Left-most labels that would stand for the home itself, or for what hosts look up by habit.
RESERVED: Final = frozenset(
    "localhost router gateway wpad isatap dns ntp broadcasthost ip6-localhost ip6-loopback".split()
)

# The client's own switch that makes a key the draft allows (specs 5.2).
KEY_ADVICE: Final = (
    "make a P-384 key: certbot --elliptic-curve secp384r1, acme.sh -k ec-384, lego -k ec384, "
    "uacme -t EC -b 384, Caddy key_type p384, OpenWrt acme key_type ec384, "
    "openssl ecparam -genkey -name secp384r1"
)

# Decision 6: the draft allows P-521 (A-3.2.3-2), and no Chromium offers it in its handshake.
P521_WARNING: Final = (
    "its P-521 key keeps Chrome, Edge and other Chromium browsers out; a P-384 key works everywhere"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of leaf that an order may ask for. `life` is in seconds, back-dating included."""

    name: str
    text: str
    life: int
    strict: bool  # the draft's rules on keys and on both names


STRICT: Final = Profile(
    "strict", "P-384 or RSA >= 3072 keys; .local and domain name", 30 * DAY, True
)
COMPAT: Final = Profile(
    "compat", "also P-256 and RSA-2048 keys, and a single name", 30 * DAY, False
)
SHORTLIVED: Final = Profile("shortlived", "strict, but good for six days only", 6 * DAY, True)
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {profile.name: profile for profile in (STRICT, COMPAT, SHORTLIVED)}
)


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's settings, and the checks that follow from them alone.

    `domains` are the local domains beside `local`; `server_names` every full name of this server.
    """

    domains: tuple[str, ...] = ("lan",)
    server_names: tuple[str, ...] = ("router.lan", "router.local")
    server_addresses: frozenset[str] = frozenset()
    default_profile: str = "strict"
    offer_compat: bool = False
    leaf_days: int = 30
    allow_loopback: bool = False
    max_names: int = 10
    reserved: frozenset[str] = field(default=RESERVED)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Return the suffixes that names may have: `local` and the domains (A-4.1-2)."""
        return ("local", *self.domains)

    @property
    def profiles(self) -> dict[str, str]:
        """Return the offered profiles and what they mean, for the directory."""
        return {
            name: profile.text
            for name, profile in PROFILES.items()
            if name != COMPAT.name or self.offer_compat
        }

    def profile(self, wanted: str | None) -> Profile:
        """Return the profile of an order; raise InvalidProfile."""
        name = self.default_profile if wanted is None else wanted
        if name not in self.profiles:
            hint = "; the owner has not allowed it" if name == COMPAT.name else ""
            raise InvalidProfile(
                f"profile {name[:40]!a} is not offered{hint}; choose {', '.join(self.profiles)}"
            )
        return PROFILES[name]

    def life(self, profile: Profile) -> int:
        """Return the seconds that a leaf of this profile lives, back-dating included."""
        return profile.life if profile is SHORTLIVED else min(self.leaf_days * DAY, MAX_LIFE)

    def check_identifier(self, identifier: Identifier) -> None:
        """Raise RejectedIdentifier if no device of this home may ever have this name."""
        if identifier.type == "ip":
            self._check_address(identifier)
        else:
            self._check_name(identifier)

    def _check_address(self, identifier: Identifier) -> None:
        address = identifier.address
        if not names.is_lan(address):  # A-4.1-4
            raise _rejected(identifier, "is not a link-local, loopback or private address")
        if address.is_loopback and not self.allow_loopback:
            raise _rejected(identifier, "is a loopback address, the same on every machine")
        if identifier.value in self.server_addresses and not self.allow_loopback:
            raise _rejected(identifier, "is this server's own address")

    def _check_name(self, identifier: Identifier) -> None:
        name = identifier.base.value
        if not any(names.under(name, suffix) for suffix in self.suffixes):  # A-4.1-2
            allowed = ", ".join(f".{suffix}" for suffix in self.suffixes)
            raise _rejected(identifier, f"does not end in one of this home's domains ({allowed})")
        if any(name == suffix or names.under(suffix, name) for suffix in self.suffixes):
            # One of two domains may lie in the other: `guest.lan` is no device of `lan`.
            raise _rejected(identifier, "is one of this home's domains, not a device")
        first = name.partition(".")[0]
        if first == "localhost":  # A-3.2.3-5, A-4.1-3
            raise _rejected(identifier, "is a name for the machine itself, never for a device")
        if name in self.server_names or first in self._server_labels():  # A-4.1-3
            raise _rejected(identifier, "is the name of the ACME server")
        if first in self.reserved:
            raise _rejected(identifier, f"begins with the reserved label {first!r}")

    def _server_labels(self) -> frozenset[str]:
        return frozenset(name.partition(".")[0] for name in self.server_names)

    def check_contacts(self, contacts: tuple[str, ...]) -> None:
        """Raise InvalidContact if an https contact's host is not of this home (R-14)."""
        for url in contacts:
            host = contact_host(url)
            if host is not None and not self._of_this_home(host):
                allowed = ", ".join(f".{suffix}" for suffix in self.suffixes)
                raise InvalidContact(f"contact {url[:80]!a}: the host must end in one of {allowed}")

    def _of_this_home(self, host: str) -> bool:
        try:
            return names.is_lan(names.ip(host).address)
        except names.BadName:
            return any(names.under(host.rstrip("."), suffix) for suffix in self.suffixes)

    def check_csr(self, csr: Csr, order: Order, account_thumbprint: str) -> None:
        """Raise BadCsr if the CSR is not this order's, or its key or hash is too weak (R-23)."""
        profile = PROFILES[order.profile]
        _check_same_names(csr, order)
        if csr.jwk_thumbprint == account_thumbprint:  # RFC 8555 section 11.1
            raise BadCsr("the CSR's key is the account key; make a separate key for the device")
        if csr.hash_name and csr.hash_name not in ("sha256", "sha384", "sha512"):  # A-3.2.3-1
            raise BadCsr(f"the CSR is signed with {csr.hash_name}; use SHA-256 or better")
        _check_key(csr, profile, self.offer_compat)
        if profile.strict:
            self._check_both_names(csr)

    def _check_both_names(self, csr: Csr) -> None:
        """Ask for `x.local` and `x.<domain>` together (A-3.2.3-3)."""
        hosts = {identifier.value for identifier in csr.identifiers if identifier.type == "dns"}
        local = {host.removesuffix(".local") for host in hosts if names.under(host, "local")}
        for domain in self.domains:
            here = {host.removesuffix("." + domain) for host in hosts if names.under(host, domain)}
            if here & local:
                return
        label = min((host.removeprefix("*.") for host in hosts), default="device-12cd56")
        label = label.partition(".")[0]
        wanted = " and ".join(f"{label}.{suffix}" for suffix in ("local", self.domains[0]))
        raise BadCsr(
            f"a certificate here names a device twice (draft-sweet-iot-acme 3.2.3): ask for "
            f"{wanted} in one order (certbot -d {label}.local -d {label}.{self.domains[0]}), or "
            "the owner allows profile compat"
        )


def _check_same_names(csr: Csr, order: Order) -> None:
    wanted, got = set(order.identifiers), set(csr.identifiers)
    if got - wanted:
        extra = ", ".join(sorted(f"{item.type} {item}" for item in got - wanted))
        raise BadCsr(f"the CSR names more than the order: {extra}")
    if wanted - got:
        missing = ", ".join(sorted(f"{item.type} {item}" for item in wanted - got))
        raise BadCsr(f"the CSR lacks names of the order: {missing}")
    # A common name that is no name of the order is a device id (draft-sweet -07): it is not copied
    # into the certificate, so only a full host name there would mislead (RFC 8555 section 7.4).
    common = (csr.common_name or "").lower()
    if "." in common and common not in {item.value for item in got}:
        raise BadCsr(f"the CSR's common name {common[:80]!a} is not among its alternative names")


def _check_key(csr: Csr, profile: Profile, offer_compat: bool) -> None:
    """Apply A-3.2.3-2: RSA >= 3072, P-384 or P-521; compat adds P-256 and RSA 2048."""
    rsa_bits = csr.key_bits if csr.key_kind == "RSA" else 0
    strict_enough = csr.key_name in ("EC P-384", "EC P-521") or rsa_bits >= 3072
    compat_enough = strict_enough or csr.key_name == "EC P-256" or rsa_bits >= 2048
    if compat_enough if not profile.strict else strict_enough:
        return
    if not compat_enough:
        raise BadCsr(f"a key of type {csr.key_name} does not work in browsers; {KEY_ADVICE}")
    other = "ask for profile compat" if offer_compat else "the owner may allow profile compat"
    raise BadCsr(
        f"a key of type {csr.key_name} is below the rule of draft-sweet-iot-acme 3.2.3 "
        f"(P-384 or RSA >= 3072); {KEY_ADVICE}; or {other}"
    )


def _rejected(identifier: Identifier, why: str) -> RejectedIdentifier:
    return RejectedIdentifier(f"{identifier} {why}", identifier=identifier)
