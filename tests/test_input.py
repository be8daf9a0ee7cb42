"""wsgi.input: its methods, chunked bodies, 100 Continue, and clients that go away."""

import gzip
import hashlib
import json
import random
import subprocess

import pytest

CONFIG = """
LoadModule deflate_module ${MODULES}/mod_deflate.so
LoadModule filter_module ${MODULES}/mod_filter.so
WSGIApplicationGroup %{GLOBAL}
WSGIChunkedRequest On
WSGIScriptAlias /input ${APPS}/input.py
WSGIScriptAlias /echo ${APPS}/echo.py
WSGIScriptAlias /unchunked ${APPS}/input.py
WSGIScriptAlias /limited ${APPS}/input.py
WSGIScriptAlias /inflated ${APPS}/input.py
<Location /unchunked>
    WSGIChunkedRequest Off
</Location>
<Location /limited>
    LimitRequestBody 100
</Location>
<Location /inflated>
    SetInputFilter DEFLATE
</Location>
"""


def calls(*operations) -> tuple[str, str]:
    """The header that tells the application what to call."""
    return "X-Calls", json.dumps(operations)


def ask(httpd, body: bytes, *operations, path: str = "/input"):
    """What each call of a method gave for this body."""
    reply = httpd.request("POST", path, [calls(*operations)], body)
    assert reply.status == 200, reply
    return json.loads(reply.body)


def chunked(*pieces: bytes) -> bytes:
    """A chunked body of these pieces."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


def errors(result) -> list[str]:
    """The types of an exception that a call raised."""
    assert isinstance(result, dict), f"no exception but {result!r}"
    return result["error"]


@pytest.mark.short
@pytest.mark.parametrize(
    ("body", "operations", "expected"),
    [
        (b"hello", [["read"]], ["hello"]),
        (b"", [["read"]], [""]),
        (b"a\nb\r\n\x00\xff", [["read"]], ["a\nb\r\n\x00\xff"]),
        (b"hello", [["read", -1]], ["hello"]),
        (b"hello", [["read", -7]], ["hello"]),
        (b"hello", [["read", 100]], ["hello"]),
        (b"0123456789abcdef", [["read", 10], ["read"]], ["0123456789", "abcdef"]),
        (b"0123456789abcdef", [["loop", 7]], [["0123456", "789abcd", "ef"]]),
        (b"hello", [["read", 0], ["read"]], ["", "hello"]),
        (b"hello", [["read"], ["read"], ["read", 5], ["readline"], ["readlines"]], ["hello", "", "", "", []]),
        (b"one\ntwo\n", [["readline"], ["readline"], ["readline"]], ["one\n", "two\n", ""]),
        (b"one\ntwo", [["readline"], ["readline"], ["readline"]], ["one\n", "two", ""]),
        (b"\n\nx", [["readline"], ["readline"], ["readline"]], ["\n", "\n", "x"]),
        (b"0123456789\n", [["readline", 5], ["readline"]], ["01234", "56789\n"]),
        (b"ab\ncdef", [["readline", 5], ["readline", 5]], ["ab\n", "cdef"]),
        (b"abcd\nef", [["readline", 4], ["readline"], ["readline"]], ["abcd", "\n", "ef"]),
        (b"hello\n", [["readline", 0], ["readline", -1]], ["", "hello\n"]),
        (b"one\ntwo\nthree", [["readlines"]], [["one\n", "two\n", "three"]]),
        (b"one\ntwo\nthree", [["readlines", 5], ["read"]], [["one\n", "two\n"], "three"]),
        (b"one\ntwo\nthree", [["list"]], [["one\n", "two\n", "three"]]),
        (b"one\ntwo\nthree", [["next"], ["readline"], ["read", 2], ["list"]], ["one\n", "two\n", "th", ["ree"]]),
        (b"one\ntwo", [["close"], ["read"]], [None, "one\ntwo"]),
    ],
)
def test_methods(httpd, body, operations, expected):
    """Each method returns what PEP 3333 says, alone and mixed with others; also for a chunked body."""
    assert ask(httpd, body, *operations) == expected
    headers = [calls(*operations), ("Transfer-Encoding", "chunked")]
    pieces = [body[start : start + 3] for start in range(0, len(body), 3)]
    assert json.loads(httpd.request("POST", "/input", headers, chunked(*pieces)).body) == expected


def test_type(httpd):
    """The object has its documented type, is its own iterator, and offers no seeking."""
    names = ["seek", "tell", "fileno"]
    assert ask(httpd, b"", ["type"], *(["has", name] for name in names)) == ["mod_wsgi.Input", False, False, False]


@pytest.mark.parametrize("arguments", [["five"], [1, 2], [1.5]])
def test_bad_arguments(httpd, arguments):
    """Wrong arguments raise TypeError and read nothing."""
    result, rest = ask(httpd, b"body", ["read", *arguments], ["read"])
    assert "TypeError" in errors(result)
    assert rest == "body"


@pytest.mark.parametrize("size", [0, 1, 11, 1024, 8191, 8192, 8193, 65536, 1_000_000, 10_000_000])
def test_binary(httpd, size):
    """Bodies of any size and content arrive unchanged, with a length and chunked."""
    body = random.Random(size).randbytes(size)
    expected = [str(size), hashlib.sha256(body).hexdigest()]
    assert ask(httpd, body, ["sha256"]) == [expected]
    headers = [calls(["sha256"]), ("Transfer-Encoding", "chunked")]
    assert json.loads(httpd.request("POST", "/input", headers, chunked(body) if body else chunked()).body) == [expected]


def test_echo(httpd):
    """A body can be sent back while it arrives."""
    body = random.Random(1).randbytes(300_000)
    for size in ("", "1000", "100000"):
        reply = httpd.request("POST", f"/echo?{size}", body=body)
        assert reply.body == body
        assert reply.end == "complete"


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
def test_answer_before_reading(httpd):
    """An application may begin to answer before the client has sent the body."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/echo/first", {"Content-Length": "5"})
        reply = connection.head()
        assert reply.status == 200
        assert connection.chunk() == b"ready\n"
        connection.send(b"later")
        assert connection.chunk() == b"later"
        assert connection.chunk() == b""


