"""The error log: what applications print, and the exceptions that they raise."""

import re

import pytest

from httpd import GROUP

CONFIG = """
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /errors ${APPS}/errors.py
WSGIScriptAlias /raises ${APPS}/raises.py
"""


def logged(httpd, name: str, *lines: str, path: str = "/errors"):
    """Calls the application and waits for these lines in its log, in this order, one record each."""
    assert httpd.get(f"{path}/{name}").body == b"ok"
    prefix = r"^\[script \S*/errors\.py\] "
    records = [httpd.log.expect(prefix + re.escape(line) + "$")[0] for line in lines]
    order = [httpd.log.records().index(record) for record in records]
    assert order == sorted(order)
    return records


@pytest.mark.short
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("print_errors", ["to wsgi.errors"]),
        ("print_stdout", ["to stdout"]),
        ("print_stderr", ["to stderr"]),
        ("three", ["to wsgi.errors", "to stdout", "to stderr"]),
        pytest.param(
            "pieces",
            ["a line in pieces", "and another"],
            marks=pytest.mark.differs("a new line is cut where a write ends"),
        ),
        ("unfinished", ["no newline"]),
        ("flushed", ["flushed"]),
        ("writelines", ["first of lines", "second of lines"]),
        (
            "buffer",
            ["as bytes", "as bytearray", "as memoryview", "bytes of lines", "bytearray of lines", "view of lines"],
        ),
        ("library", ["by logging"]),
        ("properties", ["name <wsgi.errors>", "isatty False", "encoding utf-8", "fileno OSError"]),
    ],
)
def test_print(httpd, name, lines):
    """Each line becomes a record of level error, with the script's path in front and the client of the request."""
    for record in logged(httpd, name, *lines):
        assert record.level == "error"
        assert record.module == "wsgi"
        assert record.client


def test_changed(httpd):
    """What an application does to the stream of one request is not found in that of another."""
    for _ in range(3):
        logged(httpd, "changed", "found utf-8 replace True []")
    assert not httpd.log.find("found (?!utf-8 replace True \\[\\])")


def test_lines(httpd):
    """A text of several lines becomes several records."""
    logged(httpd, "lines", "line one", "line two", "line four")
    httpd.log.allow(r"^\[script \S+\] $")


def test_any_text(httpd):
    """Text is encoded, never interpreted, and never an error."""
    assert httpd.get("/errors/text").body == b"ok"
    record = httpd.log.expect("snowman")[0]
    assert "percent %s %n %d" in record.text
    assert "quote" in record.text


def test_long_line(httpd):
    """A very long line is logged, at least its beginning, and does no harm."""
    assert httpd.get("/errors/long").body == b"ok"
    record = httpd.log.expect("start x{4000}")[0]
    assert record.level == "error"
    httpd.log.allow("x{100}| end$")


def test_nul(httpd):
    """A NUL does no harm."""
    assert httpd.get("/errors/nul").body == b"ok"
    httpd.log.expect("before")
    httpd.log.allow("after")


@pytest.mark.differs("text after a NUL is lost")
def test_after_nul(httpd):
    """Text after a NUL is not lost."""
    assert httpd.get("/errors/nul").body == b"ok"
    httpd.log.expect("after")
    httpd.log.allow("before")


def test_forged(httpd):
    """An application cannot forge a record of its own: every line has the script's prefix."""
    assert httpd.get("/errors/forged").body == b"ok"
    assert httpd.log.expect("forged")[0].module == "wsgi"
    httpd.log.allow("one")
    assert not [record for record in httpd.log.records() if record.level == "emerg"]


def test_thread(httpd):
    """What a thread of the application prints is logged too."""
    assert httpd.get("/errors/thread").body == b"ok"
    httpd.log.expect("from another thread")
    assert httpd.get("/errors/thread_raises").body == b"ok"
    httpd.log.expect_traceback("ZeroDivisionError")
    httpd.log.allow("Exception in thread|Traceback|^  |in run|division")


def test_expired(httpd):
    """The stream of an earlier request raises RuntimeError when written to; flush does no harm."""
    with httpd.connect() as connection:
        assert connection.get("/errors/keep").body == b"ok"
        assert connection.get("/errors/kept_write").body == b"ok"
    httpd.log.expect("kept raised RuntimeError")
    assert not httpd.log.find("of an earlier request")


