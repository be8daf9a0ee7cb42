"""Daemon mode: graceful restarts and changed scripts cost no request."""

import os
import threading
import time
from contextlib import ExitStack

import pytest

from client import wait_for

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]

BASE = """
SetEnvIf Request_URI . test.folder=${{ROOT}}/traces
WSGIDaemonProcess shop {options}
WSGIScriptAlias /shop ${{APPS}}/daemon.py process-group=shop application-group=%{{GLOBAL}}
WSGIScriptAlias /own ${{ROOT}}/own.wsgi process-group=shop application-group=own
"""

OWN = """\
import os, time
def application(environ, start_response):
    time.sleep(0.01)
    start_response("200 OK", [])
    return [b"{text}"]
"""


def prepare(httpd):
    httpd.folder("traces")
    httpd.write("own.wsgi", OWN.format(text="version 0"))


class Load:
    """Clients that ask one request after the other, from `begin` to `end`."""

    def __init__(self, httpd, target: str, clients: int = 3):
        self.httpd, self.target = httpd, target
        self.replies: list = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def _ask(self) -> None:
        while not self.done.is_set():
            try:
                reply = self.httpd.get(self.target)
                self.replies.append((reply.status, reply.end, reply.body))
            except (OSError, EOFError) as error:
                self.replies.append((0, repr(error), b""))

    def more(self, count: int) -> None:
        """Waits for so many further replies."""
        before = len(self.replies)
        wait_for(lambda: len(self.replies) >= before + count, f"{count} replies")

    def failed(self) -> list:
        return [reply for reply in self.replies if reply[:2] != (200, "complete")]


@pytest.mark.parametrize("reload", ["On", "Off"])
def test_graceful_under_load(start_httpd, reload):
    """Graceful restarts every two seconds, with eight-second requests in flight: none fails, none is cut."""
    config = BASE.format(options="processes=2 threads=8") + f"WSGIGracefulReload {reload}\n"
    httpd = start_httpd(config, prepare, threads=16)
    first = set(httpd.daemons())
    with ExitStack() as stack:
        load = stack.enter_context(Load(httpd, "/shop/pid"))
        long = []
        for _ in range(5):
            connection = stack.enter_context(httpd.connect(timeout=30))
            connection.send_head("GET", "/shop/sleep/8")
            assert connection.head().status == 200
            long.append(connection)
            end = time.monotonic() + 2
            load.more(10)
            httpd.graceful()
            wait_for(lambda end=end: time.monotonic() >= end, "two seconds")
        bodies = [read(connection) for connection in long]
    assert bodies == [b"first last"] * 5
    assert not load.failed()
    assert len(load.replies) > 100
    if reload == "Off":
        # The server may have been starting others when it was asked first.
        assert first <= set(httpd.daemons())
    else:
        wait_for(lambda: not set(httpd.daemons()) & first, "the first daemons to be gone")


def read(connection) -> bytes:
    body = b""
    while piece := connection.chunk():
        body += piece
    return body


def test_touched_under_load(start_httpd):
    """A script that is changed while it is asked for: no request fails, and soon all answers are the new one's."""
    httpd = start_httpd(BASE.format(options="processes=2 threads=4"), prepare, threads=8)
    with Load(httpd, "/own") as load:
        for version in range(1, 4):
            load.more(20)
            httpd.write("own.wsgi", OWN.format(text=f"version {version}"))
            wait_for(lambda version=version: load.replies[-1][2] == b"version %d" % version, "the new version")
    assert not load.failed()


def test_broken_script_keeps_old(start_httpd):
    """Where the new script does not load the old process goes on serving, and the log says why."""
    httpd = start_httpd(BASE.format(options="threads=2"), prepare)
    assert httpd.get("/own").body == b"version 0"
    httpd.write("own.wsgi", "import no_such_module\n")
    statuses = []
    end = time.monotonic() + 2
    while time.monotonic() < end:
        statuses.append(httpd.get("/own").status)
    assert set(statuses) == {200}
    httpd.log.expect("ModuleNotFoundError")
    httpd.write("own.wsgi", OWN.format(text="mended"))
    wait_for(lambda: httpd.get("/own").body == b"mended", "the mended script", 40)
    httpd.log.allow(".")


def test_configuration_renewed(start_httpd):
    """A graceful restart gives the group its new options and takes a group away that is no longer there."""
    httpd = start_httpd(BASE.format(options="threads=2 env=COLOUR=red"), prepare)
    assert b'"COLOUR": "red"' in httpd.get("/shop/about").body
    httpd.configure(BASE.format(options="threads=2 env=COLOUR=blue"))
    httpd.graceful()
    wait_for(lambda: b'"COLOUR": "blue"' in httpd.get("/shop/about").body, "the new option")
    httpd.configure("WSGIScriptAlias / ${APPS}/hello.py\n")
    httpd.graceful()
    wait_for(lambda: len(httpd.daemons()) == 1, "the group to end")
    assert httpd.get("/").status == 200


def test_hard_restart(start_httpd):
    """A restart replaces the daemons; the service is there at once."""
    httpd = start_httpd(BASE.format(options="threads=2"), prepare)
    old = int(httpd.get("/shop/pid").text)
    httpd.restart()
    wait_for(lambda: int(httpd.get("/shop/pid").text) != old, "a new daemon")
    wait_for(lambda: not os.path.exists(f"/proc/{old}"), "the old one's end")  # noqa: PTH110


def test_maximum_requests(start_httpd):
    """Daemons are replaced after so many requests, and none of them fails."""
    httpd = start_httpd(BASE.format(options="threads=2 maximum-requests=20"), prepare)
    with Load(httpd, "/shop/pid", 2) as load:
        wait_for(lambda: len({body for _, _, body in load.replies}) >= 3, "three daemons")
    assert not load.failed()
