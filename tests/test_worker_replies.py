"""A daemon on its own, without httpd and wsgid: how replies go out, and which thread takes requests meanwhile."""

import array
import os
import select
import time
from pathlib import Path

import pytest

from bare_daemon import APP, PIPE, Kind, stopped
from client import wait_for

pytestmark = pytest.mark.differs("its daemons are forks of httpd")


def rush(count: int) -> bytes:
    """What `rush` of the application yields."""
    return b"".join(f"{number} ".encode() * (number % 7) for number in range(count))


def test_rush(start_daemon, queue):
    """Blocks that come one upon the other arrive in order and complete, in far fewer frames."""
    start_daemon(threads=2)
    for count in (3, 5, 50, 30_000):
        reply = queue.get(APP, f"rush={count}")
        assert (reply.body, reply.ending, reply.returned) == (rush(count) + b"end", Kind.END, True)
    assert len(reply.kinds) < count / 3


def test_no_rush(start_daemon, queue):
    """With response-flush-delay=0 each block is sent by itself."""
    start_daemon(threads=2, response_flush_delay=0)
    reply = queue.get(APP, "rush=1000")
    assert reply.body == rush(1000) + b"end"
    assert reply.kinds.count(Kind.DATA) == sum(number % 7 > 0 for number in range(1000)) + 1


def test_rush_that_stops(start_daemon, queue, tmp_path):
    """All that was yielded is sent while the application waits."""
    start_daemon(threads=2)
    for number in range(20):
        file = tmp_path / f"go-on-{number}"
        request = queue.put(APP, f"rush=100,{file}")
        assert request.receive_body(len(rush(100))) == rush(100)
        file.touch()
        assert request.finish().body == b"end"


def test_rush_before_reading(start_daemon, queue):
    """All that was yielded is sent before the application waits for the request's body."""
    start_daemon(threads=2)
    request = queue.put(APP, "rush_and_read=100", body=[b"the ", b"body"])
    sent = request.receive_body(len(rush(100) + b"end"))
    assert sent == rush(100) + b"end"
    assert request.finish().body == b"the body"


def test_rush_nobody_reads(start_daemon, queue, tmp_path):
    """An application is held up when its client reads nothing; and all arrives when it does."""
    daemon = start_daemon(threads=2)
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


def test_rush_nobody_wants(start_daemon, queue):
    """A client that goes away ends it."""
    start_daemon(threads=1)
    request = queue.put(APP, "rush=100000000")
    request.receive_body(1)
    request.near.close()
    assert queue.get(APP).body == b"Hello"


def test_fork_in_a_rush(start_daemon, queue):
    """A child that comes back into the server in the middle of a rush ends, whoever was at work when it was forked."""
    start_daemon(threads=1)
    for _ in range(3):
        reply = queue.get(APP, "rush_and_fork=4000")
        assert (reply.body, reply.ending) == (rush(4000) + b"end left 0", Kind.END)


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


def test_queue_is_kept(start_daemon, queue, tmp_path):
    """Requests that wait for nothing are served by one thread; one that waits, or computes for long, keeps no other
    from being served, and ends that soon."""
    start_daemon(threads=4)
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


def test_drain_while_queue_is_kept(start_daemon, queue):
    """What is in the queue then is served by another daemon."""
    daemon = start_daemon(threads=4)
    kept(queue)
    with stopped(daemon.process.pid):
        requests = [queue.put(APP, "compute=5") for _ in range(50)]
        daemon.drain()
    assert daemon.wait() == 0
    start_daemon(threads=1)
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
def test_pipe(start_daemon, queue, pipe):
    """Large pieces come through the pipe that came with the request; what does not fit, or is small, as ever."""
    start_daemon(threads=2)
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


def test_pipe_is_closed(start_daemon, queue):
    """httpd gives up: the daemon goes on."""
    daemon = start_daemon(threads=1)
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
