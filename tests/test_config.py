"""Defaults, file and flags; what they must not be stands in test_cli.py, as a person meets it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from acmeiot.config import Config, ConfigError, endpoint, load


def test_defaults_are_a_home() -> None:
    """Design decisions 3 to 6."""
    config = load(None, {})
    assert config == Config()
    assert (config.domain, config.approval, config.profile) == (("lan",), "ask", "strict")
    assert config.listen == ("0.0.0.0:8555", "[::]:8555")
    assert config.http_listen == ("0.0.0.0:8556", "[::]:8556")
    assert (config.leaf_days, config.root_key, config.limits) == (30, "p384", "on")
    assert (config.allow_loopback, config.resolver, config.policy) == (False, (), "")


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = tmp_path / "acmeiot.toml"
    path.write_text("approval = 'auto'\nleaf_days = 10\nname = 'router.lan'\n")
    config = load(path, {"leaf_days": None, "approval": "ask", "domain": ["lan", "internal"]})
    assert (config.approval, config.leaf_days, config.name) == ("ask", 10, ("router.lan",))
    assert config.domain == ("lan", "internal")


def test_names_are_canonical() -> None:
    config = load(None, {"name": ["Router.LAN.", "router.lan"], "domain": [".LAN", "local", "lan"]})
    assert (config.name, config.domain) == (("router.lan",), ("lan",))


def test_every_option_can_stand_in_a_file(tmp_path: Path) -> None:
    """What `Config` has is what a file may say: no option is forgotten."""
    path = tmp_path / "acmeiot.toml"
    for field in fields(Config):
        value = getattr(Config(), field.name)
        shown = json.dumps(value)  # which TOML takes too, for such values
        path.write_text(f"{field.name} = {shown}\n")
        assert load(path, {}) == Config()


def test_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().state = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "port", "found"),
    [
        ("192.168.1.1:8555", None, ("192.168.1.1", 8555)),
        ("[fd00::1]:8555", None, ("fd00::1", 8555)),
        ("[FD00:0::1]:1", None, ("fd00::1", 1)),
        ("[::]:65535", None, ("::", 65535)),
        ("192.168.1.1", 53, ("192.168.1.1", 53)),
        ("192.168.1.1:5353", 53, ("192.168.1.1", 5353)),
        ("fd00::1", 53, ("fd00::1", 53)),
        ("[fd00::1]", 53, ("fd00::1", 53)),
        ("[fd00::1]:5353", 53, ("fd00::1", 5353)),
    ],
)
def test_endpoint(text: str, port: int | None, found: tuple[str, int]) -> None:
    assert endpoint(text, "listen", port) == found


@pytest.mark.parametrize(
    "text",
    ["", ":", ":8555", "[]:8555", "fd00::1:8555:", "1.2.3:8555", "[1.2.3.4:8555", "::1", "x:1"],
)
def test_endpoint_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"listen: .* is not ADDRESS:PORT such as 192\.168\.1\.1"):
        endpoint(text, "listen")


def test_no_lease_file_by_default_where_anybody_may_put_one() -> None:
    """Whoever writes the tables decides whose a name is; /tmp is the owner's on OpenWrt only."""
    for text in Config().lease_files:
        assert Path(text).parts[1] != "tmp"