def test_unread_body(httpd):
    """What the application does not read is not taken for the next request."""
    with httpd.connect() as connection:
        for size in (10, 100_000):
            assert connection.request("POST", "/echo/unread", body=b"GET " * size).body == b"not read"
        assert connection.get("/echo/unread").body == b"not read"


def test_pipelined(httpd):
    """Requests sent at once are told apart."""
    requests = b""
    for body in (b"first", b"", b"third"):
        requests += b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with httpd.connect() as connection:
        connection.send(requests)
        assert [connection.reply().body for _ in range(3)] == [b"first", b"", b"third"]


def test_no_length_in_chunked(httpd):
    """A chunked body has no CONTENT_LENGTH; the WSGI key that allows reading to its end is set."""
    reply = httpd.request("POST", "/input", [calls(["read"]), ("Transfer-Encoding", "chunked")], chunked(b"ab", b"c"))
    assert json.loads(reply.body) == ["abc"]


def test_chunked_refused(httpd):
    """Without WSGIChunkedRequest On a chunked body is refused before the application runs."""
    headers = [calls(["read"]), ("Transfer-Encoding", "chunked")]
    assert httpd.request("POST", "/unchunked", headers, chunked(b"abc")).status == 411
    httpd.log.expect("chunked")


def test_unknown_encoding(httpd):
    """Another Transfer-Encoding than chunked is refused."""
    reply = httpd.request("POST", "/input", [calls(["read"]), ("Transfer-Encoding", "gzip")])
    assert reply.status in (400, 501)
    httpd.log.allow("gzip|Transfer-Encoding")


