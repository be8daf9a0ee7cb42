"""Application groups: which interpreter runs a request, and what lives as long as it does."""

import json
import threading

import pytest

CONFIG = """
SetEnvIf X-Group (.+) GROUP=$1
SetEnvIf X-Nested (.+) GROUP=%{$1}
WSGIScriptAlias /default ${APPS}/where.py
WSGIScriptAlias /global ${APPS}/where.py
WSGIScriptAlias /server ${APPS}/where.py
WSGIScriptAlias /host ${APPS}/where.py
WSGIScriptAlias /resource ${APPS}/where.py
WSGIScriptAlias /variable ${APPS}/where.py
WSGIScriptAlias /literal ${APPS}/where.py
WSGIScriptAlias /a ${APPS}/where.py application-group=shared
WSGIScriptAlias /b ${APPS}/where.py application-group=shared
WSGIScriptAlias /c ${APPS}/where.py application-group=own
<Location /global>
    WSGIApplicationGroup %{GLOBAL}
</Location>
<Location /server>
    WSGIApplicationGroup %{SERVER}
</Location>
<Location /host>
    WSGIApplicationGroup %{HOST}
</Location>
<Location /resource>
    WSGIApplicationGroup %{RESOURCE}
</Location>
<Location /variable>
    WSGIApplicationGroup %{ENV:GROUP}
</Location>
<Location /literal>
    WSGIApplicationGroup "odd name | with: things"
</Location>
"""


def where(reply) -> dict:
    assert reply.status == 200, reply
    return json.loads(reply.body)


@pytest.mark.short
@pytest.mark.parametrize(
    ("path", "headers", "group"),
    [
        ("/global", {}, ""),
        ("/a", {}, "shared"),
        ("/c", {}, "own"),
        ("/literal", {}, "odd name | with: things"),
        ("/variable", {"X-Group": "by-header"}, "by-header"),
        ("/variable", {"X-Nested": "GLOBAL"}, ""),
        ("/variable", {}, "%{ENV:GROUP}"),
    ],
)
def test_group(httpd, path, headers, group):
    """The group's name is known to environ and module."""
    seen = where(httpd.get(path, headers))
    assert seen["application_group"] == seen["module_group"] == group


@pytest.mark.parametrize(
    ("path", "host", "group"),
    [
        ("/server", "localhost", "localhost:{port}"),
        ("/host", "www.example.org", "www.example.org:{port}"),
        ("/resource", "localhost", "localhost:{port}|/resource"),
        ("/default", "localhost", "localhost:{port}|/default"),
    ],
)
@pytest.mark.differs("takes the port of these groups from the client's Host header")
def test_group_of_host(httpd, path, host, group):
    """Names of hosts carry the listener's port."""
    assert where(httpd.get(path, {"Host": host}))["application_group"] == group.format(port=httpd.port)


@pytest.mark.parametrize("path", ["/default", "/server", "/resource"])
@pytest.mark.differs("takes the port of these groups from the client's Host header")
def test_client_chooses_no_group(httpd, path):
    """The default groups do not depend on what the client writes into its Host header."""
    groups = {
        where(httpd.get(path, {"Host": host}))["application_group"]
        for host in ("localhost", "localhost:77", "localhost:443", "www.example.org:1", f"localhost:{httpd.port}")
    }
    assert len(groups) == 1


def test_path_makes_no_group(httpd):
    """The path behind the script's name has no influence on the default group."""
    groups = {where(httpd.get(f"/default{rest}"))["application_group"] for rest in ("", "/", "/a", "/a/b", "//c?d")}
    assert len(groups) == 1


def test_shared_and_apart(httpd):
    """Scripts of one group share an interpreter; those of others see nothing of it."""
    with httpd.connect() as connection:
        a, b, c, main = (where(connection.get(path)) for path in ("/a", "/b", "/c", "/global"))
        again = where(connection.get("/a"))
    assert a["pid"] == b["pid"] == c["pid"] == main["pid"]
    assert a["interpreter"] == b["interpreter"] == again["interpreter"]
    assert len({a["interpreter"], c["interpreter"], main["interpreter"]}) == 3
    assert b["requests"] == a["requests"] + 1  # one module
    assert (a["loads"], c["loads"], main["loads"]) == (1, 1, 1)


@pytest.mark.mpms("event", "worker")  # a child of prefork has one thread, which has started Python too
def test_not_main_thread(httpd):
    """Requests do not run in Python's main thread."""
    for path in ("/global", "/a"):
        assert where(httpd.get(path))["main"] is False


@pytest.mark.short
def test_thread_locals(httpd):
    """threading.local() data of a worker thread lives from request to request, in each interpreter for itself."""
    seen: dict = {}
    for path in ("/global", "/a", "/c"):
        for _ in range(30):
            here = where(httpd.get(path))
            key = (here["application_group"], here["pid"], here["thread"])
            seen[key] = seen.get(key, here["thread_requests"] - 1) + 1
            assert here["thread_requests"] == seen[key]
    assert any(count > 2 for count in seen.values())


@pytest.mark.mpms("event", "worker")
def test_at_once(httpd):
    """Many threads in several interpreters at once: every reply is right."""
    wrong = []

    def ask():
        with httpd.connect() as connection:
            for turn in range(60):
                path, group = (("/a", "shared"), ("/c", "own"), ("/global", ""), ("/b", "shared"))[turn % 4]
                seen = where(connection.get(path))
                if (seen["application_group"], seen["script_name"]) != (group, path):
                    wrong.append(seen)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_groups(httpd):
    """Interpreters are made on demand."""
    with httpd.connect() as connection:
        for number in range(10):
            assert (
                where(connection.get("/variable", {"X-Group": f"group-{number}"}))["application_group"]
                == f"group-{number}"
            )


