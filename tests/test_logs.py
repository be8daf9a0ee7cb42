"""Logs: which records applications make, in which host's log, and that what belongs together stays together."""

import json
import re
import threading

import pytest

from errorlog import FORMAT, ErrorLog
from httpd import APPS

CONFIG = """
LogLevel wsgi:debug
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${APPS}/logs.py
"""

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("not measured against its LogHandler")]

LEVELS = {"critical": "crit", "error": "error", "warning": "warn", "info": "info", "debug": "debug"}


@pytest.mark.short
@pytest.mark.parametrize(("python", "httpd_level"), LEVELS.items())
def test_levels(httpd, python, httpd_level):
    """Python's levels as httpd's, on the request."""
    assert httpd.get(f"/log?{python}").body == b"ok"
    record = httpd.log.expect(f"^by {python}$")[0]
    assert (record.module, record.level, bool(record.client)) == ("wsgi", httpd_level, True)


def test_own_level(httpd):
    """The handler's own level counts as well, and numbers between the names go down."""
    httpd.get("/between")
    assert httpd.log.expect("^level 35$")[0].level == "warn"
    assert httpd.log.expect("^level 45$")[0].level == "error"
    assert not httpd.log.find("^level 5$")


def test_lines(httpd):
    """A text of several lines becomes several records, a traceback included."""
    httpd.get("/exception")
    block = [record.text for record in httpd.log.records() if record.level == "error"]
    start = block.index("it went wrong")
    assert block[start + 1] == "Traceback (most recent call last):"
    assert block[start + 2].lstrip().startswith("File ")
    assert "RuntimeError: logged" in block
    httpd.log.allow("it went wrong|^Traceback|^  |RuntimeError: logged")


def test_bad_format(httpd):
    """An error while formatting goes the usual way of logging."""
    assert httpd.get("/bad_format").body == b"ok"
    httpd.log.expect("--- Logging error ---")
    httpd.log.allow("script")


def test_outside_of_requests(httpd, setup):
    """Threads of the application log to the server's log."""
    assert httpd.get("/thread").body == b"ok"
    record = httpd.log.expect("^from a thread$")[0]
    assert (record.level, record.client) == ("warn", "")


def test_handle_error_level(start_httpd):
    """What LogLevel leaves out is not even formatted."""
    httpd = start_httpd(CONFIG.replace("wsgi:debug", "wsgi:warn"))
    assert json.loads(httpd.get("/formatted").body) == {"info": False, "warning": True}
    httpd.log.expect("^formatted warning$")
    assert not httpd.log.find("formatted info")


def test_call_site(start_httpd):
    """%F names the place in the application's source."""
    httpd = start_httpd('ErrorLogFormat "' + FORMAT + ' at %F"\n' + CONFIG)
    httpd.get("/log?warning")
    record = httpd.log.expect(r"^by warning at logs\.py\(\d+\)$")[0]
    line = int(record.text.rpartition("(")[2].rstrip(")"))
    source = (APPS / "logs.py").read_text().splitlines()
    assert "LEVEL" in source[line - 1]


HOSTS = """
Listen 127.0.0.1:{second}
<VirtualHost *:{second}>
    ServerName second
    ErrorLog "{root}/second.log"
    ErrorLogFormat "{format}"
    LogLevel wsgi:debug
    WSGIApplicationGroup %{{GLOBAL}}
    WSGIScriptAlias / ${{APPS}}/logs.py
</VirtualHost>
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/log?info", "^by info$"),
        ("/print_to?stdout", "to stdout$"),
        ("/print_to?stderr", "to stderr$"),
        ("/print_to?errors", "to errors$"),
        ("/fails", "^KeyError: 'lost'$"),
    ],
)
def test_virtual_hosts(httpd_of_hosts, path, text):
    """Everything goes to the log of the host that was asked."""
    httpd, second, log = httpd_of_hosts
    with second() as connection:
        connection.request("GET", path, [("Host", "second"), ("Connection", "close")])
    record = log.expect(text)[0]
    assert record.client
    assert not httpd.log.find(text)


@pytest.fixture(scope="module")
def httpd_of_hosts(setup):
    from client import Connection
    from httpd import Httpd, free_port, running

    port = free_port()
    server = Httpd(setup)
    server.configure(HOSTS.format(second=port, root=server.root, format=FORMAT))
    with running(server):
        yield server, lambda: Connection(port), ErrorLog(server.root / "second.log")


def together(records, first: str, count: int) -> list[list[str]]:
    """The blocks of so many records that begin with that text."""
    texts = [record.text for record in records]
    return [texts[at : at + count] for at, text in enumerate(texts) if re.search(first, text)]


@pytest.mark.parametrize("how", ["fails", "print_traceback", "exception", "many_lines"])
def test_together(httpd, how):
    """The lines of one traceback, or of one text, are not parted by those of another thread's."""
    threads = [
        threading.Thread(target=lambda number=number: [httpd.get(f"/{how}?{number}-{round}") for round in range(3)])
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    httpd.log.allow("")
    first, size = {
        "fails": ("WSGI0402", 7),
        "print_traceback": (r"Traceback \(most recent", 4),
        "exception": ("^it went wrong", 5),
        "many_lines": (r" line 0 of ", 20),
    }[how]
    blocks = together(httpd.log.records(), first, size)
    assert len(blocks) == 18
    for block in blocks:
        if how == "many_lines":
            assert len({line.rpartition(" ")[2] for line in block}) == 1
            assert [line.split(" line ")[1].split()[0] for line in block] == [str(number) for number in range(20)]
        else:
            inside = [line.partition("] ")[2] if line.startswith("[script") else line for line in block]
            assert not [line for line in inside[1:-1] if not line.startswith((" ", "Traceback"))], block
            assert "Error" in inside[-1]


def test_threads_print_apart(httpd):
    """Threads outside of requests do not end each other's lines, and one that ends without a line end loses nothing."""
    assert httpd.get("/threads").body == b"ok"
    for number in range(4):
        httpd.log.expect(f"^thread {number} begins thread {number} ends$")


@pytest.mark.parametrize("path", ["/fails", "/short"])
def test_floods(start_httpd, path):
    """Of the same record of ours only so many are shown; how many were left out is said, at the end as well."""
    httpd = start_httpd(CONFIG)
    for _ in range(130):
        httpd.get(path)
    httpd.log.allow("WSGI0402|WSGI0409|^Traceback|^  |^KeyError")
    code = "WSGI0402" if path == "/fails" else "WSGI0409"
    assert httpd.log.expect(r"^WSGI0121: \d+ records like the next one were left out of this log$")[0].client
    assert httpd.stop() == 0
    shown = len(httpd.log.find(f"^{code}: "))
    if path == "/fails":
        assert len(httpd.log.find("^KeyError: 'lost'$")) == shown
    told = [int(record.text.split()[1]) for record in httpd.log.find("^WSGI0121: ")]
    assert shown + sum(told) == 130
    # 20 and the hundredth; on a machine that needs more than a minute they count anew.
    assert 21 <= shown < 100
    if shown == 21:
        assert told == [79, 30]
        assert httpd.log.find("^WSGI0121: 30 repeated records were left out of the logs of this process$")


def test_prints_are_no_repetition(httpd):
    """What applications print is all there, however often."""
    for _ in range(50):
        httpd.get("/print_to?stdout")
    assert len(httpd.log.expect("to stdout$", 50)) == 50
