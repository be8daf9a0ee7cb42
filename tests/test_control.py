"""wsgictl and a running server: status, stacks, reload, restart."""

import contextlib
import json
import os
import pwd
import re
import socket
import subprocess
import threading

import pexpect
import pytest

from client import PATIENCE, wait_for
from httpd import child_user

pytestmark = [
    pytest.mark.differs("has no wsgictl"),
    pytest.mark.modes("daemon"),
    pytest.mark.mpms("event"),
]

CONTROL = """\
WSGIDaemonProcess shop threads=4
WSGIScriptAlias /app ${APPS}/metrics.py process-group=shop application-group=%{GLOBAL}
"""


def run(httpd, *arguments, check: bool = True) -> subprocess.CompletedProcess:
    program = httpd.setup.module.with_name("wsgictl")
    command = [program, *arguments, "--config", httpd.config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done
    return done


WITHOUT_LOCK = "could be read without it"
"""In stacks that were taken so, since Python's lock was not to be had for a second: a slow machine may be why."""


def pid_of(httpd) -> int:
    return int(httpd.get("/app/pid").body)


def test_socket(start_httpd):
    """Only root, and whoever started httpd, may connect; nothing is left of it at the end."""
    httpd = start_httpd(CONTROL)
    path = httpd.root / "httpd.pid.wsgid"
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.getuid()
    httpd.graceful()
    assert path.is_socket()
    httpd.stop()
    assert not path.exists()


def test_status(start_httpd):
    """A table when nobody looks at a terminal, and everything as JSON."""
    httpd = start_httpd(CONTROL)
    pid = pid_of(httpd)
    # The client has its reply before that is counted.
    row = re.compile(rf"^ +{pid} +serving +\S+ +1 ", re.MULTILINE)
    wait_for(lambda: row.search(run(httpd, "status").stdout), "the request in the table")
    report = json.loads(run(httpd, "status", "--json").stdout)
    (group,) = [group for group in report["groups"] if group["name"] == "shop"]
    assert group["requests"]["completed"] == 1
    assert [process["pid"] for process in group["processes"]] == [pid]
    assert [group["name"] for group in report["groups"]] == ["tests", "shop"]


def test_status_of_own_processes(start_httpd):
    """What httpd's own processes run is shown as well, also after a restart."""
    httpd = start_httpd(CONTROL + "WSGIScriptAlias /own ${APPS}/metrics.py process-group=%{GLOBAL}\n")
    pid = int(httpd.get("/own/pid").body)

    def own() -> dict | None:
        groups = json.loads(run(httpd, "status", "--json").stdout)["groups"]
        return next((group for group in groups if group["name"] == ""), None)

    group = wait_for(lambda: (found := own()) and found["requests"]["completed"] == 1 and found, "the request")
    assert [process["pid"] for process in group["processes"]] == [pid]
    text = run(httpd, "status").stdout
    assert re.match(r"httpd's own processes  ready\n  1 requests \(.*/s\), 0 in progress, 0 with status 5xx, ", text)
    httpd.graceful()
    wait_for(lambda: (group := own()) and pid not in [process["pid"] for process in group["processes"]], "its end")
    # What it has counted moves to where it is kept.
    wait_for(lambda: (group := own()) and group["requests"]["completed"] == 1, "its request")


def test_live(start_httpd):
    """In a terminal the table is live, as wide as that is, and leaves nothing behind."""
    httpd = start_httpd(CONTROL)
    program = httpd.setup.module.with_name("wsgictl")
    arguments = ["status", "--interval", "0.2", "--config", str(httpd.config)]
    terminal = pexpect.spawn(str(program), arguments, encoding="utf-8", dimensions=(30, 100), timeout=PATIENCE)
    terminal.expect_exact("\x1b[?1049h")
    terminal.expect_exact("0 requests")
    pid_of(httpd)
    terminal.expect_exact("1 requests")
    terminal.setwinsize(10, 40)
    terminal.expect_exact("\x1b[H")

    def fits() -> bool:
        # Some may have been written before.
        terminal.expect_exact("\x1b[H")
        lines = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", terminal.before).split("\r\n")
        return max(len(line.rstrip()) for line in lines) <= 40 and len(lines) <= 10

    wait_for(fits, "a table of that size")
    terminal.sendintr()
    terminal.expect_exact("\x1b[?1049l")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize("command", ["reload", "restart"])
def test_renew(start_httpd, command):
    """New processes serve when the command returns, and none of the old ones."""
    httpd = start_httpd(CONTROL)
    before = pid_of(httpd)
    said = run(httpd, command, "shop").stdout
    # The old one takes no more as soon as it has heard.
    after = wait_for(lambda: (pid := pid_of(httpd)) != before and pid, "an answer of the new one")
    assert said == f"shop: {command}ed; served by process {after}\n"
    wait_for(lambda: before not in httpd.daemons(), "the end of the old one")
    httpd.log.expect("WSGI0740")


def test_reload_finishes_requests(start_httpd):
    """A reload lets requests of the old process end."""
    httpd = start_httpd(CONTROL)
    pid_of(httpd)
    replies = []
    target = f"/app/wait?{httpd.root}/open"
    thread = threading.Thread(target=lambda: replies.append(httpd.get(target)))
    thread.start()
    wait_for(lambda: "GET /app/wait" in run(httpd, "status").stdout, "the request to run")
    run(httpd, "reload", "shop")
    assert not replies
    (httpd.root / "open").touch()
    thread.join()
    assert replies[0].status == 200


def test_reload_of_what_does_not_start(start_httpd):
    """A failure is told, and the old processes go on."""
    httpd = start_httpd(CONTROL.replace("${APPS}/metrics.py", "${ROOT}/app.py"), prepare=write_application)
    before = httpd.get("/app").body
    httpd.write("app.py", "raise ValueError('broken')\n")
    done = run(httpd, "reload", "shop", "--timeout", "3", check=False)
    assert done.returncode == 1
    assert re.match(r"wsgictl: WSGI0649: shop is not reloaded after 3 s", done.stderr), done
    assert httpd.get("/app").body == before
    httpd.log.allow("WSGI|broken|Traceback|File|raise")


def test_stacks(start_httpd):
    """What each thread is doing, with its request."""
    httpd = start_httpd(CONTROL)
    pid = pid_of(httpd)
    thread = threading.Thread(target=httpd.get, args=(f"/app/wait?{httpd.root}/open",))
    thread.start()

    def waiting() -> str | None:
        text = run(httpd, "stacks", "shop").stdout
        return text if "in wait_for_the_file" in text and WITHOUT_LOCK not in text else None

    text = wait_for(waiting, "the application to wait")
    (httpd.root / "open").touch()
    thread.join()
    assert text.startswith(f"process {pid}\n  main interpreter\n  thread "), text
    assert re.search(r": GET /app/wait, for \d", text), text


def test_stacks_of_a_service(start_httpd):
    """A service script is shown, and goes on."""

    def prepare(httpd):
        httpd.write("service.py", "import time\ndef serve():\n    while True:\n        time.sleep(1)\nserve()\n")

    service = "WSGIImportScript ${ROOT}/service.py process-group=service application-group=%{GLOBAL}\n"
    httpd = start_httpd(CONTROL + "WSGIDaemonProcess service threads=0\n" + service, prepare)
    httpd.log.expect("WSGI0702: group 'service'")

    def stacks() -> str:
        return run(httpd, "stacks", "service").stdout

    text = wait_for(lambda: "in serve" in (text := stacks()) and text, "the script to run")
    assert stacks().splitlines()[0] == text.splitlines()[0]
    assert not httpd.log.find("WSGI0704")


def test_stacks_of_interpreters(start_httpd):
    """Each thread is shown once, with the interpreter that it works for."""
    httpd = start_httpd(CONTROL + "WSGIScriptAlias /one ${APPS}/metrics.py process-group=shop application-group=one\n")
    gate = httpd.root / "open"
    threads = [threading.Thread(target=httpd.get, args=(f"/{path}/wait?{gate}",)) for path in ("app", "one")]
    for thread in threads:
        thread.start()

    def both() -> str | None:
        text = run(httpd, "stacks", "shop").stdout
        return text if text.count("in wait_for_the_file") == 2 and WITHOUT_LOCK not in text else None

    text = wait_for(both, "both to wait")
    gate.touch()
    for thread in threads:
        thread.join()
    main, one = text.split("  application group one\n")
    assert "GET /app/wait" in main
    assert "GET /one/wait" in one
    assert [part.count(": GET ") for part in (main, one)] == [1, 1]
    assert "MainThread" not in one


def test_stacks_of_nobody(start_httpd):
    """A group without processes is told of."""
    config = CONTROL + "WSGIDaemonProcess broken\nWSGIScriptAlias /broken ${ROOT}/app.py process-group=broken"
    httpd = start_httpd(
        config + " application-group=%{GLOBAL}\n",
        lambda httpd: httpd.write("app.py", "raise ValueError('broken')\n"),
    )
    said = "broken: no process is there at the moment\n"
    wait_for(lambda: run(httpd, "stacks", "broken").stdout == said, "a pause between starts")
    httpd.log.allow("WSGI|broken|Traceback|File|raise")


def test_stacks_with_the_lock_held(start_httpd):
    """The same when a C extension does not give Python's lock back."""
    httpd = start_httpd(CONTROL)
    pipe = httpd.pipe("pipe")
    thread = threading.Thread(target=httpd.get, args=(f"/app/hold?{pipe}",))
    thread.start()

    def without_lock() -> bool:
        text = run(httpd, "stacks", "shop").stdout
        return WITHOUT_LOCK in text and "in do_hold" in text

    wait_for(without_lock, "the lock to be held")
    os.close(os.open(pipe, os.O_WRONLY))
    thread.join()


def test_refusals(start_httpd):
    """What cannot be done is said in one line."""
    httpd = start_httpd(CONTROL)
    for arguments in (["reload", "nobody"], ["stacks", "nobody"]):
        done = run(httpd, *arguments, check=False)
        assert done.returncode == 1
        assert re.fullmatch(r"wsgictl: WSGI0644: there is no process group 'nobody', only: .*\n", done.stderr), done
    httpd.stop()
    done = run(httpd, "status", check=False)
    assert done.returncode == 1
    assert re.match(r"wsgictl: WSGI0645: nobody can be reached at ", done.stderr), done


def test_strangers(start_httpd):
    """Another user may not command, even where the socket's mode were to allow it."""
    if os.getuid() != 0:
        return
    httpd = start_httpd(CONTROL)
    (httpd.root / "httpd.pid.wsgid").chmod(0o666)
    who = pwd.getpwnam(child_user()).pw_uid
    program = httpd.setup.module.with_name("wsgictl")
    command = [program, "status", "--socket", httpd.root / "httpd.pid.wsgid"]
    done = subprocess.run(command, capture_output=True, text=True, user=who, timeout=60)
    assert done.returncode == 1
    assert "WSGI0643" in done.stderr, done


def test_stuck_clients(start_httpd):
    """Clients that say nothing, or too much, keep nobody from being served."""
    httpd = start_httpd(CONTROL)
    path = str(httpd.root / "httpd.pid.wsgid")
    with contextlib.ExitStack() as stack:
        for text in (b"", b"{", b"x" * 5000):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            client.sendall(text)
        assert "shop" in run(httpd, "status").stdout
    assert pid_of(httpd)


def write_application(httpd) -> None:
    text = "import os\n\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
    httpd.write("app.py", text + "    return [str(os.getpid()).encode()]\n")
