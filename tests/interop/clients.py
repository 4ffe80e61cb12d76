"""How a person runs each ACME client against a server of their own; nothing else is special.

Each client knows the directory's URL, the root's file and its own state directory; what it obtains
is a PEM file of the certificate with its chain.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.interop.home import NAMESERVER, UPDATE_KEY, UPDATE_SECRET, Home

_PROJECT = Path(__file__).parents[2]
CERTBOT = _PROJECT / ".venv-certbot/bin/certbot"


@dataclass(frozen=True, slots=True)
class Client:
    """What every client is told."""

    home: Home
    directory: str
    root: Path
    state: Path


def challenges(state: Path) -> Path:
    """Name the folder of http-01 answers in the web root of a client that has no server itself."""
    folder = state / "www/.well-known/acme-challenge"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Certbot(Client):
    """certbot, standalone on port 80; trusts the root through the variable of its HTTP library."""

    def obtain(self, *names: str, key: str = "secp384r1", fails: bool = False) -> str:
        """Run `certonly`; names that are addresses go to `--ip-address`. Return what it said."""
        asked = [
            word
            for name in names
            for word in ("--ip-address" if name[0].isdigit() else "--domain", name)
        ]
        return self._certbot(
            *("certonly", "--standalone", "--register-unsafely-without-email", "--agree-tos"),
            *("--elliptic-curve", key, "--cert-name", "home", *asked),
            fails=fails,
        )

    def renew(self) -> None:
        """Run `renew`, now."""
        self._certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")

    def revoke(self, *by: str | Path) -> None:
        """Run `revoke` for the certificate obtained, or as `by` says."""
        self._certbot("revoke", "--no-delete-after-revoke", *(by or ("--cert-path", self.chain)))

    @property
    def chain(self) -> Path:
        """The certificate and what its server sent with it."""
        return self.state / "live/home/fullchain.pem"

    def _certbot(self, *words: str | Path, fails: bool = False) -> str:
        return self.home.printer.run(
            *(CERTBOT, *words, "--non-interactive", "--server", self.directory),
            *("--config-dir", self.state, "--work-dir", self.state / "work"),
            *("--logs-dir", self.state / "logs"),
            env={"REQUESTS_CA_BUNDLE": str(self.root)},
            fails=fails,
        )


class Lego(Client):
    """Debian 12's lego, which names its files after the first name asked for."""

    program: ClassVar[str | Path] = "lego"

    def run(self, how: list[str], *names: str, eab: tuple[str, str] | None = None) -> Path:
        """Run `lego run`; `how` is the challenge's switches. Return the chain's file."""
        binding = ["--eab", "--kid", eab[0], "--hmac", eab[1]] if eab else []
        self._lego(*how, *binding, *self._domains(names), "run")
        return self._chain(names)

    def renew(self, how: list[str], *names: str) -> Path:
        """Run `lego renew` although the certificate is fresh; return the chain's file."""
        self._lego(*how, *self._domains(names), "renew", "--days", "1000", "--no-random-sleep")
        return self._chain(names)

    def revoke(self, *names: str) -> None:
        """Run `lego revoke`, which also asks for nothing but the account."""
        self._lego(*self._domains(names[:1]), "revoke", "--keep")

    def _domains(self, names: tuple[str, ...]) -> list[str]:
        return [word for name in names for word in ("--domains", name)]

    def _chain(self, names: tuple[str, ...]) -> Path:
        return self.state / f"certificates/{names[0]}.crt"

    def _lego(self, *words: str) -> None:
        self.home.printer.run(
            *(self.program, "--server", self.directory, "--path", self.state, "--accept-tos"),
            *("--email", "owner@router.lan", "--key-type", "ec384", *words),
            env={
                "LEGO_CA_CERTIFICATES": str(self.root),
                "RFC2136_NAMESERVER": NAMESERVER,
                "RFC2136_TSIG_ALGORITHM": "hmac-sha256.",
                "RFC2136_TSIG_KEY": UPDATE_KEY,
                "RFC2136_TSIG_SECRET": UPDATE_SECRET,
                "RFC2136_POLLING_INTERVAL": "1",
                "RFC2136_SEQUENCE_INTERVAL": "1",
            },
        )


class LaterLego(Lego):
    """A later Debian's lego; it knows what an address is."""

    program = _PROJECT / ".peers/lego/usr/bin/lego"


class Uacme(Client):
    """uacme, whose hook puts the answer under a web server, or hands it to ualpn on port 443.

    It trusts nothing but the system's bundle.
    """

    def obtain(self, how: str, *names: str, force: bool = False) -> Path:
        """Make the account if there is none, and `issue`; return the chain's file."""
        if not (self.state / "private/key.pem").exists():
            self._uacme(how, "-y", "-t", "EC", "new")
        hook = Path(__file__).with_name("uacme-hook")
        again = ["-f"] if force else []
        self._uacme(how, "-h", hook, "-t", "EC", "-b", "384", *again, "issue", *names)
        return self.state / names[0] / "cert.pem"

    def revoke(self, chain: Path) -> None:
        """Run `revoke` with the account's key."""
        self._uacme("", "revoke", chain)

    @property
    def socket(self) -> Path:
        """Where ualpn listens for the hook."""
        return self.state / "ualpn.sock"

    def _uacme(self, how: str, *words: str | Path) -> None:
        self.home.printer.run(
            *("uacme", "-v", "-c", self.state, "-a", self.directory, *words),
            env={
                "CHALLENGE": how,
                "FOLDER": str(challenges(self.state)),
                "SOCKET": str(self.socket),
            },
        )


class AcmeTiny(Client):
    """acme-tiny, which leaves the keys, the CSR and the web server to its user."""

    def obtain(self, *names: str) -> Path:
        """Make a new P-384 key and CSR with openssl and have it signed; return the chain's file."""
        account = self.state / "account.key"
        if not account.exists():
            self.home.printer.run("openssl", "genrsa", "-out", account, "2048")
        sans = ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)
        self.home.printer.run(
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"),
            *("-nodes", "-sha384", "-subj", "/", "-addext", f"subjectAltName={sans}"),
            *("-keyout", self.key, "-out", self.state / "request.pem"),
        )
        chain = self.state / "chain.pem"
        said = self.home.printer.run(
            *("sh", "-c", 'acme-tiny "$@" > "$OUT"', "acme-tiny", "--account-key", account),
            *("--csr", self.state / "request.pem", "--acme-dir", challenges(self.state)),
            *("--directory-url", self.directory),
            env={"SSL_CERT_FILE": str(self.root), "OUT": str(chain)},
        )
        assert "Certificate signed!" in said
        return chain

    @property
    def key(self) -> Path:
        """The private key of the newest request."""
        return self.state / "printer.key"
