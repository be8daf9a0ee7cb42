"""The reply: iterables, framing, lengths, headers, and close()."""

import gzip
import re
import subprocess

import pytest

CONFIG = """
LoadModule deflate_module ${MODULES}/mod_deflate.so
LoadModule filter_module ${MODULES}/mod_filter.so
LoadModule headers_module ${MODULES}/mod_headers.so
LoadModule mime_module ${MODULES}/mod_mime.so
TypesConfig /dev/null
AddType text/x-python .py
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /app ${APPS}/response.py
WSGIScriptAlias /deflated ${APPS}/response.py
WSGIScriptAlias /head-on ${APPS}/response.py
WSGIScriptAlias /head-off ${APPS}/response.py
<Location /deflated>
    SetOutputFilter DEFLATE
</Location>
<Location /head-on>
    WSGIMapHEADToGET On
</Location>
<Location /head-off>
    WSGIMapHEADToGET Off
    SetOutputFilter DEFLATE
</Location>
"""

differs = pytest.mark.differs


@pytest.mark.short
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("as_list", b"one two three"),
        ("as_tuple", b"one two three"),
        ("as_single", b"one two three"),
        ("as_generator", b"one two three"),
        ("as_iterator", b"one two three"),
        ("as_subclass", b"one two three"),
        ("as_set", b"one two three"),
        ("sequence", b"one block"),
        ("hundred", b"".join(b"%d," % number for number in range(100))),
        ("empty_list", b""),
        ("empty_generator", b""),
        ("empty_blocks", b""),
    ],
)
def test_iterables(httpd, name, body):
    """Any iterable of bytes is a reply; under HTTP/1.0 too."""
    for version in ("HTTP/1.1", "HTTP/1.0"):
        reply = httpd.get(f"/app/{name}", version=version)
        assert (reply.status, reply.body, reply.end) == (200, body, "complete")
        assert reply.header("Content-Type") == "text/plain"


@pytest.mark.parametrize("name", ["empty_list", "empty_generator", "empty_blocks"])
def test_empty(httpd, name):
    """A reply without a body says so."""
    assert httpd.get(f"/app/{name}").header("Content-Length") == "0"


@differs("sends lists chunked")
@pytest.mark.parametrize("name", ["as_list", "as_tuple", "as_single"])
def test_automatic_length(httpd, name):
    """The length of a list's or tuple's body is known, so it is sent."""
    reply = httpd.get(f"/app/{name}")
    assert reply.header("Content-Length") == "13"
    assert reply.header("Transfer-Encoding") is None


@pytest.mark.modes("embedded")  # blocks that come at once from a daemon go out as one
@pytest.mark.parametrize("name", ["as_generator", "as_iterator", "hundred"])
def test_chunked(httpd, name):
    """A body of unknown length is chunked, and the connection stays usable."""
    with httpd.connect() as connection:
        for _ in range(3):
            reply = connection.get(f"/app/{name}")
            assert reply.header("Transfer-Encoding") == "chunked"
            assert reply.header("Content-Length") is None
            assert reply.end == "complete"


@pytest.mark.parametrize("name", ["as_none", "as_number", "as_bytes", "as_str"])
def test_not_iterable(httpd, name):
    """What is no iterable of bytes gives 500 and a TypeError in the log."""
    assert httpd.get(f"/app/{name}").status == 500
    httpd.log.expect_traceback("TypeError")


@pytest.mark.parametrize("kind", ["str", "bytearray", "memoryview", "none", "int"])
def test_bad_item(httpd, kind):
    """Blocks must be bytes."""
    assert httpd.get(f"/app/item?{kind}").status == 500
    httpd.log.expect_traceback("TypeError")


