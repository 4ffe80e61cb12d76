"""The running server: one process over one state directory, and what time brings to it.

No rule lives here. `Daemon.open` makes or finds the state, `run` serves until it is told to stop,
and `upkeep` is what time brings: certificates and roots that follow each other, rows that go.
"""

from __future__ import annotations

import errno
import gc
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from acmeiot import RELEASED, __version__, durable, hints
from acmeiot.ca.profiles import BACKDATE, SERVER_LIFE
from acmeiot.ca.publish import Publisher
from acmeiot.ca.roots import Authority
from acmeiot.clock import SlowTime, SystemClock, wait_for_time
from acmeiot.config import SOCKET, Config, endpoint
from acmeiot.core.ports import StoreFull
from acmeiot.events import LogEvents
from acmeiot.identity import Names
from acmeiot.lan.resolve import LanFacts
from acmeiot.protocol.messages import rfc3339
from acmeiot.protocol.names import Identifier
from acmeiot.runner import ThreadRunner
from acmeiot.statusfile import StatusFile, shown
from acmeiot.store.sqlite import SqliteStore
from acmeiot.web import objects
from acmeiot.web.acme import AcmeRoutes
from acmeiot.web.admin import AdminRoutes, Json
from acmeiot.web.serve import Limits as WebLimits
from acmeiot.web.serve import Server
from acmeiot.web.site import Site
from acmeiot.web.trust import TrustRoutes
from acmeiot.wiring import Outside, authority, core, lan_facts, served

