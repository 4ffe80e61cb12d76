"""The shape of the package: who imports whom, where libraries live, how long things are.

The arrows are `protocol <- core <- {ca, store, validate} <- web <- cli` and
`protocol <- lan <- client <- {device, trust} <- cli`; `lan` also feeds `validate`. Adapters see
core through its ports and records only.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "acmeiot"

PORTS = ("core.ports", "core.records")
# What each room may import; its own modules and the package's own constants are always allowed.
ARROWS: dict[str, tuple[str, ...]] = {
    "protocol": (),
    "core": ("protocol",),
    "durable": (),
    "ca": (*PORTS, "protocol", "durable"),
    "store": (*PORTS, "protocol", "durable"),
    "lan": (*PORTS, "protocol"),
    "validate": (*PORTS, "protocol", "lan"),
    "web": ("protocol", "core", "ca", "store", "validate"),
    "client": ("protocol", "lan", "durable"),
    "device": ("protocol", "lan", "client", "durable"),
    "trust": ("protocol", "lan", "client", "durable"),
    "clock": (*PORTS, "protocol"),
    "events": (*PORTS, "protocol"),
    "config": ("protocol",),
    "hints": (),
    "memory": (),
    "statusfile": ("protocol", "events"),
    "runner": (*PORTS, "protocol"),
    "identity": ("protocol", "lan", "config"),
    # Joins the rooms of the server's row, which the daemon then runs as one process.
    "wiring": (
        "protocol", "core", "ca", "lan", "validate", "web", "config", "identity", "runner",
    ),
    "daemon": (
        *PORTS, "protocol", "durable", "ca", "store", "lan", "web", "clock", "events", "config",
        "hints", "identity", "runner", "statusfile", "wiring",
    ),
    # Speaks with a running server from outside it; `restore` puts a backup in place of one.
    "commands": (*PORTS, "protocol", "store", "web", "config", "durable"),
    # The same, and they know how the LAN is told of it, how clients are.
    "announcing": ("protocol", "lan", "client", "config", "commands", "durable"),
    "recipes": ("protocol", "client", "config", "commands", "durable"),
    # Alone joins the two rows.
    "cli": (
        "protocol", "core", "ca", "store", "lan", "validate", "web", "client", "device", "trust",
        "clock", "events", "config", "daemon", "commands", "identity", "memory", "runner", "wiring",
        "announcing", "recipes",
    ),
    "__main__": ("cli",),
    "__init__": (),
}  # fmt: skip

# The only homes of a library.
HOMES: dict[str, tuple[str, ...]] = {
    "bottle": ("web",),
    "waitress": ("web",),
    "dns": ("lan",),
    "pyroute2": ("lan.neighbours", "lan.router"),
    "scapy": ("client.probe",),
    "sqlite3": ("store",),
}

MODULE_LINES = 400
FUNCTION_LINES = 40
BANNED_NAMES = ("helper", "helpers", "manager", "managers", "util", "utils")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One source file, by its dotted name inside the package (`core.orders`; `core` itself)."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder directly under the package, or the module itself when it lies there."""
        return self.name.split(".")[0]


@dataclass(frozen=True, slots=True)
class Import:
    """One imported dotted name and the line it stands on."""

    line: int
    target: str


