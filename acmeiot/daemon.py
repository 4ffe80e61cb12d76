"""The running server: builds the rooms from a Config, joins them, and keeps them going.

No rule lives here. `Daemon.open` makes or finds the state, `run` serves until it is told to stop,
and `upkeep` is what time brings: certificates and roots that follow each other, rows that go.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetDone
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from acmeiot import RELEASED, __version__
from acmeiot.ca import keys
from acmeiot.ca.publish import Publisher
from acmeiot.ca.roots import Authority, AuthorityConfig
from acmeiot.clock import SystemClock
from acmeiot.config import SOCKET, Config, ConfigError, endpoint
from acmeiot.core.accounts import AccountRules, Accounts
from acmeiot.core.authorizations import Authorizations, ProofRules
from acmeiot.core.devices import Devices
from acmeiot.core.limits import Limits
from acmeiot.core.nonces import Nonces
from acmeiot.core.orders import Orders
from acmeiot.core.owner import Owner
from acmeiot.core.ownership import Ownership
from acmeiot.core.policy import Policy
from acmeiot.core.ports import StoreFull
from acmeiot.core.requests import Gate
from acmeiot.core.revocation import Revocations
from acmeiot.events import LogEvents
from acmeiot.lan import interfaces
from acmeiot.lan.multicast import MulticastDns
from acmeiot.lan.neighbours import Tables
from acmeiot.lan.resolve import LanFacts
from acmeiot.lan.unicast import Server as Resolver
from acmeiot.lan.unicast import UnicastDns, system_servers
from acmeiot.protocol import names
from acmeiot.protocol.messages import rfc3339
from acmeiot.store.sqlite import SqliteStore
from acmeiot.validate import Validators
from acmeiot.web import objects
from acmeiot.web.acme import AcmeRoutes, Services
from acmeiot.web.admin import AdminRoutes, Json
from acmeiot.web.serve import Limits as WebLimits
from acmeiot.web.serve import Server
from acmeiot.web.site import Site
from acmeiot.web.trust import TrustRoutes

TLS_FILE: Final = "tls/server.pem"  # the server's own key and chain
_UPKEEP: Final = 3600  # seconds
_UPKEEP_IN_DOUBT: Final = 30  # while the clock is not yet set
_VALIDATIONS: Final = 8  # at once; each may wait for a slow device
_WAITING: Final = 32  # more than these are refused with Retry-After
_FIRST_START: Final = "first start"
_RENEW_SERVER: Final = 10 * 86400  # before its end; a third of its life


@dataclass(frozen=True, slots=True)
class Names:
    """By which names and addresses this server is known; `url` is the host in its URLs."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    url: str

    @classmethod
    def of(cls, config: Config) -> Names:
        """Work them out from the settings and this machine; raise ConfigError."""
        suffixes = ("local", *config.domain)
        for name in config.name:
            if not any(names.under(name, suffix) for suffix in suffixes):
                raise ConfigError(
                    f"name: {name} ends in none of the local domains ({', '.join(suffixes)}); "
                    "add its domain with --domain"
                )
        # A-3.2.1-5: the root bears the server's name in .local and in each local domain.
        label = config.name[0].partition(".")[0] if config.name else _host_label()
        found = (*config.name, *(f"{label}.{suffix}" for suffix in (*config.domain, "local")))
        addresses = _addresses([endpoint(text, "listen", None)[0] for text in config.listen])
        return cls(
            names=tuple(dict.fromkeys(found)),
            addresses=addresses,
            url=config.name[0] if config.name else _bracketed(addresses[0]),
        )


def _host_label() -> str:
    label = socket.gethostname().partition(".")[0].lower()
    try:
        names.dns(f"{label}.local")
    except names.BadName:
        return "acme"
    return "acme" if label == "localhost" else label


