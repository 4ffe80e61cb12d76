"""Refusals: problem documents as errors that carry the server's own words (RFC 8555 section 6.7).

What a server writes is shown to people and logs, so it is bounded and made printable here.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from acmeiot.client.errors import AgentError
from acmeiot.client.http import Garbled, Response
from acmeiot.protocol.errors import URN

MAX_RETRY_AFTER: Final = 7 * 86400
_MAX_TEXT: Final = 1000
_MAX_PARTS: Final = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem document; `identifier` only in the parts of a compound one."""

    type: str
    detail: str
    identifier: str = ""
    parts: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, document: object, *, nested: bool = False) -> Problem:
        """Return the problem, whatever is missing or wrong in it."""
        members: dict[str, Any] = document if isinstance(document, dict) else {}
        parts = members.get("subproblems")
        some = parts[:_MAX_PARTS] if isinstance(parts, list) and not nested else ()
        about = members.get("identifier")
        return cls(
            type=printable(members.get("type"), 100) or "about:blank",
            detail=printable(members.get("detail")) or printable(members.get("title")),
            identifier=printable(about.get("value"), 253) if isinstance(about, dict) else "",
            parts=tuple(cls.of(one, nested=True) for one in some),
        )

    @property
    def code(self) -> str:
        """Return the type's short name, such as `rejectedIdentifier`."""
        return self.type.removeprefix(URN)

    def __str__(self) -> str:
        said = f"{self.detail or 'no reason given'} ({self.code})"
        more = [one for one in self.parts if not one.detail or one.detail not in self.detail]
        return "; ".join([said, *(f"{one.identifier or 'also'}: {one}" for one in more)])


class Refused(AgentError):
    """The server answered, and said no. `retry_after`: seconds it wants to be left alone."""

    def __init__(self, problem: Problem, status: int = 0, retry_after: int | None = None) -> None:
        super().__init__(f"the ACME server refuses: {problem}")
        self.problem, self.status, self.retry_after = problem, status, retry_after

    @property
    def type(self) -> str:
        """Return the problem's type, a URN."""
        return self.problem.type

    @property
    def code(self) -> str:
        """Return the type's short name, such as `rejectedIdentifier`."""
        return self.problem.code

    @property
    def passing(self) -> bool:
        """Tell whether the same request may succeed later, without any change to it."""
        return self.status >= 500 or self.code in ("rateLimited", "userActionRequired", "badNonce")


def refusal(response: Response, now: int) -> Refused:
    """Return what an answer of status 400 and above says."""
    try:
        problem = Problem.of(response.document())
    except Garbled:  # from a proxy or another program on the port, which has no words for us
        problem = Problem("about:blank", f"{response.url} answers with status {response.status}")
    return Refused(problem, response.status, retry_after(response, now))


def retry_after(response: Response, now: int) -> int | None:
    """Return the seconds of Retry-After, in either form of RFC 9110 section 10.2.3; else None."""
    text = str(response.headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), MAX_RETRY_AFTER)
    try:
        seconds = int(parsedate_to_datetime(text).timestamp()) - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0, min(seconds, MAX_RETRY_AFTER))


def printable(value: object, limit: int = _MAX_TEXT) -> str:
    """Return a stranger's text without control characters, or nothing if it is no text."""
    if not isinstance(value, str):
        return ""
    text = "".join(one if one.isprintable() else " " for one in value[: limit + 1])
    return text if len(text) <= limit else text[: limit - 3] + "..."