def modules(package: Path) -> dict[str, Module]:
    """Parse every Python file under `package`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts[-1] == "__init__" and len(parts) > 1:
            parts = parts[:-1]
        name = ".".join(parts)
        found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


def imports(module: Module, package: str) -> Iterator[Import]:
    """Yield what `module` imports, at top or in a function, relative or not, by absolute name."""
    base = [package, *module.name.split(".")]
    if module.path.name == "__init__.py":
        base = base[:-1] if module.name == "__init__" else base
    else:
        base = base[:-1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) - node.level + 1] if node.level else []
            stem = ".".join([*start, *([node.module] if node.module else [])])
            yield from (Import(node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def inside(name: str, area: str) -> bool:
    """Tell whether dotted `name` is `area` or lies in it."""
    return name == area or name.startswith(area + ".")


def internal(found: dict[str, Module], package: str, target: str) -> str | None:
    """Name the module of this package that `target` (a module or a name in one) belongs to."""
    if not inside(target, package):
        return None
    parts = target.split(".")[1:]
    while parts and ".".join(parts) not in found:
        parts.pop()
    return ".".join(parts) or "__init__"


def wrong_arrows(package: Path) -> list[str]:
    """List every import between rooms that `ARROWS` does not allow."""
    found, complaints = modules(package), []
    for module in found.values():
        allowed = ARROWS.get(module.room)
        if allowed is None:
            complaints.append(f"{module.path}: {module.room} is no room of this house")
            continue
        for step in imports(module, package.name):
            target = internal(found, package.name, step.target)
            if target is None or target == "__init__" or inside(target, module.room):
                continue
            if not any(inside(target, area) for area in allowed):
                complaints.append(
                    f"{module.path}:{step.line}: {module.room} may not import {step.target};"
                    f" allowed: {', '.join(allowed) or 'nothing'}"
                )
    return complaints


def cycles(package: Path) -> list[str]:
    """List every chain of modules that imports itself."""
    found = modules(package)
    graph = {
        name: {
            target
            for step in imports(module, package.name)
            if (target := internal(found, package.name, step.target)) not in (None, name)
            and target is not None
        }
        for name, module in found.items()
    }
    complaints: list[str] = []
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            complaints.append(
                "imports in a circle: " + " -> ".join((*trail[trail.index(name) :], name))
            )
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return complaints


def strays(package: Path) -> list[str]:
    """List every import of a library outside its home."""
    complaints = []
    for module in modules(package).values():
        for step in imports(module, package.name):
            homes = HOMES.get(step.target.split(".")[0])
            if homes and not any(inside(module.name, home) for home in homes):
                complaints.append(
                    f"{module.path}:{step.line}: {step.target.split('.')[0]} lives in"
                    f" {', '.join(homes)} only"
                )
    return complaints


def oversized(package: Path) -> list[str]:
    """List modules and functions beyond their ceilings."""
    complaints = []
    for module in modules(package).values():
        lines = len(module.path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            complaints.append(f"{module.path}: {lines} lines, at most {MODULE_LINES}")
        for function in functions(module):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES:
                complaints.append(
                    f"{module.path}:{function.lineno}: {function.name} has {lines} lines,"
                    f" at most {FUNCTION_LINES}"
                )
    return complaints


def misnamed(package: Path) -> list[str]:
    """List files and folders whose name says nothing."""
    return [
        f"{path}: name it after what it does"
        for path in sorted(package.rglob("*"))
        if path.stem.strip("_") in BANNED_NAMES
    ]


def functions(module: Module) -> Iterator[Function]:
    """Yield every function and method of `module`."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node


def unannotated(package: Path) -> list[str]:
    """List every function with a parameter or result that has no type (self and cls excepted)."""
    complaints = []
    for module in modules(package).values():
        for function in functions(module):
            spec = function.args
            every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
            every += [star for star in (spec.vararg, spec.kwarg) if star]
            bare = [a.arg for a in every if a.annotation is None and a.arg not in ("self", "cls")]
            if function.returns is None:
                bare.append("return")
            if bare:
                complaints.append(
                    f"{module.path}:{function.lineno}: {function.name} has no type for"
                    f" {', '.join(bare)}"
                )
    return complaints


CHECKS = [wrong_arrows, cycles, strays, oversized, misnamed, unannotated]


@pytest.mark.parametrize("check", CHECKS)
def test_package(check: Callable[[Path], list[str]]) -> None:
    """The package itself keeps every rule."""
    assert "\n".join(check(PACKAGE)) == ""


