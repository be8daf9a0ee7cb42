"""Load from wrk: keep-alive connections, bounded in time."""

import json
import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.server import CpuTime, Server, ServerError
from bench.workload import Workload

QUIET = 0.1
"""Share of the machine that others may take in a sample."""
SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Sample:
    """One round of one contender under one workload."""

    cpu_us: float
    """CPU time of all server processes, per request."""
    requests: int
    per_second: float
    p50_us: int
    p99_us: int
    others: float
    """What else took CPU time meanwhile, as a share of all processors' time. Where that is much, threads meet less
    often at a lock than they do on a quiet machine."""


def quietest(server: Server, workload: Workload, clients: int, seconds: int, pause: int, tries: int) -> Sample:
    """Runs until the machine is quiet, at most so many times; the sample that others disturbed least."""
    best = run(server, workload, clients, seconds, pause)
    while best.others > QUIET and (tries := tries - 1) > 0:
        best = min(best, run(server, workload, clients, seconds, pause), key=lambda sample: sample.others)
    return best


def run(server: Server, workload: Workload, clients: int, seconds: int, pause: int = 0) -> Sample:
    """Loads the server and says what each request cost it; `pause` is how many ms a client waits before each."""
    before = server.processes()
    cpu = CpuTime(before)
    begin, busy, own, start = cpu.seconds(), busy_seconds(), children_seconds(), time.monotonic()
    url = f"http://127.0.0.1:{server.port}{workload.path}{workload.tail}"
    wrk = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", SCRIPT, url],
        env=os.environ | {"BENCH_BODY": str(workload.body), "BENCH_PAUSE": str(pause)},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    spent, passed = cpu.seconds() - begin, (time.monotonic() - start) * (os.cpu_count() or 1)
    others = busy_seconds() - busy - (children_seconds() - own) - spent
    result = next((line for line in wrk.stdout.splitlines() if line.startswith("RESULT ")), None)
    where = f"{server.contender.title}, {workload.title}, {clients} clients"
    if result is None:
        raise ServerError(f"{where}: wrk failed:\n{wrk.stdout}{wrk.stderr}")
    report = json.loads(result.removeprefix("RESULT "))
    if report["errors"] or not report["requests"]:
        raise ServerError(f"{where}: {report['errors']} errors, {report['requests']} replies\n{server.log()}")
    if server.processes() != before:
        raise ServerError(f"{where}: server processes came or went\n{server.log()}")
    return Sample(
        cpu_us=spent * 1e6 / report["requests"],
        requests=report["requests"],
        per_second=report["requests"] / report["seconds"],
        p50_us=report["p50_us"],
        p99_us=report["p99_us"],
        others=max(0.0, others / passed),
    )


def busy_seconds() -> float:
    """CPU time of the whole machine that was not idle, time stolen by other virtual machines included (proc(5))."""
    with Path("/proc/stat").open() as stat:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """CPU time of wrk."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
