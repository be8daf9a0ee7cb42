"""Load from wrk: keep-alive connections, bounded in time."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.server import CpuTime, Server, ServerError
from bench.workload import Workload

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


def run(server: Server, workload: Workload, clients: int, seconds: int, pause: int = 0) -> Sample:
    """Loads the server and says what each request cost it; `pause` is how many ms a client waits before each."""
    before = server.processes()
    cpu = CpuTime(before)
    begin = cpu.seconds()
    url = f"http://127.0.0.1:{server.port}{workload.path}"
    wrk = subprocess.run(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", SCRIPT, url],
        env=os.environ | {"BENCH_BODY": str(workload.body), "BENCH_PAUSE": str(pause)},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    spent = cpu.seconds() - begin
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
    )