def _addresses(listened: list[str]) -> tuple[str, ...]:
    """Return the LAN addresses that clients can reach, the best one for a URL first."""
    own = [str(address) for address in interfaces.own_addresses()]
    wide = any(text in ("0.0.0.0", "::") for text in listened)  # noqa: S104 - not binding here
    lan = sorted(
        (a for a in own if ":" not in a or not a.startswith("fe80")), key=lambda a: ":" in a
    )
    reachable = [*lan, "127.0.0.1", "::1"] if wide else listened
    return tuple(dict.fromkeys(a for a in reachable if names.is_lan(names.ip(a).address))) or (
        "127.0.0.1",
    )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class ThreadRunner:
    """The runner port: a few threads, made when the first validation comes."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_VALIDATIONS, "validate")
        self._room = threading.Semaphore(_VALIDATIONS + _WAITING)

    def start(self, job: Callable[[], None], wait: float) -> bool:
        """Run the job beside the caller, who waits `wait` seconds at most for its end."""
        if not self._room.acquire(blocking=False):
            return False
        future = self._pool.submit(job)
        future.add_done_callback(lambda _: self._room.release())
        try:
            future.result(wait)
        except NotYetDone:
            return True
        return True

    def stop(self) -> None:
        """Take no more jobs; those that run end by their own time limits."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Daemon:
    """One server process over one state directory."""

    def __init__(
        self,
        config: Config,
        state: Path,
        store: SqliteStore,
        clock: SystemClock,
        events: LogEvents,
        authority: Authority,
        known_as: Names,
    ) -> None:
        self._config, self._state, self._store = config, state, store
        self._clock, self._events, self._authority = clock, events, authority
        self._names = known_as
        self._stopping = threading.Event()
        self._runner = ThreadRunner()
        self._server_until = 0
        self._server = Server(threads=config.threads, limits=_web_limits(config))
        self._build()

    @classmethod
    def open(cls, config: Config, events: LogEvents, stopping: Callable[[], bool]) -> Daemon | None:
        """Open the state, made on the first start; None if told to stop while waiting for time.

        Raise ConfigError, StateError (in use, broken), OSError.
        """
        known_as = Names.of(config)
        state = Path(config.state)
        store = SqliteStore(state)
        clock = SystemClock(max(RELEASED, store.newest_issue()))
        # A known home is served at once, and signs when the time is known; a root is never made
        # before that.
        known = (state / TLS_FILE).exists()
        if not known and not _wait_for_time(clock, events, stopping):
            store.close()
            return None
        authority = Authority.open(
            state / "ca",
            _authority_config(config, known_as),
            now=clock.now(),
            record=store.append_audit,
        )
        return cls(config, state, store, clock, events, authority, known_as)

    # -- building

    def _build(self) -> None:
        config, store, clock, events = self._config, self._store, self._clock, self._events
        lan = _lan(config, clock, events)
        rule = config.policy or _rule(config)
        policy = _policy(config, self._names)
        limits = Limits(clock, enabled=config.limits == "on")
        ownership = Ownership(rule, lan, config.allow_loopback)  # type: ignore[arg-type]
        random = os.urandom
        devices = Devices(store, lan, clock, random, events, config.approval, rule)  # type: ignore[arg-type]
        accounts = Accounts(
            store, clock, random, events, policy, limits,
            AccountRules(config.terms, config.require_pairing_key),
        )  # fmt: skip
        validator = Validators(
            lan,
            http01_port=config.http01_port,
            tlsalpn01_port=config.tlsalpn01_port,
            allow_loopback=config.allow_loopback,
        )
        authorizations = Authorizations(
            store, clock, random, events, limits, ownership, devices, lan, validator,
            self._runner,
            ProofRules(config.approval_wait, bool(config.resolver), caa_issuers=self._caa()),
        )  # fmt: skip
        orders = Orders(
            store, clock, random, events, policy, limits, ownership, devices, authorizations,
            self._authority,
        )  # fmt: skip
        revocations = Revocations(store, clock, events, self._authority)
        self._devices = devices
        self._owner = Owner(store, clock, accounts, devices, revocations)
        nonces = Nonces(random)
        self._services = Services(
            Gate(nonces, accounts, limits), nonces, accounts, orders, authorizations,
            revocations, self._authority, events,
        )  # fmt: skip
        self._meta = objects.Meta(
            config.terms, config.website, self._caa(), config.require_pairing_key, policy.profiles
        )
        self._lan = lan
        events.emit(
            "start",
            f"acmeiot {__version__}, names under {', '.join(policy.suffixes)}, "
            f"policy {rule}, approval {config.approval}, profile {config.profile}",
        )

    def _caa(self) -> tuple[str, ...]:
        return self._config.caa or self._names.names[:1]

    # -- serving

    def listen(self) -> None:
        """Bind every listener; raise OSError naming the one that cannot be."""
        config = self._config
        self._first_start()
        self.upkeep()
        context = self._tls_context()
        acme = AcmeRoutes(self._services, self._site("https"), self._meta)
        for host, port in _endpoints(config.listen, "listen"):
            self._server.add_tls(host, port, acme.app, context)
        publisher = Publisher(self._authority, self._store, self._clock)
        trust = TrustRoutes(
            self._authority, publisher, self._site("http"), self.directory, self._events
        )
        for host, port in _endpoints(config.http_listen, "http_listen"):
            self._server.add_http(host, port, trust.app)
        admin = AdminRoutes(self._owner, self, self._events)
        self._server.add_unix(self._state / SOCKET, admin.app)

    def _site(self, scheme: str) -> Site:
        listen = self._config.listen if scheme == "https" else self._config.http_listen
        port = endpoint(listen[0], "listen", None)[1]
        return Site(
            scheme=scheme,
            names=frozenset((*self._names.names, "localhost")),
            default_base=f"{scheme}://{self._names.url}:{port}",
            is_own=self._lan.is_own,
        )

    @property
    def directory(self) -> str:
        """Return the URL of the ACME directory."""
        return self._site("https").default_base + objects.DIRECTORY

    @property
    def ready_line(self) -> str:
        """Return the line that says that the server can be used."""
        return f"ready {self.directory} sha256:{self._authority.root_spki_sha256}"

    def hints(self) -> str:
        """Return what a person does next, with this server's own values filled in."""
        port = endpoint(self._config.http_listen[0], "http_listen", None)[1]
        trust = f"http://{self._names.url}:{port}"
        domain = self._config.domain[0]
        return (
            f"Next, on a device named printer that has the address it is asked for:\n"
            f"  curl -o root.pem {trust}/root.pem\n"
            f"  REQUESTS_CA_BUNDLE=root.pem certbot certonly --standalone "
            f"--elliptic-curve secp384r1 \\\n"
            f"    --server {self.directory} -d printer.{domain} -d printer.local\n"
            f"New devices: acmeiot devices, acmeiot approve ID --state {self._state}\n"
            f"Browsers: {trust}/trust"
        )

    def run(self) -> None:
        """Serve until `stop`."""
        keeper = threading.Thread(target=self._keep_up, name="upkeep", daemon=True)
        keeper.start()
        try:
            self._server.run()
        finally:
            self._stopping.set()
            self._runner.stop()
            self._store.close()
            self._events.emit("stop", "stopped")

    def stop(self) -> None:
        """End `run` soon; for signal handlers."""
        self._stopping.set()
        self._server.stop()

    # -- time

    def _first_start(self) -> None:
        """Open the pairing window once, when the service is first enabled (decision 5)."""
        if self._store.fact(_FIRST_START) is None:
            self._store.put_fact(_FIRST_START, str(self._clock.now()))
            if self._config.approval == "ask" and self._config.pairing_window:
                self._devices.open_window(self._config.pairing_window)

    def _keep_up(self) -> None:
        while not self._stopping.wait(_UPKEEP_IN_DOUBT if self._clock.doubt() else _UPKEEP):
            try:
                self.upkeep()
            except (OSError, StoreFull) as error:
                self._events.emit("upkeep", f"{error}; trying again in an hour", warning=True)

    def upkeep(self) -> None:
        """Do what is due: succeed issuers, renew the server's certificate, prune the store."""
        if self._clock.doubt() is not None:
            return
        now = self._clock.now()
        succeeded = self._authority.tick(now)
        if succeeded:
            root = self._authority.root_spki_sha256
            self._events.emit("root", f"issuers renewed; root sha256:{root}")
        for domain in self._authority.uncovered:
            self._events.emit(
                "root", f"the root does not cover .{domain}: run `acmeiot rotate`", warning=True
            )
        self._store.prune(now)
        if succeeded or now > self._server_until - _RENEW_SERVER:
            self._renew_server(now)

    def _renew_server(self, now: int) -> None:
        """Give the listeners a new certificate; connections that are open keep theirs."""
        key, chain, until = self._authority.issue_server(
            self._names.names, self._names.addresses, now
        )
        path = self._state / TLS_FILE
        path.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write_durably(path, key + chain)
        self._server_until = until
        self._server.use_context(self._tls_context())
        self._events.debug("tls", f"the server's certificate is good until {rfc3339(until)}")

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._state / TLS_FILE)
        return context

    # -- the steward's part of the admin socket

    def status(self) -> Json:
        """Return the state of the server for the owner."""
        now = self._clock.now()
        devices = self._store.devices()
        return {
            "version": __version__,
            "directory": self.directory,
            "root": {
                "name": self._authority.root_name,
                "sha256": self._authority.root_spki_sha256,
                "not_after": self._authority.roots()[0].not_after,
            },
            "intermediate": {"not_after": self._authority.issuers()[0].not_after},
            "server": {"not_after": self._server_until, "names": list(self._names.names)},
            "uncovered_domains": list(self._authority.uncovered),
            "approval": self._config.approval,
            "policy": self._config.policy or _rule(self._config),
            "window_ends": self._devices.window_end(),
            "devices": {
                word: sum(device.status.value == word for device in devices)
                for word in ("pending", "approved", "blocked", "forgotten")
            },
            "certificates": len(self._store.certificates(unexpired_at=now)),
            "accounts": self._store.count_accounts(),
            "clock": {"now": now, "doubt": self._clock.doubt()},
            "audit_broken_at": self._store.verify_audit(),
        }

    def rotate(self) -> Json:
        """Make a new root and publish both (specs 6: root rotation)."""
        doubt = self._clock.doubt()
        if doubt is not None:
            raise ValueError(f"no new root is made now: {doubt}")
        now = self._clock.now()
        old = self._authority.root_spki_sha256
        self._authority.rotate(now)
        self._renew_server(now)
        new = self._authority.root_spki_sha256
        self._events.emit("root", f"new root sha256:{new}; the old one, sha256:{old}, still counts")
        return {"old": old, "new": new}

    def backup(self, passphrase: str) -> bytes:
        """Return the sealed backup of everything in the state directory."""
        from acmeiot.store import backup

        root = self._authority.root_spki_sha256
        return backup.seal(self._store, self._state, passphrase, now=self._clock.now(), root=root)


