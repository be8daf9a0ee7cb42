"""An httpd on loopback with the configuration that all contenders share, and its processes."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench.contender import THREADS, Contender, apxs
from bench.environment import VENV
from bench.workload import BLOCK, Workload

START_SECONDS = 20
SPARE = 32
"""More threads than clients: an httpd whose threads are all busy closes connections that are kept alive."""
SOCKET = "backend.sock"

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
        (apps / "file.bin").write_bytes(b"x" * BLOCK * BLOCK)
        lines = [contender.module(), "{python}", extra]
        lines += [contender.serve(one, apps / f"{one.name}.wsgi") for one in workloads if contender.answers(one)]
        self._own = lines
        self._backend: subprocess.Popen | None = None
        # The child may be another user: it reads the scripts and writes what its tools (valgrind) leave behind.
        self.folder.chmod(0o777)

    def start(self, tool: Callable[[str], list[str]] | None = None, threads: int = THREADS + SPARE) -> None:
        """Starts httpd and what stands behind it; `tool` gives the command of a tool to run a part of it under, whose
        name ("httpd" or "python") it gets."""
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
            threads=threads,
            user="User www-data\nGroup www-data" if os.geteuid() == 0 else "",
        )
        python = f"{VENV}/bin/python"
        lines = self.contender.python.format(python=python, daemon=self._wrapped(tool, python))
        config.write_text(common + "".join(lines if line == "{python}" else line for line in self._own))
        wrap = tool or (lambda _part: [])
        if self.contender.backend:
            user = {"user": "www-data", "group": "www-data", "extra_groups": []} if os.geteuid() == 0 else {}
            self._backend = self._spawn(wrap("python") + self.contender.backend(self.folder), **user)
        # A child of httpd's that only forks stays under its tool, and so do the daemons of mod_wsgi.
        self._process = self._spawn([*wrap("httpd"), httpd_binary(), "-f", str(config), "-DFOREGROUND"])
        self._wait(START_SECONDS * (10 if tool else 1))

    def _wrapped(self, tool: Callable[[str], list[str]] | None, python: str) -> str:
        """A program that runs Python under the tool."""
        if tool is None:
            return python
        # It looks like a virtual environment, and says of itself that it is Python: whoever asks for the version, and
        # waits for a few seconds only, is not kept waiting by the tool.
        environment = self.folder / "env"
        (environment / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(VENV / "pyvenv.cfg", environment)
        (environment / "lib").symlink_to(VENV / "lib")
        script, real = environment / "bin" / "python", environment / "bin" / "real"
        real.symlink_to(Path(python).resolve())
        script.write_text(
            "#!/bin/bash\n"
            f'case "$*" in *wsgi_host* | *wsgi-loader*) exec {" ".join(tool("python"))} {real} "$@" ;; esac\n'
            f'exec -a {script} {real} "$@"\n'
        )
        script.chmod(0o755)
        return str(script)

    def _spawn(self, command: list[str], **user) -> subprocess.Popen:
        # No site of the caller's may leak into Python, and the same hash seed gives the same instruction counts.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        environment |= {"HOME": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **user
            )

    def _running(self) -> list[subprocess.Popen]:
        return [process for process in (self._process, self._backend) if process is not None]

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self._running()):
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                if self._backend:
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(str(self.folder / SOCKET))
                return
            except OSError:
                pass
            time.sleep(0.005)
        self.stop()
        raise ServerError(f"{self.contender.title} did not come up:\n{self.log()}")

    def stop(self) -> None:
        for process in self._running():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._process = self._backend = None

    def log(self) -> str:
        """The end of what httpd wrote."""
        files = [self.folder / "output", self.folder / "error_log"]
        return "".join(file.read_text(errors="replace")[-2000:] for file in files if file.exists())

    def processes(self) -> list[int]:
        """The parents and all that they started."""
        found, todo = [], [process.pid for process in self._running()]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(FileNotFoundError, ProcessLookupError):  # the thread may just have ended
                    todo += [int(child) for child in children.read_text().split() if _stays(pid, int(child))]
        return found


def _stays(parent: int, child: int) -> bool:
    """Whether that child is there for longer: Passenger's agent runs `ps` every few seconds."""
    try:
        if not Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"Passenger core"):
            return True
        return b"wsgi-loader" in Path(f"/proc/{child}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


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
