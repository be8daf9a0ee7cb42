"""Runs in a daemon of one thread and takes requests from the queue itself, to answer them as no daemon would.

PATH_INFO names what is done to the next request; `/pid` is an ordinary answer, `/long` a long one, `/reach` tells what
it can do to others.
"""

import array
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import termios
import time
from pathlib import Path

STARTED, HEAD, DATA, FILE, WANT_BODY, LOG, RETRY, REFUSED, TRUNCATED, END, PIPED = range(1, 12)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name in TRICKS:
        (Path(environ["test.folder"]) / f"begun-{name}").touch()
        TRICKS[name]()
    body = str(os.getpid()).encode() * (1_000_000 if name == "long" else 1)
    if name == "reach":
        body = json.dumps({pid: reach(int(pid)) for pid in environ["QUERY_STRING"].split(",")}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def sockets(kind) -> list[socket.socket]:
    """The server's own sockets, which this process should not care about."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if entry.is_socket():
                found.append(socket.socket(fileno=os.dup(int(entry.name))))
        except OSError:
            continue  # the folder itself, which is closed by now
    return [one for one in found if one.type == kind]


def reach(pid: int) -> list[str]:
    """What this process can do to another one."""
    libc = ctypes.CDLL(None)
    found = []

    def attempt(what, action):
        try:
            if action() != -1:
                found.append(what)
        except OSError:
            pass

    def take():
        """Each descriptor of its, as a copy (pidfd_getfd)."""
        handle = os.pidfd_open(pid)
        copies = [libc.syscall(438, handle, number, 0) for number in range(64)]
        os.close(handle)
        return max(copies)

    attempt("descriptors", lambda: next(Path(f"/proc/{pid}/fd").iterdir()))
    attempt("copies", take)
    attempt("memory", lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY)))
    attempt("environ", lambda: os.close(os.open(f"/proc/{pid}/environ", os.O_RDONLY)))
    attempt("trace", lambda: libc.ptrace(16, pid, 0, 0))
    attempt("signal", lambda: os.kill(pid, 0))
    return found


class Stolen:
    """The next request of the queue."""

    def __init__(self):
        ways = [one for one in sockets(socket.SOCK_SEQPACKET) if one.family == socket.AF_UNIX]
        while True:
            for way in select.select(ways, [], [])[0]:
                if way.recv(4, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b"WSGQ":
                    continue
                data, controls, _, _ = way.recvmsg(1 << 16, socket.CMSG_SPACE(8))
                (self.nonce,) = struct.unpack_from("<Q", data, 8)
                number, *pipe = array.array("i", controls[0][2])
                self.far = socket.socket(fileno=number)
                # There is none where httpd has many processes.
                self.pipe = pipe[0] if pipe else os.open("/dev/null", os.O_WRONLY)
                return

    def frame(self, kind: int, contents: bytes = b"", length: int | None = None, nonce: int | None = None) -> bytes:
        length = len(contents) if length is None else length
        return struct.pack("<B3xIQ", kind, length, self.nonce if nonce is None else nonce) + contents

    def head(self, headers=(), status: int = 200, count: int | None = None) -> bytes:
        fields = [struct.pack("<H", len(n)) + n + struct.pack("<I", len(v)) + v for n, v in headers]
        count = len(fields) if count is None else count
        return self.frame(HEAD, struct.pack("<HHH", status, 0, count) + b"".join(fields))

    def send(self, *frames: bytes, files=()) -> None:
        files = [getattr(file, "fileno", lambda file=file: file)() for file in files]
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        # The server hangs up in the middle.
        try:
            sent = self.far.sendmsg([b"".join(frames)], control)
            self.far.sendall(b"".join(frames)[sent:])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def begin(self) -> None:
        """Sends a head and some of the body, and waits until httpd has received that, and nothing else with it."""
        self.send(self.head(), self.frame(DATA, b"begun"))
        while any(fcntl.ioctl(self.far, termios.TIOCOUTQ, bytes(4))):
            time.sleep(0.001)


TRICKS = {}


def trick(function):
    """The function answers one stolen request."""

    def run():
        stolen = Stolen()
        function(stolen)
        stolen.far.close()

    TRICKS[function.__name__] = run
    return function


def simple(name, make, files=()):
    """Two tricks: what `make` makes of the stolen request is sent at once, or as `late_…` after a part of the reply."""

    def run(late):
        stolen = Stolen()
        if late:
            stolen.begin()
        stolen.send(make(stolen), files=files() if callable(files) else files)
        stolen.far.close()

    TRICKS[name] = lambda: run(False)
    TRICKS[f"late_{name}"] = lambda: run(True)


# --- no frames

simple("close", lambda _: b"")
simple("zeros", lambda _: bytes(4096))
simple("ones", lambda _: b"\xff" * 100_000)
simple("http", lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
simple("half", lambda s: s.head()[:10])

# --- frames that are wrong in themselves

simple("wrong_nonce", lambda s: s.frame(STARTED, nonce=s.nonce ^ 1))
simple("no_nonce", lambda s: s.frame(STARTED, nonce=0))
simple("huge", lambda s: s.frame(DATA, b"x", length=0xFFFFFFFF))
simple("huge_head", lambda s: s.frame(HEAD, bytes(100), length=1 << 20 | 1))
simple("huge_log", lambda s: s.frame(LOG, b"\x03x", length=1 << 30))
simple("empty_head", lambda s: s.frame(HEAD))
simple("empty_data", lambda s: s.frame(DATA))
simple("end_with_contents", lambda s: s.frame(END, b"more"))

# --- frames out of order

simple("end_first", lambda s: s.frame(END))
simple("data_first", lambda s: s.frame(DATA, b"text"))
simple("truncated_first", lambda s: s.frame(TRUNCATED))
simple("started_twice", lambda s: s.frame(STARTED) * 2)
simple("retry_late", lambda s: s.frame(STARTED) + s.frame(RETRY))
simple("want_body", lambda s: s.frame(WANT_BODY))
simple("second_head", lambda s: s.head([(b"X-Hostile", b"1")]) * 2)
simple("refused_late", lambda s: s.head() + s.frame(REFUSED, struct.pack("<H", 500)))
simple("refused_200", lambda s: s.frame(REFUSED, struct.pack("<H", 200)))
simple("refused_999", lambda s: s.frame(REFUSED, struct.pack("<H", 999)))

# --- heads

whole = struct.pack("<HHH", 200, 0, 0)
simple("head_99", lambda s: s.head(status=99))
simple("head_100", lambda s: s.head(status=100))
simple("head_short", lambda s: s.head([(b"A", b"b")], count=500))
simple("head_long", lambda s: s.head([(b"A", b"b")] * 2, count=1))
simple("head_many", lambda s: s.head([(b"A", b"b")] * 1001))
simple("head_lines", lambda s: s.head([(b"A", b"b\r\nSet-Cookie: stolen=1")]))
simple("head_name", lambda s: s.head([(b"A: b\r\nC", b"d")]))
simple("head_no_name", lambda s: s.head([(b"", b"d")]))
simple("head_nul", lambda s: s.head([(b"A", b"b\0c")]))
simple("head_chunked", lambda s: s.head([(b"Transfer-Encoding", b"chunked")]))
simple("head_upgrade", lambda s: s.head([(b"Upgrade", b"websocket")]))
simple("head_length", lambda s: s.head([(b"Content-Length", b"-1")]))
simple("reason_lines", lambda s: s.frame(HEAD, struct.pack("<HH", 200, 6) + b"OK\r\nA:" + b"\0\0"))
simple("excess", lambda s: s.head([(b"Content-Length", b"3")]) + s.frame(DATA, b"four"))

# --- descriptors


def part(offset: int, length: int) -> bytes:
    return struct.pack("<QQ", offset, length)


def null():
    return os.open("/dev/null", os.O_RDONLY)


simple("surplus", lambda s: s.frame(STARTED), lambda: [null() for _ in range(3)])
simple("hundred", lambda s: s.frame(STARTED), lambda: [null() for _ in range(100)])
simple("file_missing", lambda s: s.head() + s.frame(FILE, part(0, 1)))
simple("file_pipe", lambda s: s.head() + s.frame(FILE, part(0, 1)), lambda: [os.pipe()[0]])
simple("file_folder", lambda s: s.head() + s.frame(FILE, part(0, 1)), lambda: [os.open("/", os.O_RDONLY)])
simple("file_device", lambda s: s.head() + s.frame(FILE, part(0, 1)), lambda: [os.open("/dev/zero", os.O_RDONLY)])
simple("file_socket", lambda s: s.head() + s.frame(FILE, part(0, 1)), lambda: [socket.socketpair()[0].detach()])
simple("file_beyond", lambda s: s.head() + s.frame(FILE, part(0, 1 << 40)), lambda: [os.open(__file__, os.O_RDONLY)])
simple("file_overflow", lambda s: s.head() + s.frame(FILE, part(1 << 63, 1 << 63)), lambda: [null()])
simple("file_first", lambda s: s.frame(FILE, part(0, 1)), lambda: [os.open(__file__, os.O_RDONLY)])

# --- the pipe


def piped(stolen, says: int, is_there: int = 0) -> bytes:
    os.write(stolen.pipe, bytes(is_there))
    return stolen.frame(PIPED, struct.pack("<I", says))


simple("piped_nothing", lambda s: s.head() + piped(s, 1))
simple("piped_less", lambda s: s.head() + piped(s, 1001, 1000))
simple("piped_zero", lambda s: s.head() + piped(s, 0, 10))
simple("piped_much", lambda s: s.head() + piped(s, 1 << 20 | 1, 10))
simple("piped_more", lambda s: piped(s, 1))
simple("piped_first", lambda s: piped(s, 10, 10))


@trick
def piped_excess(stolen):
    """Leaves something in the pipe."""
    stolen.send(stolen.head([(b"Content-Length", b"0")]))
    os.write(stolen.pipe, bytes(1000))
    stolen.send(stolen.frame(END), files=[stolen.far])
    time.sleep(0.05)
    os.write(stolen.pipe, bytes(1000))


# --- whole answers with something odd behind them


@trick
def foreign_end(stolen):
    """Hands back another socket than the one that it got."""
    near, other = socket.socketpair()
    stolen.send(stolen.head([(b"Content-Length", b"2")]), stolen.frame(DATA, b"ok"), stolen.frame(END), files=[other])
    near.send(bytes(100))
    time.sleep(0.05)


@trick
def two_ends(stolen):
    """Hands back the right one behind a file that it did not name."""
    whole = [stolen.head([(b"Content-Length", b"2")]), stolen.frame(DATA, b"ok"), stolen.frame(END)]
    stolen.send(*whole, files=[null(), stolen.far])


@trick
def kept_end(stolen):
    """Hands back the right one, keeps a copy, and goes on."""
    whole = [stolen.head([(b"Content-Length", b"2")]), stolen.frame(DATA, b"ok"), stolen.frame(END)]
    stolen.send(*whole, files=[stolen.far])
    time.sleep(0.05)
    stolen.send(*whole)


@trick
def after_end(stolen):
    stolen.send(stolen.head([(b"Content-Length", b"2")]), stolen.frame(DATA, b"ok"), stolen.frame(END), bytes(100))


# --- frames of the body that are larger than what httpd receives at a time

LARGE = bytes(range(256)) * 4096


def large(stolen, length: int = len(LARGE)) -> bytes:
    """The beginning of a reply of so many bytes: half of a frame that is as long as `LARGE`."""
    head = stolen.head([(b"Content-Length", str(length).encode())])
    return head + stolen.frame(DATA, LARGE[: len(LARGE) // 2], length=len(LARGE))


@trick
def large_files(stolen):
    """Sends descriptors in the middle of a frame, where none are expected."""
    stolen.send(large(stolen))
    stolen.send(LARGE[len(LARGE) // 2 :], files=[null() for _ in range(3)])
    stolen.send(stolen.frame(END), files=[stolen.far])


@trick
def large_half(stolen):
    stolen.send(large(stolen))


@trick
def large_excess(stolen):
    stolen.send(large(stolen, len(LARGE) - 1), LARGE[len(LARGE) // 2 :], stolen.frame(END))


@trick
def large_junk(stolen):
    stolen.send(large(stolen, 2 * len(LARGE)), LARGE[len(LARGE) // 2 :], b"junk" * 5000)


@trick
def large_head(stolen):
    """As large as it may be."""
    stolen.send(stolen.head([(b"A%d" % n, b"x" * 8000) for n in range(120)]), stolen.frame(END))


@trick
def silent(stolen):
    stolen.far.recv(1)


@trick
def retries(stolen):
    for _ in range(4):
        stolen.send(stolen.frame(RETRY))
        stolen.far.close()
        if _ < 3:
            stolen = Stolen()


# --- beyond the exchange


def others():
    """Writes junk to whatever belongs to the server, its supervisor included."""
    for one in sockets(socket.SOCK_SEQPACKET):
        try:
            one.send(b"\xff" * 2000, socket.MSG_DONTWAIT)
        except OSError:
            continue
    time.sleep(20)


def numbers():
    """Lies about what it has done, then dies."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if "wsgi-stats" in str(entry.readlink()):
                os.pwrite(int(entry.name), b"\xff" * 4096, 0)
                os.ftruncate(int(entry.name), 0)
        except OSError:
            continue  # the folder itself, which is closed by now, or the page, which cannot be cut
    os._exit(1)


def queue():
    """Shuts the queue of its group."""
    for one in sockets(socket.SOCK_SEQPACKET):
        one.shutdown(socket.SHUT_RDWR)


TRICKS |= {"others": others, "numbers": numbers, "queue": queue}
