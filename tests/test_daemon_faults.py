"""Daemon mode when something goes wrong: what the client gets, what the log says, and that the service comes back."""

import os
import re
import select
import signal
import subprocess
import threading
import time
from contextlib import ExitStack

import pytest

from client import PATIENCE, wait_for
from httpd import program_of
from shop import CONFIG, Load, begun, prepare, release, send, traces, unix_sockets

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]

EVERY_MPM = pytest.mark.mpms("event", "worker", "prefork")
"""Daemon mode is tested under the first of them, but for this."""

OBITUARY = r"WSGI0710: group 'shop': daemon process {pid} was killed by SIGKILL after .* in progress"


@pytest.fixture
def start(start_httpd):
    """A server with the group `shop`."""
    return lambda options="threads=4", more="", **server: start_httpd(
        CONFIG.format(options=options) + more, prepare, **server
    )


# --- a daemon dies


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_killed_before_head(start, name):
    """502 at once, an error with group, pid and signal; the next request is served."""
    httpd = start()
    pid = int(httpd.get("/shop/pid").text)
    assert httpd.get(f"/shop/kill/{name}").status == 502
    httpd.log.expect(f"WSGI0710: group 'shop': daemon process {pid} was killed by {name}")
    httpd.log.expect("WSGI0141: process group shop: the daemon ended before it had answered")
    # Python's own words about a crash, which go past any logging.
    httpd.log.allow("Fatal Python error|^$|Current thread|^  |Extension modules|most recent call first")
    assert int(httpd.get("/shop/pid").text) != pid


@EVERY_MPM
def test_exits_before_head(start):
    """The same with an exit code."""
    httpd = start()
    assert httpd.get("/shop/leave/7").status == 502
    httpd.log.expect("WSGI0710: group 'shop': daemon process [0-9]+ ended by itself with exit code 7")
    httpd.log.expect("WSGI0141")
    assert httpd.get("/shop/pid").status == 200


@EVERY_MPM
@pytest.mark.parametrize(("how", "version"), [("chunked", "1.1"), ("length", "1.1"), ("chunked", "1.0")])
def test_killed_in_reply(start, how, version):
    """The connection is aborted, never ended cleanly."""
    httpd = start()
    with httpd.connect() as connection:
        connection.send(f"GET /shop/kill_late/{how} HTTP/{version}\r\nHost: localhost\r\n\r\n")
        reply = connection.reply()
    assert reply.status == 200
    assert reply.end == "reset" if version == "1.0" else reply.end in ("truncated", "reset")
    httpd.log.expect("WSGI0710: group 'shop': daemon process .* was killed by SIGKILL")
    httpd.log.expect("WSGI0143: process group shop: the reply is cut short")
    assert httpd.get("/shop/pid").status == 200


@pytest.mark.mpms("event", "worker")
@pytest.mark.parametrize("how", ["chunked", "length"])
def test_killed_in_reply_http2(start, how):
    """Over HTTP/2 the stream is reset; the connection goes on."""
    httpd = start(more="LoadModule http2_module ${MODULES}/mod_http2.so\nProtocols h2c http/1.1\n")
    base = ["curl", "-sS", "--max-time", "60", "--http2-prior-knowledge"]
    url = f"http://127.0.0.1:{httpd.port}/shop"
    run = subprocess.run([*base, f"{url}/kill_late/{how}"], capture_output=True, text=True)
    assert run.returncode in (16, 18, 55, 56, 92), run
    httpd.log.expect("WSGI0710")
    httpd.log.expect("WSGI0143")
    assert subprocess.run([*base, f"{url}/pid"], capture_output=True, text=True).returncode == 0


@EVERY_MPM
def test_killed_while_others_wait(start):
    """Who waits in the queue is served by the next process."""
    httpd = start("threads=2", threads=16)
    pid = int(httpd.get("/shop/pid").text)
    with ExitStack() as stack:
        running = [send(httpd, "/shop/wait/never", stack) for _ in range(2)]
        begun(httpd, "begun-never", 2)
        waiting = [send(httpd, "/shop/ran/after", stack) for _ in range(10)]
        os.kill(pid, signal.SIGKILL)
        assert [connection.reply().status for connection in running] == [502, 502]
        assert [connection.reply().status for connection in waiting] == [200] * 10
    assert len(traces(httpd, "ran-after")) == 10
    httpd.log.expect(OBITUARY.format(pid=pid))
    httpd.log.expect("WSGI0141", 2)
    httpd.log.allow("WSGI0505|WSGI0302")


