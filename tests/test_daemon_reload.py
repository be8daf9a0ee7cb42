"""Daemon mode: graceful restarts and changed scripts cost no request."""

import os
import signal
import time
from contextlib import ExitStack

import pytest

from client import wait_for
from shop import Load, begun, release, send

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]

BASE = """
SetEnvIf Request_URI . test.folder=${{ROOT}}/traces
WSGIDaemonProcess shop {options}
WSGIScriptAlias /shop ${{APPS}}/daemon.py process-group=shop application-group=%{{GLOBAL}}
WSGIScriptAlias /own ${{ROOT}}/own.wsgi process-group=shop application-group=own
"""

# An alias that leaves the application group to the request: its script is loaded by the first one.
LATE = "WSGIScriptAlias /late ${ROOT}/late.wsgi process-group=shop\n"

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


@pytest.mark.parametrize("reload", ["On", "Off"])
def test_graceful_under_load(start_httpd, reload):
    """Graceful restarts every two seconds, with eight-second requests in flight: none fails, none is cut."""
    config = BASE.format(options="processes=2 threads=8 graceful-timeout=60") + f"WSGIGracefulReload {reload}\n"
    httpd = start_httpd(config, prepare, threads=16)
    first = set(httpd.daemons())
    with ExitStack() as stack:
        load = stack.enter_context(Load(httpd, "/shop/pid"))
        long = []
        for _ in range(5):
            connection = stack.enter_context(httpd.connect())
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
    wait_for(lambda: httpd.get("/own").body == b"mended", "the mended script")
    httpd.log.allow(".")


@pytest.mark.mpms("event")
def test_broken_script_keeps_old_if_not_preloaded(start_httpd):
    """The same for a script that the configuration does not have preloaded, once requests have used it."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("late.wsgi", OWN.format(text='%d" % os.getpid() + b"'))

    httpd = start_httpd(BASE.format(options="processes=2 threads=2") + LATE, prepare_more)
    with Load(httpd, "/late") as load:
        # Neither of the two has to load it again.
        wait_for(lambda: len({body for _, _, body in load.replies}) == 2, "both daemons to have loaded it")
        httpd.write("late.wsgi", "import no_such_module\n")
        httpd.log.expect("WSGI0510: this daemon cannot load .*late.wsgi, which its group serves")
        httpd.log.expect("WSGI0714: group 'shop': .* the old ones go on serving")
        load.more(20)
        assert len({body for _, _, body in load.replies}) == 2
        httpd.write("late.wsgi", OWN.format(text="mended"))
        wait_for(lambda: load.replies[-1][2] == b"mended", "the mended script")
    assert not load.failed()
    httpd.log.expect("ModuleNotFoundError")
    httpd.log.allow(".")


@pytest.mark.mpms("event")
def test_running_while_starts_fail(start_httpd):
    """A request that an old daemon runs is not said to be refused when its successors cannot be started."""
    httpd = start_httpd(BASE.format(options="threads=1 shutdown-timeout=100"), prepare)
    pid = httpd.get("/shop/pid").text
    with ExitStack() as stack:
        running = send(httpd, "/shop/wait/go", stack)
        begun(httpd, "begun-go")
        httpd.write("own.wsgi", "import no_such_module\n")
        os.kill(int(pid), signal.SIGTERM)
        # Meanwhile httpd has looked after the group several times.
        httpd.log.expect("WSGI0713: group 'shop': .* starts in a row have failed", 4)
        assert httpd.get("/shop/pid").status == 503
        release(httpd, "go")
        reply = running.reply()
    assert (reply.status, reply.text) == (200, pid)
    httpd.log.allow(".")


@pytest.mark.mpms("event")
def test_script_gone(start_httpd):
    """A script that was used and is deleted keeps nobody from being replaced."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("late.wsgi", OWN.format(text="late"))

    httpd = start_httpd(BASE.format(options="threads=2") + LATE, prepare_more)
    assert httpd.get("/late").body == b"late"
    assert httpd.get("/own").body == b"version 0"
    (httpd.root / "late.wsgi").unlink()
    httpd.write("own.wsgi", OWN.format(text="version 1"))
    wait_for(lambda: httpd.get("/own").body == b"version 1", "the new version")
    assert httpd.get("/late").status == 404
    httpd.log.expect("WSGI0111: script .*late.wsgi does not exist")


