"""The command line: arguments in, exit code out. 0 done, 1 failed with one line, 2 wrong usage."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from acmeiot import __version__, announcing, recipes
from acmeiot.client import command as client_command
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.device import command as device_command
from acmeiot.trust import command as trust_command

_DEVICE_HELP: Final = "its id, name, address or MAC as `acmeiot devices` shows them"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    try:
        try:
            args = _parser().parse_args(arguments)
            return int(args.run(args) or 0)
        finally:
            sys.stdout.flush()  # here, where it can still be told that the reader has gone
    except UsageError as error:
        _fail(error)
        return 2
    except AgentError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(error)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, and that takes options by their full names only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """End with exit code 2 and one line."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="acmeiot", description="A certificate authority for one home, over ACME (RFC 8555)."
    )
    parser.add_argument("--version", action="version", version=f"acmeiot {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_admin(commands)
    _add_backup(commands)
    for room in (announcing, recipes, client_command, device_command, trust_command):
        room.add_parser(commands)
    return parser


def _add_serve(commands: Any) -> None:
    serve = commands.add_parser("serve", help="run the server in the foreground")
    serve.set_defaults(run=_serve)
    add = serve.add_argument
    add("--config", type=Path, metavar="FILE", help="settings in TOML")
    add("--state", metavar="DIR", help="keys and records (default ./var)")
    add("--listen", action="append", metavar="ADDR:PORT", help="ACME over TLS")
    add("--http-listen", action="append", metavar="ADDR:PORT", help="root, CRL, OCSP")
    add("--name", action="append", metavar="FQDN", help="a full name of this server")
    add("--domain", action="append", metavar="D", help="a local domain (default lan)")
    add("--approval", choices=("auto", "ask"), help="who allows a new device")
    add("--policy", choices=("lease", "challenge"), help="what proves a name")
    add("--profile", choices=("strict", "compat"), help="compat: also P-256, one name")
    add("--pairing-window", type=int, metavar="SECONDS", help="open after the first start")
    add("--hints", action="store_true", help="print next steps when ready")
    add("-v", "--verbose", action="store_true", default=None, help="log more")
    add = serve.add_argument_group("for testing").add_argument
    add("--resolver", action="append", metavar="ADDR[:PORT]", help="ask it for every name")
    add("--http01-port", type=int, metavar="N", help="instead of 80")
    add("--tlsalpn01-port", type=int, metavar="N", help="instead of 443")
    add("--allow-loopback", action="store_true", default=None, help="devices on this machine")
    add("--limits", choices=("on", "off"), help="no rate limits")


def _add_admin(commands: Any) -> None:
    for name, text in (
        ("status", "show the server's state"),
        ("devices", "list the devices"),
        ("certs", "list the certificates"),
        ("audit", "list what was decided and issued"),
        ("rotate", "make a new root; the old one is still believed for a while"),
    ):
        _add_command(commands, name, text)
    for name, text in (
        ("approve", "allow a device"),
        ("block", "refuse a device and revoke its certificates"),
        ("forget", "revoke a device's certificates and free its names"),
    ):
        _add_command(commands, name, text).add_argument("device", help=_DEVICE_HELP)
    revoke = _add_command(commands, "revoke", "revoke a certificate")
    revoke.add_argument("cert", help="its serial, or a name: then all for that name")
    revoke.add_argument("--reason", type=int, default=9, help="RFC 5280 code (default 9)")
    pair = _add_command(commands, "pair", "make a pairing key for one device, as text and QR code")
    pair.add_argument("--minutes", type=_some_minutes, default=60, help="how long it is good (60)")
    pair.add_argument("--note", default="", help="what it is for")
    pair.add_argument(
        "--window",
        type=_minutes,
        nargs="?",
        const=60,
        metavar="MINUTES",
        help="open the pairing window instead; 0 closes it",
    )


def _add_backup(commands: Any) -> None:
    backup = _add_command(commands, "backup", "write everything into one sealed file")
    restore = _add_command(commands, "restore", "bring a backup back; the server must be stopped")
    for command in (backup, restore):
        command.add_argument("file", help="the backup file")
        command.add_argument("--passphrase-file", metavar="FILE", help="instead of asking")
    backup.add_argument("--force", action="store_true", help="overwrite the file")
    restore.add_argument("--force", action="store_true", help="even over a newer state")


def _add_command(commands: Any, name: str, text: str) -> Any:
    command = commands.add_parser(name, help=text)
    command.add_argument("--state", default=_default_state(), metavar="DIR", help="of the server")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=_admin, command=name)
    return command


def _default_state() -> str:
    return os.environ.get("ACMEIOT_STATE") or "./var"


def _minutes(text: str, least: int = 0) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= 1440):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of minutes from {least} to 1440"
        )
    return int(text)


def _some_minutes(text: str) -> int:
    return _minutes(text, least=1)


def _program() -> str:
    """Return how this program was called, to be called so again."""
    called = sys.argv[0]
    return called if Path(called).name == "acmeiot" else f"{sys.executable} -m acmeiot"


def _fail(error: Exception) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # without "[Errno 98]"
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    print(f"acmeiot: {' '.join(text.splitlines())}", file=sys.stderr)
    return 1


def _admin(args: argparse.Namespace) -> int:
    from acmeiot import commands

    try:
        getattr(commands, args.command)(args)
    except commands.CommandError as error:
        return _fail(error)
    return 0


def _serve(args: argparse.Namespace) -> int:
    from acmeiot import config

    flags = {
        name: value
        for name, value in vars(args).items()
        if name not in ("run", "config", "hints", "command")
    }
    try:
        settings = config.load(args.config, flags)
    except config.ConfigError as error:
        _fail(error)
        return 2
    return _run(settings, hints=args.hints)


def _run(settings: Any, *, hints: bool) -> int:
    from acmeiot.ca.index import BrokenState
    from acmeiot.ca.keys import BadKeyFile
    from acmeiot.config import ConfigError
    from acmeiot.core.ports import StoreFull
    from acmeiot.daemon import Daemon
    from acmeiot.events import LogEvents, begin_log
    from acmeiot.memory import use_one_arena
    from acmeiot.store.errors import StateError

    use_one_arena()
    begin_log(settings.verbose, settings.syslog)
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        if daemon is not None:
            daemon.stop()

    daemon: Daemon | None = None
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        daemon = Daemon.open(settings, LogEvents(), lambda: stopped)
        if daemon is None:
            return 0
        daemon.listen()
    except ConfigError as error:
        _fail(error)
        return 2
    except (StateError, StoreFull, BrokenState, BadKeyFile, OSError) as error:
        return _fail(error)
    print(daemon.ready_line, flush=True)
    if hints:
        print(daemon.hints(_program()), flush=True)
    if not stopped:
        daemon.run()
    return 0
