"""Back to the beginning: certificates revoked, accounts ended, keys and names deleted (A-4.4-1)."""

from __future__ import annotations

from collections.abc import Iterator

from acmeiot.client.errors import AgentError
from acmeiot.client.tls import Root, split_pem
from acmeiot.device import leaf
from acmeiot.device.account import Account
from acmeiot.device.servers import Server
from acmeiot.device.visit import Tools


def reset(tools: Tools) -> Iterator[str]:
    """Revoke and delete everything; yield what happened at each server, for people.

    A server that cannot be reached keeps nobody from deleting the keys here: what it issued is
    worth nothing without them, and expires. Done twice, after a power cut, it goes on where it was.
    """
    for server in tools.state.servers():
        facts = server.facts()
        try:
            revoked = _leave(tools, server)
            said = f"{facts.host}: revoked {revoked}, account ended, keys deleted"
        except AgentError as error:
            said = f"{facts.host}: keys deleted; nothing could be revoked there: {error}"
        tools.state.forget(server)
        yield said
    tools.state.forget_device()


def remove_installed(tools: Tools) -> bool:
    """Delete the service's key and chain if they are this device's; tell whether they were."""
    targets = tools.settings.targets
    pairs = [pair for server in tools.state.servers() if (pair := server.current())]
    if targets is None or all(targets.found() != targets.content(pair) for pair in pairs):
        return False
    targets.remove()
    return True


def _leave(tools: Tools, server: Server) -> str:
    """Revoke what this server issued and end the account; return how many that were."""
    facts, root = server.facts(), Root.of(split_pem(server.root())[0])
    current, now = server.current(), tools.clock.now()
    living = [
        pair
        for pair in (*([current] if current else ()), *server.others())
        if now < leaf.read(pair.chain).not_after
    ]
    if not living and not facts.account:
        return "nothing"
    located = tools.around.again(facts.url, root.sha256)
    with Account(server, located, root, tools.clock) as account:
        for pair in living:
            account.revoke(pair, leaf.CESSATION)
        if facts.account:
            account.client().deactivate()
    return "1 certificate" if len(living) == 1 else f"{len(living)} certificates"
