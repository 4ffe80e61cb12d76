"""A client that goes on over lost connections and refused nonces, as RFC 8555 lets it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.web.client import URN, Answer, Client, b64, identifier
from tests.web.house import House
from tests.web.keys import certificate_key, request

PATIENCE = 40.0  # seconds for one request, restarts of the server included
PAUSE = 0.02


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A certificate that reached a client: its order, where it came from, and its chain's PEM."""

    order: str
    url: str
    pem: bytes


class Stubborn:
    """An account and its device.

    It counts: nonces that were `refused`, connections `lost`, and how often no server was there.
    """

    def __init__(self, client: Client, house: House) -> None:
        self.client, self.house = client, house
        self.refused = self.lost = self.alone = 0

    def post(self, url: str, payload: dict[str, Any] | None = None) -> Answer:
        """Send a signed request until there is an answer that is not about the nonce."""
        return self._until_answered(lambda: self.client.post(url, payload))

    def _until_answered(self, ask: Callable[[], Answer]) -> Answer:
        ends = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < ends, "the server did not come back"
            nonces = [*self.client.nonces]
            try:
                answer = ask()
            except ConnectionRefusedError:
                self.alone += 1
                self.client.nonces[:] = nonces  # nothing was sent
                self.client.wire.close()
                time.sleep(PAUSE)
                continue
            except (OSError, http.client.HTTPException):
                self.lost += 1
                self.client.wire.close()
                time.sleep(PAUSE)
                continue
            if answer.status == 400 and answer.json["type"] == URN + "badNonce":
                self.refused += 1
                continue
            return answer

    def register(self) -> None:
        """Make the account, or find it: the answer to the first request may be lost."""
        answer = self._until_answered(self.client.register)
        assert answer.status in (200, 201), answer

    def issue(self, *names: str) -> Downloaded:
        """Get a certificate, whatever happens meanwhile."""
        # A nonce in stock, as clients have it: the one that a restarted server refuses.
        self._until_answered(lambda: self.client.get(self.client.directory["newNonce"], "HEAD"))
        made = self.post(self.client.directory["newOrder"], {"identifiers": ids(*names)})
        return self.finish(made.header("Location") or "", made.ok(201), names)

    def prove(self, url: str) -> None:
        """Answer the challenge, again where the server forgot that it was answered."""
        while (authorization := self.post(url).ok())["status"] == "pending":
            challenge = self.house.answer(self.client, authorization)
            if challenge["status"] == "pending":
                self.post(challenge["url"], {}).ok()
            else:
                time.sleep(PAUSE)
        assert authorization["status"] == "valid", authorization

    def finish(self, url: str, order: dict[str, Any], names: tuple[str, ...]) -> Downloaded:
        """Prove, finalize and download; prove again where the server forgot what was proved."""
        csr = b64(request(certificate_key(), names))
        while order["status"] in ("pending", "ready"):
            for authorization in order["authorizations"]:
                self.prove(authorization)
            self.post(order["finalize"], {"csr": csr})
            order = self.post(url).ok()
        while order["status"] == "processing":
            time.sleep(PAUSE)
            order = self.post(url).ok()
        assert order["status"] == "valid", order
        return Downloaded(url, order["certificate"], self.download(order["certificate"]))

    def download(self, url: str) -> bytes:
        """Return the PEM of a certificate and its chain."""
        answer = self.post(url)
        assert answer.status == 200, answer
        assert answer.body.startswith(b"-----BEGIN CERTIFICATE-----")
        return answer.body


def ids(*names: str) -> list[dict[str, str]]:
    """Return the identifiers of an order."""
    return [identifier(name) for name in names]
