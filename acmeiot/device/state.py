"""What this device remembers, in a directory that a power cut finds whole at every moment.

    device.json              its label
    networks.json            which server each network has, and when this device was last there
    networks/NETWORK/        key.pem and chain.pem in use there: links, for services to read
    servers/ID/root.pem      the pinned root
    servers/ID/server.json   where the server is, how the pin came about, when to renew
    servers/ID/account.key
    servers/ID/certs/SERIAL/key.pem, chain.pem
    servers/ID/current       a symbolic link to the certificate in use: it changes at once

Each server has its own directory, keys and certificates (A-4.8-2); two networks whose servers have
the same root share one (A-3.4-4).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from acmeiot import durable
from acmeiot.client.errors import AgentError
from acmeiot.device import files
from acmeiot.device.servers import Facts, Server

MAX_NETWORKS: Final = 16
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Device:
    """This device: its label, and the `--name` it was last started with."""

    label: str = ""
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """That a network has a server. `seen` is epoch seconds, `text` the network for people."""

    server: str
    seen: int
    text: str


@dataclass
class State:
    """The state directory; open it with `opened`."""

    folder: Path
    token: Callable[[int], str] = secrets.token_hex

    def device(self) -> Device:
        """Return what this device is called."""
        return files.load(self.folder / "device.json", Device)

    def put_device(self, device: Device) -> None:
        """Remember what this device is called."""
        if device != self.device():
            files.dump(self.folder / "device.json", asdict(device))

    def memberships(self) -> dict[str, Membership]:
        """Return which server each network has, by the network's key."""
        document = files.document(self.folder / "networks.json")
        return {key: files.build(Membership, entry) for key, entry in document.items()}

    def servers(self) -> tuple[Server, ...]:
        """Return all servers that are known."""
        folders = sorted((self.folder / "servers").glob("*"))
        return tuple(
            Server(f) for f in folders if _ID.fullmatch(f.name) and (f / "root.pem").exists()
        )

    def server_of(self, network: str) -> Server | None:
        """Return the server of a network, None if the network is new."""
        known = self.memberships().get(network)
        return next((s for s in self.servers() if known and s.id == known.server), None)

    def new_server(self, root_pem: bytes, facts: Facts) -> Server:
        """Pin the root of a server that was not known."""
        server = Server(self.folder / "servers" / self.token(8))
        server.folder.mkdir(mode=0o700)
        files.dump(server.folder / "server.json", asdict(facts))
        server.pin(root_pem)  # last: without it there is no server
        durable.sync_directory(server.folder.parent)
        return server

    def join(self, network: str, text: str, server: Server, now: int) -> tuple[str, ...]:
        """Remember that a network has this server; return the networks forgotten for it.

        At most 16 are kept: those where this device was last.
        """
        known = self.memberships()
        entry = Membership(server.id, now, text)
        old = known.get(network)
        if old and (old.server, old.text) == (server.id, text) and 0 <= now - old.seen < 86400:
            return ()  # a day's precision is enough to forget by, and spares the flash
        known.pop(network, None)
        newest = sorted(known.items(), key=lambda each: each[1].seen, reverse=True)
        kept = dict(newest[: MAX_NETWORKS - 1])
        files.dump(
            self.folder / "networks.json",
            {key: asdict(each) for key, each in (*kept.items(), (network, entry))},
        )
        gone = tuple(key for key in known if key not in kept)
        self._link({network: server.id, **dict.fromkeys(gone)})
        self.tidy()
        return gone

    def forget(self, server: Server) -> None:
        """Delete a server's keys, certificates and pin."""
        known = self.memberships()
        left = {key: asdict(each) for key, each in known.items() if each.server != server.id}
        if len(left) != len(known):
            files.dump(self.folder / "networks.json", left)
        self._link({key: None for key in known if key not in left})
        _erase(server.folder)

    def _link(self, servers: Mapping[str, str | None]) -> None:
        """Let each network's folder lead to its server's current pair, or be gone."""
        networks = self.folder / "networks"
        networks.mkdir(mode=0o700, exist_ok=True)
        for key, server in servers.items():
            (networks / key).unlink(missing_ok=True)
            if server is not None:
                (networks / key).symlink_to(Path("..") / "servers" / server / "current")

    def forget_device(self) -> None:
        """Forget the device's label."""
        (self.folder / "device.json").unlink(missing_ok=True)
        durable.sync_directory(self.folder)

    def tidy(self) -> None:
        """Remove servers that no network has any more, and what a power cut left."""
        used = {each.server for each in self.memberships().values()}
        for folder in (self.folder / "servers").glob("*"):
            if folder.name not in used:
                _erase(folder)
        for leftover in self.folder.rglob(f".*{durable.TEMPORARY}"):
            leftover.unlink(missing_ok=True)
        for server in self.servers():
            server.tidy()


def _erase(folder: Path) -> None:
    for key in folder.rglob("*.key*"):  # a power cut in the middle leaves no key
        key.unlink()
    for key in folder.rglob("key.pem"):
        key.unlink()
    shutil.rmtree(folder)
    durable.sync_directory(folder.parent)


def make(folder: Path) -> State:
    """Return the state in a directory, made if need be; raise OSError, AgentError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)  # it holds private keys (A-4.3-1)
    (folder / "servers").mkdir(mode=0o700, exist_ok=True)
    return State(folder)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[State]:
    """Open the state for one agent alone; raise AgentError if another one has it.

    Also if it is another user's: the agent that runs as that user could not read what is written.
    """
    state = make(folder)
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise AgentError(
            f"{folder} is another user's, {owner}: start its service, or run this as that user"
        )
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentError(f"another device agent is at work on {folder}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        state.tidy()
        yield state
    finally:
        os.close(descriptor)


def agent_pid(folder: Path) -> int | None:
    """Return the process that has the state now, None if nobody has.

    The file is the agent's user's own: whatever number it holds, the process must be that user's,
    for root sends signals there.
    """
    try:
        with (folder / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = int(file.read(32) or b"0")
                status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
                return pid if f"\nUid:\t{folder.stat().st_uid}\t" in status else None
    except (OSError, ValueError):
        pass
    return None
