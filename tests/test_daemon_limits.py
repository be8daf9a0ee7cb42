"""The limits of a daemon group on a real httpd: what the client gets, what the log says, and that service goes on."""

import os
import time
from contextlib import ExitStack

import pytest

from client import COMPLETE, wait_for
from shop import CONFIG, Load, begun, prepare, release, send, served

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]


@pytest.fixture
def start(start_httpd):
    """A server with the group `shop`."""
    return lambda options, more="", prepare=prepare: start_httpd(CONFIG.format(options=options) + more, prepare)


STACKS = (
    "^$|^  |^[Tt]hread |^Current thread |^Python's lock is held|^main interpreter$|the threads of application group"
)
"""Lines of stacks, with or without Python's lock."""


def stack(httpd, function: str) -> None:
    """The log has the stack of a thread that is in this function of the application."""
    httpd.log.expect(rf'daemon.py", line \d+,? in {function}$')
    httpd.log.allow(STACKS)


def ended(pid: int) -> None:
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), f"the end of daemon {pid}")  # noqa: PTH110


def begun_reply(httpd, target: str):
    """A reply whose head came in time: a slow machine may need more than a short limit for that."""
    return wait_for(lambda: (reply := httpd.get(target)).status == 200 and reply, "a reply that begins")


# --- request-timeout, interrupt-timeout


def test_request_timeout(start):
    """A request that takes too long is cut off with its process, and the stack of its thread is in the log."""
    httpd = start("threads=1 request-timeout=1 shutdown-timeout=1")
    pid = int(served(httpd))
    assert httpd.get("/shop/stuck").status == 502
    httpd.log.expect("WSGI0506: a request has exceeded request-timeout in application group")
    stack(httpd, "stuck")
    httpd.log.expect("WSGI0141: process group shop: the daemon ended before it had answered")
    # It ends itself, or is killed where it takes long for that.
    httpd.log.expect("WSGI0505|WSGI0716")
    httpd.log.allow("WSGI0302")
    assert int(served(httpd)) != pid
    ended(pid)


def test_request_timeout_in_reply(start):
    """If some of the reply is out, the connection is cut."""
    httpd = start("threads=1 request-timeout=1 shutdown-timeout=1")
    reply = begun_reply(httpd, "/shop/sleep/30")
    assert (reply.body, reply.end == COMPLETE) == (b"first ", False)
    httpd.log.expect("WSGI0143: process group shop: the reply is cut short: the daemon ended")
    stack(httpd, "sleep")
    httpd.log.allow("WSGI0141|WSGI0505|WSGI0506|WSGI0302|WSGI0716")


def test_request_timeout_of_many_threads(start):
    """The more threads, the longer: with four it is 2.4 times the value; others are served by then and afterwards."""
    # What it is given for others must do for those that begin last, and are short.
    httpd = start("threads=4 request-timeout=1 graceful-timeout=3 shutdown-timeout=1")
    pid = httpd.get("/shop/pid").text
    with ExitStack() as connections:
        before = time.monotonic()
        stuck = send(httpd, "/shop/stuck", connections)
        assert httpd.get("/shop/sleep/1.2").body == b"first last"
        httpd.log.expect("WSGI0703: group 'shop': daemon process .* is to be replaced: request_timeout")
        assert time.monotonic() - before > 2.3
        with Load(httpd, "/shop/pid", 2) as load:
            assert stuck.reply().status == 502
            load.more(5)
    assert not load.failed()
    assert httpd.get("/shop/pid").text != pid
    stack(httpd, "stuck")
    httpd.log.expect("WSGI0506")
    httpd.log.expect("WSGI0141")
    httpd.log.allow("WSGI0505|WSGI0302|WSGI0716")


def test_interrupt_timeout(start):
    """mod_wsgi.RequestTimeout is raised in the application, which may end by it: 504, and the process lives."""
    httpd = start("threads=1 request-timeout=1 interrupt-timeout=10")
    pid = served(httpd)
    reply = httpd.get("/shop/spinning")
    assert (reply.status, reply.end) == (504, COMPLETE)
    records = httpd.log.expect("WSGI0406: .*RequestTimeout ended the request")
    assert records[-1].client
    httpd.log.allow(f"{STACKS}|Traceback|RequestTimeout|WSGI0506")
    assert served(httpd) == pid


def test_interrupt_timeout_caught(start):
    """The application may catch it, and answer."""
    httpd = start("threads=1 request-timeout=1 interrupt-timeout=10")
    # On a slow machine it may come before the application is there to catch it.
    assert begun_reply(httpd, "/shop/patient").body == b"caught RequestTimeout"
    assert served(httpd)
    httpd.log.allow(f"{STACKS}|Traceback|RequestTimeout|WSGI0506")


def test_interrupt_timeout_in_reply(start):
    """After the head the reply is cut, and the process lives."""
    httpd = start("threads=1 request-timeout=1 interrupt-timeout=10")
    pid = served(httpd)
    reply = begun_reply(httpd, "/shop/spin_late")
    assert (reply.body, reply.end == COMPLETE) == (b"first ", False)
    httpd.log.expect("WSGI0406: .*RequestTimeout ended the request")
    httpd.log.allow(f"{STACKS}|Traceback|RequestTimeout|WSGI0506")
    assert served(httpd) == pid


