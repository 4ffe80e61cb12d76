"""The Internet's time, from this computer's clock: NTP for a real router, and RFC 868 for the
emulated one, whose busybox has no other client.

usage: python -m tests.rig.timeserver ADDRESS
"""

from __future__ import annotations

import socketserver
import struct
import sys
import threading
import time
from typing import Final

_SINCE_1900: Final = 2208988800


class Ntp(socketserver.BaseRequestHandler):
    """Answers as a primary server whose clock is right (RFC 5905 7.3)."""

    def handle(self) -> None:
        data, socket = self.request
        now = time.time() + _SINCE_1900
        stamp = struct.pack("!II", int(now), int(now % 1 * (1 << 32)))
        # No leap second, the client's version, mode server; stratum 1, its poll, precision 2^-20.
        head = bytes((data[0] & 0x38 | 4, 1, data[2], 0xEC)) + bytes(8) + b"RIG\x00"
        socket.sendto(head + stamp + data[40:48] + stamp + stamp, self.client_address)


class Time(socketserver.BaseRequestHandler):
    """Says the seconds since 1900 to whoever connects."""

    def handle(self) -> None:
        self.request.sendall(struct.pack("!I", int(time.time()) + _SINCE_1900 & 0xFFFFFFFF))


if __name__ == "__main__":
    ntp = socketserver.UDPServer((sys.argv[1], 123), Ntp)
    threading.Thread(target=ntp.serve_forever, daemon=True).start()
    socketserver.TCPServer((sys.argv[1], 37), Time).serve_forever()
