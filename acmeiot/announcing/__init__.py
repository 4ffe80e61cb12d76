"""How the LAN is told of this server: the command `announce`."""

from acmeiot.announcing.command import add_parser

__all__ = ["add_parser"]
