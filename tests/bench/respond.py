"""The printer's http-01 responder for the benchmark: it knows every client's account key.

usage: python -m tests.bench.respond ADDRESS
"""

import re
import socket
import sys

from tests.bench.load import thumbprint

CLIENTS = 8
HOST = re.compile(rb"\r\nhost: d(\d+)-", re.IGNORECASE)


def main() -> None:
    """Answer for ever, one connection after the other: each is one short request."""
    ends = {client: f".{thumbprint(client)}".encode() for client in range(CLIENTS)}
    with socket.create_server((sys.argv[1], 80), backlog=128) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                request = connection.recv(4096)
                token = request.split(b" ")[1].rsplit(b"/", 1)[-1]
                client = HOST.search(request)
                body = token + ends[int(client[1])] if client else b"who?"
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                connection.sendall(head.encode() + body)


if __name__ == "__main__":
    main()
