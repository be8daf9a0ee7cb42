"""Events: what the callbacks of `mod_wsgi.subscribe_events` and its sisters are told."""

import json
import os
import re
import signal

import pytest

from httpd import wait_for

CONFIG = """
LogLevel wsgi:info
WSGIScriptAlias /main ${APPS}/events.py application-group=%{GLOBAL}
WSGIScriptAlias /one ${APPS}/events.py application-group=one
WSGIScriptAlias /two ${APPS}/events.py application-group=two
"""

pytestmark = [
    pytest.mark.differs("not measured against its events"),
    pytest.mark.mpms("event"),
]

GROUPS = ("main", "one", "two")


def events(httpd, group: str, mark: str) -> list:
    """What the request with this query was followed by, in order."""
    reply = httpd.get(f"/{group}/events?{mark}")
    assert reply.status == 200
    return [(name, shown) for name, shown in json.loads(reply.body)]


def told(httpd, what: str, group: str = "one", **request) -> dict:
    """Runs a request; returns the events by name."""
    mark = os.urandom(8).hex()
    httpd.get(f"/{group}/clear")
    reply = httpd.request(request.pop("method", "GET"), f"/{group}/{what}?{mark}", **request)
    # In a daemon the client has the whole reply before the request has ended.
    wait_for(lambda: "request_finished" in dict(events(httpd, group, mark)), "the end of the request")
    seen = events(httpd, group, mark)
    return {"reply": reply, "order": [name for name, _ in seen], **dict(seen)}


STARTED = {
    "request_id": str,
    "thread_id": int,
    "daemon_connects": int,
    "daemon_restarts": int,
    "server_pid": int,
    "request_start": float,
    "queue_start": float,
    "daemon_start": float,
    "application_start": float,
    "callable_object": str,
    "application_object": str,
    "request_environ": str,
    "request_data": str,
}
FINISHED = {
    "request_id": str,
    "thread_id": int,
    "server_pid": int,
    "request_start": float,
    "queue_start": float,
    "daemon_start": float,
    "application_finish": float,
    "application_time": float,
    "input_reads": int,
    "input_length": int,
    "input_time": float,
    "output_writes": int,
    "output_length": int,
    "output_time": float,
    "cpu_user_time": float,
    "cpu_system_time": float,
    "cpu_time": float,
    "gil_wait_time": float,
    "gil_wait_count": int,
    "status": int,
    "request_data": str,
}


def types(payload: dict) -> dict:
    return {key: type(value) for key, value in payload.items() if key not in ("mark", "is_own", "added")}


@pytest.mark.short
@pytest.mark.parametrize("group", GROUPS)
def test_request_started(httpd, setup, group):
    """The keys of request_started, and what they say."""
    seen = told(httpd, "hello", group)["request_started"]
    assert types(seen) == STARTED
    assert seen["is_own"]
    assert seen["request_environ"] == seen["request_data"] == "dict"
    assert seen["callable_object"] == "application"
    assert seen["thread_id"] > 0
    assert seen["daemon_restarts"] == 0
    if setup.daemon:
        assert seen["daemon_connects"] == 1
        assert seen["request_start"] <= seen["queue_start"] <= seen["daemon_start"] <= seen["application_start"]
    else:
        assert (seen["daemon_connects"], seen["queue_start"], seen["daemon_start"]) == (0, 0.0, 0.0)
        assert seen["request_start"] <= seen["application_start"]
    assert seen["server_pid"] in httpd.children()


@pytest.mark.short
@pytest.mark.parametrize("group", GROUPS)
def test_request_finished(httpd, group):
    """The keys of request_finished, and what they say."""
    seen = told(httpd, "echo", group, method="POST", body=b"x" * 100_000)
    assert seen["reply"].body == b"x" * 100_000
    finished = seen["request_finished"]
    assert types(finished) == FINISHED
    assert finished["status"] == 200
    assert finished["input_length"] == finished["output_length"] == 100_000
    assert finished["input_reads"] > 0
    assert finished["output_writes"] > 0
    assert finished["gil_wait_count"] > 0
    assert 0 <= finished["application_time"] < 20
    assert finished["application_finish"] >= seen["request_started"]["application_start"]
    assert finished["request_id"] == seen["request_started"]["request_id"]


