"""The modules `mod_wsgi` and `apache` that applications import."""

import json
import threading

import pytest

from client import wait_for
from httpd import GROUP, child_user

CONFIG = """
LogLevel wsgi:info
WSGIScriptAlias /main ${APPS}/module.py application-group=%{GLOBAL}
WSGIScriptAlias /one ${APPS}/module.py application-group=one
WSGIScriptAlias /two ${APPS}/module.py application-group=two
"""

pytestmark = pytest.mark.mpms("event")

GROUPS = ("main", "one", "two")

NAMES = {
    "version": "tuple",
    "process_group": "str",
    "application_group": "str",
    "maximum_processes": "int",
    "threads_per_process": "int",
    "FileWrapper": "class",
    "LogHandler": "class",
    "RequestTimeout": "exception",
    "request_data": "function",
    "active_requests": "dict",
    "subscribe_events": "function",
    "subscribe_shutdown": "function",
    "subscribe_signals": "function",
    "event_callbacks": "list",
    "shutdown_callbacks": "list",
    "signal_callbacks": "list",
    "start_recording_metrics": "function",
    "request_metrics": "function",
    "process_metrics": "function",
    "server_metrics": "function",
}


def ask(httpd, what: str, group: str = "one"):
    reply = httpd.get(f"/{group}/{what}")
    assert reply.status == 200, httpd.log.text()
    return json.loads(reply.body)


@pytest.mark.short
@pytest.mark.parametrize("group", GROUPS)
def test_names(httpd, group):
    """The names of the module, and no others."""
    assert ask(httpd, "names", group) == NAMES


@pytest.mark.short
@pytest.mark.parametrize("group", GROUPS)
def test_values(httpd, setup, group):
    """What the plain names hold."""
    values = ask(httpd, "values", group)
    assert len(values["version"]) == 3
    assert values["process_group"] == (GROUP if setup.daemon else "")
    assert values["application_group"] == ("" if group == "main" else group)
    assert values["threads_per_process"] == 8
    assert values["maximum_processes"] == 1
    assert values["file_wrapper"]
    assert values["timeout"] == ["BaseException"]
    assert values["handler"] == ["logging"]
    assert values["modules"] == [True, True]
    assert values["argv"] == ["mod_wsgi"]


def test_apache(httpd, setup):
    """The module `apache`."""
    values = ask(httpd, "of_apache")
    assert set(values) == {
        "version",
        "description",
        "mpm_name",
        "build_date",
        "maximum_processes",
        "threads_per_process",
    }
    assert values["version"][:2] == [2, 4]
    assert values["description"].startswith("Apache/2.4")
    assert values["mpm_name"] == setup.mpm
    assert (values["maximum_processes"], values["threads_per_process"]) == (1, 8)
    assert values["build_date"]


def test_decorators(httpd, setup):
    """Each subscribe function returns its callback, and keeps it in its list; no signals in httpd's own processes."""
    assert ask(httpd, "decorators") == [[True, True], [True, True], [True, setup.daemon]]
    if not setup.daemon:
        httpd.log.expect("WSGI0441: ")
        httpd.log.expect(r'module\.py", line \d+, in decorators')


@pytest.mark.short
@pytest.mark.parametrize("group", GROUPS)
def test_request_data(httpd, group):
    """A dict of one's own for each request, in its own thread only."""
    for _ in range(2):
        assert ask(httpd, "data", group) == {
            "at_import": "returned",  # a script that a request loads is loaded within that request
            "same": True,
            "active": True,
            "elsewhere": ["this thread runs no request"],
            "keys": True,
        }


def test_active_requests(start_httpd):
    """The requests of the interpreter that run, those included that ran before anybody asked, and no others."""
    httpd = start_httpd(CONFIG)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(ask(httpd, "wait?first", "two")))
    thread.start()
    assert ask(httpd, "look", "two") == ["first", "look"]
    thread.join()
    # The other one may have ended before it looked, or not.
    assert seen[0] in (["first"], ["first", "look"])
    assert ask(httpd, "data", "two")["keys"]


def test_signals(httpd):
    """signal.signal() registers nothing, says so in the log with the caller's stack, and returns the handler."""
    assert ask(httpd, "signals", "main") == [True, True]
    notice = httpd.log.expect(r"WSGI0413: signal\.signal\(")[0]
    assert (notice.level, bool(notice.client)) == ("info", True)
    assert httpd.log.expect(r'module\.py", line \d+, in signals')[0].level == "info"


def test_signals_of_forked_processes(start_httpd):
    """Processes that the application forks may have handlers."""
    httpd = start_httpd("WSGIScriptAlias /main ${APPS}/module.py application-group=%{GLOBAL}\n")
    assert ask(httpd, "forked", "main") == "handled"


REQUEST = {
    *("pid", "start_time", "stop_time", "sample_period", "cpu_utilization", "cpu_user_utilization"),
    *("cpu_system_utilization", "cpu_time", "cpu_user_time", "cpu_system_time", "memory_max_rss", "memory_rss"),
    *("request_threads_maximum", "request_threads_started", "request_threads_active", "capacity_utilization"),
    *("request_count", "request_throughput", "input_bytes", "input_reads", "output_bytes", "output_writes"),
    *("gil_wait_count", "request_threads_completed", "request_threads_buckets", "request_threads_busy_time"),
    *("request_threads_cpu_time", "request_threads_current_elapsed", "request_threads_max_duration"),
    *(f"status_{number}xx" for number in range(1, 6)),
    *(
        f"{phase}{what}"
        for phase in (
            *("server_time", "queue_time", "daemon_time", "application_time", "request_time", "gil_wait_time"),
            *("input_read_time", "output_write_time"),
        )
        for what in ("", "_min_us", "_max_us", "_buckets")
    ),
}
PROCESS = {
    *("pid", "request_busy_time", "request_count", "memory_max_rss", "memory_rss", "cpu_user_time"),
    *("cpu_system_time", "cpu_time", "restart_time", "current_time", "running_time", "request_threads"),
    *("active_requests", "threads"),
}


