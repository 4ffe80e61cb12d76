"""The owner's TOML file: settings, or an error that names the option."""

import io
from pathlib import Path, PosixPath

from tests.fuzz import runner

with runner.instrumented():
    from acmeiot import config
    from acmeiot.config import ConfigError


class File(PosixPath):
    """A file that is not on the disk."""

    content = b""

    def read_text(self, encoding: str | None = None, *_: object, **__: object) -> str:
        return io.TextIOWrapper(io.BytesIO(File.content), encoding).read()


def load(data: bytes) -> None:
    """Read the file."""
    File.content = data
    path: Path = File("acmeiot.toml")
    config.load(path, {})


SEEDS = (
    b'name = ["router.lan"]\ndomain = "lan"\nlisten = ["192.168.1.1:8555", "[::]:8555"]\n',
    b'approval = "auto"\npolicy = "lease"\nprofile = "compat"\nroot_key = "rsa3072"\n',
    b'threads = "8"\nmdns = 1\nname = [1]\ndomain = {}\nlisten = 8555\npolicy = []\n',
    b'root_days = "3650"\n',
    b"leaf_days = 89\nroot_days = 3650\nmdns = false\nthreads = 4 # few\n",
    b"resolver = '127.0.0.1:5353'\nleaf_days = 1_0\ncaa = []\nverbose = 1979-05-27T07:32:00Z\n",
    b'[table]\nlimits = {on = 0x1f}\nterms = """\nx"""\nhttp01_port = inf\n',
)

runner.run(load, refusals=(ConfigError,), seeds=SEEDS)
