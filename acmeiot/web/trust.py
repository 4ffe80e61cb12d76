"""The plain HTTP listener: what must be readable before anything is trusted.

The trust page, the root in the forms that systems install, CRL, OCSP and issuers. Nothing here
changes anything, and nothing here is secret; who needs certainty compares the fingerprint.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import bottle

from acmeiot.ca.ocsp import MAX_REQUEST
from acmeiot.ca.publish import NotYet, Publisher
from acmeiot.ca.roots import Authority
from acmeiot.core.ports import Events, StoreFull
from acmeiot.protocol.errors import AcmeError, NotFound
from acmeiot.protocol.fingerprint import words
from acmeiot.web.objects import pem
from acmeiot.web.site import Site

_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# An unsigned OCSPResponse of status tryLater(3), for as long as nothing may be signed (RFC 6960
# section 4.2.1).
_TRY_LATER: Final = bytes.fromhex("30030a0103")


class TrustRoutes:
    """The resources of the plain HTTP listener as one bottle application."""

    def __init__(
        self, authority: Authority, publisher: Publisher, site: Site, directory: str, events: Events
    ) -> None:
        self._authority, self._publisher, self._site = authority, publisher, site
        self._directory, self._events = directory, events
        self.app = bottle.Bottle()
        self.app.config["catchall"] = False
        self.app.default_error_handler = _plain_error
        for path, method, handler in self._routes():
            self.app.route(path, method, self._guarded(handler))

    def _routes(self) -> list[tuple[str, str, Callable[..., bottle.HTTPResponse]]]:
        return [
            ("/", "GET", self.home),
            ("/trust", "GET", self.trust),
            ("/root.pem", "GET", self.root_pem),
            ("/root.crt", "GET", self.root_der),
            ("/root.mobileconfig", "GET", self.mobileconfig),
            ("/roots.pem", "GET", self.roots_pem),
            ("/crl", "GET", self.crl),
            ("/crl/<issuer_id>", "GET", self.crl),
            ("/issuer.crt", "GET", self.issuer),
            ("/issuer/<issuer_id>.crt", "GET", self.issuer),
            ("/ocsp", "POST", self.ocsp),
            ("/ocsp/<question:path>", "GET", self.ocsp_get),
        ]

    def _guarded(self, handler: Callable[..., bottle.HTTPResponse]) -> Callable[..., Any]:
        def route(**parts: Any) -> bottle.HTTPResponse:
            environ = bottle.request.environ
            try:
                self._site.base(environ)
                return handler(**parts)
            except AcmeError as error:
                return _text(error.detail, error.status)
            except NotYet as error:
                return _text(f"not signed yet: {error}", 503)
            except StoreFull as error:
                self._events.emit("store", str(error), warning=True)
                return _text("the server cannot write", 503)
            except Exception as error:  # noqa: BLE001 - the client gets an answer, the log the cause
                self._events.fault(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}", error)
                return _text("an error of the server; its log says more", 500)

        return route

    # -- the root

    def home(self) -> bottle.HTTPResponse:
        """Lead to the trust page."""
        response = _text("", 302)
        response.set_header("Location", "/trust")
        return response

    def trust(self) -> bottle.HTTPResponse:
        """Show the root, its fingerprint, and how each system comes to trust it."""
        import html
        from importlib import resources

        page = resources.files("acmeiot.web").joinpath("trust.html").read_text("utf-8")
        facts = {
            "name": self._authority.root_name,
            "words": words(bytes.fromhex(self._authority.root_spki_sha256)),
            "fingerprint": in_groups(self._authority.root_spki_sha256),
            "directory": self._directory,
            "site": self._site.base(bottle.request.environ),
        }
        for key, value in facts.items():
            page = page.replace("{" + key + "}", html.escape(value))
        response = _bytes(page.encode(), "text/html; charset=utf-8")
        for name, value in _SAFE.items():
            response.set_header(name, value)
        return response

    def root_pem(self) -> bottle.HTTPResponse:
        """Give the root as PEM."""
        return _bytes(self._authority.root_pem, "application/x-pem-file")

    def root_der(self) -> bottle.HTTPResponse:
        """Give the root as DER, in the type that Android and Windows open."""
        return _bytes(self._authority.root_der, "application/x-x509-ca-cert")

    def roots_pem(self) -> bottle.HTTPResponse:
        """Give every root that is still good, the current one first (specs 6: rotation)."""
        pems = (pem(root.der) for root in self._authority.roots())
        return _bytes("".join(pems).encode(), "application/x-pem-file")

    def mobileconfig(self) -> bottle.HTTPResponse:
        """Give the root as an Apple configuration profile."""
        profile = configuration_profile(self._authority.root_name, self._authority.root_der)
        response = _bytes(profile, "application/x-apple-aspen-config")
        response.set_header("Content-Disposition", 'attachment; filename="root.mobileconfig"')
        return response

    # -- for verifiers

    def crl(self, issuer_id: str = "") -> bottle.HTTPResponse:
        """Give the CRL of an issuer, of the current intermediate by default."""
        wanted = issuer_id.removesuffix(".crl") or self._authority.issuers()[0].id
        self._certificate(wanted)
        return _bytes(self._publisher.crl(wanted), "application/pkix-crl")

    def issuer(self, issuer_id: str = "") -> bottle.HTTPResponse:
        """Give an issuer's certificate, the current intermediate's by default."""
        wanted = issuer_id or self._authority.issuers()[0].id
        return _bytes(self._certificate(wanted), "application/pkix-cert")

    def _certificate(self, issuer_id: str) -> bytes:
        try:
            return self._authority.issuer_certificate(issuer_id)
        except KeyError:
            raise NotFound("there is no such issuer") from None

    def ocsp(self) -> bottle.HTTPResponse:
        """Answer an OCSP request (RFC 6960 appendix A.1)."""
        body = bottle.request.environ["wsgi.input"].read(MAX_REQUEST + 1)
        return self._answer_ocsp(body)

    def ocsp_get(self, question: str) -> bottle.HTTPResponse:
        """Answer an OCSP request that came in the URL."""
        try:
            body = base64.b64decode(unquote(question), validate=True)
        except (binascii.Error, ValueError):
            body = b""
        return self._answer_ocsp(body)

    def _answer_ocsp(self, question: bytes) -> bottle.HTTPResponse:
        try:
            answer = self._publisher.ocsp(question)
        except NotYet:
            answer = _TRY_LATER
        return _bytes(answer, "application/ocsp-response")


def in_groups(fingerprint: str) -> str:
    """Return a hex fingerprint in groups of four, for eyes."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, len(fingerprint), 4))


