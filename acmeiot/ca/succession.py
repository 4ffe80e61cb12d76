"""What time and the owner do to an authority: its founding, its renewals, its successions.

* The intermediate is renewed, with a new key, before it would shorten a new leaf's life.
* The root is succeeded, with a new key, at 80 % of its life, or when the owner says so. The old
  root vouches for the new one and the new for the old (cross-certificates), until the old expires.
* A clock that was wrong and is set right brings back the issuers of its time: `State.at`.

Nothing outlives its issuer. Everything here makes a new `State` from an old one; nothing is
written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from acmeiot.ca import keys, profiles
from acmeiot.ca.index import Certified, Signer, State
from acmeiot.ca.profiles import BACKDATE, CA_BACKDATE, DAY, LONGEST_LEAF
from acmeiot.core.ports import Random
from acmeiot.protocol import names
from acmeiot.protocol.moments import utc
from acmeiot.protocol.names import Identifier

MIN_ROOT_DAYS, MAX_ROOT_DAYS = 365, 3652  # A-3.2.1-4; ten calendar years have 3652 or 3653
MIN_INTERMEDIATE_DAYS: Final = 180  # shorter ones would be renewed before they were used
SUCCESSION: Final = 0.8  # of a root's life
# While an issuer has this left it shortens no leaf; a week for a server that was switched off.
LEAST_LEFT: Final = LONGEST_LEAF + 7 * DAY


@dataclass(frozen=True, slots=True)
class AuthorityConfig:
    """What the owner decides about the authority; raises ValueError for what must not be.

    `domains` are the local domains beside `local`, `server_names` the full names of this server,
    `http_base` where CRL, OCSP and issuers are served (plain HTTP, no slash at the end).
    """

    domains: tuple[str, ...] = ("lan",)
    server_names: tuple[str, ...] = ("router.lan", "router.local")
    root_key: str = "p384"
    root_days: int = 3650
    intermediate_days: int = 1826
    http_base: str = "http://router.lan:8556"

    def __post_init__(self) -> None:
        keys.check_kind(self.root_key)
        if not MIN_ROOT_DAYS <= self.root_days <= MAX_ROOT_DAYS:  # A-3.2.1-4
            raise ValueError(
                f"a root lives 1 to 10 years, {MIN_ROOT_DAYS} to {MAX_ROOT_DAYS} days "
                f"(draft-sweet-iot-acme 3.2.1), not {self.root_days} days"
            )
        if self.intermediate_days < MIN_INTERMEDIATE_DAYS:
            raise ValueError(
                f"an intermediate lives at least {MIN_INTERMEDIATE_DAYS} days, "
                f"not {self.intermediate_days}"
            )
        if not self.http_base.startswith("http://") or self.http_base.endswith("/"):
            raise ValueError(f"http_base is like http://router.lan:8556, not {self.http_base!a}")
        self._check_names()

    def _check_names(self) -> None:
        for name in (*self.domains, *self.server_names):
            if names.dns(name) != Identifier("dns", name) or name.startswith("*."):
                raise ValueError(f"write {name!a} in lower case, without final dot or wildcard")
        if not self.server_names:
            raise ValueError("the server needs at least one full name, such as router.lan")
        for name in self.server_names:
            if not any(names.under(name, domain) for domain in ("local", *self.domains)):
                raise ValueError(f"the server's name {name} is below neither local nor a domain")


def due(state: State, config: AuthorityConfig, now: int, random: Random) -> State:
    """Return the state that should be at `now`: the same object when nothing is due."""
    good = state.at(now)
    if not good.roots or _root_is_due(good.root, now):
        return succeeded(state, config, now, random)
    if not any(_lasts(signer, good.root, now) for signer in good.intermediates[-1:]):
        new = _new_intermediate(good.root, config, now, random)
        return replace(good, intermediates=(*good.intermediates, new)).at(now)
    return state if good == state else good


def succeeded(state: State, config: AuthorityConfig, now: int, random: Random) -> State:
    """Return the state with a new root, a new intermediate, and what joins old and new."""
    old = state.at(now)
    root = _new_root(config, now, random)
    crosses = [*old.crosses]
    if old.roots:
        crosses += [
            _cross(root, old.root, config, now, random),
            _cross(old.root, root, config, now, random),
        ]
    grown = State(
        (*old.roots, root),
        tuple(crosses),
        (*old.intermediates, _new_intermediate(root, config, now, random)),
        # One that a wrong clock dated later would come between one day, and nobody would know it.
        tuple(signer for signer in old.aside if signer.not_before <= now),
    )
    return grown.at(now)


def _lasts(signer: Signer, root: Signer, now: int) -> bool:
    return signer.signed_by == root.key_identifier and signer.not_after - now >= LEAST_LEFT


def _root_is_due(root: Signer, now: int) -> bool:
    life = root.not_after - root.not_before
    return now >= root.not_before + SUCCESSION * life or root.not_after - now < LEAST_LEFT


def founded(config: AuthorityConfig, now: int, random: Random) -> State:
    """Return the first state of a home: one root and one intermediate."""
    root = _new_root(config, now, random)
    return State((root,), (), (_new_intermediate(root, config, now, random),))


def _new_root(config: AuthorityConfig, now: int, random: Random) -> Signer:
    key = keys.make(config.root_key)
    not_before = now - CA_BACKDATE
    builder = profiles.root(
        key.public_key(),
        config.domains,
        config.server_names,
        not_before,
        _within_ten_years(not_before, config.root_days),
        random,
    )
    return Signer(builder.sign(key, keys.signature_hash(key)), key)


def _new_intermediate(root: Signer, config: AuthorityConfig, now: int, random: Random) -> Signer:
    key = keys.make("p384")
    not_before = max(now - CA_BACKDATE, root.not_before)
    builder = profiles.intermediate(
        key.public_key(),
        profiles.Issuer(root.id, root.certificate, profiles.Urls(config.http_base)),
        config.domains,
        not_before,
        min(not_before + config.intermediate_days * DAY, root.not_after),
        random,
    )
    return Signer(builder.sign(root.key, keys.signature_hash(root.key)), key)


def _cross(
    root: Signer, by: Signer, config: AuthorityConfig, now: int, random: Random
) -> Certified:
    # Later than the root's own notBefore: of two certificates for one name and key, none of them
    # trusted, NSS takes the newer one, and only the cross-certificate leads on to a trusted root.
    not_before = max(now - BACKDATE, root.not_before, by.not_before)
    builder = profiles.cross(
        root.certificate,
        profiles.Issuer(by.id, by.certificate, profiles.Urls(config.http_base)),
        not_before,
        min(root.not_after, by.not_after),
        random,
    )
    return Certified(builder.sign(by.key, keys.signature_hash(by.key)))


def _within_ten_years(not_before: int, days: int) -> int:
    """Return a root's notAfter: `days` later, moved by a day to lie in 1 to 10 calendar years.

    365 days are less than the year that holds a 29 February (A-3.2.1-4).
    """
    first, last = (_years_later(not_before, years) for years in (1, 10))
    return min(max(not_before + days * DAY, first), last)


def _years_later(seconds: int, years: int) -> int:
    start = utc(seconds)
    if (start.month, start.day) == (2, 29):
        start = start.replace(day=28)  # the shorter reading; one year later would not exist
    return int(start.replace(year=start.year + years).timestamp())
