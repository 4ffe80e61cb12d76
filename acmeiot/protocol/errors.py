"""The one error tree: every refusal this server can utter, as RFC 8555 section 6.7 names it.

An error carries what failed, not only text: the identifier it is about, the subproblems of a
compound refusal, the members that a problem document of its type must have. `detail` is written
for the person at home who reads it in their client's output; it says what was wrong and what
would be right. Only `acmeiot.web` turns an error into HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final

from acmeiot.protocol.names import Identifier

URN: Final = "urn:ietf:params:acme:error:"


class AcmeError(Exception):
    """A refusal that reaches the client as a problem document (RFC 8555 section 6.7).

    `headers` are HTTP header fields that the refusal needs (Retry-After, Location), `extra` the
    members beyond type, detail, identifier and subproblems.
    """

    code: ClassVar[str] = "serverInternal"
    status: ClassVar[int] = 500

    def __init__(
        self,
        detail: str,
        *,
        identifier: Identifier | None = None,
        subproblems: Sequence[AcmeError] = (),
        headers: Mapping[str, str] = MappingProxyType({}),
        extra: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.identifier = identifier
        self.subproblems = tuple(subproblems)
        self.headers = dict(headers)
        self.extra = dict(extra)

    def problem(self) -> dict[str, object]:
        """Return the problem document (RFC 7807, RFC 8555 section 6.7)."""
        document: dict[str, object] = {
            "type": URN + self.code,
            "detail": self.detail,
            "status": self.status,
        }
        document.update(self.extra)
        if self.subproblems:
            # `identifier` stands only inside subproblems (RFC 8555 section 6.7.1).
            document["subproblems"] = [part.as_subproblem() for part in self.subproblems]
        return document

    def as_subproblem(self) -> dict[str, object]:
        """Return the problem with the identifier that it is about."""
        document = self.problem()
        if self.identifier is not None:
            document["identifier"] = self.identifier.as_json()
        return document


class AccountDoesNotExist(AcmeError):
    """The request names an account that is not here."""

    code, status = "accountDoesNotExist", 400


class AlreadyRevoked(AcmeError):
    """The certificate was revoked before."""

    code, status = "alreadyRevoked", 400


class BadCsr(AcmeError):
    """The CSR is not acceptable: key, hash, names or signature."""

    code, status = "badCSR", 400


class BadNonce(AcmeError):
    """The nonce was used, is unknown, or is from before a restart."""

    code, status = "badNonce", 400


class BadPublicKey(AcmeError):
    """The JWS was signed by a key this server does not support."""

    code, status = "badPublicKey", 400


class BadRevocationReason(AcmeError):
    """The revocation reason is not allowed."""

    code, status = "badRevocationReason", 400


class BadSignatureAlgorithm(AcmeError):
    """The JWS algorithm is not supported; `algorithms` lists those that are."""

    code, status = "badSignatureAlgorithm", 400


class Caa(AcmeError):
    """A CAA record of the local zone forbids issuing."""

    code, status = "caa", 403


class Compound(AcmeError):
    """Several different errors; `subproblems` holds them."""

    code, status = "compound", 400


class ConnectionFailed(AcmeError):
    """The server could not connect to the validation target."""

    code, status = "connection", 400


class DnsFailed(AcmeError):
    """A name could not be resolved during validation."""

    code, status = "dns", 400


class ExternalAccountRequired(AcmeError):
    """A pairing key (external account binding) is needed."""

    code, status = "externalAccountRequired", 403


class IncorrectResponse(AcmeError):
    """The device answered, with something else than the key authorization."""

    code, status = "incorrectResponse", 403


class InvalidContact(AcmeError):
    """A contact URL is not acceptable."""

    code, status = "invalidContact", 400


class Malformed(AcmeError):
    """The request is not what the protocol says."""

    code, status = "malformed", 400


class NotFound(Malformed):
    """No such resource. RFC 8555 has no type of its own for it (R-2)."""

    status = 404


class MethodNotAllowed(Malformed):
    """The method is not for this resource (R-9)."""

    status = 405


class TooLarge(Malformed):
    """The body is beyond the limit (R-8)."""

    status = 413


class UnsupportedMediaType(Malformed):
    """The content type is not application/jose+json (R-8, RFC 8555 section 6.2)."""

    status = 415


class Conflict(Malformed):
    """Key change to a key that another account has (R-17, RFC 8555 section 7.3.5)."""

    status = 409


class OrderNotReady(AcmeError):
    """Finalize came before all authorizations were valid."""

    code, status = "orderNotReady", 403


class RateLimited(AcmeError):
    """Too many requests; Retry-After says when to come back."""

    code, status = "rateLimited", 429


class RejectedIdentifier(AcmeError):
    """The policy of this home does not allow the name."""

    code, status = "rejectedIdentifier", 403


class ServerInternal(AcmeError):
    """The server cannot do it now, through no fault of the client."""

    code, status = "serverInternal", 500


class Unavailable(ServerInternal):
    """The server cannot do it yet: its clock is not set, or its disk is full."""

    status = 503


class TlsFailed(AcmeError):
    """A TLS error during validation."""

    code, status = "tls", 400


class Unauthorized(AcmeError):
    """The signer may not do this."""

    code, status = "unauthorized", 403


class SignatureInvalid(Unauthorized):
    """Nobody we know signed this, or the account is no longer valid (R-16)."""

    status = 401


class UnsupportedContact(AcmeError):
    """A contact URL's scheme is not supported."""

    code, status = "unsupportedContact", 400


class UnsupportedIdentifier(AcmeError):
    """The identifier's type is not supported."""

    code, status = "unsupportedIdentifier", 400


class UserActionRequired(AcmeError):
    """A person must act first: the owner of the home has to allow this device."""

    code, status = "userActionRequired", 403


class AlreadyReplaced(AcmeError):
    """`replaces` names a certificate that has its successor (RFC 9773 section 5)."""

    code, status = "alreadyReplaced", 409


class InvalidProfile(AcmeError):
    """The order asks for a profile that is not offered (draft-ietf-acme-profiles)."""

    code, status = "invalidProfile", 400
