"""The command line of script/bench."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import instructions, load, report
from bench.contender import DIST, IN_HTTPD, Contender, ours
from bench.environment import PYTHON, SCRATCH, MissingError, version
from bench.gateway import GATEWAYS
from bench.server import Server, ServerError, httpd_binary, memory
from bench.workload import HELLO, WORKLOADS, Connection, ReplyError, Workload

PEERS = [*IN_HTTPD, *GATEWAYS]
PACKAGES = ("mod_wsgi", "gunicorn", "uwsgi", "granian", "flask", "django")
QUICK = ("ours", "peer", "ours-daemon", "peer-daemon", "uwsgi")


def arguments() -> argparse.Namespace:
    names, loads = [one.name for one in [*ours(DIST), *PEERS]], [one.name for one in WORKLOADS]
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="CPU time per request of ours beside mod_wsgi, other WSGI servers, a C handler and a static file.",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"3 rounds of the main workloads and of {', '.join(QUICK)}; under two minutes",
    )
    parser.add_argument("--only", metavar="NAMES", help=f"contenders, separated by commas: {', '.join(names)}")
    parser.add_argument("--dist", type=Path, default=DIST, help="folder with another build of ours than target/dist")
    parser.add_argument("--before", type=Path, metavar="DIST", help="a further build of ours, measured beside it")
    parser.add_argument("--workload", metavar="NAMES", help=f"workloads: {', '.join(loads)}")
    parser.add_argument(
        "--clients",
        metavar="NUMBERS",
        default="16,1",
        help="connections, default %(default)s; all but the first for hello only",
    )
    parser.add_argument("--rounds", type=int, help="rounds, each with all contenders in turn; default 5")
    parser.add_argument("--seconds", type=int, default=1, help="length of one measurement, default %(default)s")
    parser.add_argument("--tries", type=int, help="measurements until the machine is quiet; default 3, 1 if quick")
    parser.add_argument("--pause", type=int, default=0, help="ms that a client waits before each request, default 0")
    parser.add_argument("--instructions", action="store_true", help="count user instructions per request instead")
    parser.add_argument("--syscalls", action="store_true", help="count system calls per request instead")
    parser.add_argument("--json", type=Path, help="where to write all figures; default in target/bench")
    options = parser.parse_args()
    builds = ours(options.dist.resolve())
    if options.before:
        builds += ours(options.before.resolve(), "before")
    only = options.only or (",".join(QUICK) if options.quick else None)
    options.contenders = _named(parser, [*builds, *PEERS], only)
    # Counting takes its time under valgrind: hello is what has a number to reach.
    counting = options.instructions or options.syscalls
    options.workloads = _named(parser, WORKLOADS, options.workload or ("hello" if counting else None))
    if options.quick and not options.workload:
        options.workloads = [one for one in options.workloads if one.quick]
    try:
        options.clients = [int(part) for part in options.clients.split(",")]
    except ValueError:
        parser.error(f"--clients {options.clients}: numbers separated by commas")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.tries = options.tries or (1 if options.quick else 3)
    if min(options.rounds, options.tries, options.seconds, *options.clients) < 1:
        parser.error("--rounds, --tries, --seconds and --clients are at least 1")
    return options


def _named(parser: argparse.ArgumentParser, known: list, names: str | None) -> list:
    if names is None:
        return known
    unknown = set(names.split(",")) - {one.name for one in known}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(one.name for one in known)}")
    return [one for one in known if one.name in names.split(",")]


def machine() -> dict[str, str | int]:
    def output(*command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]

    return {
        "httpd": output(httpd_binary(), "-v").removeprefix("Server version: "),
        "python": output(PYTHON, "--version"),
        **{name: version(name) or "none" for name in PACKAGES},
        "kernel": platform.release(),
        "cpus": os.cpu_count() or 0,
    }


def check(server: Server, workloads: list[Workload]) -> None:
    """Every reply is what the workload asks for, so that nobody wins by doing less."""
    for workload in workloads:
        if server.contender.answers(workload):
            connection = Connection(server.port)
            try:
                for _ in range(2):
                    connection.exchange(workload)
            except ReplyError as error:
                raise ServerError(f"{server.contender.title}: {error}\n{server.log()}") from None
            finally:
                connection.close()


def measure_memory(results: report.Results, folder: Path, contender: Contender, rounds: int) -> None:
    """One server at a time with hello loaded and every thread used: what several have mapped would be shared. And how
    long it takes from its start to its first reply."""
    for turn in range(rounds):
        server = Server(folder / f"memory-{turn}", contender, [HELLO])
        begin = time.monotonic()
        server.start()
        try:
            check(server, [HELLO])
            started = time.monotonic() - begin
            load.run(server, HELLO, clients=16, seconds=1)
            each = [memory(pid) for pid in server.processes()]
            total = {"number": len(each)} | {name: sum(one[name] for one in each) for name in each[0]}
            total["largest"] = max(one["pss"] for one in each)
            total["start_ms"] = round(started * 1000)
            results.memory.setdefault(contender.name, []).append(total)
        finally:
            server.stop()


def available(options: argparse.Namespace) -> list[Contender]:
    """Those that are wanted, less the servers that do not install here, unless they were named."""
    found = []
    for contender in options.contenders:
        try:
            contender.module()
        except MissingError as error:
            if options.only or contender not in GATEWAYS:
                raise
            print(f"without {contender.title}: {error}", file=sys.stderr)
        else:
            found.append(contender)
    return found


def measure_cpu(results: report.Results, folder: Path, options: argparse.Namespace) -> list[tuple[Workload, int]]:
    servers = [Server(folder, contender, options.workloads) for contender in options.contenders]
    first, *more = options.clients
    cells = [(workload, workload.clients or first) for workload in options.workloads]
    cells += [(workload, clients) for clients in more for workload in options.workloads if workload is HELLO]
    try:
        for server in servers:
            server.start()
            check(server, options.workloads)
            load.run(server, options.workloads[0], options.clients[0], seconds=1)
        for turn in range(options.rounds):
            print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
            for workload, clients in cells:
                # Each round begins with another one, so that nobody always follows the same neighbour.
                shift = turn % len(servers)
                for server in servers[shift:] + servers[:shift]:
                    if server.contender.answers(workload):
                        sample = load.quietest(server, workload, clients, options.seconds, options.pause, options.tries)
                        results.add(workload, clients, server.contender, sample)
    finally:
        for server in servers:
            server.stop()
    return cells


def compare(folder: Path, options: argparse.Namespace) -> dict:
    results = report.Results()
    cells = measure_cpu(results, folder, options)
    for contender in options.contenders:
        measure_memory(results, folder, contender, 1 if options.quick else 3)
    print(report.cpu_table(results, cells, options.contenders), end="\n\n")
    print(report.ratio_table(results, cells, options.contenders), end="\n\n")
    print(report.side_table(results, cells, options.contenders), end="\n\n")
    print(report.memory_table(results, options.contenders), end="\n\n")
    print(f"other work took {results.others():.0%} of the processors' time (median)")
    return {
        "rounds": options.rounds,
        "seconds": options.seconds,
        "pause_ms": options.pause,
        "cells": results.json(),
        "memory_kb": results.memory,
    }


def count(folder: Path, options: argparse.Namespace) -> dict:
    counted: dict[str, dict] = {"instructions": {}, "syscalls": {}}
    for workload in options.workloads:
        rows = []
        for contender in options.contenders:
            if not contender.answers(workload):
                continue
            where = folder / f"{workload.name}"
            row = [contender.title]
            if options.instructions:
                parts = instructions.instructions(where, contender, workload, SCRATCH)
                counted["instructions"].setdefault(workload.name, {})[contender.name] = parts
                row += [f"{sum(parts.values()):,.0f}", " + ".join(f"{part:,.0f}" for part in parts.values())]
            if options.syscalls:
                calls = instructions.system_calls(where / "strace", contender, workload)
                counted["syscalls"].setdefault(workload.name, {})[contender.name] = calls
                sums = [sum(names.values()) for names in calls.values()]
                each = (" ".join(f"{name} {times:.2g}" for name, times in names.items()) for names in calls.values())
                row += [f"{sum(sums):.1f}", " + ".join(f"{one:.1f}" for one in sums), " / ".join(each)]
            rows.append(row)
            print(" ".join(row), file=sys.stderr, flush=True)
        head = [f"per request, {workload.title}"]
        head += ["user instructions", "httpd + application"] * options.instructions
        head += ["system calls", "httpd + application", "which"] if options.syscalls else []
        print(report.table(head, rows), end="\n\n")
    return counted


def main() -> int:
    options = arguments()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    counting = options.instructions or options.syscalls
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wsgi-bench-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        try:
            options.contenders = available(options)
            figures = count(folder, options) if counting else compare(folder, options)
        except (MissingError, ServerError, ReplyError) as error:
            print(f"script/bench: {error}", file=sys.stderr)
            return 1
    name = "counts.json" if counting else "quick.json" if options.quick else "bench.json"
    file = options.json or SCRATCH / name
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    file.write_text(json.dumps(about | figures, indent=1) + "\n")
    print(f"\n{time.monotonic() - begin:.0f} s; all figures are in {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
