"""The ACME routes: what came in by HTTP goes to the core, what the core says goes out as JSON.

No rule lives here. A route opens the signed request, calls one method of the core and shows its
record. Every answer to a POST carries a fresh nonce, errors included (R-4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from acmeiot.core.accounts import AccountExists, Accounts
from acmeiot.core.authorizations import Authorizations
from acmeiot.core.nonces import Nonces
from acmeiot.core.orders import Orders
from acmeiot.core.ports import Events, Issuer, StoreFull
from acmeiot.core.records import Account, Authorization, Order
from acmeiot.core.requests import Gate, Signed, Signer
from acmeiot.core.revocation import Revocations
from acmeiot.protocol.ari import RETRY_AFTER
from acmeiot.protocol.errors import (
    AcmeError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    ServerInternal,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from acmeiot.protocol.messages import deactivation
from acmeiot.protocol.states import OrderStatus
from acmeiot.web import objects
from acmeiot.web.objects import Meta
from acmeiot.web.routing import Environ, Handler, Headers, Reply, Router
from acmeiot.web.site import Site

MAX_BODY: Final = 64 * 1024
_PAGE: Final = 50  # orders in one answer
_JOSE: Final = "application/jose+json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the base URL it was made to, its own URL, its query, where it came from."""

    base: str
    url: str
    query: str
    remote: str
    signed: Signed = field(repr=False)

    @property
    def account(self) -> Account:
        """Return the signer's account; only behind Signer.ACCOUNT."""
        if self.signed.account is None:
            raise Malformed("sign with the account: kid, not jwk, in the protected header")
        return self.signed.account


@dataclass(frozen=True, slots=True)
class Services:
    """The core behind the routes."""

    gate: Gate
    nonces: Nonces
    accounts: Accounts
    orders: Orders
    authorizations: Authorizations
    revocations: Revocations
    issuer: Issuer
    events: Events


