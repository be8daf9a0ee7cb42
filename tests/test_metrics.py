"""What is counted of requests, processes and threads."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from client import settled, wait_for

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("it has no such numbers")]

CONFIG = """
<Location "/wsgi-status">
    SetHandler wsgi-status
</Location>
WSGIScriptAlias /app ${APPS}/metrics.py
"""
GROUP = """
<Location "/wsgi-status">
    SetHandler wsgi-status
</Location>
WSGIDaemonProcess shop {options}
WSGIScriptAlias /app ${{APPS}}/metrics.py process-group=shop application-group=%{{GLOBAL}}
"""


def group_of(httpd, name: str | None = None) -> dict | None:
    """The group of that name; None while nobody has reported it."""
    if name is None:
        name = "tests" if httpd.setup.daemon else ""
    groups = json.loads(httpd.get("/wsgi-status?format=json").body)["groups"]
    return next((group for group in groups if group["name"] == name), None)


def await_group(httpd, condition, what: str, name: str | None = None) -> dict:
    return wait_for(lambda: (group := group_of(httpd, name)) and condition(group) and group, what)


def await_numbers(httpd, check, name: str | None = None) -> None:
    """Waits until `check` finds nothing wrong with the group. A request's numbers are counted one after the other: a
    report may have some of them and not yet the others."""

    def whole():
        group = group_of(httpd, name)
        assert group
        check(group)

    settled(whole)


def completed(number: int):
    return lambda group: group["requests"]["completed"] == number


def background(httpd, *targets: str) -> list[threading.Thread]:
    threads = [threading.Thread(target=httpd.get, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def test_status_classes(start_httpd):
    """Replies are counted by the class of their status; a cut one as failed, too."""
    httpd = start_httpd(CONFIG)
    for status in (200, 204, 302, 404, 404, 503):
        httpd.get(f"/app/status?{status}")
    httpd.get("/app/short")
    httpd.log.expect("WSGI0409")

    def check(group):
        assert group["requests"]["completed"] == 7
        assert group["requests"]["status"] == [0, 3, 1, 2, 1]
        assert group["requests"]["failed"] == 1
        assert group["requests"]["running"] == 0

    await_numbers(httpd, check)


def test_bodies(start_httpd):
    """Bodies are counted in both directions, and the time that they take."""
    httpd = start_httpd(CONFIG)
    assert httpd.request("POST", "/app/read", body=b"x" * 100_000).body == b"100000"

    def check(group):
        assert group["requests"]["completed"] == 1
        assert (group["requests"]["input_bytes"], group["requests"]["output_bytes"]) == (100_000, 6)
        assert group["times"]["input_read_time"]["count"] == 1
        assert group["times"]["output_write_time"]["count"] == 1

    await_numbers(httpd, check)


def test_times(start_httpd):
    """Each phase has its histogram; they hold what the request took."""
    httpd = start_httpd(CONFIG)
    (thread,) = background(httpd, f"/app/wait?{httpd.root}/open")
    await_group(httpd, lambda group: running_for(group) > 600_000, "the request to run for a while")
    (httpd.root / "open").touch()
    thread.join()

    def check(group):
        assert group["requests"]["completed"] == 1
        times = group["times"]
        for phase in ("application_time", "request_time"):
            assert times[phase]["count"] == 1
            assert times[phase]["sum_us"] > 200_000
            # Histograms are good to a few percent.
            assert times[phase]["p50_us"] == pytest.approx(times[phase]["sum_us"], rel=0.05)
        assert times["gil_wait_time"]["count"] == 1
        assert times["queue_time"]["count"] == times["daemon_time"]["count"] == int(httpd.setup.daemon)

    await_numbers(httpd, check)


def running_for(group: dict) -> int:
    running = [thread["running"] for process in group["processes"] for thread in process["threads"]]
    return max((request["elapsed_us"] for request in running if request), default=0)


def test_what_runs(start_httpd):
    """A thread shows what it runs, without the query, which may be secret."""
    httpd = start_httpd(CONFIG)
    (thread,) = background(httpd, f"/app/wait?{httpd.root}/open")
    group = await_group(httpd, lambda group: group["requests"]["running"] == 1, "the request to run")
    running = [thread["running"] for process in group["processes"] for thread in process["threads"]]
    (request,) = [request for request in running if request]
    assert request["request"] == "GET /app/wait"
    assert request["application_group"] == f"localhost:{httpd.port}|/app"
    (httpd.root / "open").touch()
    thread.join()
    await_group(httpd, lambda group: completed(1)(group) and group["requests"]["running"] == 0, "its end")


@pytest.mark.modes("daemon")
def test_queue(start_httpd):
    """Requests that wait for a thread are counted, and how long they waited."""
    httpd = start_httpd(GROUP.format(options="threads=1"))
    threads = background(httpd, f"/app/wait?{httpd.root}/open")
    await_group(httpd, lambda group: group["requests"]["running"] == 1, "the first one to run", "shop")
    threads += background(httpd, *[f"/app/wait?{httpd.root}/open"] * 3)
    group = await_group(httpd, lambda group: group["queue_length"] == 3, "three that wait", "shop")
    assert group["queue_bytes"] > 0
    (httpd.root / "open").touch()
    for thread in threads:
        thread.join()

    def check(group):
        assert group["requests"]["completed"] == 4
        assert group["queue_length"] == 0
        assert (group["times"]["queue_time"]["max_us"] or 0) > 1000

    await_numbers(httpd, check, "shop")


@pytest.mark.modes("daemon")
def test_ends(start_httpd):
    """Processes that end are counted by reason, and what they counted is not lost."""
    httpd = start_httpd(GROUP.format(options="maximum-requests=3"))
    pids = {httpd.get("/app/pid").body for _ in range(3)}
    assert len(pids) == 1
    group = await_group(httpd, lambda group: group["ends"] == {"maximum_requests": 1}, "the end", "shop")
    assert group["starts"] == 2
    assert group["requests"]["completed"] == 3
    assert group["requests"]["status"] == [0, 3, 0, 0, 0]
    assert sum(process["requests"]["completed"] for process in group["processes"]) == 0


@pytest.mark.modes("daemon")
def test_crash(start_httpd):
    """A process that was killed is counted as a crash."""
    httpd = start_httpd(GROUP.format(options=""))
    pid = int(httpd.get("/app/pid").body)
    # The client has the reply before the books are closed.
    await_group(httpd, completed(1), "the request", "shop")
    os.kill(pid, signal.SIGKILL)
    group = await_group(httpd, lambda group: group["ends"] == {"crashed": 1}, "the crash", "shop")
    assert group["requests"]["completed"] == 1
    httpd.log.expect("WSGI0710")


def test_usage(start_httpd):
    """Processes have processor time, memory and interpreters."""
    httpd = start_httpd(CONFIG)
    httpd.get("/app")
    group = await_group(httpd, completed(1), "the request")
    (process,) = [process for process in group["processes"] if process["requests"]["completed"]]
    assert process["memory"] > 1_000_000
    assert process["cpu_user_us"] + process["cpu_system_us"] > 0
    assert process["interpreters"] == 2
    assert process["pid"] == int(httpd.get("/app/pid").body)


def test_restart(start_httpd):
    """A graceful restart forgets nothing in httpd's own processes, whose place others take."""
    httpd = start_httpd(CONFIG)
    for _ in range(3):
        httpd.get("/app")
    await_group(httpd, completed(3), "three requests")
    httpd.graceful()
    httpd.get("/app")
    group = await_group(httpd, lambda group: group["requests"]["completed"] in (1, 4), "one more request")
    assert group["requests"]["completed"] == 4


