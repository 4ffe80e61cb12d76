"""The command `announce`: its options, its steps and what it shows."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from acmeiot.client.errors import AgentError, UsageError

Json = dict[str, Any]

_OWN_OPTIONS: Final = ("run", "config", "dry_run", "remove", "json", "restart", "memory")


def add_parser(commands: Any) -> None:
    """Add `announce` to the program's."""
    parser = commands.add_parser("announce", help="tell the network of the running server")
    parser.set_defaults(run=run)
    add = parser.add_argument
    state = os.environ.get("ACMEIOT_STATE")
    add("--state", default=state, metavar="DIR", help="of the server (default ./var)")
    add("--config", type=Path, metavar="FILE", help="the server's settings, in TOML")
    add("--dry-run", action="store_true", help="only show every octet and record")
    add("--remove", action="store_true", help="take back what was announced")
    add("--json", action="store_true", help="for programs")
    add("--memory", type=Path, metavar="FILE", help="remembers what is announced (default of the "
        "settings, else announced.json of the state)")  # fmt: skip
    add("--restart", metavar="COMMAND", help="run when something changed; taken back if it fails")
    add("--dnsmasq-conf", metavar="FILE", help="the file that dnsmasq is started with")
    add("--dnsmasq-dir", metavar="DIR", help="where it looks for more of them")
    add("--no-dnsmasq", action="store_false", dest="dnsmasq", default=None, help="leave it alone")
    add("--interface", action="append", metavar="IF", dest="dhcp_interface",
        help="tell DHCP clients on this one only (default: all)")  # fmt: skip
    add("--number", type=int, metavar="N", dest="dhcp_number",
        help="also send the name as this option: the one IANA assigned, or 224 to 254")  # fmt: skip
    add("--no-class-option", action="store_false", dest="dhcp_class_option", default=None,
        help="do not send option 60")  # fmt: skip
    add("--details", action="store_true", dest="dhcp_details", default=None,
        help="also send path, root and port; announce again after `rotate`")  # fmt: skip
    add("--no-odhcpd", action="store_false", dest="odhcpd", default=None, help="leave it alone")
    add("--pool", action="append", metavar="SECTION", dest="odhcpd_pool",
        help="of OpenWrt's /etc/config/dhcp (default lan)")  # fmt: skip
    add("--static", metavar="FILE", dest="static_directory",
        help="write the directory object for this machine's own web server")  # fmt: skip


def run(args: Namespace) -> None:
    """Announce, take back, or only show; raise AgentError or UsageError."""
    import subprocess

    from acmeiot import commands, config
    from acmeiot.lan.announced import BrokenMemory
    from acmeiot.lan.odhcpd import UciError
    from acmeiot.protocol.dhcp import BadOption

    try:
        _run(args)
    except config.ConfigError as error:
        raise UsageError(str(error)) from None
    except (commands.CommandError, BrokenMemory, UciError, BadOption) as error:
        raise AgentError(str(error)) from None
    except subprocess.TimeoutExpired as error:
        raise AgentError(f"{error.cmd[0]} did not end in {error.timeout} seconds") from None
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise AgentError(f"{error.strerror}{where}") from None


def _run(args: Namespace) -> None:
    from acmeiot import commands, config
    from acmeiot.announcing import place
    from acmeiot.announcing.plan import made
    from acmeiot.lan.announced import places, read

    flags = {name: value for name, value in vars(args).items() if name not in _OWN_OPTIONS}
    settings = config.load(args.config, flags)
    memory = args.memory or places(settings.announced, settings.state)[0]
    before = read(memory)
    if args.remove:
        answer = place.remove(memory, before, args.restart)
        _tell_server(settings.state, answer)
        _show(args, answer, _removed)
        return
    plan = made(settings, json.loads(commands.call(Path(settings.state), "/status")), before)
    plan.test()
    done = {"dry_run": args.dry_run, "restarted": bool(args.restart)}
    done["changed"] = not args.dry_run and place.put(memory, plan, before, args.restart)
    _tell_server(settings.state, done)
    _show(args, {**plan.as_json(), **done}, _announced)


def _tell_server(state: str, answer: Json) -> None:
    """Have the server look at what is announced; one that has stopped need not know."""
    from acmeiot import commands

    if answer["changed"]:
        with suppress(commands.CommandError):
            commands.call(Path(state), "/announced", {})


# -- words


def _show(args: Namespace, answer: Json, human: Callable[[Json], Iterable[str]]) -> None:
    print(json.dumps(answer, indent=2) if args.json else "\n".join(human(answer)))


def _announced(answer: Json) -> Iterator[str]:
    yield f"server         {answer['fqdn']} ({answer['directory']})"
    yield f"root           sha256:{answer['root']}"
    for item in answer["items"]:
        place = f"by {item['by']}" + (f" on {item['on']}" if item["on"] else "")
        yield f"{'NOT ' * bool(item['why_not'])}{item['what']}, {place}"
        if item["why_not"] or item["note"]:
            yield f"    {item['why_not'] or item['note']}"
        if item["hex"] and not item["why_not"]:
            yield f"    {' '.join(re.findall('..', item['hex']))}"
    if any(not item["why_not"] for item in answer["items"] if item["what"] == "DNS records"):
        yield "DNS records:"
    else:
        yield "DNS records for the zone of your own name server:"
    yield from (f"    {record}" for record in answer["records"])
    if answer["dry_run"]:
        yield from _would_be(answer)
    else:
        yield from (f"{'file':14} {path}" for path in answer["files"])
        yield from _next(answer)
    yield from (f"note: {note}" for note in answer["notes"])


def _would_be(answer: Json) -> Iterator[str]:
    for path, text in answer["files"].items():
        yield f"{path} would be:"
        yield from (f"    {line}" for line in text.splitlines())
    for pool, octets in answer["pools"].items():
        yield f"dhcp.{pool}.dhcpv6_raw would get: {octets}"
    yield "nothing was changed (--dry-run)"


def _next(answer: Json) -> Iterator[str]:
    if not answer["changed"]:
        yield "nothing had to be changed"
    elif not answer["restarted"]:
        yield "changed; restart dnsmasq (a reload does not read its configuration) and odhcpd"
    else:
        yield "changed, and restarted what reads it"


def _removed(answer: Json) -> Iterator[str]:
    yield from (f"removed {path}" for path in answer["removed"])
    yield from (f"removed from dhcp.{pool}.dhcpv6_raw" for pool in answer["pools"])
    yield from (f"left {path}, which somebody changed since" for path in answer["left"])
    if not answer["changed"]:
        yield "nothing was announced"
