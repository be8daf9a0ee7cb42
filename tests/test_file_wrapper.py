"""wsgi.file_wrapper: whole files and parts, things that are no files, ranges, sendfile."""

import random

import pytest

CONFIG = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /files ${APPS}/files.py
WSGIScriptAlias /sendfile ${APPS}/files.py
<Location /sendfile>
    EnableSendfile On
    WSGIEnableSendfile On
</Location>
"""

CONTENT = b"first line\n" + random.Random(3).randbytes(200_000)
differs = pytest.mark.differs


def prepare(httpd):
    (httpd.root / "file").write_bytes(CONTENT)
    (httpd.root / "empty").write_bytes(b"")


@pytest.fixture
def ask(httpd):
    """Asks an application of files.py for the file."""

    def get(name: str, path: str = "/files", method: str = "GET", file: str = "file", headers=()):
        reply = httpd.request(method, f"{path}/{name}?{httpd.root / file}", headers)
        assert reply.end == "complete", reply
        return reply

    return get


@pytest.mark.short
@pytest.mark.parametrize("path", ["/files", "/sendfile"])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("whole", CONTENT),
        ("with_size", CONTENT),
        ("with_length", CONTENT),
        ("unbuffered", CONTENT),
        ("subclass", CONTENT),
        ("part", CONTENT[100:1100]),
        ("rest", CONTENT[11:]),
        ("at_end", b""),
    ],
)
def test_file(ask, name, body, path):
    """A regular file is sent from its position on, with a length."""
    reply = ask(name, path)
    assert (reply.status, reply.body) == (200, body)
    assert reply.header("Content-Length") == str(len(body))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("memory", b"in memory" * 5000),
        ("pipe", b"through a pipe"),
        ("directory", b"read by read()"),
        ("wrapped", b"before " + CONTENT),
        ("after_write", b"before " + CONTENT),
        ("unused", b"unused"),
        ("text_mode", CONTENT),
    ],
)
def test_iterated(ask, name, body):
    """Everything else is read block by block."""
    reply = ask(name)
    assert (reply.status, reply.body) == (200, body)


@differs("logs a SystemError")
def test_no_close(ask):
    """A file-like object without close() is no fault."""
    assert ask("no_close").body == b"one two three"


def test_empty_file(ask):
    """An empty file is an empty reply."""
    for name in ("whole", "with_length", "unbuffered"):
        reply = ask(name, file="empty")
        assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "0")


def test_class(ask):
    """The class has its documented attributes and refuses wrong arguments."""
    assert ask("properties").text == "ValueError,TypeError,TypeError,closed"


@pytest.mark.parametrize("path", ["/files", "/sendfile"])
@pytest.mark.parametrize(
    ("spec", "expected"),
    [("bytes=0-9", CONTENT[:10]), ("bytes=1000-1999", CONTENT[1000:2000]), ("bytes=-5", CONTENT[-5:])],
)
def test_range(ask, path, spec, expected):
    """httpd answers range requests from the file."""
    reply = ask("with_length", path, headers={"Range": spec})
    assert (reply.status, reply.body) == (206, expected)
    assert reply.header("Content-Range").endswith(f"/{len(CONTENT)}")


def test_head(ask):
    """HEAD gives the length and no body."""
    reply = ask("whole", method="HEAD")
    assert (reply.status, reply.header("Content-Length")) == (200, str(len(CONTENT)))
    assert ask("not_modified").status == 304


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_closed(ask, httpd, method):
    """The file is closed exactly once."""
    ask("watched", method=method)
    assert len(httpd.log.expect("file closed")) == 1


def test_position(ask, httpd):
    """The descriptor's own position is where the application left it."""
    for count in range(1, 21):
        assert ask("position").body == CONTENT[100:]
        httpd.log.expect("position 100$", count)


@pytest.mark.parametrize(
    ("name", "exception"), [("no_methods", "AttributeError"), ("closed_file", "ValueError"), ("read_str", "TypeError")]
)
def test_broken_object(ask, httpd, name, exception):
    """What cannot be read gives 500."""
    assert ask(name).status == 500
    httpd.log.expect_traceback(exception)
    httpd.log.allow("close|SystemError|Traceback|^  ")


def test_no_start_response(ask, httpd):
    """A file without start_response gives 500, and is closed."""
    assert ask("no_start").status == 500
    httpd.log.expect("start_response")
    httpd.log.expect("file closed")
    httpd.log.allow("RuntimeError|Traceback|^  ")


def test_odd_tell(ask, httpd):
    """A tell() that gives no number makes it an ordinary iterable."""
    assert ask("odd_tell").body == CONTENT
    httpd.log.expect("file closed")
    httpd.log.allow("TypeError|Traceback|^  ")


@differs("sends whatever it finds")
def test_negative_tell(httpd):
    """A tell() that cannot be true never sends something else than the file."""
    reply = httpd.get(f"/files/negative_tell?{httpd.root / 'file'}")
    assert reply.status == 500 or reply.body == CONTENT
    httpd.log.expect("file closed")
    httpd.log.allow("negative_tell|tell|Error|Traceback|^  ")


@differs("cuts the connection")
def test_beyond_end(ask):
    """From a position behind the end there is nothing to send."""
    assert ask("beyond_end").body == b""


@differs("the client waits for ever or gets other bytes")
@pytest.mark.parametrize("path", ["/files", "/sendfile"])
def test_length_too_large(httpd, path):
    """A Content-Length beyond the end of the file: the client gets the file and can tell, or is told by 500."""
    with httpd.connect() as connection:
        reply = connection.get(f"{path}/length_too_large?{httpd.root / 'file'}")
    if reply.status == 200 and reply.header("Content-Length") == str(len(CONTENT) + 1000):
        assert reply.end in ("truncated", "reset")
    else:
        assert reply.status == 500 or reply.header("Content-Length") == str(len(CONTENT))
    assert reply.status == 500 or reply.body == CONTENT
    httpd.log.expect("Content-Length|length")
    httpd.log.allow("Traceback|^  |Error")


@differs("the client waits for ever")
def test_shrinking_file(httpd):
    """A file that shrinks while it is sent cuts the reply, and never the child."""
    (httpd.root / "shrinking").write_bytes(CONTENT)
    (httpd.root / "shrinking").chmod(0o666)
    pids = set(httpd.workers())
    with httpd.connect() as connection:
        reply = connection.get(f"/files/growing?{httpd.root / 'shrinking'}")
    if reply.status == 200:
        assert CONTENT.startswith(reply.body)
        assert reply.end in ("truncated", "reset") or reply.header("Content-Length") == str(len(reply.body))
    httpd.log.expect("file closed")
    httpd.log.allow("length|Length|AH0|Traceback|^  |Error")
    httpd.log.allow("WSGI0141|WSGI0143")  # httpd looks at a daemon's file itself, and finds it too short
    assert pids <= set(httpd.workers())


@differs("leaves the connection open, without its last chunk")
def test_read_raises(httpd):
    """An exception in read() cuts the reply."""
    reply = httpd.get("/files/read_raises")
    assert reply.body == b"one "
    assert reply.end != "complete"
    httpd.log.expect_traceback("ArithmeticError: in read")


def test_large_file(httpd):
    """A file of 50 MB arrives whole, by read and by sendfile."""
    content = random.Random(4).randbytes(1_000_000) * 50
    (httpd.root / "large").write_bytes(content)
    for path in ("/files", "/sendfile"):
        assert httpd.get(f"{path}/whole?{httpd.root / 'large'}").body == content
    (httpd.root / "large").unlink()
