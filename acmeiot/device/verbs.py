"""The commands of `acmeiot device`: options in, agent out, and one line when it fails."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from acmeiot.client import tls
from acmeiot.client.clock import SystemClock
from acmeiot.client.command import search_of
from acmeiot.client.errors import AgentError, UsageError
from acmeiot.client.network import Watch
from acmeiot.client.sightings import NETWORKD
from acmeiot.device import agent as agents
from acmeiot.device import naming, requests, settings, status
from acmeiot.device import state as states
from acmeiot.device.agent import Agent
from acmeiot.device.install import Installer, Proof, Targets
from acmeiot.device.reload import reloader
from acmeiot.device.requests import Request
from acmeiot.device.responders import Http01, Responder, TlsAlpn01, Webroot
from acmeiot.device.settings import Settings
from acmeiot.device.state import State
from acmeiot.device.surroundings import Lan
from acmeiot.device.visit import Tools

CONFIG: Final = Path("/etc/acmeiot/device.toml")  # read if it is there
_NO_OPTIONS: Final = ("run", "verb", "label", "leave", "json", "verbose", "config")
_PATHS: Final = ("state", "key", "cert", "webroot", "eab_hmac_file", "pair_file", "sightings")
_PATIENCE: Final = 180.0  # seconds for a running agent to do what it is asked
_HTTPS: Final = 443


def run(args: argparse.Namespace) -> int:
    """Run one of the commands; raise AgentError with its reason."""
    try:
        return _run(args)
    except BrokenPipeError:
        raise  # whoever read has gone: no failure of the agent's
    except OSError as error:
        raise AgentError(agents.reason(error)) from error


def _run(args: argparse.Namespace) -> int:
    if args.verb == "status":
        return _status(args)
    logging.basicConfig(
        level=logging.WARNING,
        handlers=[logging.StreamHandler(sys.stderr)],
        format="acmeiot %(levelname)s %(message)s",
    )
    logging.getLogger("acmeiot").setLevel(logging.DEBUG if args.verbose else logging.INFO)
    options = options_of(args)
    wanted = settings_of(options)
    if args.verb in ("rename", "reset"):
        return _rename(args, wanted) if args.verb == "rename" else _reset(args, wanted)
    with states.opened(wanted.state) as state:
        settings.remember(state.folder, options)
        agent = Agent(tools_of(state, wanted))
        return _keep(agent) if args.verb == "run" else _round(agent)


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that flags and file mean; `state` is always among them.

    What is asked of this device later counts on the options that it was last started with.
    """
    given = {name: value for name, value in vars(args).items() if name not in _NO_OPTIONS}
    options = settings.load(_config(args), given)
    options["state"] = str(options["state"] or settings.default_state())
    if args.verb in ("rename", "reset"):
        last = settings.remembered(Path(options["state"]))
        options = {**options, **last, **settings.given(options)}
    return options


def settings_of(options: dict[str, Any]) -> Settings:
    """Return the settings that options mean; raise UsageError for what cannot be."""
    options = dict(options)
    for name in _PATHS:
        options[name] = Path(options[name]) if options[name] else None
    directory, eab, expected = options["directory"], None, None
    pair = settings.line(options["pair_file"]) if options["pair_file"] else options["pair"]
    if pair:
        directory, eab, expected = settings.pairing(pair)
    if options["expect"]:
        expected = settings.digest(options["expect"], "--expect")
    if bool(options["eab_kid"]) != bool(options["eab_hmac_file"]):
        raise UsageError("--eab-kid and --eab-hmac-file go together")
    if options["eab_kid"]:
        eab = (options["eab_kid"], settings.secret(options["eab_hmac_file"]))
    challenge = options["challenge"] or "http-01"
    if challenge not in ("http-01", "tls-alpn-01"):
        raise UsageError(f"--challenge is http-01 or tls-alpn-01, not {challenge!a}")
    return Settings(
        state=options["state"],
        search=search_of(argparse.Namespace(**options)),
        name=naming.checked_label(options["name"]) if options["name"] else "",
        domains=tuple(options["domain"]),
        addresses=bool(options["ip"]),
        challenge="tls-alpn-01" if challenge == "tls-alpn-01" else "http-01",
        http01_port=settings.port(options["http01_port"] or 80, "--http01-port"),
        tlsalpn01_port=settings.port(options["tlsalpn01_port"] or 443, "--tlsalpn01-port"),
        webroot=options["webroot"],
        targets=_targets(options),
        reload=options["reload"],
        verify=settings.place(str(options["verify"])) if options["verify"] else None,
        expected=expected,
        eab=eab,
        directory=directory,
        keep_key=bool(options["keep_key"]),
    )


def _targets(options: dict[str, Any]) -> Targets | None:
    key, cert = options["key"], options["cert"]
    if bool(key) != bool(cert):
        raise UsageError("--key and --cert go together; equal paths mean one file for both")
    if key is None:
        for name in ("reload", "verify", "owner", "mode"):
            if options[name]:
                raise UsageError(f"--{name} is about installed files: give --key and --cert, too")
        return None
    owner, group = settings.owner(options["owner"]) if options["owner"] else (-1, -1)
    mode = settings.mode(str(options["mode"])) if options["mode"] else 0o600
    return Targets(key.absolute(), cert.absolute(), owner, group, mode)


