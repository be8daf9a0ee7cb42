"""An HTTP/1 client that shows how a reply was framed and how it ended, which http.client hides."""

import socket
import struct
import time
from dataclasses import dataclass, field

PATIENCE = 60
"""Seconds after which whatever is waited for will not come, on a slow machine either. httpd itself waits for longer."""

COMPLETE = "complete"
"""The reply ended as its framing says."""
TRUNCATED = "truncated"
"""The server closed the connection before the end that the framing promised."""
RESET = "reset"
"""The connection was reset before the end of the reply."""


@dataclass
class Reply:
    """A response with its framing."""

    version: str
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    end: str = COMPLETE
    interim: list[int] = field(default_factory=list)
    """Statuses of the 1xx responses in front of it."""

    def header(self, name: str) -> str | None:
        """The value of a header that may occur at most once."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """The values of each occurrence of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        """The body, which should be UTF-8."""
        return self.body.decode()


class Connection:
    """One TCP connection to the server under test."""

    def __init__(self, port: int, timeout: float = PATIENCE, address: str = "127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout)
        self.buffer = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exception) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection in the ordinary way."""
        self.socket.close()

    def abort(self) -> None:
        """Closes the connection by a reset, as a client that crashed would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes | str) -> None:
        """Sends raw bytes."""
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def send_head(self, method: str, target: str, headers=(), version: str = "HTTP/1.1") -> None:
        """Sends a request line and headers; adds `Host`."""
        headers = list(dict(headers).items()) if isinstance(headers, dict) else list(headers)
        if not any(name.lower() == "host" for name, _ in headers):
            headers.insert(0, ("Host", "localhost"))
        lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers), "", ""]
        self.send("\r\n".join(lines))

    def request(self, method: str, target: str, headers=(), body: bytes = b"", version: str = "HTTP/1.1") -> Reply:
        """Sends a request, with `Content-Length` if it has a body, and reads the reply."""
        headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
        names = {name.lower() for name, _ in headers}
        if (body or method in ("POST", "PUT")) and not names & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(body))))
        self.send_head(method, target, headers, version)
        if body:
            self.send(body)
        return self.reply(method)

    def get(self, target: str, headers=(), version: str = "HTTP/1.1") -> Reply:
        """`request` without a body."""
        return self.request("GET", target, headers, version=version)

    def reply(self, method: str = "GET") -> Reply:
        """Reads the final response to a request that was sent by `method`."""
        interim = []
        while True:
            reply = self.head()
            if reply.status >= 200:
                break
            interim.append(reply.status)
        reply.interim = interim
        reply.end = self._body(reply, method)
        return reply

    def head(self) -> Reply:
        """Reads one status line with its headers."""
        lines = []
        while line := self.line():
            lines.append(line.decode("latin-1"))
        version, status, reason = (*lines[0].split(" ", 2), "")[:3]
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        return Reply(version, int(status), reason, headers)

    def line(self) -> bytes:
        """Reads one line without its end."""
        while b"\r\n" not in self.buffer:
            known = self.buffer
            self._fill()
            self.buffer = known + self.buffer
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def exactly(self, length: int) -> bytes:
        """Reads that many bytes."""
        data = bytearray(self.buffer)
        self.buffer = b""
        while len(data) < length:
            try:
                self._fill()
            except (EOFError, ConnectionResetError):
                self.buffer = bytes(data)  # what there is, for the reply that ended too early
                raise
            data += self.buffer
        self.buffer = bytes(data[length:])
        return bytes(data[:length])

    def chunk(self) -> bytes:
        """Reads one chunk of a chunked body; empty at its end, after the trailers."""
        length = int(self.line().partition(b";")[0], 16)
        if length:
            data = self.exactly(length)
            assert self.line() == b""
            return data
        while self.line():
            pass
        return b""

    def ended(self) -> bool:
        """Whether the server ends the connection, without further bytes."""
        assert not self.buffer, f"further bytes: {self.buffer[:100]!r}"
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _fill(self) -> None:
        """Receives more; what was in the buffer is the caller's to keep in front of it."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError("connection closed by the server")
        self.buffer = data

    def _body(self, reply: Reply, method: str) -> str:
        if method == "HEAD" or reply.status in (204, 304):
            return COMPLETE
        pieces: list[bytes] = []
        try:
            if (reply.header("Transfer-Encoding") or "").lower() == "chunked":
                while piece := self.chunk():
                    pieces.append(piece)
            elif (length := reply.header("Content-Length")) is not None:
                pieces.append(self.exactly(int(length)))
            else:
                self._to_end(pieces)
        except EOFError:
            pieces.append(self.buffer)
            return TRUNCATED
        except ConnectionResetError:
            pieces.append(self.buffer)
            return RESET
        finally:
            reply.body = b"".join(pieces)
        return COMPLETE

    def _to_end(self, pieces: list[bytes]) -> None:
        pieces.append(self.buffer)
        self.buffer = b""
        while data := self.socket.recv(65536):
            pieces.append(data)


def wait_for(condition, what: str, timeout: float = PATIENCE):
    """Polls `condition` until it is true and returns its value; fails, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.01)


def settled(check, timeout: float = PATIENCE) -> None:
    """Runs `check` until it finds nothing wrong: numbers that another process counts are not all there at once."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
