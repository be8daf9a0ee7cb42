"""A daemon on its own, without httpd and wsgid: requests, limits, reload, end. Each on every CPython that is found."""

import array
import os
import re
import select
import shutil
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import pythons
from bare_daemon import PIPE, Daemon, Kind, Queue
from client import wait_for

APP = Path(__file__).parent / "apps/worker.py"
PRELOAD = [(str(APP), ""), (str(APP), "other")]
"""What limits of time are not to count: a busy machine may take a second to load it."""
PYTHONS = [python for python in (pythons.ask(pythons.DEFAULT), *pythons.further()) if python]


@pytest.fixture(autouse=True)
def ours(pytestconfig):
    if pytestconfig.option.peer:
        pytest.skip("stock mod_wsgi differs: its daemons are forks of httpd")


@pytest.fixture(params=PYTHONS, ids=lambda python: python.name)
def python(request):
    return request.param.path


@pytest.fixture
def queue():
    queue = Queue()
    yield queue
    queue.close()


@pytest.fixture
def start(pytestconfig, python, queue, tmp_path):
    """Starts daemons on the one queue: `start(preload=…, threads=…)`, each READY."""
    host = Path(pytestconfig.getoption("--module")).resolve().parent / "mod_wsgi/wsgi_host.abi3.so"
    with ExitStack() as daemons:

        def start(preload=(), ready=True, errors=None, **options) -> Daemon:
            given = [(name.replace("_", "-"), str(value)) for name, value in options.items()]
            daemon = Daemon(host, python, queue, tmp_path / "log", given, preload, errors)
            daemons.callback(daemon.remove)
            if ready:
                assert daemon.hear() == ("Ready", ""), daemon.log.read_text()
            return daemon

        yield start


def begun(queue) -> None:
    """Waits until a daemon has taken what is in the queue."""
    wait_for(lambda: not queue.waiting(), "a daemon to take the request")


def sleeping(queue, folder: Path, seconds: float):
    """A request that sleeps in its application. One that was only taken may still be handed back."""
    file = folder / f"sleeping-{seconds}"
    request = queue.put(APP, f"sleep={seconds},{file}")
    wait_for(file.exists, "the request to run")
    return request


@contextmanager
def stopped(pid: int):
    """Stops a process meanwhile."""
    threads = Path(f"/proc/{pid}/task")
    os.kill(pid, signal.SIGSTOP)
    wait_for(
        lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads.glob("*/stat")),
        "the process to stop",
    )
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_requests(start, queue, tmp_path):
    """Each kind of request gets its frames, the least that will do, and hands the reply pair back."""
    start(threads=2)
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


def test_bodies(start, queue):
    """Bodies travel with the request or come when they are read; one that breaks off is an OSError."""
    start()
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


def test_file(start, queue, tmp_path):
    """A file travels as its descriptor."""
    start()
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1_000_000))
    reply = queue.get(APP, f"file={path}")
    assert reply.kinds == [Kind.HEAD, Kind.FILE, Kind.END]
    assert (reply.body, reply.returned) == (path.read_bytes(), True)


def rush(count: int) -> bytes:
    """What `rush` of the application yields."""
    return b"".join(f"{number} ".encode() * (number % 7) for number in range(count))


def test_rush(start, queue):
    """Blocks that come one upon the other arrive in order and complete, in far fewer frames."""
    start(threads=2)
    for count in (3, 5, 50, 30_000):
        reply = queue.get(APP, f"rush={count}")
        assert (reply.body, reply.ending, reply.returned) == (rush(count) + b"end", Kind.END, True)
    assert len(reply.kinds) < count / 3


def test_no_rush(start, queue):
    """With response-flush-delay=0 each block is sent by itself."""
    start(threads=2, response_flush_delay=0)
    reply = queue.get(APP, "rush=1000")
    assert reply.body == rush(1000) + b"end"
    assert reply.kinds.count(Kind.DATA) == sum(number % 7 > 0 for number in range(1000)) + 1