def tools_of(state: State, wanted: Settings) -> Tools:
    """Return what the agent works with on this machine."""
    reload = reloader(wanted.reload) if wanted.reload else None

    def responder(addresses: Sequence[str]) -> Responder:
        if wanted.webroot is not None:
            return Webroot(wanted.webroot)
        if wanted.challenge == "tls-alpn-01":
            return TlsAlpn01(addresses, wanted.tlsalpn01_port)
        return Http01(addresses, wanted.http01_port)

    def installer(addresses: Sequence[str]) -> Installer:
        return Installer(wanted.targets, reload, _proof(wanted, addresses))

    lan = Lan(wanted.search, wanted.directory)
    clock = SystemClock()
    return Tools(state, wanted, lan, clock, random.SystemRandom(), responder, installer)


def _proof(wanted: Settings, addresses: Sequence[str]) -> Proof | None:
    """Return how the service is looked at: where it was named, or at port 443 after a reload."""
    if wanted.verify is not None:
        address, port = wanted.verify
        own = address or (addresses[0] if addresses else "127.0.0.1")
        return Proof(own, port, asked=True, presented=tls.presented_chain)
    if wanted.reload and addresses:
        return Proof(addresses[0], _HTTPS, asked=False, presented=tls.presented_chain)
    return None


# -- the commands


def _keep(agent: Agent) -> int:
    sources = (agent.tools.settings.search.sightings, NETWORKD)
    with Watch(*sources) as watch:
        signal.set_wakeup_fd(watch.wakeup_fd(), warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, lambda *_: None)  # its byte in the descriptor is enough
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        agents.run(agent, watch)
    return 0


def _stop(_number: int, _frame: object) -> NoReturn:
    """End at once, wherever it is: the state is whole at every moment."""
    raise SystemExit(0)


def _round(agent: Agent) -> int:
    outcomes = agent.round()
    if not outcomes:
        raise AgentError("this device is on no network with a private address")
    for line in status.lines(_document(agent.tools.state)):
        print(line)
    failures = agents.failures(outcomes)
    if failures:
        raise AgentError(failures)
    return 0


def _rename(args: argparse.Namespace, wanted: Settings) -> int:
    return _ask(wanted, Request(label=naming.checked_label(args.label)))


def _reset(args: argparse.Namespace, wanted: Settings) -> int:
    # Where no agent runs nothing begins anew until one is started.
    leave = args.leave or states.agent_pid(wanted.state) is None
    return _ask(wanted, Request(reset=True, leave=leave))


def _ask(wanted: Settings, request: Request) -> int:
    """Have the running agent do it, or do it here if none runs."""
    pid = states.agent_pid(wanted.state)
    if pid is not None:
        requests.ask(wanted.state, request, wanted.state.stat().st_uid)
        return _wait_for(wanted.state, pid)
    with states.opened(wanted.state) as state:
        requests.ask(state.folder, request)
        agent = Agent(tools_of(state, wanted))
        if request.reset:
            agent.obey()
            return 0
        return _round(agent)


def _wait_for(folder: Path, pid: int) -> int:
    """Wake the agent that runs, and wait until it has written how it went."""
    before = _stamp(folder)
    os.kill(pid, signal.SIGHUP)
    ends = time.monotonic() + _PATIENCE
    while requests.asked(folder) is not None or _stamp(folder) in (0, before):
        if time.monotonic() > ends:
            raise AgentError(
                f"the agent, process {pid}, is at it for {_PATIENCE:.0f} s now; "
                "see acmeiot device status"
            )
        time.sleep(0.1)
    document = _document(State(folder))
    for line in status.lines(document):
        print(line)
    bad = [n for n in document["networks"] if n["state"] not in (status.GOOD, status.PUBLIC)]
    if bad:
        raise AgentError("; ".join(f"{one['text']}: {one['said']}" for one in bad))
    return 0


def _stamp(folder: Path) -> int:
    """Return when the status was written, 0 if never."""
    try:
        return (folder / status.FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _status(args: argparse.Namespace) -> int:
    options = settings.load(_config(args), {"state": args.state}, strict=False)
    folder = Path(options["state"] or settings.default_state())
    if not folder.is_dir():
        raise AgentError(f"there is no device agent's state in {folder}; name it with --state")
    document = _document(State(folder))
    print(json.dumps(document, indent=2) if args.json else "\n".join(status.lines(document)))
    return 0


def _config(args: argparse.Namespace) -> Path | None:
    given: Path | None = args.config
    return given or (CONFIG if CONFIG.exists() else None)


def _document(state: State) -> dict[str, Any]:
    pid = states.agent_pid(state.folder)
    label, known = state.device().label, state.memberships()
    return status.document(state.folder, label, None if pid == os.getpid() else pid, known)