def configuration_profile(name: str, root: bytes) -> bytes:
    """Return an Apple configuration profile that carries the root.

    The identifiers follow from the root, so that installing it twice replaces and never doubles.
    """
    import plistlib
    import uuid

    home = uuid.uuid5(uuid.NAMESPACE_OID, root.hex())
    payload = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"acmeiot.root.{home}",
        "PayloadUUID": str(uuid.uuid5(home, "root")),
        "PayloadDisplayName": name,
        "PayloadDescription": "The certificate authority of this home",
        "PayloadContent": root,
    }
    profile = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"acmeiot.home.{home}",
        "PayloadUUID": str(home),
        "PayloadDisplayName": name,
        "PayloadDescription": "Lets this device trust the printers, cameras and NAS of this home",
        "PayloadContent": [payload],
    }
    return plistlib.dumps(profile)


def _bytes(body: bytes, content_type: str) -> bottle.HTTPResponse:
    response = bottle.HTTPResponse(body, 200)
    response.set_header("Content-Type", content_type)
    response.set_header("Cache-Control", "no-cache")
    return response


def _text(message: str, status: int) -> bottle.HTTPResponse:
    response = bottle.HTTPResponse(message + "\n" if message else "", status)
    response.set_header("Content-Type", "text/plain; charset=utf-8")
    return response


def _plain_error(error: bottle.HTTPError) -> str:
    bottle.response.set_header("Content-Type", "text/plain; charset=utf-8")
    return f"{error.status_line}\n"
