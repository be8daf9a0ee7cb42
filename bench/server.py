"""An httpd on loopback with the configuration that all contenders share, and its processes."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from bench.contender import Contender, apxs
from bench.workload import Workload

START_SECONDS = 20
THREADS = 25

CONFIG = """\
ServerRoot "{root}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{root}/httpd.pid"
DefaultRuntimeDir "{root}"
ErrorLog "{root}/error_log"
LogLevel warn
ServerTokens Prod
<IfModule !mpm_event_module>
  LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
</IfModule>
<IfModule !authz_core_module>
  LoadModule authz_core_module "{modules}/mod_authz_core.so"
</IfModule>
<IfModule !alias_module>
  LoadModule alias_module "{modules}/mod_alias.so"
</IfModule>
# One child: all clients meet in one interpreter, and the set of processes stays the same while we measure.
StartServers 1
ServerLimit 1
ThreadLimit {threads}
ThreadsPerChild {threads}
MaxRequestWorkers {threads}
MinSpareThreads 1
MaxSpareThreads {threads}
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
Timeout 120
FileETag None
{user}
<Directory />
  Options FollowSymLinks
  AllowOverride None
  Require all denied
</Directory>
<Directory "{apps}">
  Require all granted
  {directive}
</Directory>
"""


class ServerError(Exception):
    """httpd did not come up or did not stay up."""


def httpd_binary() -> str:
    return shutil.which(apxs("PROGNAME"), path=apxs("SBINDIR")) or f"{apxs('SBINDIR')}/{apxs('PROGNAME')}"


class Server:
    """One httpd for one contender, serving each workload that the contender answers."""

    def __init__(self, folder: Path, contender: Contender, workloads: list[Workload], extra: str = ""):
        self.contender = contender
        self.folder = folder / contender.name
        self.port = 0
        self._process: subprocess.Popen | None = None
        apps = self.folder / "apps"
        shutil.copytree(Path(__file__).parent / "apps", apps)
        lines = [contender.module(), extra]
        lines += [contender.serve(one, apps / f"{one.name}.wsgi") for one in workloads if contender.answers(one)]
        self._own = "".join(lines)
        # The child may be another user: it reads the scripts and writes what its tools (valgrind) leave behind.
        self.folder.chmod(0o777)

    def start(self, wrapper: list[str] | None = None, single: bool = False) -> None:
        """Starts httpd, behind `wrapper` if given; `single` is one process that serves by itself (`-X`)."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.folder / "httpd.conf"
        common = CONFIG.format(
            root=self.folder,
            port=self.port,
            modules=apxs("LIBEXECDIR"),
            apps=self.folder / "apps",
            directive=self.contender.folder,
            threads=THREADS,
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        )
        config.write_text(common + self._own)
        command = [httpd_binary(), "-f", str(config), "-X" if single else "-DFOREGROUND"]
        # No site of the caller's may leak into Python, and the same hash seed gives the same instruction counts.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                (wrapper or []) + command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._wait(START_SECONDS * (10 if wrapper else 1))

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise ServerError(f"httpd with {self.contender.title} did not come up:\n{self.log()}")

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def log(self) -> str:
        """The end of what httpd wrote."""
        files = [self.folder / "output", self.folder / "error_log"]
        return "".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs"
        return self._process.pid

    def processes(self) -> list[int]:
        """The parent and all that it started."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(FileNotFoundError, ProcessLookupError):  # the thread may just have ended
                    todo += [int(child) for child in children.read_text().split()]
        return found

    def child(self) -> int:
        """The one process that serves."""
        children = [pid for pid in self.processes() if pid != self.pid]
        if len(children) != 1:
            raise ServerError(f"{self.contender.title}: {len(children)} httpd children instead of one:\n{self.log()}")
        return children[0]


class CpuTime:
    """CPU time of a set of processes, user and system.

    Each process has a CPU clock (clock_getcpuclockid) that counts in nanoseconds what the scheduler gave to all its
    threads, those that have ended included; `/proc/PID/stat` has the same sum cut to hundredths of a second. Work
    that the kernel does for a process without it being on the CPU (interrupts) is counted nowhere, for all alike.
    """

    def __init__(self, processes: list[int]):
        self._clocks = {pid: self._clock(pid) for pid in processes}

    @staticmethod
    def _clock(pid: int) -> int:
        clock = ctypes.c_int()
        error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
        if error:
            raise ServerError(f"no CPU clock for process {pid}: {os.strerror(error)}")
        return clock.value

    def seconds(self) -> float:
        try:
            return sum(time.clock_gettime_ns(clock) for clock in self._clocks.values()) / 1e9
        except OSError as error:
            raise ServerError(f"a server process ended while it was measured: {error}") from None


def memory(pid: int) -> dict[str, int]:
    """KB of a process: `pss` shares what several processes have mapped among them, `private` is its alone."""
    rollup = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        rollup[name] = int(value.split()[0])
    return {"pss": rollup["Pss"], "private": rollup["Private_Clean"] + rollup["Private_Dirty"], "rss": rollup["Rss"]}
