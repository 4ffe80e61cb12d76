"""Accounts: made, found, changed, given up (RFC 8555 section 7.3), and pairing keys (7.3.4)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final

from acmeiot.core.limits import EAB_FAILURES, NEW_ACCOUNTS, Limits
from acmeiot.core.policy import Policy
from acmeiot.core.ports import MAX_ACCOUNTS, Clock, Events, Random, Store
from acmeiot.core.records import Account, AuditEntry, EabKey
from acmeiot.protocol import jose
from acmeiot.protocol.errors import (
    AccountDoesNotExist,
    Conflict,
    ExternalAccountRequired,
    Malformed,
    SignatureInvalid,
    Unauthorized,
    UserActionRequired,
)
from acmeiot.protocol.jose import Jwk, b64encode
from acmeiot.protocol.messages import AccountUpdate, NewAccount
from acmeiot.protocol.states import ACCOUNT, ORDER, AccountStatus, Event, step

_UNDISTURBED: Final = 300  # seconds that a new account has for its first proof
_PLACES: Final = 100  # made at once: to look for them is to read whole tables
_CACHED_KEYS: Final = 256
_PAGE: Final = 100


class AccountExists(Conflict):
    """Key change to a key in use; `account_id` goes into Location (R-17)."""

    def __init__(self, detail: str, account_id: str) -> None:
        super().__init__(detail)
        self.account_id = account_id


@dataclass(frozen=True, slots=True)
class AccountRules:
    """The owner's settings for accounts. `terms` is the URL of terms of service, "" for none."""

    terms: str = ""
    eab_required: bool = False


