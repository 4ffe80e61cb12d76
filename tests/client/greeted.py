"""Hear who says hello in TLS to which address, and for which name; answer nothing.

usage: python -m tests.client.greeted PORT ADDRESS...
"""

import contextlib
import selectors
import socket
import ssl
import sys


def main(port: str, *addresses: str) -> None:
    """Print `hello ADDRESS NAME` for each ClientHello until killed."""
    with selectors.DefaultSelector() as selector:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            listener = socket.create_server((address, int(port)), family=family)
            selector.register(listener, selectors.EVENT_READ, address)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                stream, _ = key.fileobj.accept()
                greet(stream, key.data)


def greet(stream: socket.socket, address: str) -> None:
    """Print the name that one client asks for; without a certificate the handshake ends there."""

    def named(_tls: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        print(f"hello {address} {name}", flush=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sni_callback = named
    stream.settimeout(2)
    with contextlib.suppress(OSError):
        context.wrap_socket(stream, server_side=True)
    stream.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
