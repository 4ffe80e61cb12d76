"""One frozen Config from defaults, a TOML file and flags, in this order of precedence.

Every error names the option, the value and what would be right.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, get_type_hints

from acmeiot.protocol import names
from acmeiot.protocol.dhcp import FREE_NUMBERS

HTTPS_PORT: Final = 8555
HTTP_PORT: Final = 8556
SOCKET: Final = "admin.sock"  # in the state directory

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "approval": ("ask", "auto"),
    "policy": ("lease", "challenge"),
    "profile": ("strict", "compat"),
    "root_key": ("p384", "p521", "rsa3072", "rsa4096"),
    "limits": ("on", "off"),
}
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "leaf_days": (1, 89),  # A-3.2.4-1
    "root_days": (365, 3652),  # A-3.2.1-4: 1 to 10 years
    "intermediate_days": (180, 3652),
    "pairing_window": (0, 86400),
    "approval_wait": (0, 300),
    "http01_port": (1, 65535),
    "tlsalpn01_port": (1, 65535),
    "threads": (1, 64),
}


class ConfigError(ValueError):
    """An option that cannot be: the text names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Config:
    """The owner's settings. Names of fields are the names of the options in the TOML file."""

    state: str = "./var"
    name: tuple[str, ...] = ()  # full names of this server, the first one in URLs
    domain: tuple[str, ...] = ("lan",)  # the local domains beside .local
    listen: tuple[str, ...] = (f"0.0.0.0:{HTTPS_PORT}", f"[::]:{HTTPS_PORT}")
    http_listen: tuple[str, ...] = (f"0.0.0.0:{HTTP_PORT}", f"[::]:{HTTP_PORT}")
    approval: str = "ask"
    policy: str = ""  # "" = lease where there are lease tables, else challenge
    profile: str = "strict"  # compat also offers strict
    resolver: tuple[str, ...] = ()  # ADDR or ADDR:PORT; asked for every name when given
    # Debian's dnsmasq. OpenWrt keeps its leases in /tmp, which only there is no place where anybody
    # may put a file first: its settings name them.
    # Patterns, too: /tmp/hosts/*
    lease_files: tuple[str, ...] = ("/var/lib/misc/dnsmasq.leases",)
    hosts_files: tuple[str, ...] = ("/etc/hosts",)
    mdns: bool = True
    leaf_days: int = 30
    root_key: str = "p384"
    root_days: int = 3650
    intermediate_days: int = 1826
    pairing_window: int = 0  # seconds that it is open after the very first start
    approval_wait: int = 30  # seconds a client is kept waiting for the owner
    require_pairing_key: bool = False
    terms: str = ""
    website: str = ""
    caa: tuple[str, ...] = ()  # CAA issuer names that mean this CA
    http01_port: int = 80
    tlsalpn01_port: int = 443
    allow_loopback: bool = False
    limits: str = "on"
    threads: int = 8
    status_file: str = ""  # in RAM, for a web page: what `status` answers; "" = none
    clock_set_file: str = ""  # there when NTP has set the clock; "" = nothing tells
    syslog: str = ""  # the system's log socket, /dev/log; "" = standard error
    verbose: bool = False
    # How the LAN is told (`acmeiot announce`); "" = found by itself.
    announced: tuple[str, ...] = ()  # files that remember it; () = announced.json of the state
    dnsmasq: bool = True
    dnsmasq_conf: str = ""  # the file that dnsmasq is started with
    dnsmasq_dir: str = ""  # where it looks for more of them
    odhcpd: bool = True
    odhcpd_pool: tuple[str, ...] = ("lan",)  # sections of OpenWrt's /etc/config/dhcp
    dhcp_interface: tuple[str, ...] = ()  # () = all that dnsmasq serves
    dhcp_class_option: bool = True  # option 60, as the draft has it
    dhcp_details: bool = False  # also path, root and port
    dhcp_number: int = 0  # of the option that IANA assigns, or one for private use
    static_directory: str = ""  # a file for the router's own web server


def load(path: Path | None, flags: Mapping[str, Any]) -> Config:
    """Return the settings of the file with the flags over them; raise ConfigError."""
    options = _read(path) if path is not None else {}
    merged = {**options, **{name: value for name, value in flags.items() if value is not None}}
    config = replace(Config(), **{name: _typed(name, value) for name, value in merged.items()})
    return _checked(config)


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        options = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"config {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # the library's own, no UTF-8, endless numbers
        raise ConfigError(f"config {path}: not TOML: {error}") from None
    known = [field.name for field in fields(Config)]
    for name in options:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"config {path}: there is no option {name!r}{hint}")
    return options