@pytest.mark.parametrize("length", ["abc", "-1", "1x", "99999999999999999999999999"])
def test_bad_length(httpd, length):
    """A Content-Length that is no number is refused."""
    reply = httpd.request("POST", "/input", [calls(["read"]), ("Content-Length", length)])
    assert reply.status in (400, 413)
    httpd.log.allow("Content-Length")


def test_limit(httpd):
    """LimitRequestBody refuses a longer body before the application runs."""
    assert ask(httpd, b"x" * 100, ["read"], path="/limited") == ["x" * 100]
    assert httpd.request("POST", "/limited/logged", [calls(["read"])], b"x" * 101).status == 413
    httpd.log.allow("LimitRequestBody|limit")
    assert not httpd.log.find("results:")


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
def test_limit_chunked(httpd):
    """A chunked body above LimitRequestBody raises OSError in the application."""
    headers = [calls(["read"], ["read"]), ("Transfer-Encoding", "chunked")]
    with httpd.connect() as connection:
        connection.send_head("POST", "/limited/logged", headers)
        connection.send(chunked(b"x" * 60, b"x" * 60))
        record = httpd.log.expect("results:")[0]
        httpd.log.allow("AH01591|LimitRequestBody|limit")
    for result in json.loads(record.text.partition("results: ")[2]):
        assert "OSError" in errors(result)


def test_inflated(httpd):
    """Behind an input filter the body is read to its end, whatever Content-Length says."""
    body = b"line of text\n" * 1000
    headers = [calls(["sha256"]), ("Content-Encoding", "gzip")]
    reply = httpd.request("POST", "/inflated", headers, gzip.compress(body))
    assert json.loads(reply.body) == [[str(len(body)), hashlib.sha256(body).hexdigest()]]


@pytest.mark.parametrize("operation", [["read"], ["read", 0], ["read", 3], ["readline"], ["readlines"], ["list"]])
def test_continue(httpd, operation):
    """100 Continue is sent when the application first reads, by whatever method."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/input", [calls(operation), ("Expect", "100-continue"), ("Content-Length", "5")])
        assert connection.head().status == 100
        connection.send(b"hello")
        reply = connection.reply()
        assert reply.status == 200
        assert reply.interim == []


@pytest.mark.differs("the reply is complete only when httpd's Timeout has passed")
def test_no_continue(httpd):
    """An application that does not read gets no body sent: no 100 Continue, and the reply does not wait for one."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/echo/unread", {"Expect": "100-continue", "Content-Length": "5"})
        reply = connection.reply()
        assert reply.interim == []
        assert reply.body == b"not read"