def test_cpu_time(httpd):
    """The time on the processor is that of the request's thread."""
    finished = told(httpd, "burn")["request_finished"]
    assert finished["cpu_time"] >= 0.05
    assert finished["cpu_time"] == pytest.approx(finished["cpu_user_time"] + finished["cpu_system_time"])


def test_response_started(httpd):
    """The status and headers as they were given."""
    seen = told(httpd, "hello")
    shown = seen["response_started"]
    assert set(shown) - {"mark"} == {
        "request_id",
        "response_status",
        "response_headers",
        "exception_info",
        "request_data",
    }
    assert shown["response_status"] == "200 OK"
    assert shown["response_headers"] == [["Content-Type", "text/plain"], ["Content-Length", "5"]]
    assert shown["exception_info"] is None


def test_order(httpd):
    """Started, response, close, finished."""
    order = told(httpd, "stream")["order"]
    assert order == ["request_started", "added", "response_started", "close", "request_finished"]


def test_status(httpd):
    """The status is what the client got."""
    for what, status in [("stream", 201), ("error-page", 500), ("fails", 500), ("bad-status", 500)]:
        httpd.log.allow("no such thing|nonsense|Traceback|^  |WSGI0402")
        seen = told(httpd, what)
        assert seen["request_finished"]["status"] == seen["reply"].status == status


def test_response_started_twice(httpd):
    """Each call of start_response is told, with what exc_info held."""
    mark = os.urandom(8).hex()
    httpd.get("/one/clear")
    assert httpd.get(f"/one/error-page?{mark}").status == 500
    wait_for(lambda: "request_finished" in dict(events(httpd, "one", mark)), "the end of the request")
    calls = [shown for name, shown in events(httpd, "one", mark) if name == "response_started"]
    assert [call["response_status"] for call in calls] == ["200 OK", "500 Oops"]
    assert [call["exception_info"] for call in calls] == [None, ["RuntimeError", "inner"]]


def test_response_started_before_checks(httpd):
    """A status that is refused is told nonetheless."""
    httpd.log.allow("WSGI0402|Traceback|^  |nonsense")
    assert told(httpd, "bad-status")["response_started"]["response_status"] == "nonsense"


def test_request_exception(httpd):
    """An exception that is about to be logged."""
    seen = told(httpd, "fails")
    httpd.log.expect_traceback("KeyError: 'no such thing'")
    shown = seen["request_exception"]
    assert shown["exception_info"] == ["KeyError", "'no such thing'"]
    assert shown["request_id"] == seen["request_finished"]["request_id"]
    assert shown["request_data"] == "dict"
    assert seen["order"] == ["request_started", "added", "request_exception", "request_finished"]


def test_replaced_application(httpd):
    """A callback may have another application called."""
    reply = told(httpd, "replaced")["reply"]
    assert (reply.status, reply.body) == (203, b"other")


def test_merged_answers(httpd):
    """What a callback returns is seen by those behind it; they are called in their order."""
    assert told(httpd, "hello")["added"]["value"] == "by note"
    httpd.get("/one/clear")
    assert json.loads(httpd.get("/one/order").body)[:2] == ["note", "second"]


def test_failing_callback(httpd):
    """An exception in a callback is logged and harms nobody."""
    seen = told(httpd, "bad-callback")
    assert seen["reply"].body == b"hello"
    header = httpd.log.expect("WSGI0440: .*second for request_started failed")[0]
    assert header.client
    httpd.log.expect("^ValueError: bad callback$")
    httpd.log.allow("^Traceback|^  ")


def test_interpreters_are_apart(httpd):
    """A request is told in its own interpreter only."""
    for group in GROUPS:
        httpd.get(f"/{group}/clear")
    mark = os.urandom(8).hex()
    httpd.get(f"/one/hello?{mark}")
    wait_for(lambda: "request_finished" in dict(events(httpd, "one", mark)), "the end of the request")
    assert not [name for name, _ in events(httpd, "two", mark) if name == "request_finished"]