class AcmeRoutes:
    """The resources of RFC 8555 as one WSGI application."""

    def __init__(self, services: Services, site: Site, meta: Meta) -> None:
        self._core, self._site, self._meta = services, site, meta
        self.app = Router(self._miss)
        for path in (objects.DIRECTORY, objects.WELL_KNOWN):
            self.app.add(path, "GET", self._plain(self.directory))
        self.app.add(objects.DIRECTORY, "POST", self._signed(self.read_directory))
        self.app.add(objects.NEW_NONCE, "GET", self._plain(self.new_nonce))
        self.app.add(objects.NEW_NONCE, "HEAD", self._plain(self.peek_nonce))
        self.app.add(objects.RENEWAL_INFO + "/<ari_id>", "GET", self._plain(self.renewal_info))
        for path, signer, handler in self._posts():
            self.app.add(path, "POST", self._signed(handler, signer))

    def _posts(self) -> list[tuple[str, Signer, Handler]]:
        by_account = Signer.ACCOUNT
        return [
            (objects.NEW_ACCOUNT, Signer.KEY, self.new_account),
            (objects.NEW_ORDER, by_account, self.new_order),
            (objects.NEW_AUTHZ, by_account, self.new_authz),
            (objects.REVOKE_CERT, Signer.EITHER, self.revoke),
            (objects.KEY_CHANGE, by_account, self.change_key),
            (objects.ACCOUNT + "<account_id>", by_account, self.account),
            (objects.ACCOUNT + "<account_id>/orders", by_account, self.list_orders),
            (objects.ORDER + "<order_id>", by_account, self.order),
            (objects.ORDER + "<order_id>/finalize", by_account, self.finalize),
            (objects.AUTHZ + "<authorization_id>", by_account, self.authorization),
            (objects.CHALLENGE + "<authorization_id>/<kind>", by_account, self.challenge),
            (objects.CERTIFICATE + "<certificate_id>", by_account, self.certificate),
            (objects.CERTIFICATE + "<certificate_id>/<number:int>", by_account, self.certificate),
        ]

    # -- HTTP in and out

    def _signed(self, handler: Handler, signer: Signer = Signer.ACCOUNT) -> Handler:
        def route(environ: Environ, **parts: Any) -> Reply:
            return self._answer(
                environ, lambda base: handler(self._open(environ, base, signer), **parts)
            )

        return route

    def _plain(self, handler: Handler) -> Handler:
        def route(environ: Environ, **parts: Any) -> Reply:
            return self._answer(environ, lambda base: handler(base, **parts))

        return route

    def _answer(self, environ: Environ, work: Callable[[str], Reply]) -> Reply:
        base = self._site.default_base
        try:
            base = self._site.base(environ)
            reply = work(base)
        except AcmeError as error:
            reply = self._problem(base, error)
        except StoreFull as error:
            self._core.events.emit("store", str(error), warning=True)
            reply = self._problem(base, Unavailable(f"the server cannot store: {error}"))
        except Exception as error:  # noqa: BLE001 - the client gets an answer, the log the cause
            self._core.events.fault(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", error)
            reply = self._problem(base, ServerInternal("an error of the server; its log says more"))
        return self._with_headers(environ, base, reply)

    def _open(self, environ: Environ, base: str, signer: Signer) -> Call:
        if environ.get("CONTENT_TYPE") != _JOSE:  # exactly, no parameters
            raise UnsupportedMediaType(f"send requests as Content-Type: {_JOSE}")
        remote = self._site.remote(environ)
        if environ["PATH_INFO"] == objects.NEW_ACCOUNT:
            self._core.accounts.check_rate(remote)
        body = environ["wsgi.input"].read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise TooLarge(f"a request body has at most {MAX_BODY} octets")
        query = environ.get("QUERY_STRING", "")
        url = base + environ["PATH_INFO"] + (f"?{query}" if query else "")
        signed = self._core.gate.open(body, url, signer, remote, base + objects.ACCOUNT)
        return Call(base, url, query, remote, signed)

    def _with_headers(self, environ: Environ, base: str, reply: Reply) -> Reply:
        path, headers = environ["PATH_INFO"], list(reply.headers)
        if path not in (objects.DIRECTORY, objects.WELL_KNOWN):
            headers.append(("Link", f'<{base}{objects.DIRECTORY}>;rel="index"'))
        if environ["REQUEST_METHOD"] == "POST" or path == objects.NEW_NONCE:
            headers.append(("Replay-Nonce", self._core.nonces.issue()))
            headers.append(("Cache-Control", "no-store"))
        return Reply(reply.body, reply.status, tuple(headers), reply.content_type)

    def _problem(self, base: str, error: AcmeError) -> Reply:
        headers = list(error.headers.items())
        if isinstance(error, AccountExists):
            headers.append(("Location", f"{base}{objects.ACCOUNT}{error.account_id}"))
        document = error.problem()
        return Reply(document, error.status, tuple(headers), "application/problem+json")

    def _miss(self, environ: Environ, status: int) -> Reply:
        """Answer what no route took: unknown paths and methods (R-2, R-9)."""
        method, path = environ["REQUEST_METHOD"], ascii(environ["PATH_INFO"][:200])
        error = NotFound(f"there is nothing at {path}")
        refusal = MethodNotAllowed(f"{method} is not for {path}") if status == 405 else error
        base = self._site.default_base
        return self._with_headers(environ, base, self._problem(base, refusal))

    # -- unsigned resources

    def directory(self, base: str) -> Reply:
        """Show the directory (R-2)."""
        return Reply(objects.directory(base, self._meta))

    def read_directory(self, call: Call) -> Reply:
        """Show the directory to a POST-as-GET (RFC 8555 section 6.3)."""
        return self.directory(call.base)

    def new_nonce(self, _base: str) -> Reply:
        """Give a nonce to a GET (R-3)."""
        return Reply(status=204)

    def peek_nonce(self, _base: str) -> Reply:
        """Give a nonce to a HEAD (R-3)."""
        return Reply(status=200)

    def renewal_info(self, base: str, ari_id: str) -> Reply:
        """Say when to renew; unsigned (RFC 9773 section 4.1)."""
        info = objects.renewal(self._core.revocations.renewal(ari_id))
        return Reply(info, headers=(("Retry-After", str(RETRY_AFTER)),))

    # -- accounts

    def new_account(self, call: Call) -> Reply:
        """Make or find an account (R-12, R-13)."""
        signed = call.signed
        record, made = self._core.accounts.register(
            signed.jwk, signed.payload, call.url, call.remote
        )
        location = f"{call.base}{objects.ACCOUNT}{record.id}"
        body = objects.account(call.base, record)
        return Reply(body, 201 if made else 200, (("Location", location),))

    def account(self, call: Call, account_id: str) -> Reply:
        """Show or change the account (R-15, R-16)."""
        record = self._own(call, account_id)
        if not call.signed.as_get:
            record = self._core.accounts.update(record, call.signed.payload)
        return Reply(objects.account(call.base, record))

    def _own(self, call: Call, account_id: str) -> Account:
        if call.account.id != account_id:
            raise Unauthorized("the request is signed by another account")
        return call.account

    def list_orders(self, call: Call, account_id: str) -> Reply:
        """List the account's orders, page by page (R-35, RFC 8555 section 7.1.2.1)."""
        record = self._own(call, account_id)
        after = call.query.removeprefix("after=") or None
        ids = self._core.orders.list(record, after, _PAGE + 1)
        urls = [f"{call.base}{objects.ORDER}{one}" for one in ids[:_PAGE]]
        headers: Headers = ()
        if len(ids) > _PAGE:
            more = f"{call.base}{objects.ACCOUNT}{record.id}/orders?after={ids[_PAGE - 1]}"
            headers = (("Link", f'<{more}>;rel="next"'),)
        return Reply({"orders": urls}, headers=headers)

    def change_key(self, call: Call) -> Reply:
        """Roll the account's key over (R-17)."""
        record = call.account
        own = call.signed.kid or ""
        changed = self._core.accounts.change_key(
            record, call.signed.jwk, call.signed.payload, call.url, own
        )
        return Reply(objects.account(call.base, changed))

    # -- orders

    def new_order(self, call: Call) -> Reply:
        """Take an order (R-19)."""
        record = self._core.orders.create(call.account, call.signed.payload, call.remote)
        location = f"{call.base}{objects.ORDER}{record.id}"
        return Reply(objects.order(call.base, record), 201, (("Location", location),))

    def order(self, call: Call, order_id: str) -> Reply:
        """Show an order (R-22)."""
        _only_read(call)
        return self._show(call, self._core.orders.read(call.account, order_id))

    def finalize(self, call: Call, order_id: str) -> Reply:
        """Finish an order (R-23)."""
        record = self._core.orders.finalize(call.account, order_id, call.signed.payload)
        return self._show(call, record)

    def _show(self, call: Call, record: Order) -> Reply:
        headers = [("Location", f"{call.base}{objects.ORDER}{record.id}")]
        if record.status is OrderStatus.PROCESSING:
            headers.append(("Retry-After", "1"))
        return Reply(objects.order(call.base, record), headers=tuple(headers))

    def certificate(self, call: Call, certificate_id: str, number: int = 0) -> Reply:
        """Give a certificate with one of its chains (R-30)."""
        _only_read(call)
        record = self._core.orders.certificate(call.account, certificate_id)
        chains = self._core.issuer.chains(record.issuer_id)
        if not 0 <= number < len(chains):
            raise NotFound("the certificate has no such chain")
        text = objects.pem_chain(record.der, chains[number])
        links = objects.certificate_alternates(call.base, record, len(chains), number)
        headers = tuple(("Link", link) for link in links)
        return Reply(text, headers=headers, content_type="application/pem-certificate-chain")

    # -- authorizations

    def new_authz(self, call: Call) -> Reply:
        """Take an authorization without an order (R-25)."""
        record = self._core.orders.authorize(call.account, call.signed.payload, call.remote)
        location = f"{call.base}{objects.AUTHZ}{record.id}"
        return Reply(objects.authorization(call.base, record), 201, (("Location", location),))

    def authorization(self, call: Call, authorization_id: str) -> Reply:
        """Show or give up an authorization (R-24)."""
        if not call.signed.as_get and deactivation(call.signed.payload):
            record = self._core.authorizations.deactivate(call.account, authorization_id)
        else:
            record = self._core.authorizations.read(call.account, authorization_id)
        return Reply(objects.authorization(call.base, record), headers=self._again(record))

    def challenge(self, call: Call, authorization_id: str, kind: str) -> Reply:
        """Take the word that a challenge is ready, or show it (R-26)."""
        core = self._core.authorizations
        if call.signed.as_get:
            record = core.read(call.account, authorization_id)
            one = next((c for c in record.challenges if c.type.value == kind), None)
            if one is None:
                raise NotFound(f"the authorization has no challenge {kind[:40]!a}")
        else:
            record, one = core.respond(call.account, authorization_id, kind, call.remote)
        up = f'<{call.base}{objects.AUTHZ}{record.id}>;rel="up"'
        headers = (("Link", up), *self._again(record))
        return Reply(objects.challenge(call.base, record, one), headers=headers)

    def _again(self, record: Authorization) -> Headers:
        seconds = self._core.authorizations.retry_after(record.id)
        return () if seconds is None else (("Retry-After", str(seconds)),)

    # -- revocation

    def revoke(self, call: Call) -> Reply:
        """Revoke a certificate, for its account, its key, or who has all its names (R-31)."""
        if call.signed.account is None:
            self._core.revocations.by_key(call.signed.jwk, call.signed.payload)
        else:
            self._core.revocations.by_account(call.signed.account, call.signed.payload)
        return Reply()


def _only_read(call: Call) -> None:
    if not call.signed.as_get:
        raise Malformed("this resource is read by POST-as-GET, with an empty payload")