def _wait_for_time(clock: SystemClock, events: LogEvents, stopping: Callable[[], bool]) -> bool:
    """Wait until the clock can be believed; tell why, once a minute. False if told to stop."""
    waited = 0
    while (doubt := clock.doubt()) is not None:
        if waited % 60 == 0:
            events.emit("clock", doubt, warning=True)
        if stopping():
            return False
        time.sleep(1)
        waited += 1
    return True


def _authority_config(config: Config, known_as: Names) -> AuthorityConfig:
    port = endpoint(config.http_listen[0], "http_listen", None)[1]
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


def _lan(config: Config, clock: SystemClock, events: LogEvents) -> LanFacts:
    leases, hosts = (
        [Path(text) for text in paths] for paths in (config.lease_files, config.hosts_files)
    )
    tables = Tables(leases, hosts, config.domain, clock, events)
    try:
        given = [_resolver(text) for text in config.resolver]
    except ValueError as error:
        raise ConfigError(f"resolver: {error}") from None
    multicast = MulticastDns() if config.mdns and not given else None
    servers = given or system_servers()
    return LanFacts(tables, UnicastDns(servers), multicast, forced=bool(given))


def _resolver(text: str) -> Resolver:
    host, port = endpoint(text, "resolver", 53)
    return Resolver(ipaddress.ip_address(host), port)


def _rule(config: Config) -> str:
    """Return the policy where none is set: `lease` where a lease file is, else `challenge`."""
    there = any(Path(path).exists() for path in config.lease_files)
    return "lease" if there and not config.resolver else "challenge"


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


def _endpoints(texts: tuple[str, ...], option: str) -> list[tuple[str, int]]:
    found = [endpoint(text, option, None) for text in texts]
    if texts == getattr(Config(), option) and not socket.has_ipv6:
        return found[:1]
    return found


def _web_limits(config: Config) -> WebLimits:
    if config.limits == "on":
        return WebLimits()
    return WebLimits(connections=2000, per_address=2000)