@pytest.mark.modes("embedded")
def test_children_come_and_go(start_httpd):
    """What a child has counted outlives it, even when it was killed."""
    httpd = start_httpd(CONFIG)
    first = int(httpd.get("/app/pid").body)
    await_group(httpd, completed(1), "the request")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: first not in httpd.pids(), "its end")
    wait_for(lambda: httpd.get("/app/pid").body != str(first).encode(), "another one")
    group = await_group(httpd, lambda group: group["requests"]["completed"] >= 2, "its requests")
    assert first not in [process["pid"] for process in group["processes"]]


def counters(pid: int) -> Path:
    """The file in memory in which the counters of a process are."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:wsgi-counters" in str(file.readlink()):
            return file
    raise AssertionError(f"process {pid} has no counters")


@pytest.mark.modes("embedded")
def test_counters_of_another_version(start_httpd):
    """They are kept over a graceful restart, but not where another version of the module has laid them out."""
    httpd = start_httpd(CONFIG)
    httpd.get("/app")
    await_group(httpd, completed(1), "the request")
    pid = httpd.process.pid
    first = counters(pid).stat().st_ino
    httpd.graceful()
    assert counters(pid).stat().st_ino == first
    httpd.get("/app")  # Whoever answers has begun to count.
    with counters(pid).open("r+b") as file:
        file.write(b"other  1")
    httpd.graceful()
    assert counters(pid).stat().st_ino != first
    httpd.get("/app")
    await_group(httpd, completed(1), "the request in new counters")


def crowd(httpd, clients: int = 8, each: int = 40) -> list[int]:
    """The statuses of many requests, several at a time: enough for them to take turns at Python's lock."""
    statuses: list[int] = []

    def ask():
        for number in range(each):
            body = {"method": "POST", "target": "/app/read", "body": b"x" * 100}
            reply = httpd.request(**body) if number % 4 == 0 else httpd.get("/app/hello")
            statuses.append(reply.status)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == clients * each
    return statuses


def test_many_at_a_time(start_httpd):
    """All of many requests at a time are answered, also while one of them waits for something, and all are counted."""
    httpd = start_httpd(CONFIG)
    assert set(crowd(httpd)) == {200}
    (waiting,) = background(httpd, f"/app/wait?{httpd.root}/open")
    await_group(httpd, lambda group: group["requests"]["running"] == 1, "the request to run")
    assert set(crowd(httpd)) == {200}
    assert waiting.is_alive()
    (httpd.root / "open").touch()
    waiting.join()
    await_group(httpd, completed(641), "all requests")
    await_group(httpd, lambda group: group["requests"]["status"] == [0, 641, 0, 0, 0], "their statuses")
