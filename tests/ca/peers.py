"""Programs that verify certificates and are not ours: each takes a chain, a trust anchor, a name.

Two kinds: those that are handed files and a time, and those that meet a real TLS server on the
loopback, at the time it is.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cryptography
from cryptography import x509

SECONDS = 20  # no peer needs longer


class Refused(Exception):
    """The peer does not accept the certificate; the text is what it says."""


@dataclass(frozen=True)
class Case:
    """What a peer is asked: a TLS server with this chain (DER, leaf first), for this name."""

    chain: Sequence[bytes]
    key: bytes  # PEM
    trusted: Sequence[bytes]
    name: str
    directory: Path  # for files, the caller's to delete
    at: int

    def files(self) -> tuple[Path, Path]:
        """Write and return the chain, leaf first, and the trust anchors."""
        return (
            write_pem(self.directory / "chain.pem", self.chain),
            write_pem(self.directory / "trusted.pem", self.trusted),
        )


def pem(certificates: Sequence[bytes]) -> str:
    """Return DER certificates as one PEM text."""
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in certificates)


def write_pem(path: Path, certificates: Sequence[bytes]) -> Path:
    """Write DER certificates to one PEM file, if they are not in it already."""
    text = pem(certificates)
    if not path.exists() or path.read_text(encoding="ascii") != text:
        path.write_text(text, encoding="ascii")
    return path


def is_address(name: str) -> bool:
    """Tell whether the name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def run(*command: str | Path, text: str = "") -> str:
    """Run a program; return what it prints; raise Refused with it when it ends in failure."""
    done = subprocess.run(
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"},
    )
    if done.returncode != 0:
        raise Refused(done.stdout + done.stderr)
    return done.stdout + done.stderr


def openssl(case: Case) -> None:
    """OpenSSL's verifier, with all checks of RFC 5280 it knows."""
    untrusted = write_pem(case.directory / "untrusted.pem", case.chain[1:])
    trusted = write_pem(case.directory / "trusted.pem", case.trusted)
    run(
        "openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver",
        "-no-CApath", "-no-CAstore", "-CAfile", trusted, "-untrusted", untrusted,
        "-attime", str(case.at),
        "-verify_ip" if is_address(case.name) else "-verify_hostname", case.name,
        text=pem(case.chain[:1]),
    )  # fmt: skip


def gnutls(case: Case) -> None:
    """GnuTLS's verifier."""
    chain, trusted = case.files()
    run(
        "certtool", "--verify", "--load-ca-certificate", trusted, "--infile", chain,
        "--verify-hostname", case.name, "--verify-purpose", "1.3.6.1.5.5.7.3.1",
    )  # fmt: skip


def nss(case: Case) -> None:
    """NSS's verifier (libpkix), as far as it looks at a chain without a handshake."""
    database = _nss_database(case)
    files = []
    for number, der in enumerate(case.chain):
        files.append(case.directory / f"{number}.der")
        files[-1].write_bytes(der)
    when = datetime.fromtimestamp(case.at, UTC).strftime("%y%m%d%H%MZ")
    run("vfychain", "-pp", "-u", "1", "-b", when, "-d", database, *files)


def _nss_database(case: Case) -> str:
    where = case.directory / "nssdb"
    where.mkdir(exist_ok=True)
    database = f"sql:{where}"
    run("certutil", "-N", "-d", database, "--empty-password")
    for number, der in enumerate(case.trusted):
        path = case.directory / f"trusted{number}.der"
        path.write_bytes(der)
        run("certutil", "-A", "-d", database, "-n", f"root{number}", "-t", "C,,", "-i", path)
    return database


def pyca(case: Case) -> None:
    """The verifier of the cryptography library; it has one since version 42."""
    from cryptography.x509 import verification

    name = (
        x509.IPAddress(ipaddress.ip_address(case.name))
        if is_address(case.name)
        else x509.DNSName(case.name)
    )
    store = verification.Store([x509.load_der_x509_certificate(der) for der in case.trusted])
    verifier = (
        verification.PolicyBuilder()
        .store(store)
        .time(datetime.fromtimestamp(case.at, UTC).replace(tzinfo=None))
        .build_server_verifier(name)
    )
    leaf, *others = (x509.load_der_x509_certificate(der) for der in case.chain)
    try:
        verifier.verify(leaf, others)
    except verification.VerificationError as error:
        raise Refused(str(error)) from error


def python_tls(case: Case) -> None:
    """Python's ssl module, meeting a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem(case.trusted))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with serving(case) as port, closing(socket.create_connection(("127.0.0.1", port))) as plain:
        try:
            context.wrap_socket(plain, server_hostname=case.name).close()
        except ssl.SSLCertVerificationError as error:
            raise Refused(str(error)) from error


def node_tls(case: Case) -> None:
    """Node, meeting a server."""
    _, trusted = case.files()
    program = """
        const [port, name, file] = process.argv.slice(1), ca = require('fs').readFileSync(file)
        const host = require('net').isIP(name) ? undefined : name
        const socket = require('tls').connect({host: '127.0.0.1', port, ca, servername: host,
            checkServerIdentity: (_, cert) => require('tls').checkServerIdentity(name, cert)})
        socket.on('secureConnect', () => { socket.destroy(); process.exit(0) })
        socket.on('error', error => { console.log(String(error)); process.exit(1) })
    """
    with serving(case) as port:
        run("node", "-e", program, str(port), case.name, trusted)


def gnutls_tls(case: Case) -> None:
    """GnuTLS's client, meeting a server."""
    _, trusted = case.files()
    with serving(case) as port:
        run(
            "gnutls-cli", "--x509cafile", trusted, "--verify-hostname", case.name,
            "-p", str(port), "127.0.0.1",
        )  # fmt: skip


def nss_tls(case: Case) -> None:
    """NSS's client, meeting a server; it takes no name that the server's address is not."""
    database = _nss_database(case)
    with serving(case) as port:
        run("tstclnt", "-d", database, "-h", "127.0.0.1", "-a", case.name, "-p", str(port), "-Q")


Peer = Callable[[Case], None]

OFFLINE: Mapping[str, Peer] = {
    "openssl": openssl,
    "gnutls": gnutls,
    "nss": nss,
    # The library under test at the OpenWrt end has no verifier.
    **({"pyca": pyca} if int(cryptography.__version__.split(".")[0]) >= 42 else {}),
}
ONLINE: Mapping[str, Peer] = {
    "python-tls": python_tls,
    "node-tls": node_tls,
    "gnutls-tls": gnutls_tls,
    "nss-tls": nss_tls,
}
ALL: Mapping[str, Peer] = {**OFFLINE, **ONLINE}


@contextmanager
def serving(case: Case) -> Iterator[int]:
    """Serve TLS handshakes with the case's chain on a loopback port until the block ends."""
    chain, _ = case.files()
    key = case.directory / "server.key"
    key.write_bytes(case.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(SECONDS)


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Accept one connection, answer its handshake, and wait until the client has gone."""
    with closing(listener.accept()[0]) as plain:
        plain.settimeout(SECONDS)
        try:
            with context.wrap_socket(plain, server_side=True) as secured:
                secured.recv(1)
        except OSError:  # the client refuses our certificate: what the test is about
            return


def now() -> int:
    """Return the time at which the peers that have no clock argument verify."""
    return int(time.time())
