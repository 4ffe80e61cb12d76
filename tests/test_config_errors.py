"""Config files that once ended in a traceback, and ports that once were taken."""

from pathlib import Path

import pytest

from acmeiot.config import ConfigError, endpoint, load


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("threads = " + "9" * 5000, "not TOML"),
        ("a = " + "[" * 3000, "not TOML"),
        ("threads = 0x" + "f" * 5000, "threads: a number that long is not 1 to 64"),
        ("name = 0x" + "f" * 5000, "name: a number that long is not a text"),
        (f"threads = '{'9' * 5000}'", r"threads: '9{76}\.\.\. is not a whole number"),
    ],
    ids=["digits", "depth", "hexadecimal", "no text", "long text"],
)
def test_unreasonable_values(tmp_path: Path, text: str, said: str) -> None:
    """A file that no person wrote is refused in one line, whatever Python thinks of it."""
    path = tmp_path / "acmeiot.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path, {})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("port", ["+8555", "8_555", " 8555", "８５５５", "", "-1", "0x50"])
def test_ports_are_digits(port: str) -> None:
    """int() knows more numbers than a socket address does."""
    with pytest.raises(ConfigError, match="is not ADDRESS:PORT"):
        endpoint(f"192.168.1.1:{port}", "listen")
