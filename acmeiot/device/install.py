"""Puts key and chain where this device's own service reads them, and looks that it serves them.

A service that finds a key beside another key's certificate does not start. So both files are links
through one directory, and one rename changes both at once:

    key.pem  -> .cert.pem.acmeiot/live/key.pem          live -> 7
    cert.pem -> .cert.pem.acmeiot/live/cert.pem

Files in two different directories cannot change at once: there the key goes first, and a power
cut between the two renames is mended at the next start. What does not reload, or does not serve
the new certificate then, gets its old files back.
"""

from __future__ import annotations

import errno
import os
import shutil
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from acmeiot import durable
from acmeiot.client.errors import AgentError
from acmeiot.device import files
from acmeiot.device.servers import Pair

CERTIFICATE_MODE: Final = 0o644
_PROOF_SECONDS: Final = 15  # for a service that reloads at its leisure
_END: Final = b"-----END CERTIFICATE-----"

Content = Mapping[Path, bytes | None]


class InstallError(AgentError):
    """Why the new certificate is not in use; the old files are back in their places."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Where a service reads its key and its chain (one file for both if the paths are equal).

    `owner` and `group` are ids, -1 to leave them; `mode` is the key's.
    """

    key: Path
    chain: Path
    owner: int = -1
    group: int = -1
    mode: int = 0o600

    def content(self, pair: Pair) -> Content:
        """Return what the files must hold for a pair."""
        if pair.key is None:
            raise ValueError(f"the key of {pair.serial} was deleted")
        if self.key == self.chain:
            return {self.key: pair.key + pair.chain}
        return {self.key: pair.key, self.chain: pair.chain}

    def found(self) -> Content:
        """Return what the files hold, None for one that is not there."""
        return {path: _read(path) for path in dict.fromkeys((self.key, self.chain))}

    def put(self, content: Content) -> None:
        """Put the content in place; raise OSError with all files as they were.

        Only a failure between the two renames of the two-directories case can leave one of each.
        """
        for folder in dict.fromkeys((self.key.parent, self.chain.parent)):
            _check(folder)
        if self.key.parent == self.chain.parent and self.key != self.chain:
            self._flip(content)
        else:
            self._rename_each(content)

    def remove(self) -> None:
        """Take the files away, and what they are links to."""
        for path in (self.key, self.chain):
            path.unlink(missing_ok=True)
        if self._versions.exists():
            shutil.rmtree(self._versions)
        durable.sync_directory(self.key.parent)
        durable.sync_directory(self.chain.parent)

    @property
    def _versions(self) -> Path:
        return self.chain.with_name(f".{self.chain.name}.acmeiot")

    def _flip(self, content: Content) -> None:
        versions = self._versions
        files.make_open(versions)
        old = self.found()
        if not self._linked(versions):
            # The links come first, on to what the files hold already: nothing changes by that.
            self._point(versions, self._stage(versions, old))
            for path in (self.key, self.chain):
                _link(path, Path(versions.name) / "live" / path.name)
            durable.sync_directory(self.chain.parent)
        self._point(versions, self._stage(versions, content))

    def _linked(self, versions: Path) -> bool:
        return all(
            path.is_symlink() and path.readlink() == Path(versions.name) / "live" / path.name
            for path in (self.key, self.chain)
        )

    def _stage(self, versions: Path, content: Content) -> Path:
        """Write a new version, complete and durable, that nobody looks at yet."""
        numbers = [int(each.name) for each in versions.glob("*") if each.name.isdigit()]
        new = versions / str(max(numbers, default=0) + 1)
        files.make_open(new)
        try:
            for path, data in content.items():
                if data is not None:
                    self._write(new / path.name, path, data)
        except OSError:
            shutil.rmtree(new)
            raise
        durable.sync_directory(new)
        durable.sync_directory(versions)
        return new

    def _point(self, versions: Path, new: Path) -> None:
        """Let `live` mean another version, and remove all the others."""
        _link(versions / "live", Path(new.name))
        durable.sync_directory(versions)
        for each in versions.glob("*"):
            if each.name.isdigit() and each != new:
                shutil.rmtree(each)

    def _rename_each(self, content: Content) -> None:
        staged = {}
        try:
            for path, data in content.items():
                if data is not None:
                    staged[path] = path.with_name(f".{path.name}.acmeiot{durable.TEMPORARY}")
                    staged[path].unlink(missing_ok=True)
                    self._write(staged[path], path, data)
            for path, new in staged.items():
                new.replace(path)
        finally:
            for new in staged.values():
                new.unlink(missing_ok=True)
        for path, data in content.items():
            if data is None:
                path.unlink(missing_ok=True)
            durable.sync_directory(path.parent)

    def _write(self, new: Path, path: Path, data: bytes) -> None:
        mode = self.mode if path == self.key else CERTIFICATE_MODE
        durable.write_new(new, data, mode, (self.owner, self.group))