def test_kills_under_load(start):
    """Kills under load cost the requests that run, no others: each request is answered at once, most by 200."""
    httpd = start("processes=2 threads=2", threads=16)
    kills = 4
    with Load(httpd, "/shop/pid", 4) as load:
        for _ in range(kills):
            reply = wait_for(lambda: (reply := httpd.get("/shop/pid")).status == 200 and reply, "a daemon")
            os.kill(int(reply.text), signal.SIGKILL)
            pause = time.monotonic() + 1  # two that die at once would count as failed starts
            load.more(20)
            wait_for(lambda pause=pause: time.monotonic() > pause, "some time")
    assert {status for status, _, _ in load.replies} <= {200, 502, 503}
    assert len(load.failed()) <= kills * 4
    httpd.log.allow("WSGI0710|WSGI0141|WSGI0142|WSGI071[345]")


# --- no daemon is free


def test_queue_timeout(start):
    """Who waits too long gets 503 with Retry-After, and is certainly not run."""
    httpd = start("threads=1 queue-timeout=1")
    # The start of a daemon may take longer than that.
    wait_for(lambda: httpd.get("/shop/pid").status == 200, "the daemon")
    with ExitStack() as stack:

        def running():
            connection = send(httpd, "/shop/wait/go", stack)
            # It may have waited too long itself.
            wait_for(lambda: traces(httpd, "begun-go") or readable(connection), "it to run")
            return traces(httpd, "begun-go") and connection

        first = wait_for(running, "a request to run")
        others = [send(httpd, "/shop/ran/late", stack) for _ in range(3)]
        replies = [connection.reply() for connection in others]
        assert [reply.status for reply in replies] == [503] * 3
        assert all(int(reply.header("Retry-After")) > 0 for reply in replies)
        release(httpd, "go")
        assert first.reply().status == 200
    wait_for(lambda: httpd.get("/shop/pid").status == 200, "the daemon")
    assert not traces(httpd, "ran-late")
    httpd.log.expect("WSGI0142: process group shop did not take the request: no daemon was free within queue-timeout")


def readable(connection) -> bool:
    """Whether there is an answer."""
    return bool(select.select([connection.socket], [], [], 0)[0])


@pytest.mark.mpms("event")  # one child has all requests
def test_client_leaves_queue(start):
    """A request whose client leaves while it waits is not run."""
    httpd = start("threads=1")
    with httpd.connect() as connection:
        assert connection.get("/shop/pid", [("Connection", "close")]).status == 200
        assert connection.ended()  # and httpd is done with it: it keeps both ends of the reply pair
    (child,) = httpd.children()
    used = len(unix_sockets(child)) - 2

    def queued(count: int):
        """Of a request that is queued, or runs, httpd has one end of the reply pair, until it gives the request up."""
        wait_for(lambda: len(unix_sockets(child)) == used + count, f"{count} requests to be queued")

    with ExitStack() as stack:
        first = send(httpd, "/shop/wait/go", stack)
        begun(httpd, "begun-go")
        queued(1)
        others = []
        for count in range(2, 5):
            others.append(send(httpd, "/shop/ran/gone", stack))
            queued(count)
        for connection in others:
            connection.abort()
        queued(1)
        last = send(httpd, "/shop/pid", stack)
        release(httpd, "go")
        assert first.reply().status == 200
        assert last.reply().status == 200
    assert not traces(httpd, "ran-gone")


