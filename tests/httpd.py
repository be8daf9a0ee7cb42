"""A private httpd: its configuration, its processes, its error log."""

import grp
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import errorlog
from client import PATIENCE, Connection, Reply, wait_for

APPS = Path(__file__).parent / "apps"
MARK = "HTTPD_UNDER_TEST"
"""Environment variable by which the processes of one server are found."""
GROUP = "tests"
"""The process group of applications in daemon mode."""


@dataclass(frozen=True)
class Setup:
    """What the tests run with."""

    module: Path
    mpm: str = "event"
    python: Path | None = None
    peer: bool = False
    """The module is stock mod_wsgi."""
    mode: str = "embedded"
    """Where applications run that say nothing else: `embedded` or `daemon`."""

    @property
    def daemon(self) -> bool:
        """Whether applications run in daemon processes."""
        return self.mode == "daemon"

    @property
    def threaded(self) -> bool:
        """Whether a child serves several requests at a time."""
        return self.mpm != "prefork"

    @property
    def shared(self) -> bool:
        """Whether a process of the application serves several requests at a time."""
        return self.threaded or self.daemon


@cache
def program() -> str:
    """The httpd program."""
    for name in ("apache2", "httpd"):
        if path := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"):
            return path
    raise FileNotFoundError("no httpd: neither apache2 nor httpd is on the PATH")


@cache
def modules() -> str:
    """The folder of httpd's modules."""
    return subprocess.run(["apxs", "-q", "LIBEXECDIR"], check=True, capture_output=True, text=True).stdout.strip()


@cache
def child_user() -> str | None:
    """The user of httpd's children; None: that of the tests, since only root can choose."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("www-data", "apache", "daemon", "nobody") if name in names)


def child_group() -> str:
    """The first group of `child_user`."""
    return grp.getgrgid(pwd.getpwnam(child_user()).pw_gid).gr_name


def child_can(command: list[str]) -> bool:
    """Whether a command succeeds for the user of httpd's children."""
    user = child_user()
    who = {"user": user, "group": child_group(), "extra_groups": []} if user else {}
    try:
        return subprocess.run(command, capture_output=True, cwd="/", **who).returncode == 0
    except OSError:
        return False


def ports() -> Iterator[int]:
    """Ports below those that the OS gives to connections, which could take one before httpd does; each of pytest's
    processes has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 11000 + 1000 * (worker % 20)
    yield from itertools.cycle(range(first + os.getpid() % 500, first + 1000))


PORTS = ports()


def hold_port() -> socket.socket:
    """The next of them that nobody has, held: while this socket is open neither another run of the tests gets it, nor a
    connection. httpd can listen there, since both mark their sockets for reuse, and this one does not listen."""
    for port in PORTS:
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return held
    raise AssertionError("there is always a next port")


HELD: list[socket.socket] = []


def free_port() -> int:
    """A port beside that of an `Httpd`, held to the end of the run: there are few of them."""
    HELD.append(hold_port())
    return HELD[-1].getsockname()[1]


def processes(mark: str) -> list[int]:
    """Every living process that was started with this value of `MARK`, a server's folder, in its environment.

    Supervisor and daemons have an environment of their own, but a log in that folder as standard error, and so has
    what an application forks.
    """
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            marked = wanted in (entry / "environ").read_bytes().split(b"\0")
            if marked or (entry / "fd/2").readlink().is_relative_to(mark):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def program_of(pid: int) -> str:
    """The name of the program that a process runs; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def busy(pid: int) -> dict[Path, int]:
    """The threads of a process that run, or would if it were their turn, with the processor time that they used."""
    found = {}
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] in "RD":
            found[stat] = int(fields[11]) + int(fields[12])  # proc(5): utime, stime
    return found


def connections(port: int) -> int:
    """How many connections that the server has not done with there are on its port."""
    states = {"01", "04", "05", "08"}  # established, closed by the one or the other side: include/net/tcp_states.h
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(f":{port:04X}") and line[3] in states)


