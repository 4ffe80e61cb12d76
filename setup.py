"""Package acmeiot; the version stands in acmeiot/__init__.py and nowhere else."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"


def version() -> str:
    """Read `__version__` without importing the package, whose libraries may not be there yet."""
    text = (HERE / "acmeiot" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise ValueError('acmeiot/__init__.py has no line __version__ = "..."')
    return found.group(1)


setup(
    name="acmeiot",
    version=version(),
    description="A local ACME certificate authority for homes",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["acmeiot", "acmeiot.*"]),
    package_data={"acmeiot": ["py.typed", "**/*.html", "**/*.css", "**/*.sql", "recipes/*.sh"]},
    entry_points={"console_scripts": ["acmeiot = acmeiot.cli:main"]},
    install_requires=[
        "cryptography>=41.0.7",
        "bottle>=0.12.25",
        "waitress>=3",
        "dnspython>=2.4.1",
        "segno>=1.6",
    ],
    extras_require={
        "agents": ["pyroute2>=0.7.9"],
        "probe": ["scapy>=2.5"],
        "test": [
            "pytest>=9",
            "pytest-cov>=5",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "acme>=2.11",
            "josepy>=1.14",
        ],
        "check": ["mypy>=1.11", "ruff>=0.6"],
        "fuzz": ['atheris>=2.3; python_version < "3.14"'],
    },
)