def test_interrupt_timeout_in_vain(start):
    """A request that cannot be interrupted, since it waits outside Python, is cut off with its process."""
    httpd = start("threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1")
    pid = served(httpd)
    assert httpd.get("/shop/asleep").status == 502
    httpd.log.expect("WSGI0141")
    httpd.log.expect("WSGI0506")
    stack(httpd, "asleep")
    httpd.log.allow("WSGI0406|Traceback|RequestTimeout|WSGI0505|WSGI0302|WSGI0716")
    assert served(httpd) != pid


# --- deadlock-timeout


def test_deadlock_timeout(start):
    """Python's lock is held for good: the stack of the holder is in the log, the next process serves who waits."""
    httpd = start("threads=2 deadlock-timeout=1 shutdown-timeout=1")
    assert served(httpd)
    with ExitStack() as connections:
        holder = send(httpd, "/shop/holding", connections)
        begun(httpd, "begun-holding")
        assert holder.reply().status == 502
    httpd.log.expect("WSGI0507: nothing could run Python for deadlock-timeout")
    stack(httpd, "holding")
    httpd.log.expect("WSGI0141")
    httpd.log.allow("WSGI0505|WSGI0302|WSGI0303|WSGI0716")
    assert served(httpd)


# --- ends and replacements that nobody should notice


def test_inactivity_timeout(start):
    """An idle process ends; the next request starts another one."""
    httpd = start("threads=2 inactivity-timeout=1")
    pid = int(httpd.get("/shop/pid").text)
    httpd.log.expect(f"WSGI0704: group 'shop': daemon process {pid} ends: inactivity_timeout")
    ended(pid)
    reply = httpd.get("/shop/pid")
    assert (reply.status, int(reply.text) != pid) == (200, True)


def test_inactivity_timeout_while_busy(start):
    """A request that runs keeps its process, however quiet it is."""
    httpd = start("threads=2 inactivity-timeout=1")
    with ExitStack() as connections:
        busy = send(httpd, "/shop/wait/go", connections)
        begun(httpd, "begun-go")
        assert httpd.get("/shop/sleep/1.5").body == b"first last"
        release(httpd, "go")
        assert busy.reply().status == 200
    assert not httpd.log.find("WSGI0710")


def test_restart_interval(start):
    """Processes are replaced after this time, and no request fails."""
    httpd = start("threads=2 restart-interval=1")
    with Load(httpd, "/shop/pid", 2) as load:
        wait_for(lambda: len({body for _, _, body in load.replies}) >= 3, "three daemons")
    assert not load.failed()


def test_maximum_requests_of_several(start):
    """Several processes do not all go at the same time: each has a limit of its own, and nobody waits."""
    httpd = start("processes=2 threads=2 maximum-requests=40")
    with Load(httpd, "/shop/pid", 3) as load:
        httpd.log.expect("WSGI0703: group 'shop': .* is to be replaced: maximum_requests", 4)
    assert not load.failed()
    assert len({body for _, _, body in load.replies}) >= 4


# --- limits of waiting


def test_startup_timeout(start):
    """An application that does not get ready in time: its process is killed; after two tries 503 at once."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("hangs.wsgi", "import time\ntime.sleep(60)\n")

    more = """
    WSGIDaemonProcess slow startup-timeout=1
    WSGIScriptAlias /slow ${ROOT}/hangs.wsgi process-group=slow application-group=%{GLOBAL}
    """
    httpd = start("threads=1", more, prepare_more)
    httpd.log.expect("WSGI0711: group 'slow': daemon process .* was not ready within startup-timeout; it is killed", 2)
    httpd.log.expect("WSGI0713: group 'slow': 2 starts in a row have failed")
    reply = httpd.get("/slow")
    assert (reply.status, reply.header("Retry-After") is not None) == (503, True)
    httpd.log.allow("WSGI0142|WSGI071[013]")
    assert httpd.get("/shop/pid").status == 200


@pytest.mark.parametrize(("target", "status"), [("wait/never", 504), ("sleep/3", 200)])
def test_socket_timeout(start, target, status):
    """A daemon that is silent for longer: 504, or a cut in the reply; the process goes on."""
    httpd = start("threads=2 socket-timeout=1")
    # The start of a daemon may take longer than that.
    httpd.log.allow("WSGI0141: process group shop: no answer within socket-timeout")
    pid = served(httpd)
    reply = begun_reply(httpd, f"/shop/{target}") if status == 200 else httpd.get(f"/shop/{target}")
    assert (reply.status, reply.end == COMPLETE) == (status, status == 504)
    httpd.log.expect("WSGI014[13]: process group shop: .*no answer within socket-timeout")
    release(httpd, "never")
    assert served(httpd) == pid


def test_cpu_time_limit(start):
    """A process that has used up its time is replaced; one that does not stop then is ended by the kernel."""
    httpd = start("threads=2 cpu-time-limit=1 shutdown-timeout=1")
    with ExitStack() as connections:
        spinning = send(httpd, "/shop/spinning", connections)
        httpd.log.expect("WSGI0703: group 'shop': daemon process .* is to be replaced: cpu_time_limit")
        assert spinning.reply().status == 502
    httpd.log.expect("WSGI0141")
    httpd.log.allow("WSGI0710|WSGI0505|WSGI0716")
    assert httpd.get("/shop/pid").status == 200