def listener(port: int) -> str:
    """The socket that listens at a port, as it is shown among descriptors."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = [line[9] for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"]
    return f"socket:[{inode}]"


def descriptors(pid: int) -> list[str]:
    """What a process has open; nothing when it has ended."""
    found = []
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return found
    for entry in entries:
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue  # closed meanwhile
    return found


PROCESSES = {
    "event": "StartServers 1\nServerLimit 8\nThreadsPerChild {threads}\nMinSpareThreads 1\nMaxSpareThreads {workers}",
    "worker": "StartServers 1\nServerLimit 8\nThreadsPerChild {threads}\nMinSpareThreads 1\nMaxSpareThreads {workers}",
    "prefork": "StartServers 1\nServerLimit {workers}\nMinSpareServers 1\nMaxSpareServers {workers}",
}

BASE = """\
ServerRoot "{root}"
ServerName localhost
Listen 127.0.0.1:{port}
DefaultRuntimeDir "{root}"
PidFile "{root}/httpd.pid"
ErrorLog "{log}"
ErrorLogFormat "{format}"
LogLevel info
Timeout 120
KeepAliveTimeout 120
GracefulShutdownTimeout 10
Define APPS "{apps}"
Define ROOT "{root}"
Define MODULES "{modules}"
Define PORT {port}
Define MODULE "{module}"
LoadModule mpm_{mpm}_module "{modules}/mod_mpm_{mpm}.so"
{processes}
MaxRequestWorkers {workers}
MaxConnectionsPerChild 0
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule alias_module "{modules}/mod_alias.so"
LoadModule env_module "{modules}/mod_env.so"
LoadModule setenvif_module "{modules}/mod_setenvif.so"
LoadModule wsgi_module "{module}"
DocumentRoot "{root}/htdocs"
"""


class Httpd:
    """A server with its own folder; `config` follows the base configuration.

    `threads` is the number of requests served at a time; under a threaded MPM by `processes` children.
    `options` are further ones of the daemon process group.

    A graceful restart while a request runs needs `processes` for the new children as well as for the old ones: without
    them the worker MPM may start none before that request ends ("AH00288: scoreboard is full"). It takes over places of
    threads that left SERVER_DEAD behind; but those that have woken up before its listener thread says `dying` leave
    SERVER_GRACEFUL, and all may.
    """

    def __init__(self, setup: Setup, config: str = "", threads: int = 8, processes: int = 1, options: str = ""):
        self.setup = setup
        self._held = hold_port()
        self.port = self._held.getsockname()[1]
        self.root = Path(tempfile.mkdtemp(prefix="wsgi-test-")).resolve()
        self.root.chmod(0o755)
        (self.root / "htdocs").mkdir()
        self.config = self.root / "httpd.conf"
        self.log = errorlog.ErrorLog(self.root / "error.log")
        self._written: dict[Path, int] = {}
        self.process: subprocess.Popen | None = None
        self._threads, self._processes, self._options = threads, processes, options
        self.configure(config)

    def configure(self, config: str) -> None:
        """Writes the configuration anew."""
        workers = self._threads * (self._processes if self.setup.threaded else 1)
        base = BASE.format(
            root=self.root,
            port=self.port,
            log=self.log.path,
            format=errorlog.FORMAT,
            apps=APPS,
            modules=modules(),
            mpm=self.setup.mpm,
            module=self.setup.module,
            workers=workers,
            processes=PROCESSES[self.setup.mpm].format(threads=self._threads, workers=workers),
        )
        if user := child_user():
            base += f"User {user}\nGroup {child_group()}\n"
        if self.setup.python:
            base += f'WSGIPython "{self.setup.python}"\n'
        if self.setup.daemon:
            processes = f" processes={self._processes}" if self._processes > 1 else ""
            base += f"WSGIDaemonProcess {GROUP} threads={self._threads}{processes} {self._options}\n"
            base += f"WSGIProcessGroup {GROUP}\n"
        self.config.write_text(base + config)

    def write(self, name: str, text: str) -> Path:
        """Writes a file into the server's folder, readable by its children, in one step."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text)
        new.chmod(0o644)
        # What changes is known by its time, which the system takes from a clock of ticks: two files within one would be
        # the same.
        written = new.stat().st_mtime_ns
        if written <= (before := self._written.get(path, 0)):
            written = before + 1_000_000
            os.utime(new, ns=(written, written))
        self._written[path] = written
        new.rename(path)
        return path

    def folder(self, name: str) -> Path:
        """Makes a folder into which the children may write."""
        path = self.root / name
        path.mkdir()
        path.chmod(0o777)
        return path

    def pipe(self, name: str) -> Path:
        """Makes a named pipe that the children may open."""
        path = self.root / name
        os.mkfifo(path)
        path.chmod(0o666)
        return path

    def check(self) -> subprocess.CompletedProcess:
        """Runs httpd's test of the configuration."""
        command = self.command("-t")
        return subprocess.run(command, capture_output=True, text=True, env=self._environment(), timeout=PATIENCE)

    def start(self) -> None:
        """Starts the server and waits until it is live."""
        with (self.root / "startup.log").open("wb") as output:
            # A session of its own: httpd signals its whole process group when it stops or restarts.
            self.process = subprocess.Popen(
                self.command("-DFOREGROUND"),
                stdout=output,
                stderr=output,
                env=self._environment(),
                cwd="/",
                start_new_session=True,
            )
        wait_for(self._live, "httpd to start")

    def _live(self) -> bool:
        if self.process.poll() is not None:
            said = (self.root / "startup.log").read_text() + self.log.text()
            self.process = None
            raise AssertionError(f"httpd did not start:\n{said}")
        return bool(self.log.find("resuming normal operations"))

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = PATIENCE) -> int:
        """Stops the server; returns its exit status once none of its processes is left."""
        self._let_connections_close()
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill(process)
            raise AssertionError(f"httpd did not stop within {timeout} s; its log:\n{self.log.text()}") from None
        try:
            wait_for(lambda: not self.pids(), "the children to end")
        finally:
            self.kill(process)
        return status

    def _let_connections_close(self) -> None:
        """The event MPM may crash when it is stopped while a thread of a child is about to be done with a connection,
        since its main thread shuts the sockets that threads still have: those that are closing may finish, and so may
        the daemons that they wait for.

        A thread that is about to be done needs hardly any time of the processor, however long it waits for it."""
        deadline, short = time.monotonic() + PATIENCE, time.monotonic() + 0.5
        pids = self.pids()
        used: dict[Path, int] = {}

        def closing() -> bool:
            threads = {stat: ticks for pid in pids for stat, ticks in busy(pid).items()}
            few = os.sysconf("SC_CLK_TCK") / 10
            return any(ticks - used.setdefault(stat, ticks) < few for stat, ticks in threads.items())

        while time.monotonic() < deadline and (closing() or (connections(self.port) and time.monotonic() < short)):
            time.sleep(0.01)

    def restart(self, how: signal.Signals = signal.SIGHUP) -> None:
        """Restarts the server and waits until the new configuration runs."""
        if how == signal.SIGHUP:
            self._let_connections_close()
        before = len(self.log.find("resuming normal operations"))
        self.process.send_signal(how)
        self.log.expect("resuming normal operations", before + 1)

    def graceful(self) -> None:
        """Restarts the server; its old children finish their requests, and take no more."""
        old, port = self.children(), listener(self.port)
        self.restart(signal.SIGUSR1)
        # One that has not heard of it yet would answer by the old configuration, or not at all (prefork).
        wait_for(lambda: not any(port in descriptors(pid) for pid in old), "the old children to stop listening")

    def kill(self, process: subprocess.Popen) -> None:
        """Ends whatever is left of the server, by force."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(PATIENCE)

    def remove(self) -> None:
        """Removes the server's folder, and leaves its port to others."""
        shutil.rmtree(self.root)
        self._held.close()

    def pids(self) -> list[int]:
        """Every living process of this server, its parent included."""
        return processes(str(self.root))

    def children(self) -> list[int]:
        """httpd's children."""
        own = Path(program()).resolve().name
        return [pid for pid in self.pids() if pid != self.process.pid and program_of(pid) == own]

    def supervisors(self) -> list[int]:
        """The supervisor of daemons; more than one where something is wrong."""
        running = [pid for pid in self.pids() if program_of(pid) == "wsgid"]
        return [pid for pid in running if parent_of(pid) not in running]  # a daemon begins as its copy

    def daemons(self) -> list[int]:
        """The daemon processes, but for those that are just being started."""
        supervisors = self.supervisors()
        return [pid for pid in self.pids() if parent_of(pid) in supervisors and program_of(pid) not in ("wsgid", "")]

    def workers(self) -> list[int]:
        """The processes that run the applications."""
        return self.daemons() if self.setup.daemon else self.children()

    def connect(self, timeout: float = PATIENCE) -> Connection:
        """A new connection to the server."""
        return Connection(self.port, timeout)

    def request(self, method: str, target: str, headers=(), body: bytes = b"", version: str = "HTTP/1.1") -> Reply:
        """One request on a connection of its own."""
        headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
        with self.connect() as connection:
            return connection.request(method, target, [*headers, ("Connection", "close")], body, version)

    def get(self, target: str, headers=(), version: str = "HTTP/1.1") -> Reply:
        """One GET on a connection of its own."""
        return self.request("GET", target, headers, version=version)

    def command(self, *arguments: str) -> list[str]:
        return [program(), "-d", str(self.root), "-f", str(self.config), *arguments]

    def _environment(self) -> dict[str, str]:
        # Bare, as init systems start it: what the tests were started with must not reach the Python under test.
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C",
            MARK: str(self.root),
        }


@contextmanager
def running(server: Httpd, prepare=None):
    """Starts a server, yields it, stops it; what its whole life left in the log is checked."""
    try:
        if prepare:
            prepare(server)
        server.start()
        yield server
        if server.process:
            assert server.stop() == 0, "httpd ended with an error"
        assert_quiet(server)
    finally:
        if server.process:
            server.kill(server.process)
        server.remove()


def assert_quiet(server: Httpd) -> None:
    """Fails if the log holds severe records that the test did not name."""
    unexpected = server.log.unexpected()
    server.log.begin()
    said = "\n".join(f"  [{record.module}:{record.level}] {record.text}" for record in unexpected)
    assert not unexpected, f"not expected in the error log:\n{said}"