def tree(base: Path, files: dict[str, str]) -> Path:
    """Write a small package named `acmeiot` for the checks to look at."""
    package = base / "acmeiot"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("protocol/jose.py", "import acmeiot.core.orders"),
        ("protocol/jose.py", "from acmeiot import core"),
        ("protocol/jose.py", "from ..core import orders"),
        ("protocol/__init__.py", "from ..core.orders import x"),
        ("protocol/jose.py", "def f() -> None:\n    from acmeiot.core import orders"),
        ("protocol/jose.py", "if TYPE_CHECKING:\n    from acmeiot.core.orders import x"),
        ("core/policy.py", "from acmeiot.lan import resolve"),
        ("ca/issue.py", "from acmeiot.core import orders"),
        ("ca/issue.py", "from acmeiot import core"),
        ("store/sqlite.py", "from acmeiot.ca import issue"),
        ("lan/resolve.py", "from acmeiot.validate import http01"),
        ("client/session.py", "from acmeiot.core import ports"),
        ("device/agent.py", "from acmeiot.trust import agent"),
        ("web/acme.py", "import acmeiot.cli"),
        ("web/acme.py", "from acmeiot.lan import resolve"),
        ("web/acme.py", "from acmeiot import config"),
        ("config.py", "from acmeiot.core import ports"),
        ("tools/x.py", ""),
    ],
)
def test_wrong_arrow_is_seen(tmp_path: Path, where: str, line: str) -> None:
    rooms = {
        f"{name}.py": ""
        for name in (
            "core/__init__", "core/orders", "core/ports", "lan/__init__", "lan/resolve",
            "ca/__init__", "ca/issue", "validate/http01", "trust/agent", "cli", "config",
        )
    }  # fmt: skip
    package = tree(tmp_path, {**rooms, where: line})
    (complaint,) = wrong_arrows(package)
    assert str(package / where) in complaint


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("core/orders.py", "from acmeiot.protocol import jose\nfrom . import ports\nimport json"),
        ("ca/issue.py", "from acmeiot.core.ports import Issuer\nfrom ..core import records"),
        ("ca/issue.py", "from acmeiot import RELEASED"),
        ("validate/dns01.py", "from acmeiot.lan.resolve import Resolver"),
        ("web/acme.py", "from acmeiot.core import orders"),
        ("cli.py", "from acmeiot.web import acme\nfrom acmeiot import config\nimport acmeiot"),
        ("__main__.py", "from acmeiot.cli import main"),
        ("ca/other.py", "import acmeiotx.cli, corex"),
    ],
)
def test_right_arrow_passes(tmp_path: Path, where: str, line: str) -> None:
    rooms = {
        f"{name}.py": ""
        for name in (
            "protocol/__init__", "protocol/jose", "core/__init__", "core/orders", "core/ports",
            "core/records", "lan/__init__", "lan/resolve", "web/__init__", "web/acme", "config",
            "cli",
        )
    }  # fmt: skip
    package = tree(tmp_path, {**rooms, where: line})
    assert wrong_arrows(package) == []
    assert cycles(package) == []


def test_cycle_is_seen(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        {
            "core/a.py": "from acmeiot.core import b",
            "core/b.py": "from .c import x",
            "core/c.py": "def f() -> None:\n    import acmeiot.core.a",
            "core/d.py": "from acmeiot.core import a",
        },
    )
    assert cycles(package) == ["imports in a circle: core.a -> core.b -> core.c -> core.a"]


@pytest.mark.parametrize(
    ("where", "line", "home"),
    [
        ("core/x.py", "import bottle", "web"),
        ("cli.py", "from waitress import serve", "web"),
        ("validate/dns01.py", "import dns.resolver", "lan"),
        ("lan/resolve.py", "import pyroute2", "lan.neighbours, lan.router"),
        ("client/session.py", "def f() -> None:\n    from scapy.all import sr", "client.probe"),
        ("core/x.py", "import sqlite3", "store"),
    ],
)
def test_library_away_from_home_is_seen(tmp_path: Path, where: str, line: str, home: str) -> None:
    (complaint,) = strays(tree(tmp_path, {where: line}))
    assert complaint.endswith(f"lives in {home} only")


def test_library_at_home_passes(tmp_path: Path) -> None:
    package = tree(
        tmp_path,
        {
            "web/__init__.py": "import bottle",
            "lan/neighbours.py": "import pyroute2",
            "lan/resolve.py": "import dns.message",
            "store/sqlite.py": "import sqlite3",
        },
    )
    assert strays(package) == []


def test_size_is_seen(tmp_path: Path) -> None:
    body = "    x = 1\n"
    package = tree(
        tmp_path,
        {
            "core/long.py": "x = 1\n" * (MODULE_LINES + 1),
            "core/full.py": "x = 1\n" * MODULE_LINES,
            "core/deep.py": "def f() -> None:\n" + body * FUNCTION_LINES,
            "core/edge.py": "async def f() -> None:\n" + body * (FUNCTION_LINES - 1),
        },
    )
    seen = oversized(package)
    assert [Path(line.split(":")[0]).name for line in seen] == ["deep.py", "long.py"]


def test_empty_names_are_seen(tmp_path: Path) -> None:
    package = tree(tmp_path, {"core/utils.py": "", "helpers/x.py": "", "core/order_manager.py": ""})
    assert len(misnamed(package)) == 2


@pytest.mark.parametrize(
    ("code", "bare"),
    [
        ("def f(a: int): ...", "return"),
        ("def f(a) -> int: ...", "a"),
        ("def f(*a, b, **c) -> int: ...", "b, a, c"),
        ("class C:\n    def f(self, x) -> int: ...", "x"),
        ("def f() -> int:\n    async def g(): ...", "return"),
    ],
)
def test_missing_type_is_seen(tmp_path: Path, code: str, bare: str) -> None:
    (complaint,) = unannotated(tree(tmp_path, {"core/x.py": code}))
    assert complaint.endswith(f"no type for {bare}")