def test_rush_that_stops(start, queue, tmp_path):
    """All that was yielded is sent while the application waits."""
    start(threads=2)
    for number in range(20):
        file = tmp_path / f"go-on-{number}"
        request = queue.put(APP, f"rush=100,{file}")
        assert request.receive_body(len(rush(100))) == rush(100)
        file.touch()
        assert request.finish().body == b"end"


def test_rush_before_reading(start, queue):
    """All that was yielded is sent before the application waits for the request's body."""
    start(threads=2)
    request = queue.put(APP, "rush_and_read=100", body=[b"the ", b"body"])
    sent = request.receive_body(len(rush(100) + b"end"))
    assert sent == rush(100) + b"end"
    assert request.finish().body == b"the body"


def test_rush_nobody_reads(start, queue, tmp_path):
    """An application is held up when its client reads nothing; and all arrives when it does."""
    daemon = start(threads=2)
    request = queue.put(APP, f"rush=1000000,{tmp_path}/never")
    request.receive_body(1)
    stat = Path(f"/proc/{daemon.process.pid}/stat")

    def busy() -> bool:
        before = stat.read_text().split()[13:15]
        time.sleep(0.1)  # long for a thread that yields
        return stat.read_text().split()[13:15] != before

    wait_for(lambda: not busy(), "the application to be held up")
    (tmp_path / "never").touch()
    rest = request.finish()
    assert (rest.body[-3:], rest.ending) == (b"end", Kind.END)
    assert queue.get(APP).body == b"Hello"


def test_rush_nobody_wants(start, queue):
    """A client that goes away ends it."""
    start(threads=1)
    request = queue.put(APP, "rush=100000000")
    request.receive_body(1)
    request.near.close()
    assert queue.get(APP).body == b"Hello"


def same_thread(queue, action: str = "thread") -> int:
    """How many requests in a row, of a hundred that come one upon the other, one thread served at the most."""
    requests = [queue.put(APP, action) for _ in range(100)]
    longest = run = 0
    before = None
    for request in requests:
        thread = request.finish().body
        run = run + 1 if thread == before else 1
        longest, before = max(longest, run), thread
    return longest


def kept(queue) -> None:
    """Waits until one thread takes all requests, having seen that none of them waits."""
    wait_for(lambda: same_thread(queue) > 50, "one thread to keep the queue")


def test_queue_is_kept(start, queue, tmp_path):
    """Requests that wait for nothing are served by one thread; one that waits, or computes for long, keeps no other
    from being served, and ends that soon."""
    start(threads=4)
    kept(queue)
    for _ in range(3):
        file = tmp_path / "waiting"
        waiting = [queue.put(APP, f"rush=1,{file}") for _ in range(3)]
        assert queue.get(APP).body == b"Hello"
        file.touch()
        assert [request.finish().ending for request in waiting] == [Kind.END] * 3
        file.unlink()
    kept(queue)
    computing = queue.put(APP, "compute=2000")
    assert queue.get(APP).body == b"Hello"
    assert select.select([computing.near], [], [], 0)[0] == []
    assert computing.finish().ending is Kind.END


def test_drain_while_queue_is_kept(start, queue):
    """What is in the queue then is served by another daemon."""
    daemon = start(threads=4)
    kept(queue)
    with stopped(daemon.process.pid):
        requests = [queue.put(APP, "compute=5") for _ in range(50)]
        daemon.drain()
    assert daemon.wait() == 0
    start(threads=1)
    endings = [request.finish().ending for request in requests]
    assert endings.count(Kind.END) > 0
    assert endings.count(Kind.RETRY) <= 2  # taken just before it heard
    assert set(endings) <= {Kind.END, Kind.RETRY}


SIZES = [1_000_000, 100, 1 << 20, 3, 5_000_000, 200_000, 0, 130_000, 140_000]


