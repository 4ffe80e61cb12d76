"""A bare client of a device's own: certificates for its names, one after the other.

It prints one line for each certificate that it has got, as soon as it has it: the seconds from
newOrder to the download, and its serial.
usage: python -m tests.rig.issuing DIRECTORY ROOT.pem COUNT NAME...
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.bench.load import Client, account_key, b64, thumbprint

_ACCOUNT: Final = 9


class Answer(BaseHTTPRequestHandler):
    """Answers every http-01 challenge of the account (RFC 8555 8.3)."""

    def do_GET(self) -> None:
        body = f"{self.path.rpartition('/')[2]}.{thumbprint(_ACCOUNT)}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Responder(socketserver.ThreadingTCPServer):
    """Listens where the CA looks."""

    allow_reuse_address = True
    daemon_threads = True


def request(names: list[str]) -> str:
    """Return a CSR with a fresh P-384 key."""
    key = ec.generate_private_key(ec.SECP384R1())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA384())
    return b64(made.public_bytes(serialization.Encoding.DER))


def issue(client: Client, names: list[str]) -> x509.Certificate:
    """Get one certificate."""
    csr = request(names)
    identifiers = [{"type": "dns", "value": name} for name in names]
    body, headers = client.post(client.directory["newOrder"], {"identifiers": identifiers})
    order, url = json.loads(body), headers["Location"]
    for authorization in order["authorizations"]:
        found = json.loads(client.post(authorization, None)[0])
        if found["status"] == "pending":
            challenge = next(c for c in found["challenges"] if c["type"] == "http-01")
            client.post(challenge["url"], {})
            until(client, authorization, found)
    order = until(client, url, json.loads(client.post(order["finalize"], {"csr": csr})[0]))
    chain, _ = client.post(order["certificate"], None)
    return x509.load_pem_x509_certificate(chain)


def until(client: Client, url: str, seen: dict[str, Any]) -> dict[str, Any]:
    """Poll until it is valid."""
    while seen["status"] != "valid":
        if seen["status"] == "invalid":
            raise RuntimeError(f"{url}: {seen}")
        time.sleep(0.02)
        seen = json.loads(client.post(url, None)[0])
    return seen


def main() -> None:
    """Issue until COUNT are there."""
    directory, root, count, *names = sys.argv[1:]
    threading.Thread(target=Responder(("", 80), Answer).serve_forever, daemon=True).start()
    client = Client(directory, Path(root), account_key(_ACCOUNT))
    for _ in range(int(count)):
        began = time.perf_counter()
        certificate = issue(client, names)
        print(f"{time.perf_counter() - began:.3f} {certificate.serial_number:x}", flush=True)


if __name__ == "__main__":
    main()