class Accounts:
    """The account rules; thread-safe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        events: Events,
        policy: Policy,
        limits: Limits,
        rules: AccountRules,
    ) -> None:
        self._store, self._clock, self._random, self._events = store, clock, random, events
        self._policy, self._limits, self.rules = policy, limits, rules
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, tuple[Account, Jwk]] = OrderedDict()
        self._changes = 0  # how often an account was changed

    # -- reading

    def signer(self, account_id: str) -> tuple[Account, Jwk]:
        """Return a valid account and its key; raise AccountDoesNotExist, or Unauthorized (R-16)."""
        cached = self._keys.get(account_id)
        if cached is not None:
            return cached
        changes = self._changes
        account = self._now(account_id)
        jwk = Jwk.parse(dict(account.jwk))
        with self._lock:
            # Read just before it was deactivated, an account must not be remembered as valid.
            if changes == self._changes:
                self._keys[account.id] = (account, jwk)
            if len(self._keys) > _CACHED_KEYS:
                self._keys.popitem(last=False)
        return account, jwk

    def _now(self, account_id: str) -> Account:
        """Return the account as the store has it; raise unless it is there and valid."""
        account = self._store.account(account_id)
        if account is None:
            raise AccountDoesNotExist("no such account; create one with newAccount")
        refuse_inactive(account)
        return account

    def drop_cached(self, account_id: str) -> None:
        """Forget what is remembered of an account that was changed in the store."""
        with self._lock:
            self._changes += 1
            self._keys.pop(account_id, None)

    # -- newAccount

    def check_rate(self, remote: str) -> None:
        """Raise RateLimited before any arithmetic is spent on a newAccount flood (R-34)."""
        self._limits.check(NEW_ACCOUNTS, remote)

    def register(self, jwk: Jwk, payload: bytes, url: str, remote: str) -> tuple[Account, bool]:
        """Return the account of this key, and whether it was made now (R-12, R-13)."""
        wanted = NewAccount.parse(payload)
        known = self._known(jwk)
        if known is not None:
            return known, False
        if wanted.only_existing:
            raise AccountDoesNotExist("no account has this key (onlyReturnExisting)")
        if self.rules.terms and not wanted.agreed:
            raise UserActionRequired(f"agree to the terms of service first: {self.rules.terms}")
        self._policy.check_contacts(wanted.contact)
        self._limits.take(NEW_ACCOUNTS, remote)
        return self._create(jwk, wanted, url, remote)

    def _known(self, jwk: Jwk) -> Account | None:
        account = self._store.account_by_thumbprint(jwk.thumbprint)
        if account is not None:
            refuse_inactive(account)
        return account

    def _create(self, jwk: Jwk, wanted: NewAccount, url: str, remote: str) -> tuple[Account, bool]:
        with self._store.writing():
            # Two requests with one key at the same moment: the second finds the first's account.
            known = self._known(jwk)
            if known is not None:
                return known, False
            eab_key = self._pairing_key(jwk, wanted.eab, url, remote)
            self._make_place()
            account = Account(
                id=b64encode(self._random(12)),
                status=AccountStatus.VALID,
                contact=wanted.contact,
                jwk=jwk.members,
                thumbprint=jwk.thumbprint,
                created=self._clock.now(),
                eab=_echo(wanted.eab),
                eab_kid=eab_key.kid if eab_key else None,
            )
            self._store.put_account(account)
            if eab_key is not None:
                self._store.put_eab_key(replace(eab_key, used_by=account.id))
        contact = ", ".join(account.contact) or "no contact"
        self._events.emit("account", f"{account.id} created from {remote} ({contact})")
        return account, True

    def _make_place(self) -> None:
        """Let accounts that never proved a name go where there are too many, the oldest first.

        Whoever makes them by the thousand so locks nobody out for longer than a few minutes.
        """
        if self._store.count_accounts() < MAX_ACCOUNTS:
            return
        before = self._clock.now() - _UNDISTURBED
        gone = self._store.drop_unproved_accounts(before, _PLACES)
        if not gone:
            raise Unauthorized(
                f"this server has {MAX_ACCOUNTS} accounts, its limit, and none of them is idle; "
                "try again later"
            )
        with self._lock:  # which of them are remembered is not worth asking
            self._changes += 1
            self._keys.clear()
        self._events.emit(
            "account",
            f"{gone} that never proved a name made place: {MAX_ACCOUNTS} is the limit",
            warning=True,
        )

    def _pairing_key(
        self, jwk: Jwk, document: dict[str, Any] | None, url: str, remote: str
    ) -> EabKey | None:
        """Check the external account binding (R-18); return its key, None if there is none."""
        if document is None:
            if self.rules.eab_required:
                raise ExternalAccountRequired(
                    "this network only takes devices that have a pairing key; the owner makes one: "
                    "acmeiot pair"
                )
            return None
        self._limits.check(EAB_FAILURES, remote)
        try:
            return self._check_eab(jwk, document, url)
        except Unauthorized:
            self._limits.note(EAB_FAILURES, remote)
            raise

    def _check_eab(self, jwk: Jwk, document: dict[str, Any], url: str) -> EabKey:
        inner = jose.from_document(document, ("HS256",))
        if inner.kid is None or inner.nonce is not None or inner.url != url:
            raise Malformed(
                "externalAccountBinding: kid and the newAccount URL stand in its header, no nonce"
            )
        key = self._store.eab_key(inner.kid)
        now = self._clock.now()
        if key is None or key.used_by is not None or key.expires <= now:
            raise Unauthorized(
                f"the pairing key {inner.kid[:40]!a} is unknown, used or expired; "
                "make a new one: acmeiot pair"
            )
        jose.verify_mac(inner, key.key)
        if Jwk.parse(jose.load_json(inner.payload, "the binding's payload")) != jwk:
            raise Malformed("externalAccountBinding: its payload is not the account's key")
        return key

    # -- changes

    def update(self, account: Account, payload: bytes) -> Account:
        """Apply a POST to the account: new contacts, or its end (R-15, R-16)."""
        wanted = AccountUpdate.parse(payload)
        if wanted.deactivate:
            return self.end(account, Event.DEACTIVATE)
        if wanted.contact is None:
            return account
        self._policy.check_contacts(wanted.contact)
        with self._store.writing():
            # The signer's record may be older than a change of its key.
            return self._put(replace(self._now(account.id), contact=wanted.contact))

    def end(self, account: Account, event: Event) -> Account:
        """Deactivate (the client's wish) or revoke (the owner's) the account.

        Its open orders end with it (R-16); its certificates stay (RFC 8555 section 7.3.6).
        """
        with self._store.writing():
            current = self._now(account.id)
            ended = self._put(replace(current, status=step(ACCOUNT, current.status, event)))
            self._cancel_orders(ended)
        self._events.emit("account", f"{account.id} {ended.status.value}")
        return ended

    def _cancel_orders(self, account: Account) -> None:
        error = Unauthorized(f"the account was {account.status.value}").problem()
        after = None
        while ids := self._store.orders_of(account.id, after, _PAGE):
            for order in filter(None, map(self._store.order, ids)):
                if (order.status, Event.FAIL) in ORDER:
                    failed = step(ORDER, order.status, Event.FAIL)
                    self._store.put_order(replace(order, status=failed, error=error))
            after = ids[-1]

    def change_key(self, account: Account, old: Jwk, payload: bytes, url: str, own: str) -> Account:
        """Give the account the key of the inner JWS (R-17, RFC 8555 section 7.3.5).

        `url` is the keyChange URL, `own` the account's URL as the client knows it.
        """
        inner = jose.from_document(jose.load_json(payload, "the payload"))
        if inner.nonce is not None or inner.kid is not None or inner.url != url:
            raise Malformed("the inner JWS has a jwk, the outer's url, and no nonce")
        new = Jwk.parse(inner.jwk)
        new.verify(inner)
        document = jose.load_json(inner.payload, "the inner payload")
        if document.get("account") != own:
            raise Malformed("the inner payload's account is not the signer's account URL")
        claimed = Jwk.parse(document.get("oldKey")).thumbprint
        with self._store.writing():
            current = self._now(account.id)
            # The third is for two key changes at once: the slower one's signer is the old key.
            if not claimed == old.thumbprint == current.thumbprint:
                raise Malformed("the inner payload's oldKey is not the account's key")
            other = self._store.account_by_thumbprint(new.thumbprint)
            if other is not None:
                whose = "this" if other.id == account.id else "another"
                raise AccountExists(f"{whose} account has the new key already", other.id)
            changed = self._put(replace(current, jwk=new.members, thumbprint=new.thumbprint))
        self._events.emit("account", f"{account.id} has a new key")
        return changed

    def _put(self, account: Account) -> Account:
        self._store.put_account(account)
        self.drop_cached(account.id)
        return account

    # -- pairing keys

    def make_pairing_key(self, seconds: int, note: str) -> EabKey:
        """Return a new pairing key, good once and for `seconds`, shown as text and QR code.

        It has 256 bits: clients need not sign with HS256 by less (RFC 7518 section 3.2), and lego
        of 2025 does not.
        """
        now = self._clock.now()
        kid, key = b64encode(self._random(6)), self._random(32)
        pairing = EabKey(kid=kid, key=key, created=now, expires=now + seconds, note=note)
        with self._store.writing():
            self._store.put_eab_key(pairing)
            self._store.append_audit(
                AuditEntry(now, "pair", kid, {"expires": pairing.expires, "note": note})
            )
        self._events.emit("pair", f"pairing key {kid} made")
        return pairing


def refuse_inactive(account: Account) -> None:
    """Raise Unauthorized (401) unless the account is valid (R-16)."""
    if account.status is not AccountStatus.VALID:
        who = "its holder" if account.status is AccountStatus.DEACTIVATED else "the owner"
        raise SignatureInvalid(f"this account was {account.status.value} by {who}; make a new one")


def _echo(document: dict[str, Any] | None) -> dict[str, Any] | None:
    if document is None:
        return None
    return {name: document[name] for name in ("protected", "payload", "signature")}
