"""A daemon on its own, without httpd and wsgid: requests, limits, reload, end. Each on every CPython that is found."""

import os
import re
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from bare_daemon import APP, Kind, stopped
from client import wait_for

PRELOAD = [(str(APP), ""), (str(APP), "other")]
"""What limits of time are not to count: a busy machine may take a second to load it."""


pytestmark = pytest.mark.differs("its daemons are forks of httpd")


def begun(queue) -> None:
    """Waits until a daemon has taken what is in the queue."""
    wait_for(lambda: not queue.waiting(), "a daemon to take the request")


def sleeping(queue, folder: Path, seconds: float):
    """A request that sleeps in its application. One that was only taken may still be handed back."""
    file = folder / f"sleeping-{seconds}"
    request = queue.put(APP, f"sleep={seconds},{file}")
    wait_for(file.exists, "the request to run")
    return request


def test_requests(start_daemon, queue, tmp_path):
    """Each kind of request gets its frames, the least that will do, and hands the reply pair back."""
    start_daemon(threads=2)
    whole = [Kind.HEAD, Kind.DATA, Kind.END]
    reply = queue.get(APP)
    assert (reply.kinds, reply.status, reply.body, reply.returned) == (whole, 200, b"Hello", True)
    assert ("Content-Type", "text/plain") in reply.headers
    assert queue.get(APP, "large=5000000").kinds == whole
    reply = queue.get(APP, "generator")
    assert (reply.body, reply.ending) == (b"one two", Kind.END)
    assert queue.get(APP, group="other").body == b"Hello"
    assert queue.get(APP, variables=[("LARGE", "x" * 300_000)]).kinds == whole

    reply = queue.get(APP, "raise")
    assert (reply.status, reply.ending, reply.returned) == (500, Kind.REFUSED, True)
    assert any("ValueError: before the head" in text for _, text in reply.log)
    reply = queue.get(APP, "cut")
    assert (reply.body, reply.ending, reply.returned) == (b"one", Kind.TRUNCATED, True)
    reply = queue.get(APP, "print=to the log")
    assert [text.partition("] ")[2] for _, text in reply.log] == ["to the log"]


def test_bodies(start_daemon, queue):
    """Bodies travel with the request or come when they are read; one that breaks off is an OSError."""
    start_daemon()
    assert queue.get(APP, "echo", body=b"inline").body == b"inline"
    pieces = [os.urandom(70_000) for _ in range(40)]
    reply = queue.get(APP, "echo", body=pieces)
    assert (reply.kinds[0], reply.body, reply.returned) == (Kind.WANT_BODY, b"".join(pieces), True)
    reply = queue.get(APP, "echo", body=[b"some", "the client went away"])
    assert (reply.status, reply.ending) == (500, Kind.REFUSED)
    assert any("OSError: the client went away" in text for _, text in reply.log)
    # Nobody reads it: it stays with httpd, and the pair can be used again.
    reply = queue.get(APP, body=pieces)
    assert (Kind.WANT_BODY in reply.kinds, reply.returned) == (False, True)


def test_file(start_daemon, queue, tmp_path):
    """A file travels as its descriptor."""
    start_daemon()
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))
    reply = queue.get(APP, f"file={path}")
    assert reply.kinds == [Kind.HEAD, Kind.FILE, Kind.END]
    assert (reply.body, reply.returned) == (path.read_bytes(), True)


def test_deadline(start_daemon, queue):
    """A request with a deadline is announced; after it, it is not run."""
    start_daemon(threads=1)
    assert queue.get(APP, deadline=10).started
    late = queue.get(APP, deadline=-0.001)
    assert (late.kinds, late.started) == ([], False)
    assert queue.get(APP).body == b"Hello"


