"""What can go wrong between client, server and application: clients that leave, replies that cannot be completed."""

import subprocess
from pathlib import Path

import pytest

from client import wait_for

CONFIG = """
LoadModule status_module ${MODULES}/mod_status.so
<Location /busy>
    SetHandler server-status
</Location>
WSGIScriptAlias /faults ${APPS}/faults.py application-group=%{GLOBAL}
WSGIScriptAlias /sub ${APPS}/faults.py application-group=sub
WSGIScriptAlias /raises ${APPS}/raises.py application-group=%{GLOBAL}
WSGIScriptAlias /response ${APPS}/response.py application-group=%{GLOBAL}
WSGIScriptAlias /start ${APPS}/start_response.py application-group=%{GLOBAL}
WSGIScriptAlias /input ${APPS}/input.py application-group=%{GLOBAL}
"""

differs = pytest.mark.differs


def prepare(httpd):
    with (httpd.root / "big").open("wb") as file:
        file.truncate(200_000_000)


def quiet(httpd) -> None:
    """Nothing above info came from the module but what the application printed."""
    noise = [
        record
        for record in httpd.log.records()
        if record.module == "wsgi" and record.level not in ("info", "debug") and not record.text.startswith("[script ")
    ]
    assert noise == []


def settle(httpd) -> None:
    """Waits until no other request runs."""
    wait_for(lambda: "BusyWorkers: 1\n" in httpd.get("/busy?auto").text, "the requests to end")


# --- clients that leave


@pytest.mark.short
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize(
    "name",
    [
        "/faults/endless",
        "/sub/endless",
        "/faults/endless_with_length",
        "/faults/endless_generator",
        "/faults/endless_file",
        pytest.param("/faults/big_file?{root}/big", marks=differs("logs an error")),
        "/faults/slow",
        "/sub/slow",
    ],
)
def test_client_leaves(httpd, name, how):
    """When the client leaves, the reply ends, close() is called once, and nothing is logged above info."""
    connection = httpd.connect()
    connection.send_head("GET", name.format(root=httpd.root))
    assert connection.head().status == 200
    connection.exactly(3)
    getattr(connection, how)()
    assert [record.text[-1] for record in httpd.log.expect(r"closed \d")] == ["1"]
    assert httpd.get("/faults/fine").body == b"ok"
    quiet(httpd)


def test_client_leaves_writer(httpd):
    """write() raises OSError then."""
    connection = httpd.connect()
    connection.send_head("GET", "/faults/endless_write")
    assert connection.head().status == 200
    connection.abort()
    httpd.log.expect("write raised OSError: .")
    httpd.log.expect("closed 1")
    quiet(httpd)


def test_client_leaves_before_head(start_httpd):
    """A client that leaves before the reply has begun. Daemons may notice after the test's end: a server of its own."""
    httpd = start_httpd(CONFIG)
    for _ in range(20):
        connection = httpd.connect()
        connection.send_head("GET", "/faults/slow")
        connection.abort()
    settle(httpd)
    httpd.log.allow(r"closed 1$")  # for a request that httpd had not read nothing ran
    quiet(httpd)


def test_half_closed(httpd):
    """A client that has nothing more to send, but reads, gets its reply."""
    with httpd.connect() as connection:
        connection.send_head("GET", "/response/hundred")
        connection.socket.shutdown(1)
        reply = connection.reply()
        assert reply.body.startswith(b"0,1,2,")
        assert reply.end == "complete"


def test_no_descriptors_leak(httpd):
    """Clients that leave do not leave open files behind."""

    def descriptors() -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in httpd.children())

    def leave():
        for name in ("endless", "endless_file"):
            connection = httpd.connect()
            connection.send_head("GET", f"/faults/{name}")
            connection.exactly(100)
            connection.abort()

    leave()
    httpd.log.expect("closed 1", 2)
    if not httpd.setup.threaded:  # the number of processes varies
        return
    before = descriptors()
    for _ in range(20):
        leave()
    httpd.log.expect("closed 1", 42)
    wait_for(lambda: descriptors() <= before + 8, f"descriptors to go back to {before}")


