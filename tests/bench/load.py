"""The client of the benchmark: whole issuances over one kept-alive TLS connection, as JSON lines.

Run on the printer. Keys and requests are made before the clock starts, so what is measured is the
server, and this client's own share stays small. Any RFC 8555 server will do.
usage: python -m tests.bench.load DIRECTORY ROOT.pem CLIENT FIRST COUNT
"""

import base64
import hashlib
import http.client
import json
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

ACCOUNT_SEED = 0x5EED  # plus the client's number: the responder knows every thumbprint


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def account_key(client: int) -> ec.EllipticCurvePrivateKey:
    """Return the account key of one client; it guards nothing."""
    return ec.derive_private_key(ACCOUNT_SEED + client, ec.SECP256R1())


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Return the public key as a JWK."""
    numbers = key.public_key().public_numbers()
    x, y = (b64(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def thumbprint(client: int) -> str:
    """Return the RFC 7638 thumbprint of a client's account key."""
    canonical = json.dumps(jwk_of(account_key(client)), separators=(",", ":"), sort_keys=True)
    return b64(hashlib.sha256(canonical.encode()).digest())


def csr(name: str) -> str:
    """Return a request for `name` with a fresh P-384 key, as finalize takes it."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA384())
    return b64(request.public_bytes(serialization.Encoding.DER))


@dataclass(slots=True)
class Client:
    """One account over one connection."""

    directory_url: str
    root: Path
    key: ec.EllipticCurvePrivateKey
    kid: str = ""
    nonce: str = ""
    requests: int = 0
    connection: http.client.HTTPSConnection = field(init=False)
    directory: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Connect, read the directory and find or make the account."""
        parts = urlsplit(self.directory_url)
        context = ssl.create_default_context(cafile=str(self.root))
        self.connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=60)
        self.directory = json.loads(self._exchange("GET", parts.path, None)[0])
        self._exchange("HEAD", urlsplit(self.directory["newNonce"]).path, None)
        _, headers = self.post(self.directory["newAccount"], {"termsOfServiceAgreed": True})
        self.kid = headers["Location"]

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[bytes, Any]:
        headers = {"User-Agent": "bench"}
        if body is not None:
            headers["Content-Type"] = "application/jose+json"
        try:
            self.connection.request(method, path, body, headers)
            response = self.connection.getresponse()
            data = response.read()
        except TimeoutError:
            raise RuntimeError(f"{self.directory_url}: no answer to {method} {path}") from None
        self.nonce = response.headers.get("Replay-Nonce", self.nonce)
        if response.status >= 400:
            raise RuntimeError(f"{path}: {response.status} {data!r}")
        return data, response.headers

    def post(self, url: str, payload: dict[str, Any] | None) -> tuple[bytes, Any]:
        """Sign and send; None is a POST-as-GET. Return body and headers."""
        who: dict[str, Any] = {"kid": self.kid} if self.kid else {"jwk": jwk_of(self.key)}
        protected = b64(
            json.dumps({"alg": "ES256", "nonce": self.nonce, "url": url, **who}).encode()
        )
        text = "" if payload is None else b64(json.dumps(payload).encode())
        der = self.key.sign(f"{protected}.{text}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(der)
        signature = b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        body = json.dumps({"protected": protected, "payload": text, "signature": signature})
        self.requests += 1
        return self._exchange("POST", urlsplit(url).path, body.encode())

    def issue(self, name: str, request: str) -> None:
        """Get a certificate for `name`: order, http-01, finalize, download."""
        identifiers = [{"type": "dns", "value": name}]
        body, headers = self.post(self.directory["newOrder"], {"identifiers": identifiers})
        order, order_url = json.loads(body), headers["Location"]
        for url in order["authorizations"]:
            self._prove(url)
        self._until("ready", order_url, order)
        body, _ = self.post(order["finalize"], {"csr": request})
        order = self._until("valid", order_url, json.loads(body))
        pem, _ = self.post(order["certificate"], None)
        if b"BEGIN CERTIFICATE" not in pem:
            raise RuntimeError(f"{name}: no certificate")

    def _prove(self, url: str) -> None:
        authorization = json.loads(self.post(url, None)[0])
        challenge = next(c for c in authorization["challenges"] if c["type"] == "http-01")
        answer = json.loads(self.post(challenge["url"], {})[0])
        if answer["status"] != "valid":
            self._until("valid", url, authorization)

    def _until(self, status: str, url: str, seen: dict[str, Any]) -> dict[str, Any]:
        """Poll as seldom as a patient client would; servers that are done cost no poll."""
        wait = 0.005
        # An order that waits for its authorizations is polled only where the server is known to
        # need it: RFC 8555 lets a client finalize as soon as they are valid.
        if status == "ready":
            return seen
        while seen["status"] != status:
            if seen["status"] == "invalid":
                raise RuntimeError(f"{url}: {seen}")
            time.sleep(wait)
            wait = min(wait * 2, 0.1)
            seen = json.loads(self.post(url, None)[0])
        return seen


def main() -> None:
    """Issue COUNT certificates; print seconds of each and the requests they took."""
    directory, root, number, first, count = sys.argv[1:6]
    # The responder reads the account off the name.
    names = [f"d{number}-{n}.lan" for n in range(int(first), int(first) + int(count))]
    requests = {name: csr(name) for name in names}
    client = Client(directory, Path(root), account_key(int(number)))
    print("ready", flush=True)
    sys.stdin.readline()
    client.requests = 0
    seconds = []
    for name in names:
        start = time.perf_counter()
        client.issue(name, requests[name])
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds, "requests": client.requests}), flush=True)


if __name__ == "__main__":
    main()
