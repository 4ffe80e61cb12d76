"""What OpenSSL says of a certificate that a client got."""

from dataclasses import dataclass
from pathlib import Path

from tests.interop.server import Server


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate as a client has it: the leaf and the intermediates that came with it."""

    server: Server
    leaf: Path
    issuer: Path
    serial: str

    def verify(self, *names: str) -> None:
        """Verify the path to the server's root with every strictness, once for each name."""
        for name in names:
            match = "-verify_ip" if name[0].isdigit() else "-verify_hostname"
            said = self.server.home.printer.run(
                *("openssl", "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver"),
                *("-CAfile", self.server.root, "-untrusted", self.issuer, match, name, self.leaf),
            )
            assert said.endswith(": OK\n")

    def status(self) -> str:
        """Ask the server's OCSP responder: `good`, `revoked` or `unknown`."""
        said = self.server.home.printer.run(
            *("openssl", "ocsp", "-url", f"{self.server.http}/ocsp", "-CAfile", self.server.root),
            *("-issuer", self.issuer, "-cert", self.leaf),
        )
        assert "Response verify OK" in said
        return said.split(f"{self.leaf}: ")[1].split()[0]

    def listed(self) -> bool:
        """Tell whether the server's CRL names this certificate."""
        crl = self.leaf.with_suffix(".crl")
        self.server.home.printer.run("curl", "-sSf", "-o", crl, f"{self.server.http}/crl")
        text = self.server.home.printer.run(
            *("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text"),
        )
        return f"Serial Number: {self.serial}\n" in text

    def assert_good(self, *names: str) -> None:
        """Check that it verifies for each name and that nobody says that it is revoked."""
        self.verify(*names)
        assert self.status() == "good"

    def assert_revoked(self) -> None:
        """Check that both the responder and the list say that it is revoked."""
        assert self.status() == "revoked"
        assert self.listed()


def read(server: Server, chain: Path) -> Issued:
    """Take apart a PEM chain, leaf first, as `chain` is now: a renewal does not change the result.

    Raises:
        AssertionError: the chain has no issuer, so that no other client could verify the leaf.
    """
    marker = "-----END CERTIFICATE-----\n"
    blocks = [block.strip() + "\n" + marker for block in chain.read_text().split(marker)[:-1]]
    assert len(blocks) >= 2, f"{chain} has {len(blocks)} certificates"
    folder = server.root.parent / "issued"
    folder.mkdir(exist_ok=True)
    count = len(list(folder.iterdir()))
    leaf, issuer = folder / f"{count}-leaf.pem", folder / f"{count}-issuer.pem"
    leaf.write_text(blocks[0])
    issuer.write_text("".join(blocks[1:]))
    serial = server.home.printer.run("openssl", "x509", "-noout", "-serial", "-in", leaf)
    return Issued(server, leaf, issuer, serial.strip().removeprefix("serial="))