def test_continue_not_after_head(httpd):
    """Once the head of the reply is out, 100 Continue is not sent any more; the body still arrives."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/echo/first", {"Expect": "100-continue", "Content-Length": "5"})
        assert connection.head().status == 200
        # httpd may frame this reply by the end of the connection.
        seen = b""
        while not seen.endswith((b"ready\n", b"ready\n\r\n")):
            seen += connection.exactly(1)
        connection.send(b"hello")
        while b"hello" not in seen:
            seen += connection.exactly(1)
        assert b"100 Continue" not in seen


def test_slow_body(httpd):
    """While one request waits for its body, others are served."""
    with httpd.connect() as slow:
        slow.send_head("POST", "/input", [calls(["read", 3], ["readline"], ["read"]), ("Content-Length", "10")])
        for start in range(10):
            assert ask(httpd, b"quick", ["read"]) == ["quick"]
            slow.send(b"01234\n6789"[start : start + 1])
        assert json.loads(slow.reply().body) == ["012", "34\n", "6789"]


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
def test_short_read_waits(httpd):
    """read(n) waits for n bytes; it does not give the first piece that came."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/echo?4", {"Content-Length": "8"})
        connection.send(b"ab")
        assert ask(httpd, b"", ["read"]) == [""]  # the server is alive, and has seen the first bytes
        connection.send(b"cdef")
        assert connection.head().status == 200
        assert connection.chunk() == b"abcd"
        connection.send(b"gh")
        assert connection.chunk() == b"efgh"
        assert connection.chunk() == b""


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
@pytest.mark.short
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("operation", [["read"], ["read", 50], ["readlines"], ["list"]])
def test_client_gone(httpd, how, operation):
    """A client that leaves in the middle of its body makes every further read raise OSError."""
    connection = httpd.connect()
    connection.send_head("POST", "/input/logged", [calls(["read", 3], operation, ["read"]), ("Content-Length", "100")])
    connection.send(b"0123456789")
    getattr(connection, how)()
    record = httpd.log.expect("results:")[0]
    first, second, third = json.loads(record.text.partition("results: ")[2])
    if not isinstance(first, dict):  # a reset may overtake the bytes before it
        assert first == "012"
    assert "OSError" in errors(second)
    assert "OSError" in errors(third)
    assert second["text"]


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
@pytest.mark.parametrize("bytes_", [b"zz\r\nabc\r\n0\r\n\r\n", b"3\r\nabcdef\r\n0\r\n\r\n", b"-1\r\n"])
def test_bad_chunk(httpd, bytes_):
    """Broken chunked framing raises OSError in the application."""
    with httpd.connect() as connection:
        connection.send_head("POST", "/input/logged", [calls(["read"], ["read"]), ("Transfer-Encoding", "chunked")])
        connection.send(bytes_)
        record = httpd.log.expect("results:")[0]
    httpd.log.allow("AH0[0-9]{4}")
    for result in json.loads(record.text.partition("results: ")[2]):
        assert "OSError" in errors(result)


@pytest.mark.modes("embedded")  # the daemon gets a small body once httpd has it whole
def test_timeout(start_httpd):
    """A client that stops sending makes the read raise OSError when httpd's Timeout has passed."""
    httpd = start_httpd("Timeout 1\nWSGIScriptAlias / ${APPS}/input.py\n")
    with httpd.connect() as connection:
        connection.send_head("POST", "/logged", [calls(["read"]), ("Content-Length", "100")])
        connection.send(b"some")
        record = httpd.log.expect("results:")[0]
    assert "OSError" in errors(json.loads(record.text.partition("results: ")[2])[0])


def test_expired(httpd):
    """The object of an earlier request raises RuntimeError instead of touching the current one."""
    with httpd.connect() as connection:  # one connection, so that prefork serves both in one process
        connection.request("POST", "/input", [calls(["read"])], b"first")
        operations = [["read"], ["readline"], ["readlines"], ["list"]]
        reply = connection.request("POST", "/input/kept", [calls(*operations)], b"second")
        for result in json.loads(reply.body):
            assert "RuntimeError" in errors(result)
        assert json.loads(connection.request("POST", "/input", [calls(["read"])], b"third").body) == ["third"]


@pytest.mark.mpms("event", "worker")  # mod_http2 refuses prefork
def test_http2(start_httpd, tmp_path):
    """A body over HTTP/2 is read whole, with a length and without."""
    httpd = start_httpd("""
        LoadModule http2_module ${MODULES}/mod_http2.so
        Protocols h2c http/1.1
        WSGIChunkedRequest On
        WSGIScriptAlias / ${APPS}/input.py
        """)
    body = random.Random(2).randbytes(200_000)
    (tmp_path / "body").write_bytes(body)
    command = ["curl", "-sS", "--http2-prior-knowledge", f"http://127.0.0.1:{httpd.port}/"]
    command += ["-H", ": ".join(calls(["sha256"])), "-X", "POST"]
    for upload in (["--data-binary", f"@{tmp_path / 'body'}"], ["-T", "-"]):
        output = subprocess.run([*command, *upload], input=body, check=True, capture_output=True).stdout
        assert json.loads(output) == [["200000", hashlib.sha256(body).hexdigest()]]
