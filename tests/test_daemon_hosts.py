"""Daemon process groups of virtual hosts, their logs, and groups that come and go with the configuration."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

import shop
from client import wait_for

pytestmark = [
    pytest.mark.modes("daemon"),
    pytest.mark.differs("its groups are others"),
    pytest.mark.mpms("event"),
]

HOST = """
<VirtualHost *:${{PORT}}>
    {names}
    {more}
    WSGIScriptAlias / ${{APPS}}/daemon.py process-group={group}
</VirtualHost>
"""


def host(names: str, group: str, define: bool = False, more: str = "") -> str:
    own = f"WSGIDaemonProcess {group} threads=1\n" if define else ""
    return HOST.format(names=names, group=group, more=own + more)


def test_who_may_use_a_group(start_httpd):
    """The host that defines it, and those of the same ServerName. Hosts without one have the main server's, as ever."""
    httpd = start_httpd(
        host("ServerAlias first", "nameless", define=True)
        + host("ServerAlias second", "nameless")
        + host("ServerName same\nServerAlias third", "named", define=True)
        + host("ServerName same\nServerAlias fourth", "named")
        + host("ServerName other", "named")
        + host("ServerName localhost\nServerAlias fifth", "nameless")
    )
    expected = {"first": 200, "second": 200, "third": 200, "fourth": 200, "other": 500, "fifth": 200}
    assert {name: httpd.get("/pid", {"Host": name}).status for name in expected} == expected
    httpd.log.expect("WSGI0115: there is no daemon process group named for this server")
    httpd.log.allow("WSGI0181: .* requests for other are answered 500")


def test_log_of_a_host(start_httpd):
    """What is to be said of the daemons of a host goes to its log; what moves the log away gets a new one."""
    httpd = start_httpd(host("ServerName own", "own", define=True, more="ErrorLog ${ROOT}/own.log") + shop_config())
    log, main = httpd.root / "own.log", httpd.log.path
    wait_for(lambda: "WSGI0702: group 'own'" in log.read_text(), "a daemon in the log of its host")
    assert not httpd.log.find("group 'own'")
    (supervisor,) = httpd.supervisors()
    (daemon,) = (int(line) for line in [httpd.get("/pid", {"Host": "own"}).text])
    assert {Path(f"/proc/{daemon}/fd/{fd}").readlink() for fd in (1, 2)} == {log}

    for file in (log, main):
        file.rename(file.with_suffix(".old"))
    httpd.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: log.exists() and "WSGI0702: group 'own'" in log.read_text(), "the new daemon in the new log")
    wait_for(lambda: Path(f"/proc/{supervisor}/fd/2").readlink() == main, "the supervisor in the new log")
    wait_for(lambda: httpd.get("/pid", {"Host": "own"}).text != str(daemon), "the new daemon to serve")
    # Until then httpd may miss that it is to stop.
    httpd.log.expect("resuming normal operations")
    assert "WSGI0705: group 'shop'" not in main.with_suffix(".old").read_text().partition("generation 2")[0]


def shop_config(options: str = "threads=1") -> str:
    return shop.CONFIG.format(options=options)


def sockets(pid: int) -> int:
    """How many sockets a process has."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += entry.readlink().name.startswith("socket:")
        except OSError:
            continue
    return count


def test_queues_end_with_their_groups(start_httpd):
    """httpd keeps no queue of a group that is gone, however often groups come and go."""
    httpd = start_httpd(shop_config(), shop.prepare)
    before = sockets(httpd.process.pid)
    for round in range(3):
        name = f"other{round}"
        httpd.configure(shop_config() + f"WSGIDaemonProcess {name}\n")
        httpd.graceful()
        httpd.log.expect(f"WSGI0702: group '{name}'")
        assert httpd.get("/shop/pid").status == 200
    httpd.configure(shop_config())
    httpd.graceful()
    assert httpd.get("/shop/pid").status == 200
    # It may just be waking a child by a connection.
    wait_for(lambda: sockets(httpd.process.pid) == before, "as many sockets as before")


def test_supervisor_killed_after_the_group_is_gone(start_httpd):
    """Old children's requests for a group that the configuration has no more: who runs is served; when the supervisor
    dies, too, who waits gets an answer at once."""
    httpd = start_httpd(shop_config(), shop.prepare, threads=8)
    daemon = int(httpd.get("/shop/pid").text)
    with ExitStack() as stack:
        running = shop.send(httpd, "/shop/wait/go", stack)
        shop.begun(httpd, "begun-go")
        waiting = shop.send(httpd, "/shop/ran/late", stack)
        # It must be with the old children.
        wait_for(lambda: httpd.get("/nothing").status == 404, "another request")
        httpd.configure("WSGIScriptAlias / ${APPS}/hello.py\n")
        httpd.graceful()
        (supervisor,) = httpd.supervisors()
        os.kill(supervisor, signal.SIGKILL)
        httpd.log.expect("WSGI0156")
        # Before it knows it would take who waits.
        wait_for(lambda: daemon in [record.pid for record in httpd.log.find("WSGI0504")], "the daemon to notice")
        shop.release(httpd, "go")
        assert running.reply().status == 200
        assert waiting.reply().status in (502, 503)
    assert not shop.traces(httpd, "ran-late")
    assert httpd.get("/").status == 200
    httpd.log.expect("WSGI0504")
    httpd.log.allow("WSGI0141|WSGI0142|WSGI0712: .* the supervisor has ended")
