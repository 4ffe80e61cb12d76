"""What a printer has: a page over HTTPS, with the certificate that lies in its files now.

usage: python -m tests.home.service KEY CHAIN [PORT]
"""

import socket
import socketserver
import ssl
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

PAGE = "<html><head><title>printer</title></head><body><p>the printer's own page</p></body></html>"


class Page(BaseHTTPRequestHandler):
    """Answer everything with the page."""

    def do_GET(self) -> None:
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Service(socketserver.ThreadingTCPServer):
    """Takes key and chain anew for every connection, so that a renewal is served at once."""

    address_family = socket.AF_INET6  # and IPv4 with it
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, key: Path, chain: Path, port: int) -> None:
        super().__init__(("::", port), Page)
        self._key, self._chain = key, chain

    def finish_request(self, request: Any, client_address: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._chain, self._key)
        with context.wrap_socket(request, server_side=True) as stream:
            Page(stream, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        print(f"{client_address[0]}: {sys.exc_info()[1]}", flush=True)


if __name__ == "__main__":
    files = (Path(sys.argv[1]), Path(sys.argv[2]))
    Service(*files, int(sys.argv[3]) if len(sys.argv) > 3 else 443).serve_forever()