@pytest.mark.parametrize("name", ["big", "big_list"])
def test_big(httpd, name):
    """Large bodies arrive whole, to clients fast and slow."""
    expected = bytes(range(256)) * 4096
    assert httpd.get(f"/app/{name}?20").body == expected * 20
    with httpd.connect() as connection:
        connection.send_head("GET", f"/app/{name}?2")
        reply = connection.head()
        assert reply.status == 200
        body = b""
        if length := reply.header("Content-Length"):
            body = b"".join(connection.exactly(4096) for _ in range(int(length) // 4096))
        else:
            while piece := connection.chunk():
                body += piece
        assert body == expected * 2


@pytest.mark.parametrize("name", ["stepwise", "stepwise_write"])
def test_streaming(httpd, name):
    """Each block is sent when it is given, before the next one exists."""
    go = httpd.root / f"{name}.go"
    with httpd.connect() as connection:
        connection.send_head("GET", f"/app/{name}?{go}")
        assert connection.head().status == 200
        assert connection.chunk() == b"first "
        go.touch()
        assert connection.chunk() == b"second"
        assert connection.chunk() == b""
    go.unlink()


@pytest.mark.parametrize("name", ["rush", "rush_write"])
def test_rush(httpd, name):
    """Of many blocks that come one upon the other, too, all are sent before the application gives the next one."""
    go = httpd.root / f"{name}.go"
    expected = b"".join(b"%d," % number for number in range(2000))
    with httpd.connect() as connection:
        connection.send_head("GET", f"/app/{name}?{go}")
        assert connection.head().status == 200
        body = b""
        while len(body) < len(expected):
            body += connection.chunk()
        assert body == expected
        go.touch()
        assert connection.chunk() == b"second"
        assert connection.chunk() == b""
    go.unlink()


def test_deflate(httpd):
    """Output filters apply."""
    reply = httpd.get("/deflated/hundred", {"Accept-Encoding": "gzip"})
    assert reply.header("Content-Encoding") == "gzip"
    assert gzip.decompress(reply.body).startswith(b"0,1,2,")
    reply = httpd.get("/deflated/length?10", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(reply.body) == b"0123456789"
    httpd.log.expect("ran to its end")


# --- close()


@pytest.mark.parametrize(
    ("name", "status", "exception"),
    [
        ("closed", 200, None),
        ("closed_empty", 200, None),
        ("closed_failing", 200, "OSError: in close"),
        ("closed_raising_first", 500, "ArithmeticError: at once"),
        ("closed_bad_item", 500, "TypeError"),
        ("closed_no_start", 500, "RuntimeError"),
        ("closed_bad_length", 500, "ValueError"),
        ("closed_head", 200, None),
    ],
)
def test_close(httpd, name, status, exception):
    """close() of the iterable is called exactly once, whatever happened."""
    method = "HEAD" if name == "closed_head" else "GET"
    reply = httpd.request(method, f"/app/{name}")
    assert reply.status == status
    assert reply.end == "complete"
    if exception:
        httpd.log.expect_traceback(exception)
    assert [record.text[-1] for record in httpd.log.expect(r"closed \d")] == ["1"]


@differs("leaves the connection open, without its last chunk")
@pytest.mark.parametrize(
    ("name", "exception"), [("closed_raising_late", "ArithmeticError: late"), ("closed_bad_later", "TypeError")]
)
def test_close_late(httpd, name, exception):
    """close() is called too when the iteration fails after the head is out; the client can tell that it failed."""
    reply = httpd.get(f"/app/{name}")
    assert (reply.status, reply.body) == (200, b"one")
    assert reply.end != "complete"
    httpd.log.expect_traceback(exception)
    assert [record.text[-1] for record in httpd.log.expect(r"closed \d")] == ["1"]


@differs("leaves the connection open, without its last chunk")
def test_generator_finally(httpd):
    """The finally block of a generator runs when the server gives up on it."""
    reply = httpd.get("/app/finally_generator")
    assert (reply.status, reply.body) == (200, b"one")
    assert reply.end != "complete"
    httpd.log.expect("finally ran")
    httpd.log.expect_traceback("TypeError")


# --- Content-Length


@pytest.mark.parametrize("name", ["length", "length_of_list", "length_of_write"])
def test_exact_length(httpd, name):
    """A right Content-Length is kept."""
    with httpd.connect() as connection:
        for _ in range(2):
            reply = connection.get(f"/app/{name}?10")
            assert (reply.header("Content-Length"), reply.body) == ("10", b"0123456789")
            assert reply.header("Transfer-Encoding") is None
    if name == "length":
        httpd.log.expect("ran to its end", 2)  # after the reply


@pytest.mark.parametrize("name", ["length", "length_of_list", "length_of_write"])
@pytest.mark.parametrize("length", [0, 3, 5, 7])
def test_longer_body(httpd, name, length):
    """A body longer than its Content-Length is cut, so that the connection stays in step; the generator runs on."""
    with httpd.connect() as connection:
        reply = connection.get(f"/app/{name}?{length}")
        assert (reply.header("Content-Length"), reply.body) == (str(length), b"0123456789"[:length])
        assert connection.get("/app/as_single").body == b"one two three"
    if name == "length":
        httpd.log.expect("ran to its end")
    httpd.log.allow("Content-Length")


@differs("the client waits for ever")
@pytest.mark.parametrize("name", ["length", "length_of_list", "length_of_write"])
def test_shorter_body(httpd, name):
    """A body shorter than its Content-Length ends the connection, so that the client can tell; a line says why."""
    with httpd.connect() as connection:
        reply = connection.get(f"/app/{name}?15")
    assert reply.header("Content-Length") == "15"
    assert reply.body == b"0123456789"
    assert reply.end in ("truncated", "reset")
    httpd.log.expect("Content-Length")
    if name == "length":
        httpd.log.expect("ran to its end")


@pytest.mark.parametrize(
    "length",
    ["ten", "-1", "1.5", pytest.param("", marks=differs("takes it for 0")), "0x10", "1,2", "99999999999999999999"],
)
def test_bad_length(httpd, length):
    """A Content-Length that is no number gives 500."""
    assert httpd.get(f"/app/length?{length}").status == 500
    httpd.log.expect_traceback("ValueError")
    httpd.log.allow("ran to its end")


# --- statuses and methods without a body


@pytest.mark.parametrize("status", ["204", "304"])
def test_no_body(httpd, status):
    """204 and 304 have no body, whatever the application gives."""
    with httpd.connect() as connection:
        reply = connection.get(f"/app/status?{status}")
        assert reply.status == int(status)
        assert reply.header("Transfer-Encoding") is None
        assert connection.get("/app/as_single").body == b"one two three"


@pytest.mark.parametrize("status", [200, 201, 206, 302, 400, 404, 405, 410, 500, 502, 503])
def test_status_with_body(httpd, status):
    """The application's own page is sent with any status; httpd adds none of its own."""
    reply = httpd.get(f"/app/status?{status}")
    assert (reply.status, reply.body, reply.end) == (status, b"a body", "complete")


@pytest.mark.parametrize("name", ["as_list", "as_generator", "length?10", "method", "stepwise?/", "big?1"])
def test_head(httpd, name):
    """A reply to HEAD has the head of a GET and no body; the connection stays in step."""
    with httpd.connect() as connection:
        reply = connection.request("HEAD", f"/app/{name}")
        assert (reply.status, reply.header("Content-Type")) == (200, "text/plain")
        assert connection.get("/app/as_single").body == b"one two three"
    if name == "length?10":
        httpd.log.expect("ran to its end")


def test_head_without_body(httpd):
    """An application that gives HEAD a length but no body is right: nothing is logged, nothing is cut."""
    with httpd.connect() as connection:
        reply = connection.request("HEAD", "/app/method")
        assert reply.header("Content-Length") == "4"
        assert connection.get("/app/as_single").body == b"one two three"


@pytest.mark.parametrize(
    ("path", "method"),
    [("/app", "HEAD"), ("/deflated", "GET"), ("/head-on", "GET"), ("/head-off", "HEAD")],
)
def test_map_head(httpd, path, method):
    """WSGIMapHEADToGET shows HEAD as GET: always, never, or when a filter needs the body."""
    assert httpd.request("HEAD", f"{path}/method").header("X-Method") == method
    assert httpd.get(f"{path}/method").header("X-Method") == "GET"


# --- headers


def test_headers_of_server(httpd):
    """httpd adds Date and Server."""
    reply = httpd.get("/app/as_list")
    assert reply.header("Date")
    assert reply.header("Server").startswith("Apache")


def test_repeated_headers(httpd):
    """Set-Cookie headers stay apart and in order; others may be joined."""
    reply = httpd.get("/app/cookies")
    assert reply.all("Set-Cookie") == ["a=1", "b=2"]
    assert ", ".join(reply.all("X-Same")) == "first, second"


def test_many_headers(httpd):
    """Many and long headers arrive."""
    reply = httpd.get("/app/many")
    assert [reply.header(f"X-Header-{number}") for number in range(25)] == [f"value {number}" for number in range(25)]
    assert httpd.get("/app/long_header").header("X-Long") == "x" * 60000


def test_www_authenticate(httpd):
    """The challenge of an application that logs its users in itself arrives."""
    reply = httpd.get("/app/login")
    assert (reply.status, reply.body) == (401, b"login")
    assert reply.header("WWW-Authenticate") == 'Basic realm="r"'


@differs("guesses from the script's file name")
def test_no_type_guessed(httpd):
    """Without a Content-Type from the application none is made up from the script's file name."""
    assert httpd.get("/app/plain").header("Content-Type") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "gzip"),
        ("Keep-Alive", "timeout=99"),
        ("TE", "trailers"),
        ("Trailer", "X-T"),
        ("Upgrade", "websocket"),
    ],
)
@differs("sends them, which breaks the framing")
def test_hop_by_hop(httpd, name, value):
    """Headers that belong to the connection are left out, with a warning; the reply is well framed."""
    with httpd.connect() as connection:
        reply = connection.get(f"/app/header?{name}={value}")
        assert (reply.status, reply.body) == (200, b"one two")
        assert value not in reply.all(name)
        assert connection.get("/app/as_single").body == b"one two three"
    (record,) = httpd.log.expect(re.escape(name))
    assert record.level == "warn"


