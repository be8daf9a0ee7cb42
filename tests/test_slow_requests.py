"""WSGISlowRequests: what takes long is reported while it does, with its stack."""

import json
import re
import threading
import time

import pytest

from client import wait_for

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
    (record,) = wait_for(lambda: httpd.log.find("WSGI0450"), "the report")
    assert thread.is_alive()
    assert "slow request: GET /app/wait (application group" in record.text
    assert "secret" not in record.text
    wait_for(lambda: httpd.log.find("in wait_for_the_file"), "the stack")
    (httpd.root / "open&secret").touch()
    thread.join()
    httpd.get("/app")
    assert len(httpd.log.find("WSGI0450")) == 1
    httpd.log.allow("WSGI0450|^ +File |^ +[a-z]")


def test_each_one(start_httpd):
    """Each slow request is reported, also when several run."""
    httpd = start_httpd(CONFIG)
    gate = httpd.root / "open"
    threads = [background(httpd, f"/app/wait?{gate}") for _ in range(3)]
    wait_for(lambda: len(httpd.log.find("WSGI0450")) == 3, "three reports")
    gate.touch()
    for thread in threads:
        thread.join()
    httpd.log.allow("WSGI0450|^ +File |^ +[a-z]")


def test_lock_held(start_httpd):
    """Who keeps Python's lock is reported nonetheless; the stack follows when it is to be had."""
    httpd = start_httpd(CONFIG)
    httpd.get("/app")
    thread = background(httpd, "/app/hold?4000000")
    wait_for(lambda: httpd.log.find("WSGI0450.*its Python stack follows"), "the report")
    assert thread.is_alive()
    thread.join()
    httpd.log.allow("WSGI045[01]|^ +File |^ +[a-z]")


def test_off(start_httpd):
    """Nothing is reported without the directive."""
    httpd = start_httpd("WSGIScriptAlias /app ${APPS}/metrics.py\n")
    httpd.get("/app/hold?400000")
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

    def waiting() -> bool:
        groups = json.loads(httpd.get("/status?format=json").body)["groups"]
        return any(group["queue_length"] for group in groups if group["name"] == "one")

    gates = [httpd.root / name for name in ("first", "second")]
    threads = [background(httpd, f"/app/wait?{gates[0]}")]
    wait_for(lambda: httpd.log.find("WSGI0450"), "the first report")
    threads.append(background(httpd, f"/app/wait?{gates[1]}"))
    wait_for(waiting, "the second request in the queue")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.2, "a while")
    waited = time.monotonic() - begun
    gates[0].touch()
    _, record = wait_for(lambda: len(found := httpd.log.find("WSGI0450")) == 2 and found, "the second report")
    gates[1].touch()
    (queued,) = re.findall(r"after (\d+\.\d+) s in the queue", record.text)
    assert float(queued) >= waited - 0.001  # as it is rounded
    for thread in threads:
        thread.join()
    httpd.log.allow("WSGI0450|^ +File |^ +[a-z]")