@pytest.mark.parametrize("text", ["import no_such_module\n", "import os\nos._exit(3)\n", "import os\nos.abort()\n"])
def test_preload_fails(start_httpd, text):
    """An application that cannot be preloaded: after two tries 503 with Retry-After at once, and no fork storm."""

    def prepare_more(httpd):
        prepare(httpd)
        httpd.write("broken.wsgi", text)

    httpd = start_httpd(
        CONFIG.format(options="threads=4")
        + """
        WSGIDaemonProcess broken
        WSGIScriptAlias /broken ${ROOT}/broken.wsgi process-group=broken application-group=%{GLOBAL}
        """,
        prepare_more,
    )
    httpd.log.expect("WSGI0713: group 'broken': 2 starts in a row have failed")
    httpd.log.allow(".")
    reply = httpd.get("/broken")
    assert reply.status == 503
    assert int(reply.header("Retry-After")) >= 1
    records = httpd.log.expect("WSGI0713: group 'broken': .* starts in a row have failed.*Next try in", 4)
    pauses = [float(re.search(r"in ([0-9.]+) s", record.text)[1]) for record in records]
    assert pauses == sorted(pauses)
    assert pauses[3] >= 2 * pauses[0]
    assert httpd.get("/shop/pid").status == 200
    httpd.write("broken.wsgi", "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n")
    wait_for(lambda: httpd.get("/broken").body == b"mended", "the group to recover")


def test_waiting_while_start_fails(start_httpd):
    """Who waits in the queue while the starts fail gets 503 when the group has failed, not the end of a timeout."""

    def prepare(httpd):
        httpd.write("slow.wsgi", "import time\ntime.sleep(1)\nimport no_such_module\n")

    config = """
    WSGIDaemonProcess broken
    WSGIScriptAlias /broken ${ROOT}/slow.wsgi process-group=broken application-group=%{GLOBAL}
    """
    httpd = start_httpd(config, prepare)
    httpd.log.allow(".")
    assert httpd.get("/broken").status == 503


# --- supervisor and httpd die


@EVERY_MPM
def test_supervisor_killed(start):
    """Running requests finish, waiting ones wait, the service is back within two seconds."""
    httpd = start("threads=1 graceful-timeout=60", threads=16)
    with ExitStack() as stack:
        first = send(httpd, "/shop/wait/go", stack)
        begun(httpd, "begun-go")
        waiting = [send(httpd, "/shop/pid", stack) for _ in range(3)]
        (supervisor,) = httpd.supervisors()
        httpd.log.expect("WSGI0702: group 'tests'")  # or its start would fail
        os.kill(supervisor, signal.SIGKILL)
        assert [connection.reply().status for connection in waiting] == [200] * 3
        release(httpd, "go")
        assert first.reply().status == 200
    httpd.log.expect(f"WSGI0156: the supervisor of the daemons .wsgid, process {supervisor}. has ended")
    httpd.log.allow("WSGI0504")
    (new,) = httpd.supervisors()
    assert new != supervisor


@EVERY_MPM
@pytest.mark.parametrize("busy", [False, True])
def test_parent_killed(start, busy):
    """When httpd's parent is killed nothing is left behind once its children have ended."""
    httpd = start()
    assert httpd.get("/shop/pid").status == 200
    with ExitStack() as stack:
        if busy:
            connection = send(httpd, "/shop/wait/go", stack)
            begun(httpd, "begun-go")
        httpd.process.kill()
        httpd.process.wait(PATIENCE)
        children = httpd.children()  # nobody makes more of them now
        if busy:
            release(httpd, "go")
            assert connection.reply().status == 200
        for pid in children:  # httpd's own children live on without a parent, until somebody ends them
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while (left := {pid: program_of(pid) for pid in httpd.pids()}) and time.monotonic() < deadline:
            time.sleep(0.01)
        said = httpd.log.text()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        httpd.process = None
        httpd.log.allow(".")
        assert not left, said


def test_child_crashes(start):
    """A crash of an httpd child costs its own requests, no daemon."""
    httpd = start()
    pid = httpd.get("/shop/pid").text
    with ExitStack() as stack:
        connection = send(httpd, "/shop/wait/go", stack)
        begun(httpd, "begun-go")
        for child in httpd.children():
            os.kill(child, signal.SIGSEGV)
        with pytest.raises((OSError, EOFError)):
            connection.reply()
    release(httpd, "go")

    def asked():
        try:
            return httpd.get("/shop/pid").text
        except (OSError, EOFError):
            return None

    assert wait_for(asked, "a new child") == pid
    httpd.log.expect("AH00052")


# --- stop