def test_subscribers_in_a_request(start_httpd):
    """Who subscribes while a request runs is told of its end, without what was not counted from its begin."""
    httpd = start_httpd("WSGIScriptAlias / ${ROOT}/late.py\n", prepare=lambda httpd: httpd.write("late.py", LATE))
    assert httpd.get("/").body == b"[]"

    def late() -> list[set]:
        finished = [set(keys) for name, keys in json.loads(httpd.get("/").body) if name == "request_finished"]
        return [keys for keys in finished if "cpu_time" not in keys]

    wait_for(late, "the end of the first request")
    assert [set(FINISHED) - keys for keys in late()] == [{"cpu_time", "cpu_user_time", "cpu_system_time"}]


LATE = """
import json, mod_wsgi
seen = []
def note(name, **payload):
    seen.append((name, sorted(payload)))
def application(environ, start_response):
    body = json.dumps(seen).encode()
    if not mod_wsgi.event_callbacks:
        mod_wsgi.subscribe_events(note)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_loading_fails(start_httpd):
    """An exception while a script is loaded is one of its request."""
    script = """
import sys, mod_wsgi
def note(name, **payload):
    print("told", name, sorted(payload), file=sys.stderr) if name == "request_exception" else None
mod_wsgi.subscribe_events(note)
raise LookupError("cannot be loaded")
"""
    httpd = start_httpd("WSGIScriptAlias / ${ROOT}/bad.py\n", prepare=lambda httpd: httpd.write("bad.py", script))
    assert httpd.get("/").status == 500
    httpd.log.expect(r"told request_exception \['exception_info', 'request_data', 'request_id'\]")
    httpd.log.allow("WSGI0401|Traceback|^  |cannot be loaded")


STOPPING = r"^{group}: {who} process_stopping {{'shutdown_reason': '{reason}'}}"


def stopped(httpd, reason: str) -> None:
    for group in ("", "one", "two"):
        event, shutdown = (STOPPING.format(group=group, who=who, reason=reason) for who in ("event", "shutdown"))
        first, second = (httpd.log.expect(pattern)[0] for pattern in (event, shutdown))
        records = httpd.log.records()
        assert records.index(first) < records.index(second)


def test_process_stopping(start_httpd, setup):
    """The end of the process is told in every interpreter: to subscribers of events, then to those of shutdown."""
    httpd = start_httpd(CONFIG)
    for group in GROUPS:
        assert httpd.get(f"/{group}/hello").body == b"hello"
    httpd.log.begin()
    assert httpd.stop() == 0
    stopped(httpd, "shutdown_signal" if setup.daemon else "")


@pytest.mark.modes("daemon")
@pytest.mark.mpms("event")
def test_process_stopping_before_requests_end(start_httpd):
    """Requests still run then; the reason is that of the end."""
    httpd = start_httpd(CONFIG, options="maximum-requests=4")
    for group in (*GROUPS, "main"):
        assert httpd.get(f"/{group}/hello").body == b"hello"
    stopped(httpd, "maximum_requests")


@pytest.mark.modes("daemon")
@pytest.mark.mpms("event")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2"])
def test_process_signal(httpd, name):
    """Signals that are left to the application are told in every interpreter."""
    for group in GROUPS:
        assert httpd.get(f"/{group}/hello").body == b"hello"
    number = getattr(signal, name)
    [daemon] = httpd.daemons()
    os.kill(daemon, number)
    payload = re.escape(str({"signame": name, "signum": int(number)}))
    for group in ("", "one", "two"):
        for who in ("event", "signal"):
            httpd.log.expect(f"^{group}: {who} process_signal {payload}")
    assert httpd.daemons() == [daemon]


@pytest.mark.modes("embedded")
def test_signals_in_httpd(start_httpd):
    """In httpd's own processes signals are no event: the callback is not registered, and the log says where."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/events.py\n")
    assert httpd.get("/hello").body == b"hello"
    httpd.log.expect("WSGI0441: subscribe_signals")
    assert any("events.py" in record.text for record in httpd.log.records())