def test_withdrawn(start_daemon, queue, tmp_path):
    """A request that nobody waits for any more is not run, if it waited for a thread or for long; one that has waited
    for long is announced."""
    daemon = start_daemon(threads=2)
    for number in range(10):
        with stopped(daemon.process.pid):
            first = queue.put(APP)
            queue.put(APP, f"touch={tmp_path}/{number}").near.close()
        assert first.finish().body == b"Hello"
        begun(queue)
        with stopped(daemon.process.pid):
            queue.put(APP, f"touch={tmp_path}/old", age=0.01).near.close()
        begun(queue)
    assert queue.get(APP, age=1).started
    daemon.drain()  # it finishes whatever it has taken
    daemon.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_environ(start_daemon, queue):
    """What applications are told of the process."""
    start_daemon(processes=1, threads=1, maximum_requests=1)
    assert queue.get(APP, "environ=wsgi.run_once").body == b"True"
    start_daemon(threads=2)
    told = {key: queue.get(APP, f"environ={key}").body.decode() for key in ("wsgi.run_once", "wsgi.multithread")}
    assert told == {"wsgi.run_once": "False", "wsgi.multithread": "True"}
    assert queue.get(APP, "environ=mod_wsgi.process_group").body == b"'shop'"
    before = time.time()
    taken = float(queue.get(APP, "environ=mod_wsgi.daemon_start").body)
    assert before - 0.1 <= taken <= time.time()
    assert taken - 5 < float(queue.get(APP, "environ=mod_wsgi.queue_start").body) <= time.time()


def test_drain(start_daemon, queue, tmp_path):
    """Told to drain, a daemon finishes what it has, takes nothing new and ends; its exit handlers run."""
    daemon = start_daemon(threads=2)
    busy = sleeping(queue, tmp_path, 0.5)
    daemon.drain()
    wait_for(lambda: queue.put(APP).near.close() or queue.waiting(), "the daemon to take nothing more")
    assert busy.finish().body == b"awake"
    assert daemon.wait() == 0
    assert "exit handler" in daemon.log.read_text()


def test_replacement(start_daemon, queue):
    """Daemons replace each other under load: each request gets its reply."""
    endings: list[Kind | None] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            reply = queue.get(APP)
            while reply.ending is Kind.RETRY:
                reply = queue.get(APP)
            endings.append(reply.ending)

    daemon = start_daemon(threads=3)
    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for _ in range(5):
        new = start_daemon(threads=3)
        daemon.drain()
        assert daemon.wait() == 0
        daemon = new
    stop.set()
    for thread in clients:
        thread.join()
    assert len(endings) > 10
    assert set(endings) == {Kind.END}


def test_stop(start_daemon, queue, tmp_path):
    """SIGTERM: requests have the time of shutdown-timeout, then they are cut off."""
    daemon = start_daemon(threads=2, shutdown_timeout=5)
    long, short = sleeping(queue, tmp_path, 60), sleeping(queue, tmp_path, 0.3)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.hear() == ("Exiting", "shutdown_signal")
    assert short.finish().ending is Kind.END
    assert long.finish().ending is None
    daemon.wait()


def test_supervisor_gone(start_daemon, queue, tmp_path):
    """Without wsgid a daemon finishes what it has, and ends."""
    daemon = start_daemon()
    busy = sleeping(queue, tmp_path, 0.3)
    daemon.control.close()
    assert busy.finish().ending is Kind.END
    assert daemon.wait() == 0


def test_maximum_requests(start_daemon, queue):
    """After so many requests a daemon asks to be replaced, and serves until it is."""
    daemon = start_daemon(maximum_requests=3)
    for _ in range(3):
        queue.get(APP)
    assert daemon.hear() == ("Replace", "maximum_requests")
    assert queue.get(APP).ending is Kind.END
    daemon.drain()
    assert daemon.wait() == 0


def test_inactivity(start_daemon, queue):
    """Without activity after the first request a daemon ends."""
    daemon = start_daemon(inactivity_timeout=1)
    queue.get(APP)
    assert daemon.hear() == ("Exiting", "inactivity_timeout")
    assert daemon.wait() == 0


def test_request_timeout(start_daemon, queue):
    """A request takes too long: clients are served until a new process is there. The stacks are in the log."""
    daemon = start_daemon(PRELOAD, threads=2, request_timeout=1, shutdown_timeout=1)
    stuck = queue.put(APP, "sleep=60", group="other")
    assert daemon.hear() == ("Replace", "request_timeout")
    wait_for(lambda: re.search(r"worker.py\", line \d+,? in do_sleep", daemon.log.read_text()), "the stacks")
    assert queue.get(APP).ending is Kind.END
    daemon.drain()
    assert daemon.hear() == ("Exiting", "request_timeout")
    assert stuck.finish().ending is None
    daemon.wait()


