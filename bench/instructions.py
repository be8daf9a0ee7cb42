"""Exact counts for one process: user instructions per request (callgrind) and system calls per request (strace)."""

import re
import shutil
import subprocess
import time
from pathlib import Path

from bench.contender import Contender
from bench.server import Server, ServerFailed
from bench.workload import Connection, Workload

WARM = 200
COUNTED = 500


def _exchange(server: Server, workload: Workload, count: int) -> Connection:
    connection = Connection(server.port)
    for _ in range(count):
        connection.exchange(workload)
    return connection


def instructions(folder: Path, contender: Contender, workload: Workload, keep: Path) -> float:
    """User instructions of the whole process per request, one client on one connection.

    The counters are set to zero after a warm-up and read after COUNTED further requests, so start-up is not in it. The
    profile is left in the folder `keep`, for callgrind_annotate.
    """
    server = Server(folder, contender, [workload])
    profile = server.folder / "callgrind.out"
    server.start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"], single=True)
    try:
        connection = _exchange(server, workload, WARM)
        _control(server, "--zero")
        for _ in range(COUNTED):
            connection.exchange(workload)
        _control(server, "--dump=requests")
        connection.close()
        dump = next(server.folder.glob("callgrind.out.*"))
        kept = keep / f"callgrind.{contender.name}.{workload.name}"
        shutil.copyfile(dump, kept)
    finally:
        server.stop()
    total = re.search(r"^(?:totals|summary): (\d+)", kept.read_text(errors="replace"), re.MULTILINE)
    if total is None:
        raise ServerFailed(f"callgrind left no total in {kept}")
    return int(total[1]) / COUNTED


def _control(server: Server, order: str) -> None:
    subprocess.run(["callgrind_control", order, str(server.pid)], check=True, capture_output=True, timeout=120)


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
        # It says so for each thread once it holds them all.
        assert tracer.stderr is not None
        tracer.stderr.readline()
        time.sleep(0.5)
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