class Presented(Protocol):
    """Returns the certificates, DER, that a TLS server shows; raises AgentError or OSError."""

    def __call__(self, address: str, port: int, host: str, timeout: float) -> tuple[bytes, ...]:
        """Connect and return the chain, leaf first."""
        ...


@dataclass(frozen=True, slots=True)
class Proof:
    """How to see that a service serves the new certificate.

    With `asked` False nobody named the service: it is only held to it if it served the old one.
    """

    address: str
    port: int
    asked: bool
    presented: Presented
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def serves(self, leaf: bytes | None, host: str) -> bool:
        """Tell whether the service shows this certificate now."""
        try:
            return leaf is not None and self.presented(self.address, self.port, host, 5.0)[0] == (
                leaf
            )
        except (AgentError, OSError):
            return False

    def wait(self, leaf: bytes, host: str) -> bool:
        """Tell whether the service comes to show this certificate within 15 seconds."""
        ends = self.monotonic() + _PROOF_SECONDS
        while not self.serves(leaf, host):
            if self.monotonic() >= ends:
                return False
            self.sleep(0.25)
        return True


@dataclass(frozen=True, slots=True)
class Installer:
    """Brings a pair into use. `reload` raises AgentError for a service that did not."""

    targets: Targets | None = None
    reload: Callable[[], None] | None = None
    proof: Proof | None = None

    def holds(self, pair: Pair) -> bool:
        """Tell whether the service's files hold this pair."""
        return self.targets is None or self.targets.found() == self.targets.content(pair)

    def install(self, pair: Pair, host: str) -> str:
        """Install a pair and return what was done, for people; raise InstallError.

        `host` is a name in the certificate, which the service is asked for.
        """
        if self.targets is None:
            return "kept in the state directory only"
        old = self.targets.found()
        judge = self._judge(old, host)
        try:
            self.targets.put(self.targets.content(pair))
        except OSError as error:
            raise InstallError(f"cannot write {self.targets.chain}: {error.strerror}") from None
        try:
            self._reload()
            proved = self._prove(first(pair.chain), host, judge)
        except (AgentError, OSError) as error:
            raise InstallError(f"{error}; {self._put_back(self.targets, old)}") from None
        return f"installed in {self.targets.chain}{proved}"

    def _judge(self, old: Content, host: str) -> bool:
        """Tell whether a service that does not serve the new certificate is at fault."""
        if self.proof is None or self.proof.asked:
            return self.proof is not None
        chain = old[self.targets.chain] if self.targets else None
        return self.proof.serves(first(chain) if chain else None, host)

    def _reload(self) -> None:
        if self.reload is not None:
            self.reload()

    def _prove(self, leaf: bytes | None, host: str, judge: bool) -> str:
        proof = self.proof
        if proof is None or not judge:
            return ""
        if leaf is None or not proof.wait(leaf, host):
            raise AgentError(
                f"the service at {proof.address} port {proof.port} does not serve the new "
                f"certificate after {_PROOF_SECONDS} s"
            )
        return f", served at {proof.address} port {proof.port}"

    def _put_back(self, targets: Targets, old: Content) -> str:
        try:
            targets.put(old)
            self._reload()
        except OSError as error:
            return f"and the old files could not be put back: {error}"
        except AgentError as error:
            return f"the old files are back, but: {error}"
        return "the old files are back"


def first(pem: bytes) -> bytes | None:
    """Return the first certificate of a PEM file as DER, None if there is none."""
    start, end = pem.find(b"-----BEGIN CERTIFICATE-----"), pem.find(_END)
    if not 0 <= start < end:
        return None
    try:
        return ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)].decode("ascii"))
    except ValueError:
        return None


def _check(folder: Path) -> None:
    """Raise OSError if root is to work where somebody else could exchange any name for a link.

    They could have any file of the system copied for them, by a link in the place of the old one.
    """
    status = folder.stat()
    others = status.st_uid or status.st_mode & 0o002 or (status.st_gid and status.st_mode & 0o020)
    if os.geteuid() == 0 and others:
        raise PermissionError(
            errno.EPERM,
            f"others than root can write to {folder}: make the directory root's (the files can be "
            "the service's, --owner), or run this agent as the service's user",
        )


def _link(path: Path, target: Path) -> None:
    new = path.with_name(f".{path.name}{durable.TEMPORARY}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
