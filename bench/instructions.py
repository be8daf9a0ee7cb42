"""Exact counts for one process: user instructions per request (callgrind) and system calls per request (strace)."""

import re
import shutil
import subprocess
from pathlib import Path

from bench.contender import Contender, c_module
from bench.server import Server, ServerError
from bench.workload import Connection, Workload

WARM = 200
COUNTED = 500

DUMP = Workload("dump", "counts written", len("ok\n"))
COUNTER = f"<Location {DUMP.path}>\n  Require all granted\n  SetHandler counter-dump\n</Location>\n"


def _exchange(server: Server, workload: Workload, count: int) -> Connection:
    connection = Connection(server.port)
    for _ in range(count):
        connection.exchange(workload)
    return connection


def instructions(folder: Path, contender: Contender, workload: Workload, keep: Path) -> float:
    """User instructions of the whole process per request, one client on one connection.

    Counts are dumped, and so begun anew, after a warm-up and after COUNTED further requests: start-up is not in them.
    The profile is left in the folder `keep`; `callgrind_annotate --threshold=100` reads it.
    """
    server = Server(folder, contender, [workload], c_module("counter") + COUNTER)
    # It makes one process of it all, the threads taking turns: one request has one course.
    server.start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={server.folder}/callgrind.out"], single=True)
    try:
        connection = _exchange(server, workload, WARM)
        connection.exchange(DUMP)
        for _ in range(COUNTED):
            connection.exchange(workload)
        connection.exchange(DUMP)
        connection.close()
        profile = server.folder / "callgrind.out.2"
        if not profile.exists():
            raise ServerError(f"callgrind left no counts:\n{server.log()}")
        kept = keep / f"callgrind.{contender.name}.{workload.name}"
        shutil.copyfile(profile, kept)
    finally:
        server.stop()
    total = re.search(r"^(?:totals|summary): (\d+)", kept.read_text(errors="replace"), re.MULTILINE)
    if total is None:
        raise ServerError(f"callgrind left no total in {kept}")
    return int(total[1]) / COUNTED


def system_calls(folder: Path, contender: Contender, workload: Workload) -> dict[str, float]:
    """System calls of all threads per request, by name, most frequent first."""
    server = Server(folder, contender, [workload])
    server.start(single=True)
    try:
        connection = _exchange(server, workload, WARM)
        summary = server.folder / "strace.out"
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "-o", str(summary), "-p", str(server.pid)], stderr=subprocess.PIPE, text=True
        )
        # Its first line says that it holds every thread.
        assert tracer.stderr is not None
        tracer.stderr.readline()
        for _ in range(COUNTED):
            connection.exchange(workload)
        connection.close()
        tracer.terminate()
        tracer.communicate(timeout=30)
    finally:
        server.stop()
    calls = {}
    for line in summary.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if found and found[2] != "total":
            calls[found[2]] = int(found[1]) / COUNTED
    return dict(sorted(calls.items(), key=lambda item: -item[1]))
