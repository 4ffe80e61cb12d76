"""A raw ACME client: every octet of a request can be another one than a good client sends.

Nothing of acmeiot is used here, so what it says of the server does not depend on the server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from tests.web.keys import certificate_key, names_of, request

URN = "urn:ietf:params:acme:error:"
JOSE = "application/jose+json"
Json = dict[str, Any]
Payload = Mapping[str, Any] | bytes | None


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header field of that name."""
        return next(iter(self.every(name)), None)

    def every(self, name: str) -> list[str]:
        """Return all header fields of that name."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    @property
    def json(self) -> Json:
        """Return the body, a JSON object."""
        document = json.loads(self.body)
        assert isinstance(document, dict), self.body
        return document

    @property
    def detail(self) -> str:
        """Return what the problem says."""
        return str(self.json["detail"])

    def links(self, relation: str) -> list[str]:
        """Return the targets of the Link fields with this relation."""
        return [
            value[1 : value.index(">")]
            for value in self.every("Link")
            if value.endswith(f';rel="{relation}"')
        ]

    def is_problem(self, kind: str, status: int) -> Json:
        """Assert that this is that problem, as R-32 has it, and return the document."""
        assert (self.status, self.header("Content-Type")) == (
            status,
            "application/problem+json",
        ), (self.status, self.body)
        document = self.json
        assert (document["type"], document["status"]) == (URN + kind, status), document
        assert document["detail"]
        assert "identifier" not in document
        return document

    def ok(self, status: int = 200) -> Json:
        """Assert success, and return the object."""
        assert self.status == status, (self.status, self.body)
        return self.json


class Key:
    """A key pair that signs JWS. The wrong key for an algorithm is as easy as the right one."""

    def __init__(self, alg: str = "ES256", bits: int = 2048) -> None:
        self.alg = alg
        self.private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
        if alg == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        elif alg.startswith("ES"):
            self.private = ec.generate_private_key(CURVES[alg]())
        else:
            self.private = rsa.generate_private_key(65537, bits)

    @property
    def jwk(self) -> dict[str, str]:
        """Return the public key as JWK."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            numbers = self.private.public_key().public_numbers()
            size = (self.private.key_size + 7) // 8
            x, y = (b64(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
            crv = {32: "P-256", 48: "P-384", 66: "P-521"}[size]
            return {"kty": "EC", "crv": crv, "x": x, "y": y}
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = self.private.public_key().public_numbers()
            n = b64(public.n.to_bytes((public.n.bit_length() + 7) // 8, "big"))
            e = b64(public.e.to_bytes((public.e.bit_length() + 7) // 8, "big"))
            return {"kty": "RSA", "n": n, "e": e}
        raw = self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}

    @property
    def thumbprint(self) -> str:
        """Return the thumbprint of RFC 7638."""
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())

    def sign(self, data: bytes) -> bytes:
        """Return the JWS signature."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = (self.private.key_size + 7) // 8
            kind: hashes.HashAlgorithm = HASHES[size]
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(kind)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.private.sign(data)


CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1, "ES256K": ec.SECP256K1,
}  # fmt: skip
HASHES: dict[int, hashes.HashAlgorithm] = {
    32: hashes.SHA256(), 48: hashes.SHA384(), 66: hashes.SHA512(),
}  # fmt: skip


def octets(payload: Payload) -> bytes:
    """Return the payload as it is signed: None is the empty one of POST-as-GET."""
    if payload is None:
        return b""
    return payload if isinstance(payload, bytes) else json.dumps(payload).encode()


def jws(header: Mapping[str, Any], payload: Payload, sign: Callable[[bytes], bytes]) -> Json:
    """Return a flattened JWS."""
    protected, body = b64(json.dumps(header).encode()), b64(octets(payload))
    signature = b64(sign(f"{protected}.{body}".encode()))
    return {"protected": protected, "payload": body, "signature": signature}


def binding(kid: str, secret: bytes, jwk: Mapping[str, str], url: str, **header: Any) -> Json:
    """Return an external account binding (R-18)."""
    protected = {"alg": "HS256", "kid": kid, "url": url, **header}
    return jws(protected, jwk, lambda data: hmac.digest(secret, data, "sha256"))


class Wire:
    """One kept connection to one server, whatever host its URLs have."""

    opened: ClassVar[list[Wire]] = []  # for the end of each test to close

    def __init__(self, address: tuple[str, int], root: Path, source: str = "127.0.0.1") -> None:
        self.address, self.root, self.source = address, root, source
        self._context = ssl.create_default_context(cafile=str(root))
        self._connection: http.client.HTTPConnection | None = None
        self._host = ""

    def send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send one request to the server; the certificate must be for the URL's host."""
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        for _ in range(2):
            connection = self._connect(parts.hostname or "")
            try:
                connection.request(method, path, body, {"Host": parts.netloc, **headers})
                response = connection.getresponse()
                return Answer(response.status, response.getheaders(), response.read())
            except (ConnectionError, http.client.BadStatusLine):
                self.close()  # the server closed what was kept
        raise ConnectionError(f"{self.address} hangs up")

    def _connect(self, host: str) -> http.client.HTTPConnection:
        if self._connection is None or self._host != host:
            self.close()
            raw = socket.create_connection(self.address, 20, source_address=(self.source, 0))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = http.client.HTTPConnection(*self.address)
            self.opened.append(self)
            self._connection.sock = self._context.wrap_socket(raw, server_hostname=host)
            self._host = host
        return self._connection

    def peer_serial(self) -> int:
        """Return the serial of the certificate that the server showed."""
        assert self._connection is not None
        assert isinstance(self._connection.sock, ssl.SSLSocket)
        der = self._connection.sock.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@dataclass(slots=True)
class Client:
    """An ACME account holder. `kid` is empty until it is registered."""

    wire: Wire
    directory_url: str
    key: Key = field(default_factory=Key)
    kid: str = ""
    nonces: list[str] = field(default_factory=list)
    _directory: Json = field(default_factory=dict)

    @property
    def directory(self) -> Json:
        """Return the directory."""
        if not self._directory:
            self._directory = self.get(self.directory_url).ok()
        return self._directory

    def get(self, url: str, method: str = "GET", **headers: str) -> Answer:
        """Send an unsigned request."""
        return self._keep(self.wire.send(method, url, None, headers))

    def _keep(self, answer: Answer) -> Answer:
        nonce = answer.header("Replay-Nonce")
        if nonce is not None:
            self.nonces.append(nonce)
        return answer

    def nonce(self) -> str:
        """Return a fresh nonce."""
        if not self.nonces:
            self.get(self.directory["newNonce"], "HEAD")
        return self.nonces.pop()

    def header(self, url: str, /, **changes: Any) -> Json:
        """Return a protected header; a change to None removes the member."""
        who: Json = {"kid": self.kid} if self.kid else {"jwk": self.key.jwk}
        header = {"alg": self.key.alg, "nonce": self.nonce(), "url": url, **who, **changes}
        return {name: value for name, value in header.items() if value is not None}

    def post(self, url: str, payload: Payload = None, /, **changes: Any) -> Answer:
        """Send a signed request with these changes to its protected header."""
        document = jws(self.header(url, **changes), payload, self.key.sign)
        return self.send(url, json.dumps(document).encode())

    def send(self, url: str, body: bytes, content_type: str = JOSE) -> Answer:
        """Send a body as it is."""
        return self._keep(self.wire.send("POST", url, body, {"Content-Type": content_type}))

    def register(self, **payload: Any) -> Answer:
        """Make or find the account of the key."""
        self.kid = ""
        answer = self.post(self.directory["newAccount"], payload)
        self.kid = answer.header("Location") or ""
        return answer

    def other(self, source: str = "") -> Client:
        """Return a stranger's client to the same server, registered."""
        wire = Wire(self.wire.address, self.wire.root, source or self.wire.source)
        stranger = Client(wire, self.directory_url)
        stranger.register().ok(201)
        return stranger

    # -- orders

    def order(self, *names: str, **more: Any) -> Answer:
        """Order a certificate for DNS names and addresses."""
        wanted = [identifier(name) for name in names]
        return self.post(self.directory["newOrder"], {"identifiers": wanted, **more})

    def finalize(self, order: Json, key: Any = None, names: Sequence[str] = ()) -> Answer:
        """Send a CSR for the order's names, or others."""
        csr = request(key or certificate_key(), names or names_of(order))
        return self.post(order["finalize"], {"csr": b64(csr)})

    def key_authorization(self, token: str) -> str:
        """Return what answers a challenge."""
        return f"{token}.{self.key.thumbprint}"

    def poll(self, url: str, seconds: float = 20.0) -> Answer:
        """Read an object until it is neither pending nor processing."""
        ends = time.monotonic() + seconds
        while True:
            answer = self.post(url)
            if answer.json["status"] not in ("pending", "processing"):
                return answer
            assert time.monotonic() < ends, answer.body
            time.sleep(0.05)

    def chain(self, url: str) -> list[x509.Certificate]:
        """Return the certificates of a chain."""
        answer = self.post(url)
        assert answer.status == 200, answer.body
        return x509.load_pem_x509_certificates(answer.body)

    def ari_id(self, certificate: x509.Certificate) -> str:
        """Return the id of RFC 9773 section 4.1."""
        aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        serial = certificate.serial_number
        octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
        return f"{b64(aki.key_identifier or b'')}.{b64(octets)}"

    def renewal_info(self, certificate: x509.Certificate) -> Answer:
        """Ask when to renew."""
        return self.get(f"{self.directory['renewalInfo']}/{self.ari_id(certificate)}")


def identifier(name: str) -> dict[str, str]:
    """Return the identifier object of a name or address."""
    is_ip = ":" in name or name.replace(".", "").isdigit()
    return {"type": "ip" if is_ip else "dns", "value": name}


def lifetime(certificate: x509.Certificate) -> tuple[int, int]:
    """Return the epoch seconds of both ends."""
    if hasattr(certificate, "not_valid_before_utc"):  # since cryptography 42
        ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    else:
        ends = certificate.not_valid_before, certificate.not_valid_after
    return int(ends[0].replace(tzinfo=UTC).timestamp()), int(
        ends[1].replace(tzinfo=UTC).timestamp()
    )
