"""How the rooms of the server are joined: each is made from the Config and given its ports.

No rule lives here, and nothing is served or written; `daemon` does that with what is made here.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from acmeiot.ca.succession import AuthorityConfig
from acmeiot.config import Config, ConfigError, endpoint
from acmeiot.core.accounts import AccountRules, Accounts
from acmeiot.core.authorizations import Authorizations, ProofRules
from acmeiot.core.devices import Approval, Devices
from acmeiot.core.limits import Limits
from acmeiot.core.nonces import Nonces
from acmeiot.core.orders import Orders
from acmeiot.core.owner import Owner
from acmeiot.core.ownership import Ownership, OwnershipRule
from acmeiot.core.policy import Policy
from acmeiot.core.ports import Clock, Events, Issuer, Store
from acmeiot.core.requests import Gate
from acmeiot.core.revocation import Revocations
from acmeiot.identity import Names
from acmeiot.lan.multicast import MulticastDns
from acmeiot.lan.neighbours import Tables, matching
from acmeiot.lan.resolve import LanFacts
from acmeiot.lan.served import ServedNetworks
from acmeiot.lan.unicast import Server as Resolver
from acmeiot.lan.unicast import UnicastDns, system_servers
from acmeiot.runner import ThreadRunner
from acmeiot.validate import Validators
from acmeiot.web.acme import Services
from acmeiot.web.objects import Meta


@dataclass(frozen=True, slots=True)
class Outside:
    """What the core is given of the world: the ports that are filled before it is made."""

    store: Store
    clock: Clock
    events: Events
    issuer: Issuer
    lan: LanFacts
    runner: ThreadRunner


@dataclass(frozen=True, slots=True)
class Core:
    """The rooms behind the doors: ACME's services, its directory's meta, the owner's acts."""

    services: Services
    meta: Meta
    owner: Owner
    rule: OwnershipRule


def core(config: Config, known_as: Names, outside: Outside) -> Core:
    """Make the core and join it with the world."""
    random = os.urandom
    store, clock, events, lan = outside.store, outside.clock, outside.events, outside.lan
    rule = _rule(config)
    policy = _policy(config, known_as)
    limits = Limits(clock, enabled=config.limits == "on")
    ownership = Ownership(rule, lan, store.tie, config.allow_loopback)
    devices = Devices(store, lan, clock, random, events, cast(Approval, config.approval), rule)
    accounts = Accounts(
        store, clock, random, events, policy, limits,
        AccountRules(config.terms, config.require_pairing_key),
    )  # fmt: skip
    # Opt-in: who keeps the CA keeps the zone too, so few homes have use for CAA, and each look-up
    # would cost every issuance a question to the resolver.
    caa = config.caa
    authorizations = Authorizations(
        store, clock, random, events, limits, ownership, devices, lan,
        _validators(config, lan), outside.runner,
        ProofRules(config.approval_wait, bool(config.resolver), caa_issuers=caa),
    )  # fmt: skip
    orders = Orders(
        store, clock, random, events, policy, limits, ownership, devices, authorizations,
        outside.issuer,
    )  # fmt: skip
    revocations = Revocations(store, clock, events, outside.issuer)
    nonces = Nonces(random)
    services = Services(
        Gate(nonces, accounts, limits), nonces, accounts, orders, authorizations, revocations,
        outside.issuer, events,
    )  # fmt: skip
    meta = Meta(config.terms, config.website, caa, config.require_pairing_key, policy.profiles)
    return Core(services, meta, Owner(store, clock, accounts, devices, revocations), rule)


def _rule(config: Config) -> OwnershipRule:
    """Return the policy; where none is set, `lease` if there is a lease file, else `challenge`."""
    if config.policy:
        return cast(OwnershipRule, config.policy)
    there = any(matching(Path(text)) for text in config.lease_files)
    return "lease" if there and not config.resolver else "challenge"


def authority(config: Config, known_as: Names) -> AuthorityConfig:
    """Return the settings of the certificate authority; raise ConfigError."""
    port = endpoint(config.http_listen[0], "http_listen")[1]
    try:
        return AuthorityConfig(
            domains=config.domain,
            server_names=known_as.names,
            root_key=config.root_key,
            root_days=config.root_days,
            intermediate_days=config.intermediate_days,
            http_base=f"http://{known_as.url}:{port}",
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def lan_facts(config: Config, clock: Clock, events: Events) -> LanFacts:
    """Return what this network says of its hosts; raise ConfigError for a resolver elsewhere."""
    leases, hosts = (
        [Path(text) for text in paths] for paths in (config.lease_files, config.hosts_files)
    )
    tables = Tables(leases, hosts, config.domain, clock, events)
    try:
        given = [_resolver(text) for text in config.resolver]
    except ValueError as error:
        raise ConfigError(f"resolver: {error}") from None
    multicast = MulticastDns() if config.mdns and not given else None
    return LanFacts(tables, UnicastDns(given or system_servers()), multicast, forced=bool(given))


def served(config: Config, clock: Clock, events: Events) -> ServedNetworks:
    """Return the networks that the server is for: those that it listens in."""
    listened = [
        ipaddress.ip_address(endpoint(text, option)[0])
        for option, texts in (("listen", config.listen), ("http_listen", config.http_listen))
        for text in texts
    ]
    return ServedNetworks(listened, clock, events)


def _resolver(text: str) -> Resolver:
    host, port = endpoint(text, "resolver", 53)
    return Resolver(ipaddress.ip_address(host), port)


def _validators(config: Config, lan: LanFacts) -> Validators:
    return Validators(
        lan,
        http01_port=config.http01_port,
        tlsalpn01_port=config.tlsalpn01_port,
        allow_loopback=config.allow_loopback,
    )


def _policy(config: Config, known_as: Names) -> Policy:
    return Policy(
        domains=config.domain,
        server_names=known_as.names,
        server_addresses=frozenset(known_as.addresses),
        default_profile=config.profile,
        offer_compat=config.profile == "compat",
        leaf_days=config.leaf_days,
        allow_loopback=config.allow_loopback,
    )
