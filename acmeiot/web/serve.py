"""The HTTP server: one pool of threads for every listener, and fairness among clients.

One thread at a time leads: it waits on the epoll set, takes the connection that is ready as far
as it goes without waiting, application included, and arms it again. A request passes through
one thread, without queue or hand-over, and a slow client occupies none. Only when the leader is
held up (a slow disk under the application) does the next thread take over, so that threads
rarely fight for the interpreter. Each descriptor is armed for one event (EPOLLONESHOT): no two
threads meet on one connection. The thread that called `run` watches the leader and the clock.

When connections are used up, the one that is least worth keeping gives way: the newcomer's own
address pays if it has its full share, else the address that holds most.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acmeiot.web.connection import CLOSE, READ, Connection, Stage
from acmeiot.web.listener import Limits, Listener, bind_tcp, bind_unix, require_modern

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication as WSGIApp

__all__ = ["Limits", "Server"]

logger = logging.getLogger("acmeiot.web")

# Connections taken from a listener before others get their turn.
ACCEPT_BURST: Final = 16
# After how long without progress the next thread takes over, and after how many such pauses
# without any event nobody needs to look.
HELD_UP_SECONDS: Final = 0.01
QUIET_TICKS: Final = 10
# How often time limits are looked at.
TICK_SECONDS: Final = 1.0
# How long answers in flight may take after `stop`.
STOP_SECONDS: Final = 5.0


class Server:
    """Serve WSGI applications on any number of listeners from one pool of threads.

    The environ has `acmeiot.local_address`, the address that the client reached.
    """

    def __init__(
        self,
        *,
        threads: int = 8,
        limits: Limits | None = None,
        admits: Callable[[str], bool] = lambda peer: True,
    ) -> None:
        """Take what is the same for all listeners; `admits` is asked for each TCP peer's address.

        A link-local address comes with its interface (`fe80::1%br-lan`).
        """
        if threads < 1:
            raise ValueError(f"a server needs at least one thread, not {threads}")
        self._threads = threads
        self._admits = admits
        self._limits = limits or Limits()
        self._epoll = select.epoll()
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._listeners: dict[int, Listener] = {}
        self._unix_paths: dict[Path, int] = {}
        self._guard = threading.Lock()  # over the two tables below
        self._connections: dict[int, Connection] = {}
        self._held: Counter[str] = Counter()
        self._stopping = False
        self._halted = False
        self._turn = threading.Semaphore(1)
        self._leader: int | None = 0  # a thread's ident; None while the turn is on offer
        self._waiting = True  # the leader waits for events
        self._taken = 0  # events dealt with
        self._unwatched = True  # nothing goes on, `_watch` sleeps

    def add_tls(self, host: str, port: int, app: WSGIApp, context: ssl.SSLContext) -> None:
        """Listen for HTTPS on an address literal (`::` is IPv6 only); port 0 takes a free one.

        Raises ValueError for a host that is no address or a context that allows less than TLS 1.2
        (R-1), OSError naming host and port when it cannot bind.
        """
        require_modern(context)
        self._listen(bind_tcp(host, port), app, context)

    def add_http(self, host: str, port: int, app: WSGIApp) -> None:
        """Listen for plain HTTP; host, port and errors as in `add_tls`."""
        self._listen(bind_tcp(host, port), app, None)

    def add_unix(self, path: Path, app: WSGIApp, mode: int = 0o600) -> None:
        """Listen on a unix socket with REMOTE_ADDR empty; replace one that a dead server left.

        Call it before other threads make files: the umask is changed for an instant. Raises
        OSError when a server answers there or something that is no socket is in the way.
        """
        sock = bind_unix(path, mode)
        self._unix_paths[path] = path.stat().st_ino
        self._listen(sock, app, None)

    def use_context(self, context: ssl.SSLContext) -> None:
        """Give new TLS connections another certificate; those open keep theirs.

        A new context instead of `load_cert_chain` on the old one: no handshake can meet the new
        certificate with the old key. Raises ValueError as `add_tls` does.
        """
        require_modern(context)
        for listener in self._listeners.values():
            if listener.context is not None:
                listener.context = context

    def addresses(self) -> list[tuple[str, int]]:
        """Return the bound (address, port) of the TCP listeners, in the order they were added."""
        return [one.address for one in self._listeners.values() if not one.is_unix]

    def run(self) -> None:
        """Serve until `stop`; then let answers in flight finish, for 5 seconds at most."""
        workers = [
            threading.Thread(target=self._work, name=f"web-{number}", daemon=True)
            for number in range(self._threads)
        ]
        for worker in workers:
            worker.start()
        try:
            self._watch()
        finally:
            self._wind_down(workers)

    def stop(self) -> None:
        """End `run` soon; for signal handlers and other threads, any number of times."""
        self._stopping = True
        self._poke()

    def _poke(self) -> None:
        """Wake the thread in `run`."""
        # A full pipe has been told already, a closed one belongs to a server that has ended.
        with suppress(OSError):
            self._waker.send(b".")

    def _listen(self, sock: socket.socket, app: WSGIApp, context: ssl.SSLContext | None) -> None:
        listener = Listener(sock, app, self._limits, context)
        self._listeners[sock.fileno()] = listener
        self._epoll.register(sock.fileno(), READ)

    def _work(self) -> None:
        me = threading.get_ident()
        while not self._halted:
            self._turn.acquire()
            self._leader = me
            while self._leader == me and not self._halted:
                self._waiting = True
                ready = self._epoll.poll(maxevents=1)
                self._waiting = False
                if self._unwatched:
                    self._unwatched = False
                    self._poke()
                for fileno, _ in ready:
                    self._attend(fileno)
                self._taken += 1

    def _attend(self, fileno: int) -> None:
        if (connection := self._connections.get(fileno)) is not None:
            self._advance(connection)
        elif (listener := self._listeners.get(fileno)) is not None:
            self._welcome(listener)

    def _offer_turn(self) -> None:
        # Whoever is free takes it; the old leader sees that when it is done.
        self._leader = None
        self._turn.release()

    def _watch(self) -> None:
        """Until `stop`: replace a leader that is held up, enforce the time limits."""
        seen, quiet, expiry = 0, 0, 0.0
        while not self._stopping:
            pause = TICK_SECONDS if self._unwatched else HELD_UP_SECONDS
            if select.select([self._wake], [], [], pause)[0]:
                self._wake.recv(64)
                quiet = 0
            if self._taken != seen:
                seen, quiet = self._taken, 0
            elif self._waiting:
                quiet += 1
                self._unwatched = quiet > QUIET_TICKS
            elif self._leader is not None:
                self._offer_turn()
            if time.monotonic() >= expiry:
                self._drop_expired()
                expiry = time.monotonic() + TICK_SECONDS

    def _advance(self, connection: Connection) -> None:
        with connection.lock:
            if connection.closed:
                return
            try:
                interest = connection.advance()
            except Exception:
                logger.exception("closing a connection of %s", connection.addr[0] or "unix")
                interest = CLOSE
            if interest == CLOSE or self._halted:
                self._drop(connection)
            else:
                self._epoll.modify(connection.fileno, interest)

    def _welcome(self, listener: Listener) -> None:
        try:
            for _ in range(ACCEPT_BURST):
                if (connection := listener.accept()) is None:
                    break
                self._admit(connection)
        except OSError as fault:
            if listener.closing:
                return
            logger.warning("cannot accept a connection: %s", fault)
            self._give_way(self._snapshot())
        with self._guard:
            if not listener.closing:
                self._epoll.modify(listener.sock.fileno(), READ)

    def _admit(self, connection: Connection) -> None:
        """Register a newcomer; where there is no room, something less worth keeping goes first."""
        if connection.addr[0] and not self._admits(connection.addr[0]):
            connection.close()
            return
        if not self._make_room(connection.addr[0]):
            logger.debug("no room for another connection of %s", connection.addr[0])
            connection.close()
            return
        with self._guard:
            self._connections[connection.fileno] = connection
            self._held[connection.addr[0]] += 1
        self._epoll.register(connection.fileno, READ)

    def _make_room(self, address: str) -> bool:
        with self._guard:
            everyone = list(self._connections.values())
            held = self._held[address]
            total = len(everyone) - self._held[""]
            greediest = max(self._held.values(), default=0)
            # The admin socket is never crowded out, nor does it crowd out.
            rivals = {a for a, n in self._held.items() if n == greediest and a} or {address}
        if held >= self._limits.per_address:
            return self._give_way(one for one in everyone if one.addr[0] == address)
        if address and total >= self._limits.connections:
            return self._give_way(one for one in everyone if one.addr[0] in rivals)
        return True

    def _give_way(self, candidates: Iterable[Connection]) -> bool:
        """Drop the first by stage, then age, that no thread is working on."""
        for one in sorted(candidates, key=lambda one: (one.stage, one.since)):
            if self._drop_if(one, lambda _: True):
                return True
        return False

    def _drop_if(self, connection: Connection, due: Callable[[Connection], bool]) -> bool:
        """Drop a connection that no thread is working on and for which `due` holds."""
        if not connection.lock.acquire(blocking=False):
            return False
        try:
            if not connection.closed and due(connection):
                self._drop(connection)
                return True
            return False
        finally:
            connection.lock.release()

    def _drop(self, connection: Connection) -> None:
        # Out of the tables first: the descriptor's number is anybody's once it is closed.
        with self._guard:
            del self._connections[connection.fileno]
            self._held[connection.addr[0]] -= 1
            if not self._held[connection.addr[0]]:
                del self._held[connection.addr[0]]
        connection.close()

    def _snapshot(self) -> list[Connection]:
        with self._guard:
            return list(self._connections.values())

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for one in self._snapshot():
            self._drop_if(one, lambda one: now - one.since > self._limits.seconds(one.stage))

    def _wind_down(self, workers: list[threading.Thread]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        with self._guard:
            for listener in self._listeners.values():
                listener.closing = True
                listener.sock.close()
        # A request that came in before now is answered; who is silent is not waited for.
        while self._connections and time.monotonic() < deadline:
            for one in self._snapshot():
                self._drop_if(one, lambda one: one.stage is not Stage.ANSWER)
            time.sleep(0.01)
        self._halted = True
        self._poke()
        self._epoll.register(self._wake.fileno(), select.EPOLLIN)  # wakes the leader
        self._turn.release(self._threads)  # and the others
        for worker in workers:
            worker.join(max(0.0, deadline + 0.5 - time.monotonic()))
        if any(worker.is_alive() for worker in workers):
            logger.warning("stopping although a request is still being worked on")
        self._close()

    def _close(self) -> None:
        for path, inode in self._unix_paths.items():
            # Only our own: another server may have taken the path over.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()
        for one in self._snapshot():
            self._drop_if(one, lambda _: True)
        self._epoll.close()
        self._wake.close()
        self._waker.close()