def _typed(name: str, value: Any) -> Any:
    kind = get_type_hints(Config)[name]
    if kind is bool or kind is int or kind is str:
        if type(value) is not kind:
            raise ConfigError(f"{name}: {_shown(value)} is not {_ARTICLES[kind]}")
        return value
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{name}: {_shown(value)} is not a text or a list of texts")
    return tuple(texts)


def _shown(value: Any) -> str:
    """Return the value for a message; Python will not write a number of 5000 digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number that long"
    return text if len(text) <= 80 else text[:77] + "..."


_ARTICLES: Final = {bool: "true or false", int: "a whole number", str: "a text"}


def _checked(config: Config) -> Config:
    for name, choices in _CHOICES.items():
        value = getattr(config, name)
        if value not in choices and not (name == "policy" and value == ""):
            raise ConfigError(f"{name}: {value!r} is not one of {', '.join(choices)}")
    for name, (low, high) in _RANGES.items():
        if not low <= getattr(config, name) <= high:
            raise ConfigError(f"{name}: {_shown(getattr(config, name))} is not {low} to {high}")
    if not config.state:
        raise ConfigError("state: name a directory for keys and records")
    _check_endpoints(config)
    _check_urls(config)
    _check_announcing(config)
    return replace(config, domain=_domains(config.domain), name=_names(config.name, "name"))


def _check_endpoints(config: Config) -> None:
    for name in ("listen", "http_listen"):
        if not getattr(config, name):
            raise ConfigError(f"{name}: at least one ADDRESS:PORT is needed")
        for text in getattr(config, name):
            endpoint(text, name)
    for text in config.resolver:
        endpoint(text, "resolver", 53)


def _check_urls(config: Config) -> None:
    for name in ("terms", "website"):
        text = getattr(config, name)
        if text and not text.startswith(("https://", "http://")):
            raise ConfigError(f"{name}: {text!r} is not a URL such as https://router.lan/{name}")


def _check_announcing(config: Config) -> None:
    # These become part of dnsmasq's and UCI's own configuration.
    for name, shape in (("dhcp_interface", _INTERFACE), ("odhcpd_pool", _SECTION)):
        for text in getattr(config, name):
            if not shape.fullmatch(text):
                raise ConfigError(f"{name}: {_shown(text)} is not a name such as {_SUCH[name]}")
    if config.dhcp_number and config.dhcp_number not in FREE_NUMBERS:
        raise ConfigError(
            f"dhcp_number: {_shown(config.dhcp_number)} means something else to clients; use the "
            "one that IANA assigned, or one of 224 to 254 but 249 and 252"
        )


_INTERFACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,14}")  # Linux has at most 15
_SECTION: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
_SUCH: Final = {"dhcp_interface": "br-lan", "odhcpd_pool": "lan"}


def _domains(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = [domain for domain in _names(texts, "domain") if domain != "local"]
    if not found:
        raise ConfigError("domain: name the local domain, such as lan; .local is always there")
    return tuple(found)


def _names(texts: tuple[str, ...], option: str) -> tuple[str, ...]:
    found = []
    for text in texts:
        try:
            name = names.dns(text.removeprefix("."))
        except names.BadName as error:
            raise ConfigError(f"{option}: {error}") from None
        if name.wildcard:
            raise ConfigError(f"{option}: {text!r} is a wildcard; write {name.base} alone")
        found.append(name.value)
    return tuple(dict.fromkeys(found))


def endpoint(text: str, option: str, port: int | None = None) -> tuple[str, int]:
    """Return address and port of `ADDR:PORT`, `[V6]:PORT`, or `ADDR` where a port is known."""
    host, colon, digits = text.rpartition(":")
    if not colon or text.endswith("]") or (text.count(":") > 1 and not host.startswith("[")):
        host, digits = text, "" if port is None else str(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        if not re.fullmatch("[0-9]+", digits):  # int() takes +80, 8_0 and other scripts' digits
            raise ValueError("no port")
        address, number = ipaddress.ip_address(host), int(digits)
    except ValueError:
        example = "192.168.1.1" if port else "192.168.1.1:8555 or [::]:8555"
        raise ConfigError(f"{option}: {text!r} is not ADDRESS:PORT such as {example}") from None
    if not 1 <= number <= 65535:
        raise ConfigError(f"{option}: port {number} is not 1 to 65535")
    return str(address), number