TLS_FILE: Final = "tls/server.pem"  # the server's own key and chain
_UPKEEP: Final = 3600  # seconds
_UPKEEP_IN_DOUBT: Final = 30  # while the clock is not yet set
_FIRST_START: Final = "first start"
_RENEW_SERVER: Final = 10 * 86400  # before its end; a third of its life
_GC_EVERY: Final = 7000  # objects that were made and not yet let go
_STOP: Final = 3  # seconds that validations under way are waited for at the end
_LOOK_BACK: Final = 50  # entries of the audit
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Daemon:
    """One server process over one state directory."""

    def __init__(
        self,
        config: Config,
        store: SqliteStore,
        clock: SystemClock,
        events: LogEvents,
        lan: LanFacts,
        issuer: Authority,
        known_as: Names,
    ) -> None:
        """Take rooms that are open already; `open` is how to get a daemon."""
        self._config, self._state, self._store = config, Path(config.state), store
        self._clock, self._events, self._authority = clock, events, issuer
        self._lan, self._names, self._slowly = lan, known_as, SlowTime(store)
        self._stopping = threading.Event()
        self._renewing = threading.Lock()
        self._server_until: int | None = None
        self._in_doubt = False
        self._audit_broken_at: int | None = None  # when `status` was last asked for
        self._runner = ThreadRunner()
        admits = served(config, clock, events).admits
        self._server = Server(threads=config.threads, limits=_web_limits(config), admits=admits)
        outside = Outside(store, clock, events, issuer, lan, self._runner)
        self._core = core(config, known_as, outside)
        self._publisher = Publisher(issuer, store, clock)
        self._believe_issuer()

    @classmethod
    def open(cls, config: Config, events: LogEvents, stopping: Callable[[], bool]) -> Daemon | None:
        """Open the state, made on the first start; None if told to stop while waiting for time.

        Raise ConfigError with nothing touched; StateError, BrokenState or BadKeyFile for a state
        that is in use or cannot be used; StoreFull or OSError when the disk will not take it.
        """
        known_as = Names.of(config)
        settings = authority(config, known_as)
        set_file = Path(config.clock_set_file) if config.clock_set_file else None
        clock = SystemClock(RELEASED, set_file)
        lan = lan_facts(config, clock, events)
        state = Path(config.state)
        # A database that is lost beside keys that are not: that home is restored, not started anew.
        store = SqliteStore(state, create=not (state / "ca").exists())
        try:
            clock.have_signed(_last_signed(store))
            # A known home is served at once, and signs when the time is known; a root is never
            # made before that.
            known = (state / TLS_FILE).exists() and (state / "ca").exists()
            if not known and not wait_for_time(clock, events, stopping):
                store.close()
                return None
            issuer = Authority.open(
                state / "ca", settings, now=clock.now(), record=store.append_audit
            )
            return cls(config, store, clock, events, lan, issuer, known_as)
        except BaseException:
            store.close()
            raise

    # -- serving

    def listen(self) -> None:
        """Bind every listener; raise OSError naming the one that cannot be bound."""
        self._server_until = self._kept_until()
        self.upkeep()
        context = self._tls_context()
        acme = AcmeRoutes(self._core.services, self._site("https"), self._core.meta)
        trust = TrustRoutes(
            self._authority, self._publisher, self._site("http"), self.directory, self._events
        )
        admin = AdminRoutes(self._core.owner, self, self._events)
        self._bind("listen", lambda h, p: self._server.add_tls(h, p, acme.app, context))
        self._bind("http_listen", lambda h, p: self._server.add_http(h, p, trust.app))
        self._server.add_unix(self._state / SOCKET, admin.app)
        self._first_start()
        self._events.emit(
            "start",
            f"acmeiot {__version__}, names under {', '.join(('local', *self._config.domain))}, "
            f"policy {self._core.rule}, approval {self._config.approval}, "
            f"profile {self._config.profile}",
        )

    def _bind(self, option: str, add: Callable[[str, int], None]) -> None:
        texts: tuple[str, ...] = getattr(self._config, option)
        for text in texts:
            host, port = endpoint(text, option)
            try:
                add(host, port)
            except OSError as error:
                # Where IPv6 is switched off, the default addresses mean IPv4 alone.
                if error.errno not in _NO_IPV6 or texts != getattr(Config(), option):
                    raise
                self._events.emit("start", str(error), warning=True)

    def _site(self, scheme: str) -> Site:
        option = "listen" if scheme == "https" else "http_listen"
        port = endpoint(getattr(self._config, option)[0], option)[1]
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

    def hints(self, program: str) -> str:
        """Return what a person does next, with this server's own values filled in for a shell."""
        trust = self._site("http").default_base
        return hints.text(program, self.directory, trust, self._state, self._config.domain[0])

    def run(self) -> None:
        """Serve until `stop`."""
        # What is there now stays: the collector need not look through it, nor its pages change.
        gc.collect()
        gc.freeze()
        # A request leaves hardly anything that refers to itself: look a tenth as often.
        gc.set_threshold(_GC_EVERY)
        keeper = threading.Thread(target=self._keep_up, name="upkeep", daemon=True)
        keeper.start()
        page = self._status_file()
        try:
            self._server.run()
        finally:
            self._stopping.set()
            if page is not None:
                page.stop()
            # A proof that is still being sought is lost, and asked for again: the store has it as
            # pending. Its thread may still come to the store, which then stays open to the end.
            if self._runner.stop(_STOP):
                self._store.close()
            self._events.emit("stop", "stopped")

    def _status_file(self) -> StatusFile | None:
        if not self._config.status_file:
            return None
        port = endpoint(self._config.http_listen[0], "http_listen")[1]
        path = Path(self._config.status_file)
        page = StatusFile(path, lambda: shown(self._now(), port), self._events)
        page.start()
        return page

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
                self._core.owner.devices.open_window(self._config.pairing_window)

    def _keep_up(self) -> None:
        while not self._stopping.wait(_UPKEEP_IN_DOUBT if self._clock.doubt() else _UPKEEP):
            try:
                self.upkeep()
            except (OSError, StoreFull) as error:
                self._events.emit("upkeep", f"{error}; trying again in an hour", warning=True)
            except Exception as error:  # noqa: BLE001 - one failure must not end all renewals
                self._events.fault("upkeep", error)

    def upkeep(self) -> None:
        """Do what is due: succeed issuers, renew the server's certificate, prune the store."""
        returned = self._return_to_ntp()
        doubt = self._clock.doubt()
        if doubt is not None:
            if not self._in_doubt:  # it is asked twice a minute
                self._events.emit("clock", doubt, warning=True)
            self._in_doubt = True
            return
        self._in_doubt = False
        now = self._clock.now()
        succeeded = self._authority.tick(now) or returned
        if succeeded:
            root = self._authority.root_spki_sha256
            self._events.emit("root", f"issuers renewed; root sha256:{root}")
        for domain in self._authority.uncovered:
            self._events.emit(
                "root", f"the root does not cover .{domain}: run `acmeiot rotate`", warning=True
            )
        self._store.prune(self._slowly.follow(now))
        left = (self._server_until or 0) - now
        # More than it was made for: a clock that was wrong dated it into the future.
        if succeeded or not _RENEW_SERVER <= left <= SERVER_LIFE:
            self._renew_server(now)
        self._events.news.set()  # what has expired, and that the clock is believed now

    def _return_to_ntp(self) -> bool:
        """Return to the issuers of the time that NTP has set, where a wrong clock made later ones.

        Until that is done the time is in doubt, so that nobody is issued a leaf by the later ones.
        """
        now = self._clock.before_floor()
        if now is None or not self._authority.reaches(now):
            return False
        text = f"it is {rfc3339(now)}, says NTP: what this CA made by a later clock is put aside"
        self._events.emit("clock", text, warning=True)
        self._authority.tick(now)
        self._clock.end_floor()
        self._believe_issuer()
        return True

    def _covered_names(self) -> list[str]:
        """Return the server's names, but for those of a domain added since the root was made."""
        permits = self._authority.permits
        return [name for name in self._names.names if permits(Identifier("dns", name))]

    def _kept_until(self) -> int | None:
        """Return until when the certificate of an earlier start serves; None for a new one."""
        path = self._state / TLS_FILE
        for left in path.parent.glob(f".{path.name}.*"):
            left.unlink()  # of a write that a power cut ended; it holds a key
        if not path.exists():
            return None
        try:
            self._tls_context()
            return self._authority.server_until(
                path.read_bytes(), self._covered_names(), self._names.addresses
            )
        except (ssl.SSLError, ValueError) as error:
            self._events.emit("tls", f"{path} cannot be used, making anew: {error}", warning=True)
            return None

    def _believe_issuer(self) -> None:
        """Believe no time in which a leaf made now would begin before its issuer does."""
        self._clock.raise_floor(self._authority.issuers()[0].not_before + BACKDATE)

    def _renew_server(self, now: int) -> None:
        """Give the listeners a new certificate; connections that are open keep theirs."""
        self._believe_issuer()
        with self._renewing:
            covered = self._covered_names()
            key, chain, until = self._authority.issue_server(covered, self._names.addresses, now)
            path = self._state / TLS_FILE
            path.parent.mkdir(mode=0o700, exist_ok=True)
            durable.write(path, key + chain)
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
        self._audit_broken_at = self._store.verify_audit()
        return self._now()

    def _now(self) -> Json:
        """Return the state with what was last known of the audit: reading all of it takes long."""
        now = self._clock.now()
        root = self._authority.root_spki_sha256
        statuses = [device.status.value for device in self._store.devices()]
        return {
            "version": __version__,
            "directory": self.directory,
            "domain": self._config.domain[0],
            "root": {
                "name": self._authority.root_name,
                "sha256": root,
                "not_after": self._authority.roots()[0].not_after,
                "pem": self._authority.root_pem.decode("ascii"),
            },
            "intermediate": {"not_after": self._authority.issuers()[0].not_after},
            # null until the clock lets a new one be made
            "server": {"not_after": self._server_until, "names": list(self._names.names)},
            "uncovered_domains": list(self._authority.uncovered),
            "approval": self._config.approval,
            "policy": self._core.rule,
            "window_ends": self._core.owner.devices.window_end(),
            "devices": {
                word: statuses.count(word)
                for word in ("pending", "approved", "blocked", "forgotten")
            },
            "certificates": len(self._store.certificates(unexpired_at=now)),
            "accounts": self._store.count_accounts(),
            "clock": {"now": now, "doubt": self._clock.doubt()},
            "audit_broken_at": self._audit_broken_at,
            **self._announcing(root),
        }

    def _announcing(self, root: str) -> Json:
        """Return what `announce` needs to know, and what it left behind."""
        from acmeiot.lan import announced  # seldom asked for

        base = self._site("https").default_base
        memories = announced.places(self._config.announced, self._config.state)
        return {
            "domains": list(self._config.domain),
            # For another web server that hands it out, too.
            "directory_object": objects.directory(base, self._core.meta),
            "announced": announced.report(memories, self.directory, root),
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


def _last_signed(store: SqliteStore) -> int:
    """Return a time at which this home is known to have signed, 0 if it never did.

    A leaf may be dated into the future (R-21), which says nothing of the time now: the audit's
    newest entries tell when that was.
    """
    seen = max((entry.at for entry in store.audit(_LOOK_BACK)), default=0)
    return min(store.newest_issue(), seen)


def _web_limits(config: Config) -> WebLimits:
    if config.limits == "on":
        return WebLimits()
    return WebLimits(connections=2000, per_address=2000)
