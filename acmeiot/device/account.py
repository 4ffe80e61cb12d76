"""This device's account with one server, made when it is first needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from acmeiot.client import acme, tls
from acmeiot.client.acme import Client
from acmeiot.client.clock import Clock
from acmeiot.client.http import Http
from acmeiot.client.locate import Server as Located
from acmeiot.client.problem import Refused
from acmeiot.client.signing import AccountKey
from acmeiot.client.tls import Root
from acmeiot.device import leaf
from acmeiot.device.servers import Pair, Server
from acmeiot.protocol.names import Identifier

_LOG: Final = logging.getLogger("acmeiot")


@dataclass(slots=True)
class Account:
    """One server as a client of it: connected only to where `located` is, trusting only `root`.

    The connection is kept for the length of a `with` block.
    """

    server: Server
    located: Located
    root: Root
    clock: Clock
    eab: tuple[str, str] | None = None
    _client: Client | None = None
    _http: Http | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        if self._http is not None:
            self._http.close()

    def client(self) -> Client:
        """Return a client that may not have an account yet: enough to read what is public."""
        if self._client is None:
            self._http = Http(tls.trusting(self.root), self._addresses)
            pem = self.server.account_key()
            if pem is None:
                key = AccountKey.generate()
                self.server.put_account_key(key.pem)
            else:
                key = AccountKey.read(pem)
            account = self.server.facts().account or None
            self._client = Client(self._http, self.located.url, key, self.clock, account)
        return self._client

    def registered(self, identifiers: Sequence[Identifier]) -> Client:
        """Return a client with an account, whose contacts are this device's names (A-3.2.2-1).

        A server that has lost the account gets it anew, under the same key.
        """
        client, contacts = self.client(), acme.contacts(identifiers)
        facts = self.server.facts()
        if client.account is not None and facts.contacts == contacts:
            return client
        try:
            if client.account is not None:
                client.update(contacts)
        except Refused as error:
            if error.code != "accountDoesNotExist":
                raise
            client.account = None
        if client.account is None:
            client.register(contacts, self.eab)
        self.server.note(account=client.account or "", contacts=contacts)
        return client

    def revoke(self, pair: Pair, reason: int) -> None:
        """Revoke a certificate, by its own key if it is of an account that was lost.

        One that the server does not know, since it was reset, cannot be and need not be revoked.
        """
        der, client = leaf.read(pair.chain).der, self.client()
        try:
            try:
                client.revoke(der, reason)
            except Refused as error:
                key = leaf.private(pair.key)
                if key is None or error.code not in ("unauthorized", "accountDoesNotExist"):
                    raise
                client.revoke(der, reason, key)
        except Refused as error:
            if error.status != 404 and error.code != "malformed":
                raise
            _LOG.warning("the certificate %s is unknown to its server: %s", pair.serial, error)

    def lost(self) -> None:
        """Forget that there is an account: the server does not know it any more."""
        self.server.note(account="", contacts=())
        if self._client is not None:
            self._client.account = None

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        """Return where the server was found; nothing else is ever connected to."""
        here = (self.located.host, self.located.port)
        return self.located.addresses if (host, port) == here else ()
