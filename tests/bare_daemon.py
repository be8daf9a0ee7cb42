"""A daemon without httpd: this stands for both httpd and wsgid, and speaks the frames of `crates/core/src/wire`."""

import array
import fcntl
import os
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from client import wait_for

WIRE = Path(__file__).parent.parent / "crates/core/src/wire"
CONTROL = WIRE / "control/daemon.rs"
APP = Path(__file__).parent / "apps/worker.py"
VERSION = int(re.search(r"pub const VERSION: u16 = ([0-9]+);", (WIRE / "mod.rs").read_text())[1])
INFO = 6
TIMEOUT = 30

Pairs = Iterable[tuple[str, str]]


class Kind(IntEnum):
    """Frames of a daemon."""

    STARTED = 1
    HEAD = 2
    DATA = 3
    FILE = 4
    WANT_BODY = 5
    LOG = 6
    RETRY = 7
    REFUSED = 8
    TRUNCATED = 9
    END = 10
    PIPED = 11


HEAD_MORE, BODY, BODY_END, BODY_ERROR, PIPE_READ = 0x41, 0x42, 0x43, 0x44, 0x45
PIPE = 1 << 20
REASONS = [
    "shutdown_signal",
    "graceful_signal",
    "eviction_signal",
    "maximum_requests",
    "restart_interval",
    "inactivity_timeout",
    "request_timeout",
    "startup_timeout",
    "deadlock_timeout",
    "cpu_time_limit",
    "script_reload",
    "service_end",
]


def line() -> str:
    """What wsgid gives to Python after -c."""
    found = re.search(r'pub const LINE: &str = "(.*?)";', CONTROL.read_text(), re.DOTALL)
    assert found
    return re.sub(r"\\\n\s*", "", found[1])