def patterns(*sizes: int) -> bytes:
    """What `pattern` of the application answers."""
    each = (array.array("I", range(7 * size, 7 * size + size // 4 + 1)).tobytes()[:size] for size in sizes)
    return b"".join(each)


@pytest.mark.parametrize("pipe", [PIPE, PIPE // 4])
def test_pipe(start, queue, pipe):
    """Large pieces come through the pipe that came with the request; what does not fit, or is small, as ever."""
    start(threads=2)
    sizes = ",".join(map(str, SIZES))
    for action in ("pattern", "generated_pattern"):
        reply = queue.get(APP, f"{action}={sizes}", pipe=pipe)
        assert reply.body == patterns(*SIZES)
        assert (reply.ending, reply.returned) == (Kind.END, True)
        assert {Kind.PIPED, Kind.DATA} <= set(reply.kinds)
        assert reply.kinds.count(Kind.PIPED) >= sum(size for size in SIZES if size > 500_000) // pipe
    assert queue.get(APP, f"pattern={sizes}").body == patterns(*SIZES)
    # Nothing of it is worth a pipe, or what was asked for is not whole.
    body = [bytes(70_000)] * 40
    for action, sent in [("pattern=100000", None), ("half_read=1000000", body), ("deadly=1000000", None)]:
        reply = queue.get(APP, action, body=sent, pipe=pipe)
        assert reply.body == patterns(int(action.partition("=")[2]))
        assert Kind.PIPED not in reply.kinds


def test_pipe_is_closed(start, queue):
    """httpd gives up: the daemon goes on."""
    daemon = start(threads=1)
    request = queue.put(APP, "pattern=5000000", pipe=PIPE)
    request.receive_body(1)
    for descriptor in request.pipe:
        os.close(descriptor)
    request.near.close()
    with stopped(daemon.process.pid):
        request = queue.put(APP, "pattern=1000000", pipe=PIPE)
        os.close(request.pipe[0])
        request.pipe = request.pipe[1:]
    assert request.finish().body == patterns(1_000_000)
    assert queue.get(APP).body == b"Hello"


def test_deadline(start, queue):
    """A request with a deadline is announced; after it, it is not run."""
    start(threads=1)
    assert queue.get(APP, deadline=10).started
    late = queue.get(APP, deadline=-0.001)
    assert (late.kinds, late.started) == ([], False)
    assert queue.get(APP).body == b"Hello"


def test_withdrawn(start, queue, tmp_path):
    """A request that nobody waits for any more is not run, if it waited for a thread or for long; one that has waited
    for long is announced."""
    daemon = start(threads=2)
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


def test_environ(start, queue):
    """What applications are told of the process."""
    start(processes=1, threads=1, maximum_requests=1)
    assert queue.get(APP, "environ=wsgi.run_once").body == b"True"
    start(threads=2)
    told = {key: queue.get(APP, f"environ={key}").body.decode() for key in ("wsgi.run_once", "wsgi.multithread")}
    assert told == {"wsgi.run_once": "False", "wsgi.multithread": "True"}
    assert queue.get(APP, "environ=mod_wsgi.process_group").body == b"'shop'"
    before = time.time()
    taken = float(queue.get(APP, "environ=mod_wsgi.daemon_start").body)
    assert before - 0.1 <= taken <= time.time()
    assert taken - 5 < float(queue.get(APP, "environ=mod_wsgi.queue_start").body) <= time.time()


def test_drain(start, queue, tmp_path):
    """Told to drain, a daemon finishes what it has, takes nothing new and ends; its exit handlers run."""
    daemon = start(threads=2)
    busy = sleeping(queue, tmp_path, 0.5)
    daemon.drain()
    wait_for(lambda: queue.put(APP).near.close() or queue.waiting(), "the daemon to take nothing more")
    assert busy.finish().body == b"awake"
    assert daemon.wait() == 0
    assert "exit handler" in daemon.log.read_text()


def test_replacement(start, queue):
    """Daemons replace each other under load: each request gets its reply."""
    endings: list[Kind | None] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            reply = queue.get(APP)
            while reply.ending is Kind.RETRY:
                reply = queue.get(APP)
            endings.append(reply.ending)

    daemon = start(threads=3)
    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for _ in range(5):
        new = start(threads=3)
        daemon.drain()
        assert daemon.wait() == 0
        daemon = new
    stop.set()
    for thread in clients:
        thread.join()
    assert len(endings) > 10
    assert set(endings) == {Kind.END}


def test_stop(start, queue, tmp_path):
    """SIGTERM: requests have the time of shutdown-timeout, then they are cut off."""
    daemon = start(threads=2, shutdown_timeout=5)
    long, short = sleeping(queue, tmp_path, 60), sleeping(queue, tmp_path, 0.3)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.hear() == ("Exiting", "shutdown_signal")
    assert short.finish().ending is Kind.END
    assert long.finish().ending is None
    daemon.wait()


def test_supervisor_gone(start, queue, tmp_path):
    """Without wsgid a daemon finishes what it has, and ends."""
    daemon = start()
    busy = sleeping(queue, tmp_path, 0.3)
    daemon.control.close()
    assert busy.finish().ending is Kind.END
    assert daemon.wait() == 0


def test_maximum_requests(start, queue):
    """After so many requests a daemon asks to be replaced, and serves until it is."""
    daemon = start(maximum_requests=3)
    for _ in range(3):
        queue.get(APP)
    assert daemon.hear() == ("Replace", "maximum_requests")
    assert queue.get(APP).ending is Kind.END
    daemon.drain()
    assert daemon.wait() == 0


def test_inactivity(start, queue):
    """Without activity after the first request a daemon ends."""
    daemon = start(inactivity_timeout=1)
    queue.get(APP)
    assert daemon.hear() == ("Exiting", "inactivity_timeout")
    assert daemon.wait() == 0


def test_request_timeout(start, queue):
    """A request takes too long: clients are served until a new process is there. The stacks are in the log."""
    daemon = start(PRELOAD, threads=2, request_timeout=1, shutdown_timeout=1)
    stuck = queue.put(APP, "sleep=60", group="other")
    assert daemon.hear() == ("Replace", "request_timeout")
    wait_for(lambda: re.search(r"worker.py\", line \d+,? in do_sleep", daemon.log.read_text()), "the stacks")
    assert queue.get(APP).ending is Kind.END
    daemon.drain()
    assert daemon.hear() == ("Exiting", "request_timeout")
    assert stuck.finish().ending is None
    daemon.wait()


def test_interrupt(start, queue):
    """With interrupt-timeout the request gets an exception, and the process lives."""
    start(PRELOAD, threads=1, request_timeout=1, interrupt_timeout=5)
    reply = queue.get(APP, "spin")
    assert (reply.status, reply.ending) == (504, Kind.REFUSED)
    for _ in range(3):
        # On a slow machine any of them may take that long.
        wait_for(lambda: queue.get(APP).ending is Kind.END, "a whole reply")


def test_deadlock(start, queue):
    """Python's lock is held for good: the stacks are in the log, the process ends."""
    daemon = start(PRELOAD, deadlock_timeout=2, shutdown_timeout=1)
    stuck = queue.put(APP, "lock=60", group="other")
    assert daemon.hear() == ("Exiting", "deadlock_timeout")
    assert stuck.finish().ending is None
    daemon.wait()
    assert re.search(r"worker.py\", line \d+ in do_lock", daemon.log.read_text())


@pytest.mark.parametrize(("query", "limit"), [("sleep=60", "request_timeout"), ("lock=60", "deadlock_timeout")])
def test_stacks_stay_together(start, queue, query, limit):
    """Other processes write to the same log at any time: each record is one write, stacks included."""
    log, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with log:
        with theirs:
            daemon = start(PRELOAD, errors=theirs, shutdown_timeout=1, **{limit: 2})
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


def test_script_change(start, queue, tmp_path):
    """A script that has changed leads to a new process; the old one goes on with the old code."""
    script = tmp_path / "script.py"
    shutil.copy(APP, script)
    daemon = start()
    assert queue.get(script).body == b"Hello"
    script.write_text(APP.read_text().replace('b"Hello"', 'b"changed"'))
    os.utime(script, ns=(0, 10**18))
    for _ in range(3):
        assert queue.get(script).body == b"Hello"
    assert daemon.hear() == ("Replace", "script_reload")
    new = start()
    daemon.drain()
    assert daemon.wait() == 0
    assert queue.get(script).body == b"changed"
    # Told once for each change.
    os.utime(script, ns=(0, 2 * 10**18))
    assert queue.get(script).body == b"changed"
    assert new.hear() == ("Replace", "script_reload")


def test_preload(start, queue, tmp_path):
    """Scripts are loaded before a daemon is READY; one that cannot be loaded ends it."""
    daemon = start(preload=[(str(APP), ""), (str(APP), "other")])
    assert daemon.log.read_text().count("worker.py] loaded") == 2
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start(preload=[(str(broken), "")], ready=False)
    assert daemon.hear() == ("", "")
    assert daemon.wait() == 3
    assert "ValueError: broken" in daemon.log.read_text()


def test_preload_optional(start, queue, tmp_path):
    """A script that is not required is tried again by the first request for it; one that is gone is left out."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start(preload=[(str(broken), "", False), (str(tmp_path / "gone.py"), ""), (str(APP), "")])
    assert "ValueError: broken" in daemon.log.read_text()
    assert "gone.py is gone and not loaded" in daemon.log.read_text()
    assert queue.get(broken).status == 500
    shutil.copy(APP, broken)
    assert queue.get(broken).body == b"Hello"


def test_what_is_told_of_the_work(start, queue, tmp_path):
    """wsgid hears of the first request that was completed, and of each script that requests use, once."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    # Neither of the last two is UTF-8: each is an interpreter of its own.
    groups = ["", "preloaded", "caf\xe9", "caf\xe8"]
    daemon = start(preload=[(str(APP), "preloaded"), (str(APP), "never used")])
    assert queue.get(broken).status == 500
    for _ in range(2):
        for group in groups:
            assert queue.get(APP, group=group).ending is Kind.END
    daemon.drain()
    assert daemon.hear() == ("", "")
    assert (daemon.used, daemon.served) == ([(str(APP), group) for group in groups], 1)


def test_startup_timeout(start, queue, tmp_path):
    """A daemon whose requests find no script that can be loaded ends; one that has loaded a script does not."""
    broken = tmp_path / "broken.py"
    broken.write_text("raise ValueError('broken')\n")
    daemon = start(startup_timeout=1)
    begin = time.monotonic()
    assert queue.get(broken).status == 500
    assert daemon.hear() == ("Exiting", "startup_timeout")
    assert time.monotonic() - begin > 0.9
    assert daemon.wait() == 0
    assert "WSGI0509" in daemon.log.read_text()

    # Long enough for a busy machine to load the second one meanwhile.
    daemon = start(startup_timeout=4, shutdown_timeout=1)
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
def test_signals(start, queue, number, options, said):
    """What a daemon makes of signals; those that ask for a new process, or for nothing, leave it serving."""
    daemon = start(**options)
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


def test_service(start, tmp_path):
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
    daemon = start(threads=0, preload=[(str(script), "")])
    wait_for(lambda: "runs True" in daemon.log.read_text(), "the service to run")
    daemon.drain()
    assert daemon.hear() == ("Exiting", "service_end")
    assert daemon.wait() == 0
    assert "leaves" in daemon.log.read_text()


def test_fork(start, queue):
    """A child of the application that comes back into the server sends nothing and ends."""
    daemon = start()
    assert queue.get(APP, "fork").body == b"parent"
    wait_for(lambda: "WSGI0521" in daemon.log.read_text(), "the child to end")
    assert queue.get(APP).body == b"Hello"
    assert queue.get(APP, "run", group="other").body == b"0"


@pytest.mark.parametrize(("first", "forking"), [("other", ""), ("", "other")])
def test_fork_with_several_interpreters(start, queue, first, forking):
    """CPython cannot go on in a fork of several interpreters: the child ends at once, and the log says why."""
    daemon = start()
    queue.get(APP, group=first)
    reply = queue.get(APP, "fork", group=forking)
    # Up to 3.11 os.fork refuses in a second interpreter.
    assert reply.body == b"parent" or any("fork not supported" in text for _, text in reply.log)
    if reply.ending is Kind.END:
        wait_for(lambda: "WSGI0444" in daemon.log.read_text(), "the child to end")
    assert queue.get(APP, "run").body == b"0"