def test_interrupt(start_daemon, queue):
    """With interrupt-timeout the request gets an exception, and the process lives."""
    start_daemon(PRELOAD, threads=1, request_timeout=1, interrupt_timeout=5)
    reply = queue.get(APP, "spin")
    assert (reply.status, reply.ending) == (504, Kind.REFUSED)
    for _ in range(3):
        # On a slow machine any of them may take that long.
        wait_for(lambda: queue.get(APP).ending is Kind.END, "a whole reply")


def test_deadlock(start_daemon, queue):
    """Python's lock is held for good: the stacks are in the log, the process ends."""
    daemon = start_daemon(PRELOAD, deadlock_timeout=2, shutdown_timeout=1)
    stuck = queue.put(APP, "lock=60", group="other")
    assert daemon.hear() == ("Exiting", "deadlock_timeout")
    assert stuck.finish().ending is None
    daemon.wait()
    assert re.search(r"worker.py\", line \d+ in do_lock", daemon.log.read_text())


@pytest.mark.parametrize(("query", "limit"), [("sleep=60", "request_timeout"), ("lock=60", "deadlock_timeout")])
def test_stacks_stay_together(start_daemon, queue, query, limit):
    """Other processes write to the same log at any time: each record is one write, stacks included."""
    log, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with log:
        with theirs:
            daemon = start_daemon(PRELOAD, errors=theirs, shutdown_timeout=1, **{limit: 2})
        stuck = queue.put(APP, query, group="other")
        said, reason = daemon.hear()
        assert reason == limit
        if said == "Replace":  # otherwise it ends by itself, and may have
            daemon.drain()
        assert stuck.finish().ending is None
        daemon.wait()
        records = list(iter(lambda: log.recv(1 << 20).decode(), ""))
    head = re.compile(r"\[.*?\] \[wsgi:\w+\] \[pid \d+:tid \d+\] \[group shop\] ")
    assert [record for record in records if not all(map(head.match, record.splitlines()))] == []
    (stacks,) = [record for record in records if re.search(r"worker.py\", line \d+,? in do_", record)]
    assert re.match(head.pattern + "WSGI050[67]: ", stacks)


def test_script_change(start_daemon, queue, tmp_path):
    """A script that has changed leads to a new process; the old one goes on with the old code."""
    script = tmp_path / "script.py"
    shutil.copy(APP, script)
    daemon = start_daemon()
    assert queue.get(script).body == b"Hello"
    script.write_text(APP.read_text().replace('b"Hello"', 'b"changed"'))
    os.utime(script, ns=(0, 10**18))
    for _ in range(3):
        assert queue.get(script).body == b"Hello"
    assert daemon.hear() == ("Replace", "script_reload")
    new = start_daemon()
    daemon.drain()
    assert daemon.wait() == 0
    assert queue.get(script).body == b"changed"
    # Told once for each change.
    os.utime(script, ns=(0, 2 * 10**18))
    assert queue.get(script).body == b"changed"
    assert new.hear() == ("Replace", "script_reload")


def test_preload(start_daemon, queue, tmp_path):
    """Scripts are loaded before a daemon is READY; one that cannot be loaded ends it."""
    daemon = start_daemon(preload=[(str(APP), ""), (str(APP), "other")])
    assert daemon.log.read_text().count("worker.py] loaded") == 2
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start_daemon(preload=[(str(broken), "")], ready=False)
    assert daemon.hear() == ("", "")
    assert daemon.wait() == 3
    assert "ValueError: broken" in daemon.log.read_text()


def test_preload_optional(start_daemon, queue, tmp_path):
    """A script that is not required is tried again by the first request for it; one that is gone is left out."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start_daemon(preload=[(str(broken), "", False), (str(tmp_path / "gone.py"), ""), (str(APP), "")])
    assert "ValueError: broken" in daemon.log.read_text()
    assert "gone.py is gone and not loaded" in daemon.log.read_text()
    assert queue.get(broken).status == 500
    shutil.copy(APP, broken)
    assert queue.get(broken).body == b"Hello"


def test_what_is_told_of_the_work(start_daemon, queue, tmp_path):
    """wsgid hears of the first request that was completed, and of each script that requests use, once."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    # Neither of the last two is UTF-8: each is an interpreter of its own.
    groups = ["", "preloaded", "caf\xe9", "caf\xe8"]
    daemon = start_daemon(preload=[(str(APP), "preloaded"), (str(APP), "never used")])
    assert queue.get(broken).status == 500
    for _ in range(2):
        for group in groups:
            assert queue.get(APP, group=group).ending is Kind.END
    daemon.drain()
    assert daemon.hear() == ("", "")
    assert (daemon.used, daemon.served) == ([(str(APP), group) for group in groups], 1)


