"""WSGISlowRequests: what takes long is reported while it does, with its stack."""

import json
import os
import re
import threading
import time
from collections.abc import Callable

import pytest

from client import PATIENCE, Connection, wait_for
from errorlog import FORMAT, ErrorLog
from httpd import free_port

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("it has no such report")]

CONFIG = """
WSGISlowRequests 0.3
WSGIScriptAlias /app ${APPS}/metrics.py
"""


def background(httpd, target: str) -> threading.Thread:
    thread = threading.Thread(target=httpd.get, args=(target,))
    thread.start()
    return thread


def shown(log: ErrorLog, what: str, ask: Callable[[], Callable]) -> Callable:
    """Waits until the log shows a slow request so. `ask` sends one and returns what ends it, as does this. On a slow
    machine a request may not be where it is to be seen when its only report comes: then there is another one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        end = ask()
        try:
            wait_for(lambda: log.find(what), what, 5)
            return end
        except AssertionError:
            end()
            if time.monotonic() > deadline:
                raise


@pytest.mark.short
def test_while_it_is_slow(start_httpd):
    """The report comes while the request runs, once, with the stack of its thread; fast ones have none."""
    httpd = start_httpd(CONFIG)
    httpd.get("/app")
    gates = []

    def ask():
        gate = httpd.root / f"open{len(gates)}&secret"
        gates.append(gate)
        thread = background(httpd, f"/app/wait?{gate}")
        return lambda: (gate.touch(), thread.join())

    end = shown(httpd.log, "in wait_for_the_file", ask)
    # On a slow machine others may take long as well.
    slow = r"WSGI0450: slow request: GET /app/wait \(application group"
    assert not [record for record in httpd.log.find(slow) if "secret" in record.text]
    # Where Python's lock was not to be had for a second, it is the stack that comes later that is logged so.
    assert httpd.log.find("WSGI045[01]: .*GET /app/wait")[-1].client
    end()
    httpd.get("/app")
    assert 1 <= len(httpd.log.find(slow)) <= len(gates)
    httpd.log.allow("WSGI045[01]|^ +File |^ +[a-z]")


def test_each_one(start_httpd):
    """Each slow request is reported, also when several run."""
    httpd = start_httpd(CONFIG)
    gate = httpd.root / "open"
    threads = [background(httpd, f"/app/wait?{gate}") for _ in range(3)]
    wait_for(lambda: len(httpd.log.find("WSGI0450: .*GET /app/wait")) == 3, "three reports")
    gate.touch()
    for thread in threads:
        thread.join()
    httpd.log.allow("WSGI045[01]|^ +File |^ +[a-z]")


HOST = """
WSGISlowRequests 0.3
Listen 127.0.0.1:{port}
<VirtualHost *:{port}>
    ServerName second
    ErrorLog "${{ROOT}}/second.log"
    ErrorLogFormat "{format}"
    WSGIScriptAlias /app ${{APPS}}/metrics.py
</VirtualHost>
"""


def test_virtual_host(start_httpd):
    """The report is in the log of the host that was asked, with the client."""
    port = free_port()
    httpd = start_httpd(HOST.format(port=port, format=FORMAT))
    log, gates = ErrorLog(httpd.root / "second.log"), []

    def get(target: str) -> None:
        with Connection(port) as connection:
            assert connection.get(target, {"Host": "second", "Connection": "close"}).status == 200

    def ask():
        gate = httpd.root / f"open{len(gates)}"
        gates.append(gate)
        thread = threading.Thread(target=get, args=(f"/app/wait?{gate}",))
        thread.start()
        return lambda: (gate.touch(), thread.join())

    get("/app")  # loads it
    end = shown(log, "in wait_for_the_file", ask)
    # The latter where Python's lock was not to be had for a second.
    assert log.find("WSGI0450: slow request: GET /app/wait|WSGI0451: .* slow request GET /app/wait")[-1].client
    end()
    assert not httpd.log.find("in wait_for_the_file")
    httpd.log.allow("WSGI0450.*(its Python stack follows|it is not in Python code)")


def test_while_the_body_comes(start_httpd):
    """Who waits for his client is reported as well."""
    httpd = start_httpd(CONFIG)
    half = b"x" * 2_000_000  # more than is collected before a daemon is asked
    with httpd.connect() as connection:
        connection.send_head("POST", "/app/read", {"Content-Length": str(2 * len(half))})
        connection.send(half)
        httpd.log.expect("WSGI0450: slow request: POST /app/read")
        connection.send(half)
        assert connection.reply().body == str(2 * len(half)).encode()
    httpd.log.allow("WSGI0451|^ +File |^ +[a-z]")


def test_lock_held(start_httpd):
    """Who keeps Python's lock is reported nonetheless; the stack follows when it is to be had."""
    httpd = start_httpd(CONFIG)
    pipe = httpd.pipe("pipe")
    httpd.get("/app")  # loads it

    def ask():
        thread = background(httpd, f"/app/hold?{pipe}")
        return lambda: (os.close(os.open(pipe, os.O_WRONLY)), thread.join())

    shown(httpd.log, "WSGI0450: slow request: GET /app/hold.*its Python stack follows", ask)()
    httpd.log.allow("WSGI045[01]|^ +File |^ +[a-z]")


def test_off(start_httpd):
    """Nothing is reported without the directive."""
    httpd = start_httpd("WSGIScriptAlias /app ${APPS}/metrics.py\n")
    gate, begun = httpd.root / "open", time.monotonic()
    thread = background(httpd, f"/app/wait?{gate}")
    wait_for(lambda: time.monotonic() - begun > 0.5, "a while")
    gate.touch()
    thread.join()
    assert not httpd.log.find("WSGI0450")


@pytest.mark.modes("daemon")
def test_queue_time(start_httpd):
    """How long it had waited for a thread is told apart from how long it runs."""
    httpd = start_httpd(
        """
        WSGISlowRequests 0.3
        WSGIDaemonProcess one threads=1
        WSGIScriptAlias /app ${APPS}/metrics.py process-group=one
        <Location /status>
            SetHandler wsgi-status
        </Location>
        """
    )

    def group() -> dict:
        groups = json.loads(httpd.get("/status?format=json").body)["groups"]
        return next((group for group in groups if group["name"] == "one"), {"requests": {"running": 0}})

    gates = [httpd.root / name for name in ("first", "second")]
    threads = [background(httpd, f"/app/wait?{gates[0]}")]
    slow = "WSGI0450: slow request: GET /app/wait"
    wait_for(lambda: httpd.log.find(slow), "the first report")
    # The status is up to a second old: the first one may still be in its queue.
    wait_for(lambda: group()["requests"]["running"], "the first one to run")
    threads.append(background(httpd, f"/app/wait?{gates[1]}"))
    wait_for(lambda: group()["queue_length"], "the second request in the queue")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.2, "a while")
    waited = time.monotonic() - begun
    gates[0].touch()
    _, record = wait_for(lambda: len(found := httpd.log.find(slow)) == 2 and found, "the second report")
    gates[1].touch()
    (queued,) = re.findall(r"after (\d+\.\d+) s in the queue", record.text)
    assert float(queued) >= waited - 0.001  # as it is rounded
    for thread in threads:
        thread.join()
    httpd.log.allow("WSGI045[01]|^ +File |^ +[a-z]")