def text(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


def short(value: bytes | str) -> bytes:
    return struct.pack("<H", len(text(value))) + text(value)


def pairs(items: Pairs) -> bytes:
    items = list(items)
    each = (short(name) + struct.pack("<I", len(text(value))) + text(value) for name, value in items)
    return struct.pack("<H", len(items)) + b"".join(each)


def send(sock: socket.socket, message: bytes, *descriptors: int) -> None:
    sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


@contextmanager
def stopped(pid: int):
    """Stops a process meanwhile."""
    threads = Path(f"/proc/{pid}/task")
    os.kill(pid, signal.SIGSTOP)
    wait_for(
        lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads.glob("*/stat")),
        "the process to stop",
    )
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Queue:
    """The queue of a process group."""

    def __init__(self):
        self.sending, self.receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def close(self) -> None:
        self.sending.close()
        self.receiving.close()

    def waiting(self) -> bool:
        """Whether a request is in it."""
        try:
            return bool(self.receiving.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return False

    def put(
        self,
        script: Path,
        query: str = "",
        *,
        body: bytes | Iterable[bytes | str] | None = None,
        variables: Pairs = (),
        deadline: float | None = None,
        age: float = 0,
        group: str = "",
        mtime: int | None = None,
        pipe: int = 0,
    ) -> "Exchange":
        """Sends a request. `body`: bytes travel with it, pieces are sent when the daemon asks for them (a `str` among
        them is an error). `age`: seconds that it has waited already. `pipe`: a pipe of so many bytes goes along."""
        near, far = socket.socketpair()
        nonce = int.from_bytes(os.urandom(8), "little")
        variables = [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/"),
            ("QUERY_STRING", query),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SCRIPT_FILENAME", str(script)),
            *variables,
        ]
        if mtime is None:
            mtime = script.stat().st_mtime_ns // 1000
        head = struct.pack("<qq6B", mtime, time.time_ns() // 1000, 1, 0, 0, 0, 6, 0)
        head += short(str(script)) + short(group) + short("application") + pairs(variables)
        mode = 0 if body is None else 1 if isinstance(body, bytes) else 2
        now = time.monotonic_ns() // 1000
        until = 0 if deadline is None else now + int(deadline * 1e6)
        datagram = b"WSGQ" + struct.pack("<HBB", VERSION, mode, 0)
        datagram += struct.pack("<QQQQ", nonce, now - int(age * 1e6), until, os.fstat(far.fileno()).st_ino)
        datagram += struct.pack("<II", 0, len(head)) + head[: 65536 - 48]
        exchange = Exchange(near, nonce, body if mode == 2 else ())
        if pipe:
            exchange.pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(exchange.pipe[1], fcntl.F_SETPIPE_SZ, pipe)
        send(self.sending, datagram + (body if isinstance(body, bytes) else b""), far.fileno(), *exchange.pipe[1:])
        far.close()
        if rest := head[65536 - 48 :]:
            near.sendall(exchange.frame(HEAD_MORE, rest))
        return exchange

    def get(self, script: Path, query: str = "", **options) -> "Reply":
        """Sends a request and waits for its end."""
        return self.put(script, query, **options).finish()


@dataclass
class Reply:
    """What came back."""

    kinds: list[Kind] = field(default_factory=list)
    """Its frames, but for `STARTED`, which whoever waits for long gets."""
    started: bool = False
    """It was announced."""
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    log: list[tuple[int, str]] = field(default_factory=list)
    returned: bool = False
    """The far end of the reply pair came back."""

    @property
    def ending(self) -> Kind | None:
        """The frame that ended it; None if the daemon is gone."""
        last = self.kinds[-1] if self.kinds else None
        return last if last in (Kind.RETRY, Kind.REFUSED, Kind.TRUNCATED, Kind.END) else None


class Exchange:
    """httpd's side of one request."""

    def __init__(self, near: socket.socket, nonce: int, body: Iterable[bytes | str]):
        self.near, self.nonce, self.body = near, nonce, body
        self.buffer = b""
        self.descriptors: list[int] = []
        self.pipe: tuple[int, ...] = ()
        near.settimeout(TIMEOUT)

    def frame(self, kind: int, contents: bytes = b"") -> bytes:
        return struct.pack("<B3xIQ", kind, len(contents), self.nonce) + contents

    def finish(self) -> Reply:
        """Waits for the end."""
        reply = Reply()
        with self.near:
            while reply.ending is None and (frame := self._next()):
                self._take(reply, *frame)
        reply.returned = bool(self.descriptors)
        for descriptor in (*self.descriptors, *self.pipe):
            os.close(descriptor)
        return reply

    def _take(self, reply: Reply, kind: Kind, contents: bytes) -> None:
        if kind is Kind.STARTED:
            reply.started = True
            return
        reply.kinds.append(kind)
        if kind is Kind.HEAD:
            reply.status, length = struct.unpack_from("<HH", contents)
            at = 4 + length
            (count,) = struct.unpack_from("<H", contents, at)
            at += 2
            for _ in range(count):
                (length,) = struct.unpack_from("<H", contents, at)
                name = contents[at + 2 : at + 2 + length]
                at += 2 + length
                (length,) = struct.unpack_from("<I", contents, at)
                reply.headers.append((name.decode(), contents[at + 4 : at + 4 + length].decode("latin-1")))
                at += 4 + length
        elif kind is Kind.DATA:
            reply.body += contents
        elif kind is Kind.FILE:
            offset, length = struct.unpack("<QQ", contents)
            descriptor = self.descriptors.pop(0)
            reply.body += os.pread(descriptor, length, offset)
            os.close(descriptor)
        elif kind is Kind.PIPED:
            (length,) = struct.unpack("<I", contents)
            # The daemon waits until it hears of it.
            assert select.select([self.near], [], [], 0.01)[0] == [] or self.near.recv(1, socket.MSG_PEEK) == b"\x03"
            piped = os.read(self.pipe[0], length)
            assert len(piped) == length
            reply.body += piped
            self.near.sendall(self.frame(PIPE_READ))
        elif kind is Kind.LOG:
            (length,) = struct.unpack_from("<H", contents, 5)
            reply.log.append((contents[0], contents[7 + length :].decode("utf-8", "replace")))
        elif kind is Kind.WANT_BODY:
            threading.Thread(target=self._send_body, daemon=True).start()
        elif kind is Kind.REFUSED:
            (reply.status,) = struct.unpack("<H", contents)

    def receive_body(self, length: int) -> bytes:
        """Waits until that much of the reply's body has come; what comes behind it is not taken yet."""
        reply = Reply()
        while len(reply.body) < length and (frame := self._next()):
            self._take(reply, *frame)
        return reply.body

    def _send_body(self) -> None:
        # The application may have had enough of it, and its exchange have ended.
        with suppress(OSError):
            for piece in self.body:
                if isinstance(piece, str):
                    self.near.sendall(self.frame(BODY_ERROR, piece.encode()))
                    return
                self.near.sendall(self.frame(BODY, piece))
            self.near.sendall(self.frame(BODY_END))

    def _next(self) -> tuple[Kind, bytes] | None:
        if not self._fill(16):
            return None
        kind, length, nonce = struct.unpack_from("<B3xIQ", self.buffer)
        assert nonce == self.nonce
        assert self._fill(16 + length)
        contents, self.buffer = self.buffer[16 : 16 + length], self.buffer[16 + length :]
        return Kind(kind), contents

    def _fill(self, length: int) -> bool:
        while len(self.buffer) < length:
            data, controls, _, _ = self.near.recvmsg(1 << 16, socket.CMSG_SPACE(8))
            for _, _, descriptors in controls:
                self.descriptors += array.array("i", descriptors)
            if not data:
                return False
            self.buffer += data
        return True


class Daemon:
    """A daemon; here is wsgid's side of it."""

    def __init__(
        self,
        host: Path,
        python: Path,
        queue: Queue,
        log: Path,
        options: Pairs = (),
        preload: Iterable = (),
        errors: socket.socket | None = None,
    ):
        """`preload`: paths with their application groups; a third item says whether the script is required.

        `errors`: its standard output and error instead of `log`."""
        self.used: list[tuple[str, str]] = []
        self.served = 0
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stats = os.memfd_create("stats")
        self.log = log
        number = theirs.fileno()
        # The shell puts the socket where a daemon looks for it, and is gone.
        order = f'exec "$@" 3<&{number} {number}<&-' if number != 3 else 'exec "$@"'
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["/bin/bash", "-c", order, "bash", python, "-c", line(), host],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=errors or output,
                stderr=errors or output,
            )
        theirs.close()
        facts = [("apache.version", "2.4.71"), ("log_level", str(INFO))]
        settings = b"\x01" + struct.pack("<HQQ", VERSION, 1, 1) + short("shop") + pairs(options) + pairs(facts)
        settings += pairs([("limit", "100"), ("destroy", "on"), ("all", "")])
        preload = [(*item, True)[:3] for item in preload]
        settings += struct.pack("<H", len(preload))
        settings += b"".join(short(script) + short(group) + bytes([required]) for script, group, required in preload)
        send(self.control, settings, queue.receiving.fileno(), self.stats)

    def hear(self, timeout: float = TIMEOUT) -> tuple[str, str]:
        """What the daemon says next: the message and its reason. Two empty texts: it has ended. What it says about
        its work is kept."""
        self.control.settimeout(timeout)
        while True:
            try:
                message = self.control.recv(8192)
            except ConnectionResetError:
                message = b""
            if not message:
                return "", ""
            kind, reason = message[0], message[1:]
            if kind == 4:
                self.served += 1
            elif kind == 5:
                (length,) = struct.unpack_from("<H", reason)
                self.used.append((reason[2 : 2 + length].decode(), reason[4 + length :].decode("latin-1")))
            else:
                return ("", "Ready", "Replace", "Exiting")[kind], REASONS[reason[0] - 1] if reason else ""

    def drain(self) -> None:
        """Tells it to finish what it has."""
        self.control.send(b"\x02" + struct.pack("<Q", 2**64 - 1))

    def wait(self, timeout: float = TIMEOUT) -> int:
        """Waits for its end."""
        return self.process.wait(timeout)

    def remove(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        os.close(self.stats)