def test_virtual_host(start_httpd):
    """Records go to the log of the request's virtual host."""
    httpd = start_httpd("""
        WSGIScriptAlias / ${APPS}/errors.py
        <VirtualHost *:${PORT}>
            ServerName one
        </VirtualHost>
        <VirtualHost *:${PORT}>
            ServerName two
            ErrorLog ${ROOT}/two.log
        </VirtualHost>
        """)
    for name in ("print_errors", "print_stdout", "print_stderr"):
        assert httpd.get(f"/{name}", {"Host": "two"}).body == b"ok"
    other = (httpd.root / "two.log").read_text()
    for line in ("to wsgi.errors", "to stdout", "to stderr"):
        assert line in other
    assert not httpd.log.find("to wsgi.errors|to std")


@pytest.mark.short
def test_traceback(httpd):
    """An exception is answered by 500 and logged: a header that names the script, then the traceback line by line."""
    reply = httpd.get("/raises/before")
    assert reply.status == 500
    assert b"the message" not in reply.body
    (block,) = httpd.log.expect_traceback("Broken: the message")
    header = block[0]
    assert "Broken" in header.text
    assert "raises.py" in header.text
    assert {record.level for record in block} == {"error"}
    assert {record.client for record in block} == {header.client}
    assert header.client


@pytest.mark.differs("logs the exception without its traceback")
def test_traceback_lines(httpd):
    """The traceback holds its usual lines: where in which file, what the code was."""
    httpd.get("/raises/before")
    (block,) = httpd.log.expect_traceback("Broken: the message")
    text = "\n".join(record.text for record in block)
    assert "Traceback (most recent call last):" in text
    assert re.search(r'File "\S*/raises\.py", line \d+, in before', text)
    assert 'raise Broken("the message")' in text


@pytest.mark.differs("its header does not say so")
def test_traceback_header(httpd):
    """The header has a stable code and names script, exception, interpreter and group."""
    httpd.get("/raises/before")
    (block,) = httpd.log.expect_traceback("Broken: the message")
    assert re.search(r"WSGI\d{4}: ", block[0].text)
    assert re.search(r"\[script \S*/raises\.py\]", block[0].text)
    assert "main interpreter" in block[0].text
    assert (f'"{GROUP}"' if httpd.setup.daemon else "embedded") in block[0].text


@pytest.mark.parametrize(
    ("name", "exception"),
    [
        ("nested", "ValueError: the outer one"),
        ("after_start", "Broken: after start_response"),
        ("in_iteration", "Broken: before the first block"),
        ("bottom", "Bottom: of all exceptions"),
        ("interrupted", "KeyboardInterrupt: from the application"),
        ("exits", "SystemExit: the exit's message"),
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
        ("memory", "MemoryError"),
        ("latin", "Broken: caf"),
        ("multiline", "Broken: first line"),
    ],
)
def test_exceptions(httpd, name, exception):
    """Any exception before the head is out gives 500 and is logged; the server goes on."""
    pids = set(httpd.workers())
    reply = httpd.get(f"/raises/{name}")
    assert reply.status == 500
    assert reply.header("X-Never") is None
    assert httpd.get("/raises/fine").body == b"ok"
    assert pids <= set(httpd.workers())
    httpd.log.expect_traceback(exception)
    httpd.log.allow(
        r"^second line|third line|Broken: the message|direct cause|^Traceback|^  |^$|Previous line repeated"
    )


def test_exit(httpd):
    """SystemExit is logged as such, and ends nothing but the request."""
    pids = set(httpd.workers())
    assert httpd.get("/raises/exits").status == 500
    (block,) = httpd.log.expect_traceback("SystemExit: the exit's message")
    assert "SystemExit" in block[0].text
    assert pids <= set(httpd.workers())


def test_unprintable(httpd):
    """An exception that cannot be printed is still answered and logged."""
    assert httpd.get("/raises/unprintable").status == 500
    httpd.log.expect("Unprintable")
    httpd.log.allow("Traceback|^  |Broken|exception")


def test_error_document(start_httpd):
    """httpd's ErrorDocument applies to an application that failed."""
    httpd = start_httpd("""
        WSGIScriptAlias / ${APPS}/raises.py
        ErrorDocument 500 "sorry"
        """)
    reply = httpd.get("/before")
    assert (reply.status, reply.body) == (500, b"sorry")
    httpd.log.expect_traceback("Broken: the message")


@pytest.mark.parametrize(
    "level", ["wsgi:crit", "wsgi:debug", pytest.param("wsgi:trace8", marks=pytest.mark.differs("its child aborts"))]
)
def test_log_level(start_httpd, level):
    """LogLevel for the module applies to it."""
    httpd = start_httpd(f"LogLevel {level}\nWSGIScriptAlias / ${{APPS}}/errors.py\n")
    assert httpd.get("/print_errors").body == b"ok"
    if level == "wsgi:crit":
        assert not httpd.log.find("to wsgi.errors")
    else:
        httpd.log.expect("to wsgi.errors")