def test_connection_close(httpd):
    """An application may ask for the end of the connection."""
    with httpd.connect() as connection:
        reply = connection.get("/app/header?Connection=close")
        assert reply.body == b"one two"
        assert reply.header("Connection") == "close"
        assert connection.ended()


def test_mod_headers(start_httpd):
    """httpd's own header directives apply."""
    httpd = start_httpd("""
        LoadModule headers_module ${MODULES}/mod_headers.so
        Header set X-Added there
        Header unset X-Same
        WSGIScriptAlias / ${APPS}/response.py
        """)
    reply = httpd.get("/cookies")
    assert reply.header("X-Added") == "there"
    assert reply.all("X-Same") == []


@pytest.mark.mpms("event", "worker")  # mod_http2 refuses prefork
def test_http2(start_httpd):
    """Replies over HTTP/2 are whole; a failed one is visibly so."""
    httpd = start_httpd("""
        LoadModule http2_module ${MODULES}/mod_http2.so
        Protocols h2c http/1.1
        WSGIScriptAlias / ${APPS}/response.py
        """)
    base = ["curl", "-sS", "--max-time", "60", "--http2-prior-knowledge"]
    for name in ("as_list", "as_generator"):
        run = subprocess.run([*base, f"http://127.0.0.1:{httpd.port}/{name}"], capture_output=True)
        assert (run.returncode, run.stdout) == (0, b"one two three")
    run = subprocess.run([*base, f"http://127.0.0.1:{httpd.port}/big?8"], capture_output=True)
    assert run.stdout == bytes(range(256)) * 4096 * 8