def test_bad_requests(httpd):
    """What is no HTTP does not reach the application, or harm the server."""
    for data in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET /faults/fine HTTP/9.9\r\n\r\n",
        b"\0" * 1000,
        b"x" * 20000,
    ):
        with httpd.connect() as connection:
            connection.send(data)
            connection.socket.shutdown(1)
            try:
                while connection.socket.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert httpd.get("/faults/fine").body == b"ok"
    httpd.log.allow("AH0[0-9]{4}|AH10[0-9]{3}")


# --- replies that cannot be completed


@pytest.mark.short
@differs("a broken reply looks complete, or stays open")
@pytest.mark.parametrize(
    ("name", "body", "exception"),
    [
        ("late", b"first block", "Broken: after the first block"),
        ("late_with_length", b"first block", "Broken: after the first block"),
        ("late_exit", b"first block", "SystemExit: late"),
        ("after_write", b"written", "Broken: after write"),
    ],
)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_truncated(httpd, name, body, exception, version):
    """An exception after the head is out cuts the connection, so that the client can tell; nothing is appended."""
    with httpd.connect() as connection:
        reply = connection.get(f"/raises/{name}", version=version)
        assert reply.status == 200
        assert body.startswith(reply.body)
        assert reply.end in ("truncated", "reset")
    httpd.log.expect_traceback(exception)


@differs("a broken reply looks complete, or stays open")
def test_truncated_without_framing(httpd):
    """Where only the connection's end marks the reply's, it is a reset."""
    with httpd.connect() as connection:
        connection.send("GET /raises/late HTTP/1.0\r\n\r\n")
        reply = connection.reply()
        assert reply.header("Content-Length") is None
        assert reply.end == "reset"
    httpd.log.expect_traceback("Broken: after the first block")


@differs("a broken reply looks complete")
@pytest.mark.mpms("event", "worker")  # mod_http2 refuses prefork
@pytest.mark.parametrize("name", ["late", "late_with_length", "after_write"])
def test_truncated_http2(start_httpd, name):
    """Over HTTP/2 the stream is reset; other streams of the connection go on."""
    httpd = start_httpd("""
        LoadModule http2_module ${MODULES}/mod_http2.so
        Protocols h2c http/1.1
        WSGIScriptAlias / ${APPS}/raises.py
        """)
    base = ["curl", "-sS", "--max-time", "60", "--http2-prior-knowledge"]
    url = f"http://127.0.0.1:{httpd.port}"
    run = subprocess.run([*base, f"{url}/{name}"], capture_output=True, text=True)
    assert run.returncode in (16, 18, 55, 56, 92), run  # curl's words for a stream or transfer that broke off
    run = subprocess.run([*base, f"{url}/fine"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "ok")
    httpd.log.expect_traceback("Broken: after")


# --- rules of PEP 3333


@pytest.mark.parametrize(
    ("target", "pattern"),
    [
        ("/response/item?str", r"TypeError.*bytes"),
        ("/response/as_none", r"TypeError.*iter"),
        ("/start/never", r"start_response"),
        ("/response/length?ten", r"ValueError.*Content-Length|ValueError.*length"),
    ],
)
def test_rule_is_named(httpd, target, pattern):
    """A broken rule of PEP 3333 gives 500 and a line that names it."""
    assert httpd.get(target).status == 500
    httpd.log.expect(pattern)
    httpd.log.allow("Traceback|^  |Error|exception|ran to its end")


def test_many_at_once(httpd):
    """Clients that leave, broken replies and good ones, all mixed: the server stays well."""
    pids = set(httpd.children())
    for turn in range(40):
        with httpd.connect() as connection:
            connection.send_head("GET", ("/faults/endless", "/sub/slow", "/raises/late")[turn % 3])
            connection.head()
            connection.abort()
        assert httpd.get("/faults/fine").body == b"ok"
    httpd.log.expect("closed 1", 27)
    httpd.log.expect_traceback("Broken: after the first block", 13)
    settle(httpd)
    if httpd.setup.threaded:
        assert pids <= set(httpd.children())
