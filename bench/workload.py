"""The workloads: what is asked for, and the reply that every contender must give."""

import socket
from dataclasses import dataclass

BLOCK = 1024


@dataclass(frozen=True)
class Workload:
    """One kind of request. The WSGI application is `apps/NAME.wsgi`; the C handler goes by that file's name."""

    name: str
    title: str
    length: int
    """Bytes of the reply's body, without its transfer coding."""
    body: int = 0
    """Bytes of the request's body; 0 is a GET."""
    headers: int = 0
    """How many `X-Header-NN` fields the reply carries."""
    clients: int | None = None
    """How many clients it is meant for, where that is its point."""
    static: bool = True
    """Whether a static file can give the same reply."""
    in_c: bool = True
    """Whether the C handler gives it."""
    tail: str = ""
    """What comes after the application's path in the URL."""
    quick: bool = False
    """Whether it is measured when there is little time."""

    @property
    def path(self) -> str:
        return f"/{self.name}"

    def request(self) -> bytes:
        """The request as it goes over the wire, on a connection that stays open."""
        head = f"{'POST' if self.body else 'GET'} {self.path}{self.tail} HTTP/1.1\r\nHost: localhost\r\n"
        if self.body:
            head += f"Content-Length: {self.body}\r\n"
        return head.encode() + b"\r\n" + b"x" * self.body


HELLO = Workload("hello", "hello", len("Hello World!\n"), quick=True)
WORKLOADS = [
    HELLO,
    Workload("headers", "20 headers", len("Hello World!\n"), headers=20, static=False),
    Workload("10k", "10 KB", 10 * BLOCK),
    Workload("1m", "1 MB", BLOCK * BLOCK, quick=True),
    Workload("generator", "100 x 1 KB", 100 * BLOCK, static=False, quick=True),
    Workload("many", "1000 x 100 B", 1000 * 100, static=False),
    Workload("post", "POST 10 KB", len("10240\n"), body=10 * BLOCK, static=False),
    Workload("post1m", "POST 1 MB", len("1048576\n"), body=BLOCK * BLOCK, static=False, quick=True),
    Workload("file", "file_wrapper 1 MB", BLOCK * BLOCK, in_c=False),
    # Without the slash it would redirect.
    Workload("flask", "Flask hello", len("Hello World!\n"), tail="/", static=False, in_c=False),
    Workload("django", "Django hello", len("Hello World!\n"), static=False, in_c=False),
    Workload("sleep", "5 ms sleeper", len("Hello World!\n"), clients=64, static=False, in_c=False, quick=True),
]


class ReplyError(Exception):
    """A contender does not answer what the workload asks for."""


class Connection:
    """One keep-alive connection that checks each reply in full."""

    def __init__(self, port: int):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def exchange(self, workload: Workload) -> None:
        """Sends the request once and reads the reply to its end; raises ReplyError when it is not the expected one."""
        self._socket.sendall(workload.request())
        status = self._stream.readline().decode("latin-1").rstrip()
        if not status.startswith("HTTP/1.1 200 "):
            raise ReplyError(f"{workload.path}: status line {status!r}")
        fields: dict[str, str] = {}
        while line := self._stream.readline().decode("latin-1").rstrip():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        self._check(workload, fields, self._body(workload, fields))

    def _body(self, workload: Workload, fields: dict[str, str]) -> int:
        if "content-length" in fields:
            return len(self._stream.read(int(fields["content-length"])))
        if fields.get("transfer-encoding", "").lower() != "chunked":
            raise ReplyError(f"{workload.path}: neither Content-Length nor chunked")
        length = 0
        while size := int(self._stream.readline(), 16):
            length += len(self._stream.read(size))
            self._stream.readline()
        self._stream.readline()
        return length

    @staticmethod
    def _check(workload: Workload, fields: dict[str, str], length: int) -> None:
        if length != workload.length:
            raise ReplyError(f"{workload.path}: {length} bytes instead of {workload.length}")
        if fields.get("content-type") != "text/plain":
            raise ReplyError(f"{workload.path}: Content-Type {fields.get('content-type')!r}")
        headers = sum(name.startswith("x-header-") for name in fields)
        if headers != workload.headers:
            raise ReplyError(f"{workload.path}: {headers} X-Header fields instead of {workload.headers}")