@pytest.mark.mpms("event")
def test_import_script_fails(start_httpd):
    """A script of WSGIImportScript that cannot be loaded is logged; the group serves, and a request tries again."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("late.wsgi", "import no_such_module\n")

    imported = "WSGIImportScript ${ROOT}/late.wsgi process-group=shop application-group=%{GLOBAL}\n"
    imported += "WSGIScriptAlias /late ${ROOT}/late.wsgi process-group=shop\nWSGIApplicationGroup %{GLOBAL}\n"
    httpd = start_httpd(BASE.format(options="threads=2") + imported, prepare_more)
    assert httpd.get("/shop/pid").status == 200
    httpd.log.expect("ModuleNotFoundError")
    httpd.log.allow(".")
    assert httpd.get("/late").status == 500
    httpd.write("late.wsgi", OWN.format(text="mended"))
    wait_for(lambda: httpd.get("/late").body == b"mended", "the mended script")


@pytest.mark.mpms("event")
def test_young_daemons_killed(start_httpd):
    """Daemons that are killed as soon as they have served are replaced again and again: these are no failed starts."""
    httpd = start_httpd(BASE.format(options="threads=2"), prepare)
    for _ in range(4):
        reply = httpd.get("/shop/pid")
        assert reply.status == 200
        pid = int(reply.text)
        os.kill(pid, signal.SIGKILL)
        httpd.log.expect(f"WSGI0710: group 'shop': daemon process {pid} was killed by SIGKILL")


@pytest.mark.mpms("event")
def test_evicted(start_httpd):
    """SIGUSR1: a new daemon is there first; then the old one has what is left of eviction-timeout for its requests."""
    httpd = start_httpd(
        BASE.format(options="threads=2 graceful-timeout=60 eviction-timeout=5 shutdown-timeout=1"), prepare
    )
    pid = int(httpd.get("/shop/pid").text)
    with httpd.connect() as short, httpd.connect() as long:
        for connection, seconds in ((short, "0.5"), (long, "60")):
            connection.send_head("GET", f"/shop/sleep/{seconds}")
            assert connection.head().status == 200
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: int(httpd.get("/shop/pid").text) != pid, "another daemon to serve")
        assert read(short) == b"first last"
        with pytest.raises((OSError, EOFError)):
            read(long)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "the old one's end")  # noqa: PTH110
    httpd.log.expect("WSGI0505|WSGI0716")
    httpd.log.allow("WSGI0143|WSGI0302|WSGI0505|WSGI0716")


@pytest.mark.mpms("event")
def test_startup_timeout(start_httpd):
    """An application that requests cannot load within startup-timeout fails its group after two tries."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("late.wsgi", "import no_such_module\n")

    config = "WSGIDaemonProcess slow startup-timeout=1\n" + LATE.replace("=shop", "=slow")
    httpd = start_httpd(BASE.format(options="threads=2") + config, prepare_more)
    text = "WSGI0509: requests have found no script that can be loaded for startup-timeout"

    def failed() -> bool:
        # Each try needs requests; one that is not READY in time itself has none.
        return httpd.get("/late").status == 503 and len(httpd.log.find(text)) >= 2

    wait_for(failed, "the group to fail")
    httpd.log.expect("WSGI0713: group 'slow'")
    httpd.log.allow(".")
    httpd.write("late.wsgi", OWN.format(text="mended"))
    wait_for(lambda: httpd.get("/late").body == b"mended", "the mended script")


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