def test_startup_timeout(start_daemon, queue, tmp_path):
    """A daemon whose requests find no script that can be loaded ends; one that has loaded a script does not."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start_daemon(startup_timeout=1)
    begin = time.monotonic()
    assert queue.get(broken).status == 500
    assert daemon.hear() == ("Exiting", "startup_timeout")
    assert time.monotonic() - begin > 0.9
    assert daemon.wait() == 0
    assert "WSGI0509" in daemon.log.read_text()

    # Long enough for a busy machine to load the second one meanwhile.
    daemon = start_daemon(startup_timeout=4, shutdown_timeout=1)
    assert queue.get(broken).status == 500
    assert queue.get(APP, "sleep=4.5").ending is Kind.END
    assert queue.get(broken).status == 500
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.hear() == ("Exiting", "shutdown_signal")


@pytest.mark.parametrize(
    ("number", "options", "said"),
    [
        (signal.SIGUSR1, {}, ("Replace", "graceful_signal")),
        (signal.SIGUSR1, {"eviction_timeout": 5}, ("Replace", "eviction_signal")),
        (signal.SIGXCPU, {}, ("Replace", "cpu_time_limit")),
        (signal.SIGINT, {}, ("Exiting", "shutdown_signal")),
        (signal.SIGHUP, {}, None),
        (signal.SIGUSR2, {}, None),
    ],
)
def test_signals(start_daemon, queue, number, options, said):
    """What a daemon makes of signals; those that ask for a new process, or for nothing, leave it serving."""
    daemon = start_daemon(**options)
    daemon.process.send_signal(number)
    if said and said[0] == "Exiting":
        assert daemon.hear() == said
        assert daemon.wait() == 0
        return
    if said:
        assert daemon.hear() == said
    assert queue.get(APP).ending is Kind.END
    daemon.drain()
    assert daemon.hear() == ("", "")
    assert daemon.wait() == 0


def test_service(start_daemon, tmp_path):
    """A service script runs in the main thread; the end comes to it as SystemExit."""
    script = tmp_path / "service.py"
    script.write_text(
        "import threading, time\n"
        "print('runs', threading.current_thread() is threading.main_thread())\n"
        "try:\n"
        "    while True:\n"
        "        time.sleep(0.05)\n"
        "except SystemExit:\n"
        "    print('leaves')\n"
        "    raise\n"
    )
    daemon = start_daemon(threads=0, preload=[(str(script), "")])
    wait_for(lambda: "runs True" in daemon.log.read_text(), "the service to run")
    daemon.drain()
    assert daemon.hear() == ("Exiting", "service_end")
    assert daemon.wait() == 0
    assert "leaves" in daemon.log.read_text()


def test_fork(start_daemon, queue):
    """A child of the application that comes back into the server sends nothing and ends."""
    daemon = start_daemon()
    assert queue.get(APP, "fork").body == b"parent"
    wait_for(lambda: "WSGI0521" in daemon.log.read_text(), "the child to end")
    assert queue.get(APP).body == b"Hello"
    assert queue.get(APP, "run", group="other").body == b"0"


@pytest.mark.parametrize(("first", "forking"), [("other", ""), ("", "other")])
def test_fork_with_several_interpreters(start_daemon, queue, first, forking):
    """CPython cannot go on in a fork of several interpreters: the child ends at once, and the log says why."""
    daemon = start_daemon()
    queue.get(APP, group=first)
    reply = queue.get(APP, "fork", group=forking)
    # Up to 3.11 os.fork refuses in a second interpreter.
    assert reply.body == b"parent" or any("fork not supported" in text for _, text in reply.log)
    if reply.ending is Kind.END:
        wait_for(lambda: "WSGI0444" in daemon.log.read_text(), "the child to end")
    assert queue.get(APP, "run").body == b"0"
