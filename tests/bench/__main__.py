"""Whole issuances against this server, Caddy's `acme_server` and Pebble, in one run, side by side.

Rounds alternate between the servers so that a noisy neighbour hits all of them; medians of the
rounds are printed. usage: python -m tests.bench [--rounds N] [--count N] [--only NAME]...
[--python PATH], the interpreter that runs acmeiot, with its libraries.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.servers import SERVERS, Running, Start, acmeiot, interpreter
from tests.interop.home import PRINTER, Home
from tests.interop.home import home as make_home

FIELDS = ("per_second", "p50_ms", "p99_ms", "cpu_ms", "requests")


@dataclass(frozen=True, slots=True)
class Round:
    """The figures of one round: `count` issuances by `clients` at once."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    requests: float


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=80, help="issuances in a round")
    parser.add_argument("--only", action="append", choices=sorted(SERVERS))
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="acmeiot-bench-") as folder:
        work = Path(folder)
        print(f"{args.rounds} rounds of {args.count} issuances, P-384 keys, http-01")
        print(f"acmeiot by {interpreter(args.python)}")
        with make_home(work) as home, ExitStack() as end:
            _measure(home, work, end, args)


def _measure(home: Home, work: Path, end: ExitStack, args: argparse.Namespace) -> None:
    every: dict[str, Start] = {**SERVERS, "acmeiot": partial(acmeiot, python=args.python)}
    wanted = {name: every[name] for name in args.only or every}
    starts = {name: _cold_starts(home, work, one, args.rounds) for name, one in wanted.items()}
    running = [one(home, work, end) for one in wanted.values()]
    responder = ["-m", "tests.bench.respond", PRINTER]
    home.printer.start(sys.executable, *responder, log=work / "respond.log")
    home.printer.wait_for(f"curl -s -o /dev/null http://{PRINTER}/x")
    rounds: dict[tuple[str, int], list[Round]] = defaultdict(list)
    first = 0
    for number in range(-1, args.rounds):  # one to warm up
        for clients in (1, 8):
            for server in running:
                figures = _round(home, work, server, first, args.count, clients)
                first += args.count
                if number >= 0:
                    rounds[server.name, clients].append(figures)
    _print(running, rounds)
    for name, seconds in starts.items():
        print(f"{name}: {statistics.median(seconds):.2f} s from start to ready, state present")


def _cold_starts(home: Home, work: Path, start: Start, times: int) -> list[float]:
    """Start and stop the server; the first start makes its state and does not count."""
    seconds = []
    for _ in range(times + 1):
        with ExitStack() as once:
            seconds.append(start(home, work, once).cold_start)
    return seconds[1:]


def _round(home: Home, work: Path, server: Running, first: int, count: int, clients: int) -> Round:
    share = count // clients
    log = work / "load.log"
    with ExitStack() as end:
        workers = []
        for number in range(clients):
            names = (str(number), str(first + number * share), str(share))
            program: list[str | Path] = [
                sys.executable,
                "-m",
                "tests.bench.load",
                server.directory,
                server.root,
            ]
            pipe = subprocess.PIPE
            serving = home.printer.serving(*program, *names, log=log, stdout=pipe, stdin=pipe)
            workers.append(end.enter_context(serving))
        for worker in workers:
            assert _line(worker, log) == b"ready\n"
        cpu, began = server.cpu_seconds(), time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        answers = [json.loads(_line(worker, log)) for worker in workers]
        took, cpu = time.perf_counter() - began, server.cpu_seconds() - cpu
    seconds = sorted(s for answer in answers for s in answer["seconds"])
    return Round(
        per_second=len(seconds) / took,
        p50_ms=1000 * statistics.median(seconds),
        p99_ms=1000 * seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))],
        cpu_ms=1000 * cpu / len(seconds),
        requests=sum(answer["requests"] for answer in answers) / len(seconds),
    )


def _line(worker: subprocess.Popen[bytes], log: Path) -> bytes:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    assert line, log.read_text()
    return line


def _print(running: list[Running], rounds: dict[tuple[str, int], list[Round]]) -> None:
    head = ("server", "clients", "issuances/s", "p50 ms", "p99 ms", "CPU ms", "requests")
    print("{:<9}{:>8}{:>13}{:>9}{:>9}{:>9}{:>10}".format(*head))
    for (name, clients), figures in rounds.items():
        row = [statistics.median(getattr(one, field) for one in figures) for field in FIELDS]
        print("{:<9}{:>8}{:>13.1f}{:>9.1f}{:>9.1f}{:>9.2f}{:>10.1f}".format(name, clients, *row))
    for server in running:
        print(
            f"{server.name}: {server.memory():.1f} MiB resident, "
            f"{server.memory('VmHWM'):.1f} MiB at its peak"
        )


if __name__ == "__main__":
    main()