def test_metrics(start_httpd, setup):
    """None until one interpreter of the process begins to record; then what all of them did since the last call."""
    # One thread: a request is counted when its reply is with the client already, but before the thread's next one.
    httpd = start_httpd(CONFIG, threads=1)
    assert ask(httpd, "metrics", "one") == [None, None, None]
    assert ask(httpd, "record", "two") == [None, None]
    ask(httpd, "metrics", "one")
    for _ in range(3):
        ask(httpd, "names", "two")
    request, process, server = ask(httpd, "metrics", "one")
    assert server is None
    assert set(request) == REQUEST
    assert set(process) == PROCESS
    assert request["pid"] == process["pid"] == httpd.workers()[0]
    assert request["request_count"] == 4
    assert request["status_2xx"] == request["request_count"]
    assert sum(request["request_threads_completed"]) == request["request_count"]
    assert request["request_throughput"] == pytest.approx(request["request_count"] / request["sample_period"])
    assert request["stop_time"] - request["start_time"] == pytest.approx(request["sample_period"], abs=1e-4)
    assert request["request_threads_maximum"] == 1
    assert request["request_threads_active"] == 1
    assert 0 < request["capacity_utilization"] <= 1
    assert request["output_bytes"] > 0
    assert request["memory_max_rss"] >= request["memory_rss"] > 1_000_000
    assert len(request["application_time_buckets"]) == 65
    assert sum(request["application_time_buckets"]) == request["request_count"]
    assert 0 <= request["application_time"] <= request["request_time"]
    if setup.daemon:
        assert request["queue_time"] >= 0
        assert len(request["daemon_time_buckets"]) == 65
    else:
        assert request["queue_time"] is request["daemon_time"] is None
    assert process["request_count"] == 6
    assert process["active_requests"] == 1
    assert sum(thread["request_count"] for thread in process["threads"]) == process["request_count"]
    assert process["restart_time"] <= process["current_time"]


def test_server_metrics(start_httpd):
    """The scoreboard, where it is allowed; a daemon's is a moment old."""
    config = "WSGIServerMetrics On\nExtendedStatus On\n" + CONFIG
    httpd = start_httpd(config, options="server-metrics=On")
    server = wait_for(
        lambda: shows(server := ask(httpd, "metrics")[2], "/one/metrics") and server, "the request for it"
    )
    assert set(server) == {
        *("server_limit", "thread_limit", "running_generation", "restart_time", "current_time", "running_time"),
        "processes",
    }
    assert server["restart_time"] <= server["current_time"]
    [process] = server["processes"]
    assert process["pid"] == httpd.children()[0]
    assert set(process) == {"process_num", "pid", "generation", "quiescing", "workers"}
    assert {"thread_num", "generation", "status", "access_count", "bytes_served", "start_time", "stop_time"} | {
        "last_used",
        "client",
        "request",
        "vhost",
    } == set(process["workers"][0])
    assert {worker["status"] for worker in process["workers"]} <= set("._SRWKLDCGI")


def test_server_metrics_are_not_for_all(start_httpd, setup):
    """What is allowed in the one mode is not in the other."""
    directive, option = ("Off", "On") if not setup.daemon else ("On", "Off")
    httpd = start_httpd(f"WSGIServerMetrics {directive}\n{CONFIG}", options=f"server-metrics={option}")
    assert ask(httpd, "metrics")[2] is None
    assert ask(httpd, "scoreboard") == []


def shows(server: dict | None, target: str) -> bool:
    """Whether a request is on the scoreboard; None: that is being written."""
    workers = [worker for process in (server or {"processes": []})["processes"] for worker in process["workers"]]
    return any(target in worker["request"] for worker in workers)


@pytest.mark.modes("daemon")
def test_server_metrics_after_a_restart(start_httpd):
    """Daemons that outlive a graceful restart see what the new children of httpd do."""
    config = "WSGIGracefulReload Off\n" + CONFIG
    httpd = start_httpd(config, options="server-metrics=On")
    ask(httpd, "metrics")
    before, (daemon,) = httpd.children(), httpd.daemons()
    httpd.graceful()

    def renewed() -> bool:
        processes = (ask(httpd, "metrics")[2] or {"processes": []})["processes"]
        pids = {process["pid"] for process in processes}
        return pids == set(httpd.children()) and not pids & set(before)

    wait_for(renewed, "the new children")
    assert httpd.daemons() == [daemon]


@pytest.mark.modes("daemon")
def test_daemons_cannot_change_the_scoreboard(start_httpd):
    """A daemon can neither write to what it sees nor open it again for that."""
    httpd = start_httpd(CONFIG, options="server-metrics=On")
    [(written, opened)] = ask(httpd, "scoreboard")
    assert written == "EBADF"
    # Whom all processes run as, he may open all that is his.
    assert opened == ("EACCES" if child_user() else None)