@EVERY_MPM
@pytest.mark.parametrize("what", ["idle", "stuck", "spinning", "holding"])
def test_stop(start, what):
    """A stop leaves nothing running after shutdown-timeout, so that httpd, which waits for 9 s, has nobody to kill."""
    httpd = start("processes=2 threads=2 shutdown-timeout=2")
    assert httpd.get("/shop/pid").status == 200
    with ExitStack() as stack:
        if what != "idle":
            for _ in range(2):
                send(httpd, f"/shop/{what}", stack)
            begun(httpd, "begun-" + what.rpartition("/")[2])
        pids = httpd.pids()
        assert httpd.stop() == 0
    assert not [pid for pid in pids if program_of(pid)]
    httpd.log.allow("WSGI0505|WSGI0302|WSGI0303|WSGI0716|WSGI0141|WSGI05|Thread|  File|Stack|stack")


@EVERY_MPM
def test_graceful(start):
    """A graceful restart: what runs is finished by its old daemon, what comes is served by a new one."""
    # Room for the children of three generations.
    httpd = start("threads=4 graceful-timeout=60", processes=3)
    pid = httpd.get("/shop/pid").text
    with ExitStack() as stack:
        running = [send(httpd, "/shop/wait/go", stack) for _ in range(2)]
        begun(httpd, "begun-go", 2)
        for _ in range(2):
            httpd.graceful()
            wait_for(lambda: httpd.get("/shop/pid").text != pid, "a new daemon")
        release(httpd, "go")
        assert [connection.reply().body.decode() for connection in running] == [pid] * 2
    wait_for(lambda: not program_of(int(pid)), "the old daemon's end")


# --- bodies, forks, junk


def test_spooled_upload(start):
    """With request-spool=On even a large body holds no daemon thread before it is there."""
    httpd = start("threads=1 request-spool=On")
    size = 3_000_000
    with httpd.connect() as slow:
        slow.send_head("POST", "/shop/length", {"Content-Length": str(size)})
        slow.send(bytes(size - 1))
        assert httpd.get("/shop/pid").status == 200
        slow.send(b"x")
        assert slow.reply().body == str(size).encode()


def test_slow_uploads(start):
    """Clients that send slowly hold no daemon thread."""
    httpd = start("threads=1", threads=48)
    with ExitStack() as stack:
        slow = []
        for _ in range(30):
            connection = stack.enter_context(httpd.connect())
            connection.send_head("POST", "/shop/length", {"Content-Length": "300"})
            connection.send(b"x" * 100)
            slow.append(connection)
        for _ in range(5):
            assert httpd.get("/shop/pid").status == 200
        for connection in slow:
            connection.send(b"x" * 200)
        assert [connection.reply().body for connection in slow] == [b"300"] * 30


@pytest.mark.parametrize("size", [0, 1, 40_000, 1_000_000, 5_000_000])
def test_body_sizes(start, size):
    """Bodies arrive whole, whichever way they take; many at a time."""
    httpd = start("threads=4", threads=8)
    results: list = []

    def ask():
        results.append(httpd.request("POST", "/shop/length", body=bytes(size)).body)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [str(size).encode()] * 6


@pytest.mark.parametrize("how", ["returns", "raises", "yields"])
def test_fork(start, how):
    """A child that comes back into the server sends nothing and ends; the parent's answer is whole."""
    httpd = start()
    reply = httpd.get(f"/shop/fork/{how}")
    assert (reply.status, reply.body, reply.end) == (200, b"one two", "complete")
    httpd.log.expect("WSGI0521: a process that the application forked came back into the server and is ended")
    httpd.log.allow(r"\[script|Traceback|^  |RuntimeError: in the child|exception")
    assert httpd.get("/shop/pid").status == 200
    wait_for(lambda: not [pid for pid in httpd.pids() if re.search(r"State:\s+Z", status(pid))], "the child's end")


def status(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/status") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


@pytest.mark.parametrize("how", ["zeros", "ones", "text"])
def test_junk(start, how):
    """A daemon that writes junk where replies are due: 502, an error, httpd unharmed."""
    httpd = start("threads=1")
    children = httpd.children()
    for _ in range(3):
        assert httpd.get(f"/shop/junk/{how}").status == 502
    httpd.log.expect("WSGI0141: process group shop: the daemon broke the protocol", 3)
    httpd.log.allow("WSGI0720|WSGI0710|WSGI0520|WSGI05")
    assert wait_for(lambda: httpd.get("/shop/pid").status == 200, "service")
    assert set(httpd.children()) >= set(children)
