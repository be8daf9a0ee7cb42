"""Exact counts: user instructions per request (callgrind) and system calls per request (strace), of httpd and of the
processes that run the application."""

import re
import shutil
import subprocess
from http.client import HTTPConnection
from pathlib import Path

from bench.contender import Contender, c_library, c_module
from bench.server import Server, ServerError
from bench.workload import Connection, Workload

WARM = 200
COUNTED = 500
THREADS = 4
"""Of httpd: few, so that each has had its first requests when counting begins."""

DUMP = Workload("dump", "counts written", len("ok\n"))
COUNTER = f"""\
<Location {DUMP.path}>
  Require all granted
  SetHandler counter-dump
  <IfModule mod_passenger.c>
    PassengerEnabled off
  </IfModule>
</Location>
"""
PROBE = Workload("probe", "process of the application", 0, static=False, in_c=False)


def _exchange(server: Server, workload: Workload, count: int) -> Connection:
    connection = Connection(server.port)
    for _ in range(count):
        connection.exchange(workload)
    return connection


def _probe(server: Server, query: str = "") -> int:
    """The process that runs the application, and a dump there if `query` is the counter's library."""
    client = HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        client.request("GET", f"{PROBE.path}?{query}")
        reply = client.getresponse()
        body = reply.read()
    finally:
        client.close()
    if reply.status != 200:
        raise ServerError(f"{server.contender.title}: status {reply.status} of the probe:\n{server.log()}")
    return int(body)


def _runs_python(contender: Contender) -> bool:
    return contender.answers(PROBE)


def instructions(folder: Path, contender: Contender, workload: Workload, keep: Path) -> dict[str, float]:
    """User instructions per request, one client on one connection, of httpd and of the application's process.

    Counts are dumped, and so begun anew, after a warm-up and after COUNTED further requests: start-up is not in them.
    The profiles are left in the folder `keep`; `callgrind_annotate --threshold=100` reads them.
    """
    probes = [PROBE] if _runs_python(contender) else []
    server = Server(folder, contender, [workload, *probes], c_module("counter") + COUNTER)
    # Callgrind makes its threads take turns: one request has one course.
    server.start(
        lambda part: [
            "valgrind",
            "--tool=callgrind",
            # gunicorn and granian start their workers by exec; httpd starts nothing that way that serves requests.
            f"--trace-children={'yes' if part == 'python' else 'no'}",
            f"--callgrind-out-file={server.folder}/{part}.%p",
        ],
        THREADS,
    )
    library = str(c_library("dump"))

    def dump() -> None:
        connection.exchange(DUMP)
        if contender.separate:
            _probe(server, library)

    try:
        if contender.separate:
            _probe(server, library)
        connection = _exchange(server, workload, WARM)
        dump()
        for _ in range(COUNTED):
            connection.exchange(workload)
        dump()
        connection.close()
        found = {}
        for part in ("httpd", "application"):
            if part == "application" and not contender.separate:
                continue
            # Dumps have numbers: one more in the application's process, which is told to forget its start.
            files = [file for file in server.folder.iterdir() if re.fullmatch(r"(httpd|python)\.\d+\.\d", file.name)]
            number = "3" if part == "application" else "2"
            own = [file for file in files if file.suffix == f".{number}"]
            if part == "httpd":
                own = [file for file in own if not file.with_suffix(".3").exists()]
            if len(own) != 1:
                names = " ".join(sorted(file.name for file in files))
                raise ServerError(f"callgrind left {names} of {contender.title}\n{server.log()}")
            kept = keep / f"callgrind.{contender.name}.{workload.name}.{part}"
            shutil.copyfile(own[0], kept)
            found[part] = _total(kept) / COUNTED
    finally:
        server.stop()
    return found


def _total(profile: Path) -> int:
    total = re.search(r"^(?:totals|summary): (\d+)", profile.read_text(errors="replace"), re.MULTILINE)
    if total is None:
        raise ServerError(f"callgrind left no total in {profile}")
    return int(total[1])


def system_calls(folder: Path, contender: Contender, workload: Workload) -> dict[str, dict[str, float]]:
    """System calls of all threads per request, by part and name, most frequent first."""
    server = Server(folder, contender, [workload, PROBE] if _runs_python(contender) else [workload])
    server.start(threads=THREADS)
    tracers = {}
    try:
        application = _probe(server) if contender.separate else None
        connection = _exchange(server, workload, WARM)
        for pid in server.processes():
            command = ["strace", "-f", "-c", "-o", str(server.folder / f"strace.{pid}"), "-p", str(pid)]
            tracers[pid] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            # Its first line says that it holds every thread.
            tracers[pid].stderr.readline()
        for _ in range(COUNTED):
            connection.exchange(workload)
        connection.close()
        for tracer in tracers.values():
            tracer.terminate()
            tracer.communicate(timeout=30)
    finally:
        server.stop()
    calls: dict[str, dict[str, float]] = {"httpd": {}}
    for pid in tracers:
        part = calls.setdefault("application" if pid == application else "httpd", {})
        for line in (server.folder / f"strace.{pid}").read_text().splitlines():
            found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
            if found and found[2] != "total":
                part[found[2]] = part.get(found[2], 0) + int(found[1]) / COUNTED
    return {part: dict(sorted(names.items(), key=lambda item: -item[1])) for part, names in calls.items()}
