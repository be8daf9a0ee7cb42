"""WSGISlowRequests: what takes long is reported while it does, with its stack."""

import json
import os
import re
import threading
import time

import pytest

from client import Connection, wait_for
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


@pytest.mark.short
def test_while_it_is_slow(start_httpd):
    """The report comes while the request runs, once, with the stack of its thread; fast ones have none."""
    httpd = start_httpd(CONFIG)
    httpd.get("/app")
    gate = httpd.root / "open"
    thread = background(httpd, f"/app/wait?{gate}&secret")
    # On a slow machine others may take long as well.
    slow = r"WSGI0450: slow request: GET /app/wait \(application group"
    (record,) = wait_for(lambda: httpd.log.find(slow), "the report")
    assert thread.is_alive()
    assert "secret" not in record.text
    wait_for(lambda: httpd.log.find("in wait_for_the_file"), "the stack")
    # Where Python's lock was not to be had for a second, it is the stack that comes later that is logged so.
    assert httpd.log.find("WSGI045[01]: .*GET /app/wait")[-1].client
    (httpd.root / "open&secret").touch()
    thread.join()
    httpd.get("/app")
    assert len(httpd.log.find(slow)) == 1
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
    log, gate = ErrorLog(httpd.root / "second.log"), httpd.root / "open"
    with Connection(port) as connection:
        connection.send_head("GET", f"/app/wait?{gate}", {"Host": "second", "Connection": "close"})
        # The latter where Python's lock was not to be had for a second.
        record = log.expect("WSGI0450: slow request: GET /app/wait|WSGI0451: .* slow request GET /app/wait")[0]
        log.expect("in wait_for_the_file")
        gate.touch()
        assert connection.reply().status == 200
    assert record.client
    assert not httpd.log.find("in wait_for_the_file")
    httpd.log.allow("WSGI0450.*its Python stack follows")


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
    httpd.log.allow("^ +File |^ +[a-z]")


def test_lock_held(start_httpd):
    """Who keeps Python's lock is reported nonetheless; the stack follows when it is to be had."""
    httpd = start_httpd(CONFIG)
    pipe = httpd.root / "pipe"
    os.mkfifo(pipe)
    pipe.chmod(0o666)
    thread = background(httpd, f"/app/hold?{pipe}")
    wait_for(lambda: httpd.log.find("WSGI0450.*its Python stack follows"), "the report")
    os.close(os.open(pipe, os.O_WRONLY))
    thread.join()
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