STANDARD = """\
import importlib, sys

def application(environ, start_response):
    names = ["concurrent.futures", "ctypes", "hashlib", "json", "logging.config", "random", "select", "socket", "ssl"]
    names += ["tempfile", "threading", "uuid", "xml.etree.ElementTree", "zlib", "zoneinfo"]
    for name in names:
        importlib.import_module(name)
    body = []
    import asyncio, concurrent.futures, datetime, decimal, sqlite3, subprocess, sys
    async def wait():
        await asyncio.sleep(0.001)
        return "asyncio"
    body.append(asyncio.run(wait()))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        body.append(str(sum(pool.map(int, ["1", "2", "3"]))))
    body.append(str(decimal.Decimal("1.10") + 1))
    body.append(datetime.date(2024, 2, 29).isoformat())
    body.append(sqlite3.connect(":memory:").execute("select 1 + 1").fetchone()[0].__repr__())
    body.append(subprocess.run(["/bin/echo", "child"], capture_output=True, text=True).stdout.strip())
    start_response("200 OK", [])
    return [",".join(body).encode()]
"""


@pytest.mark.short
@pytest.mark.parametrize("group", ["%{GLOBAL}", "some-group"])
def test_standard_library(start_httpd, group):
    """The standard library works: event loops, thread pools, databases, child processes."""
    httpd = start_httpd(f"WSGIScriptAlias / ${{ROOT}}/standard.wsgi application-group={group}\n")
    httpd.write("standard.wsgi", STANDARD)
    for _ in range(3):
        reply = httpd.get("/")
        assert reply.text == "asyncio,6,2.10,2024-02-29,2,child"


SIGNAL = """\
import signal

def application(environ, start_response):
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    start_response("200 OK", [])
    return [b"registered"]
"""


def test_signals(start_httpd):
    """An application cannot take httpd's signals: registering does nothing, and the server still stops."""
    httpd = start_httpd("WSGIScriptAlias / ${ROOT}/signal.wsgi application-group=%{GLOBAL}\n")
    httpd.write("signal.wsgi", SIGNAL)
    assert httpd.get("/").body == b"registered"


@pytest.mark.differs("gives no such advice")
def test_unloadable_extension(start_httpd):
    """An extension that refuses a second interpreter: the traceback, and a line that says what to set."""
    source = "raise ImportError('module _x does not support loading in subinterpreters')\n"
    httpd = start_httpd("WSGIScriptAlias / ${ROOT}/extension.wsgi application-group=some\n")
    httpd.write("extension.wsgi", source)
    assert httpd.get("/").status == 500
    httpd.log.expect_traceback("ImportError: module _x does not support loading in subinterpreters")
    (record,) = httpd.log.expect(r"WSGIApplicationGroup %\{GLOBAL\}")
    assert record.level == "error"
    httpd.log.allow(r"extension\.wsgi")


EXPANDED = """
LoadModule rewrite_module ${MODULES}/mod_rewrite.so
WSGIDaemonProcess shop threads=1
WSGIDaemonProcess localhost:${PORT} threads=1
WSGIDaemonProcess www.example.org:${PORT} threads=1
WSGIDaemonProcess localhost:${PORT}|/resource threads=1
WSGIScriptAlias /server ${APPS}/where.py process-group=%{SERVER}
WSGIScriptAlias /host ${APPS}/where.py process-group=%{HOST}
WSGIScriptAlias /resource ${APPS}/where.py process-group=%{RESOURCE}
WSGIScriptAlias /here ${APPS}/where.py process-group=%{GLOBAL}
WSGIScriptAlias / ${APPS}/where.py
WSGIProcessGroup %{ENV:GROUP}
SetEnvIf X-Group (.+) GROUP=$1
SetEnvIf X-Nested (.+) GROUP=%{$1}
<Location /setenv>
    SetEnv GROUP shop
</Location>
<Location /rewritten>
    RewriteEngine On
    RewriteRule .* - [E=GROUP:shop]
</Location>
"""


@pytest.mark.mpms("event")
@pytest.mark.modes("embedded")
@pytest.mark.differs("takes the port of these groups from the client's Host header")
def test_process_groups(start_httpd):
    """Process groups are expanded as application groups are, when the request is handled."""
    httpd = start_httpd(EXPANDED)
    for path, headers, group in [
        ("/server", {}, "localhost:{port}"),
        ("/host", {"Host": "www.example.org:1"}, "www.example.org:{port}"),
        ("/resource", {}, "localhost:{port}|/resource"),
        ("/here", {}, ""),
        ("/x", {"X-Group": "shop"}, "shop"),
        ("/x", {"X-Nested": "SERVER"}, "localhost:{port}"),
        ("/x", {"X-Nested": "GLOBAL"}, ""),
        ("/setenv", {}, "shop"),
        ("/rewritten", {}, "shop"),
    ]:
        assert where(httpd.get(path, headers))["process_group"] == group.format(port=httpd.port), (path, headers)
    for headers, name in [({}, r"%\{ENV:GROUP\}"), ({"X-Nested": "ENV:PATH"}, r"%\{ENV:PATH\}")]:
        assert httpd.get("/x", headers).status == 500
        httpd.log.expect(f"WSGI0115: there is no daemon process group {name}")
