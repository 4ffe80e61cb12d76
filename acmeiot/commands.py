"""The admin commands: a call over the state directory's unix socket, shown as table or JSON."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from acmeiot import durable
from acmeiot.config import SOCKET
from acmeiot.protocol.fingerprint import words
from acmeiot.protocol.moments import day
from acmeiot.protocol.qr import qr
from acmeiot.web import unixsocket

Json = dict[str, Any]

_TIMEOUT: Final = 60  # seconds; a backup's passphrase is stretched for a second or more


class CommandError(Exception):
    """Why a command failed, in one line for a person."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the admin socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        with unixsocket.address(self._path) as address:
            self.sock.connect(address)


def call(state: Path, path: str, body: Json | None = None) -> bytes:
    """Return the server's answer; raise CommandError when there is no server or it refuses."""
    connection = _UnixConnection(state / SOCKET)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        answer = response.read()
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        raise CommandError(
            f"no server is running on the state {state}; start it, or name another with --state"
        ) from None
    except PermissionError:
        raise CommandError(f"you may not administer {state}; run it as its owner") from None
    except (OSError, http.client.HTTPException) as error:
        raise CommandError(f"the server on {state} did not answer: {error}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise CommandError(_reason(answer, response.status))
    return answer


def _reason(answer: bytes, status: int) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"


def _show(args: Namespace, answer: Json, human: Callable[[Json], Iterable[str]]) -> None:
    print(json.dumps(answer, indent=2) if args.json else "\n".join(human(answer)))


def _ask(args: Namespace, path: str, body: Json | None = None) -> Json:
    answer = json.loads(call(Path(args.state), path, body))
    if not isinstance(answer, dict):
        raise CommandError("the server answered something else than an object")
    return answer


# -- reading


def status(args: Namespace) -> None:
    """Show the server's state."""
    _show(args, _ask(args, "/status"), _status_lines)


def _status_lines(answer: Json) -> Iterable[str]:
    root, counts = answer["root"], answer["devices"]
    yield f"directory     {answer['directory']}"
    yield f"root          {root['name']}, until {day(root['not_after'])}"
    yield f"              sha256:{root['sha256']}"
    yield f"              {words(bytes.fromhex(root['sha256']))}"
    yield f"intermediate  until {day(answer['intermediate']['not_after'])}"
    until = answer["server"]["not_after"]
    yield f"server        {'until ' + day(until) if until else 'not renewed since the start'}"
    yield f"policy        {answer['policy']}, approval {answer['approval']}"
    ends = answer["window_ends"]
    yield f"pairing       {'window open until ' + _time(ends) if ends else 'window closed'}"
    yield f"devices       {', '.join(f'{number} {word}' for word, number in counts.items())}"
    yield f"certificates  {answer['certificates']}"
    yield from _announced_lines(answer["announced"])
    if answer["uncovered_domains"]:
        missing = ", ".join(answer["uncovered_domains"])
        yield f"WARNING       the root does not cover {missing}: acmeiot rotate"
    if answer["clock"]["doubt"]:
        yield f"WARNING       nothing is signed: {answer['clock']['doubt']}"
    if answer["audit_broken_at"] is not None:
        yield f"WARNING       the audit was altered at entry {answer['audit_broken_at']}"


def _announced_lines(reports: list[Json]) -> Iterable[str]:
    if not reports:
        yield "announced     nothing (acmeiot announce)"
    items = [item for report in reports for item in report["items"]]
    told = dict.fromkeys(_item(item) for item in items if not item["why_not"])
    if items:
        yield f"announced     {', '.join(told) or 'nothing'}"
    for item in items:
        if item["why_not"] or item["note"]:
            word = "not announced" if item["why_not"] else "announced    "
            yield f"{word} {_item(item)}: {item['why_not'] or item['note']}"
    yield from (f"WARNING       {text}" for report in reports for text in report["problems"])


def _item(item: Json) -> str:
    return f"{item['what']}{' on ' if item['on'] else ''}{item['on']}"


def devices(args: Namespace) -> None:
    """List the devices."""
    _show(args, _ask(args, "/devices"), _device_lines)


def _device_lines(answer: Json) -> Iterable[str]:
    rows = [
        (
            d["id"],
            d["status"],
            d["decided_by"] or "-",
            " ".join(_marked(d)) or "-",
            d["address"],
            d["mac"] or "-",
            day(d["last_seen"]),
        )
        for d in answer["devices"]
    ]
    yield from _table(("ID", "STATUS", "BY", "NAMES", "ADDRESS", "MAC", "SEEN"), rows)


def _marked(device: Json) -> Iterable[str]:
    others = device["of_others"]
    return (f"{n} (tied to {others[n]})" if n in others else n for n in device["names"])


def certs(args: Namespace) -> None:
    """List the certificates."""
    _show(args, _ask(args, "/certs"), _cert_lines)


def _cert_lines(answer: Json) -> Iterable[str]:
    now = time.time()
    rows = [
        (
            c["serial"],
            _cert_state(c, now),
            " ".join(c["names"]),
            c["profile"],
            day(c["not_before"]),
            day(c["not_after"]),
        )
        for c in answer["certs"]
    ]
    yield from _table(("SERIAL", "STATUS", "NAMES", "PROFILE", "FROM", "UNTIL"), rows)


def _cert_state(cert: Json, now: float) -> str:
    if cert["revoked_at"] is not None:
        return "revoked"
    return "expired" if cert["not_after"] < now else "good"


def audit(args: Namespace) -> None:
    """List the newest entries of the audit."""
    _show(args, _ask(args, "/audit"), _audit_lines)


def _audit_lines(answer: Json) -> Iterable[str]:
    rows = [
        (str(e["seq"]), _time(e["at"]), e["event"], e["subject"], json.dumps(e["detail"]))
        for e in answer["audit"]
    ]
    yield from _table(("SEQ", "TIME", "EVENT", "SUBJECT", "DETAIL"), rows)


# -- acting


def approve(args: Namespace) -> None:
    """Allow a device."""
    answer = _ask(args, "/approve", {"device": args.device})
    _show(args, answer, _approved_lines)


def _approved_lines(answer: Json) -> Iterable[str]:
    device = answer["device"]
    yield f"approved {_named(device)}; run its client again"
    for name, other in answer["taken"].items():
        yield f"{name} was taken from device {other}"
    for name, other in device["of_others"].items():
        yield f"{name} stays tied to device {other}; to free it: acmeiot forget {other}"


def block(args: Namespace) -> None:
    """Block a device."""
    answer = _ask(args, "/block", {"device": args.device})
    _show(args, answer, lambda a: [_ended("blocked", a)])


def forget(args: Namespace) -> None:
    """Forget a device."""
    answer = _ask(args, "/forget", {"device": args.device})
    _show(args, answer, lambda a: [_ended("forgot", a)])


def revoke(args: Namespace) -> None:
    """Revoke certificates."""
    answer = _ask(args, "/revoke", {"cert": args.cert, "reason": args.reason})
    lines = [f"revoked {c['serial']} ({' '.join(c['names'])})" for c in answer["revoked"]]
    _show(args, answer, lambda _: lines)


def pair(args: Namespace) -> None:
    """Make a pairing key, or open the pairing window."""
    if args.window is not None:
        answer = _ask(args, "/window", {"seconds": args.window * 60})
        ends = answer["window_ends"]
        text = f"pairing window open until {_time(ends)}" if ends else "pairing window closed"
        _show(args, answer, lambda _: [text])
        return
    answer = _ask(args, "/pair", {"seconds": args.minutes * 60, "note": args.note})
    about = _ask(args, "/status")
    answer["directory"] = about["directory"]
    answer["root_sha256"] = about["root"]["sha256"]
    answer["uri"] = (
        f"{answer['directory']}#kid={answer['kid']}&hmac={answer['hmac']}"
        f"&root=sha256:{answer['root_sha256']}"
    )
    _show(args, answer, _pair_lines)


def _pair_lines(answer: Json) -> Iterable[str]:
    yield f"directory  {answer['directory']}"
    yield f"key id     {answer['kid']}"
    yield f"HMAC key   {answer['hmac']}"
    yield f"root       sha256:{answer['root_sha256']}"
    yield f"good for one device until {_time(answer['expires'])}"
    yield f"certbot --eab-kid {answer['kid']} --eab-hmac-key {answer['hmac']} ..."
    yield qr(answer["uri"])


def rotate(args: Namespace) -> None:
    """Make a new root."""
    answer = _ask(args, "/rotate", {})
    lines = [
        f"new root  sha256:{answer['new']}",
        f"old root  sha256:{answer['old']}",
        "both are published; devices renew by themselves as they ask for renewal information",
    ]
    _show(args, answer, lambda _: lines)


# -- backup and restore


def backup(args: Namespace) -> None:
    """Write the sealed backup."""
    target = Path(args.file)
    if target.exists() and not args.force:
        raise CommandError(f"{target} exists; name another file, or overwrite it with --force")
    sealed = call(Path(args.state), "/backup", {"passphrase": _passphrase(args, twice=True)})
    try:
        durable.write(target, sealed)
    except OSError as error:
        raise CommandError(f"cannot write {target}: {error.strerror}") from None
    answer = {"file": str(target), "bytes": len(sealed)}
    _show(args, answer, lambda a: [f"wrote {a['file']}, {a['bytes']} bytes"])


def restore(args: Namespace) -> None:
    """Put a backup's state into the state directory; the server must be stopped."""
    from acmeiot.core.ports import StoreFull
    from acmeiot.store import backup as backups
    from acmeiot.store.errors import StateError
    from acmeiot.store.sealed import MAX_SEALED, BackupError

    try:
        with Path(args.file).open("rb") as file:
            sealed = _bounded(file, MAX_SEALED + 1)  # `unseal` refuses what is longer
    except OSError as error:
        raise CommandError(f"cannot read {args.file}: {error.strerror}") from None
    try:
        opened = backups.unseal(sealed, _passphrase(args, twice=False))
        done = backups.restore(opened, Path(args.state), args.force, now=int(time.time()))
    except (BackupError, StateError, StoreFull, ValueError) as error:
        raise CommandError(str(error)) from None
    kept = str(done.kept) if done.kept else None
    answer = {"state": args.state, "made": done.stamp.made, "kept": kept, "root": done.stamp.root}
    lines = [f"restored {args.state} from {_time(done.stamp.made)}, root sha256:{done.stamp.root}"]
    if kept:
        lines.append(f"the state from before is kept in {kept}")
    _show(args, answer, lambda _: lines)


def _bounded(file: BinaryIO, most: int) -> bytes:
    """Read a file's beginning; `read(most)` would take so much memory at once."""
    content = bytearray()
    while len(content) < most and (block := file.read(min(1 << 16, most - len(content)))):
        content += block
    return bytes(content)


def _passphrase(args: Namespace, *, twice: bool) -> str:
    from acmeiot.store.sealed import MIN_PASSPHRASE

    if args.passphrase_file:
        try:
            text = Path(args.passphrase_file).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read {args.passphrase_file}: {error}") from None
    elif sys.stdin.isatty():
        text = getpass.getpass("Passphrase: ")
        if twice and getpass.getpass("Again: ") != text:
            raise CommandError("the two passphrases differ")
    else:
        raise CommandError("no terminal to ask for the passphrase; use --passphrase-file")
    if len(text) < MIN_PASSPHRASE:
        raise CommandError(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    return text


# -- words


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterable[str]:
    if not rows:
        yield "none"
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _named(device: Json) -> str:
    return f"{device['id']} ({' '.join(device['names']) or device['address']})"


def _ended(verb: str, answer: Json) -> str:
    return f"{verb} {_named(answer['device'])}, revoked {_count(answer['revoked'])}"


def _count(number: int) -> str:
    return "1 certificate" if number == 1 else f"{number} certificates"


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
