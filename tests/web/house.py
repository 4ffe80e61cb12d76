"""The devices of a home, all on loopback: what they answer to challenges, and the home's DNS."""

from __future__ import annotations

import hashlib
import http.server
import socket
import ssl
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.lan.nameserver import NameServer, records
from tests.web.client import Client, Json, b64
from tests.web.keys import subject_names

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


class House:
    """One machine that plays every device: http-01, tls-alpn-01, and the zone with their names.

    All names under `lan`, `local` and `internal` lead to 127.0.0.1, unless `records` has some or
    `missing` holds them.
    """

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}  # by path
        self.redirects: dict[str, str] = {}  # by path
        self.delays: dict[str, float] = {}  # seconds by path
        self.asked: list[tuple[str, str]] = []  # Host header and path of each GET
        self.records: list[str] = []  # each `NAME TYPE VALUE`
        self.missing: set[str] = set()
        self._proofs: dict[str, ssl.SSLContext] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # dnspython looks for modules that are not there, past an import hook of bottle 0.12
            # that has no find_spec; later on it has them.
            warnings.simplefilter("ignore", ImportWarning)
            for kind in ("A", "AAAA", "CAA", "TXT"):
                dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))  # type: ignore[no-untyped-call]
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._names = self._stack.enter_context(NameServer(self._answer, self._answer))
        self.dns_port = self._names.port
        self._web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._web.daemon_threads = True
        self.http_port: int = self._web.server_address[1]
        threading.Thread(target=self._web.serve_forever, args=(0.05,), daemon=True).start()
        self._tls = socket.create_server(("127.0.0.1", 0))
        self.tls_port: int = self._tls.getsockname()[1]
        threading.Thread(target=self._serve_tls, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._web.shutdown()
        self._web.server_close()
        self._tls.shutdown(socket.SHUT_RDWR)
        self._tls.close()
        self._stack.close()

    # -- http-01

    def _handler(house) -> type[http.server.BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                house.asked.append((self.headers["Host"], self.path))
                body = house.bodies.get(self.path)
                time.sleep(house.delays.get(self.path, 0))
                if self.path in house.redirects:
                    self.send_response(302)
                    self.send_header("Location", house.redirects[self.path])
                else:
                    self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    # -- the zone

    def _answer(self, question: dns.message.Message) -> bytes:
        name = question.question[0].name.to_text(omit_final_dot=True).lower()
        own = [one for one in self.records if one.startswith(name + " ")]
        known = name.endswith((".lan", ".local", ".internal")) and not name.startswith("_")
        addressed = any(one.split(" ")[1] in ("A", "AAAA") for one in own)
        if known and not addressed and name not in self.missing:
            own.append(f"{name} A 127.0.0.1")
        reply = records(question, *own)
        reply.flags |= dns.flags.AA | dns.flags.RA
        if not own:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    # -- tls-alpn-01

    def _serve_tls(self) -> None:
        base = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        base.set_alpn_protocols(["acme-tls/1"])
        base.load_cert_chain(self._proof(["nobody.lan"], b""))
        base.sni_callback = self._choose
        while True:
            try:
                raw, _ = self._tls.accept()
            except OSError:
                return
            raw.settimeout(5)
            try:
                base.wrap_socket(raw, server_side=True).close()
            except OSError:
                raw.close()

    def _choose(self, tls: ssl.SSLObject, name: str | None, _base: ssl.SSLContext) -> None:
        if name in self._proofs:
            tls.context = self._proofs[name]

    def show_proof(
        self, sni: str, names: list[str], key_authorization: str, *, critical: bool = True
    ) -> None:
        """Show a certificate to who asks for `sni` by acme-tls/1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["acme-tls/1"])
        digest = hashlib.sha256(key_authorization.encode()).digest()
        context.load_cert_chain(self._proof(names, b"\x04\x20" + digest, critical=critical))
        self._proofs[sni] = context

    def _proof(self, names: list[str], value: bytes, *, critical: bool = True) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=7))
            .add_extension(subject_names(names), critical=False)
            .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, value), critical=critical)
            .sign(key, hashes.SHA256())
        )
        pem = self._folder / f"{certificate.serial_number}.pem"
        pem.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pem

    # -- a good device

    def answer(self, client: Client, authorization: Json, kind: str = "http-01") -> Json:
        """Put the answer to a challenge where it belongs; return the challenge."""
        challenge = next(one for one in authorization["challenges"] if one["type"] == kind)
        text = client.key_authorization(challenge["token"])
        name = authorization["identifier"]["value"]
        if kind == "http-01":
            self.bodies[f"/.well-known/acme-challenge/{challenge['token']}"] = text.encode()
        elif kind == "tls-alpn-01":
            self.show_proof(name, [name], text)
        else:
            value = b64(hashlib.sha256(text.encode()).digest())
            self.records.append(f'_acme-challenge.{name} TXT "{value}"')
        return dict(challenge)

    def prove(self, client: Client, order: Json, kind: str = "http-01") -> None:
        """Prove every name of an order."""
        for url in order["authorizations"]:
            authorization = client.post(url).ok()
            if authorization["status"] == "pending":
                client.post(self.answer(client, authorization, kind)["url"], {}).ok()
                proved = client.poll(url).json
                assert proved["status"] == "valid", proved

    def issue(self, client: Client, *names: str, key: object = None, **more: object) -> Issued:
        """Get a certificate for a device's names."""
        made = client.order(*(names or ("printer.lan", "printer.local")), **more)
        order = made.ok(201)
        self.prove(client, order)
        done = client.finalize(order, key).ok()
        assert done["status"] == "valid", done
        return Issued(made.header("Location") or "", done, client.chain(done["certificate"]))


class Issued:
    """An order that was brought to its end."""

    def __init__(self, url: str, order: Json, chain: list[x509.Certificate]) -> None:
        self.url, self.order, self.chain = url, order, chain

    @property
    def leaf(self) -> x509.Certificate:
        """Return the certificate itself."""
        return self.chain[0]

    @property
    def der(self) -> bytes:
        """Return the certificate as revokeCert takes it."""
        return self.leaf.public_bytes(serialization.Encoding.DER)
