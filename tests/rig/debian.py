"""Debian's packages of any architecture and release, downloaded by an apt of their own.

Nothing is installed on this computer, and its own apt knows nothing of it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

HERE_IS: Final = "bookworm"


class Apt:
    """An apt that knows no installed package and one architecture, below a folder."""

    def __init__(self, arch: str, release: str, work: Path) -> None:
        state, cache = work / "state", work / "cache"
        for folder in (state / "lists/partial", cache / "archives/partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        lines = [
            f'APT::Architecture "{arch}"', f'APT::Architectures {{ "{arch}"; }}',
            f'Dir::State "{state}"', f'Dir::State::status "{state}/status"',
            f'Dir::Cache "{cache}"', 'APT::Sandbox::User "root"', 'Acquire::Languages "none"',
            'APT::Install-Recommends "0"',
        ]  # fmt: skip
        if release != HERE_IS:
            (work / "sources.list").write_text(f"deb {_mirror()} {release} main\n")
            lines += [
                f'Dir::Etc::SourceList "{work}/sources.list"',
                'Dir::Etc::SourceParts "/dev/null"',
            ]
        (work / "apt.conf").write_text("".join(f"{line};\n" for line in lines))
        self._archives = cache / "archives"
        self._environ = {**os.environ, "APT_CONFIG": str(work / "apt.conf")}
        run("apt-get", "update", "-qq", env=self._environ)

    def fetch(self, kernel: str, *packages: str) -> list[Path]:
        """Return the files of packages, of what they depend on, and of a kernel alone.

        `kernel` is a package that depends on the newest one.
        """
        download = ("apt-get", "install", "-y", "-qq", "--download-only")
        run(*download, *packages, env=self._environ)
        # Of what it depends on nothing is needed to boot.
        newest = self._newest(kernel)
        run("apt-get", "download", "-qq", newest, env=self._environ, cwd=self._archives)
        return sorted(self._archives.glob("*.deb"))

    def _newest(self, kernel: str) -> str:
        said = output("apt-cache", "depends", kernel, env=self._environ)
        lines = [line.strip() for line in said.splitlines()]
        return next(line.split()[1] for line in lines if line.startswith("Depends: linux-"))


def _mirror() -> str:
    """Return where this system has its own Debian from."""
    said = output("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)")
    lines = [line.split() for line in said.splitlines()]
    found = [line[2] for line in lines if line[:2] == ["Debian", HERE_IS]]
    assert found, f"apt knows no mirror of Debian's {HERE_IS}"
    return found[0]


def run(*argv: str | Path, **how: object) -> None:
    """Run a program to its end, which must be a good one."""
    done = subprocess.run(  # type: ignore[call-overload]
        [*map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **how
    )
    command = " ".join(map(str, argv))
    assert done.returncode == 0, f"{command}\n{done.stdout.decode(errors='replace')[-4000:]}"


def output(*argv: str | Path, **how: object) -> str:
    """Return what a program prints."""
    return str(
        subprocess.run(  # type: ignore[call-overload]
            [*map(str, argv)], check=True, stdout=subprocess.PIPE, text=True, **how
        ).stdout
    )
