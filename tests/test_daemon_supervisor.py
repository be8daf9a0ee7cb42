"""Who shares the supervisor, and what happens to it from outside: groups that hang, init's signals, logs that are moved
away, other versions of itself."""

import dataclasses
import os
import re
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

import shop
from client import wait_for
from httpd import Httpd, parent_of, program_of, running

pytestmark = [
    pytest.mark.modes("daemon"),
    pytest.mark.differs("it has no supervisor"),
    pytest.mark.mpms("event"),
]


def shop_config(options: str = "threads=4") -> str:
    return shop.CONFIG.format(options=options)


# --- starts


def bad_groups(kind: str, options: str, script: str, text: str) -> tuple[list[str], str, Callable]:
    """More groups than may start at a time: their names, what configures them (`%s` in `script` is the name), and what
    writes their script."""
    names = [f"{kind}{number}" for number in range(os.cpu_count() + 2)]
    lines = [f"WSGIDaemonProcess {name} processes=3 {options}\n" + script.replace("%s", name) + "\n" for name in names]

    def prepare(httpd):
        shop.prepare(httpd)
        httpd.write("bad.py", text)

    return names, "".join(lines), prepare


def test_hanging_groups(start_httpd):
    """Groups whose daemons hang at their start do not start them all before a good one is started."""
    names, hanging, prepare = bad_groups(
        "hanging",
        "shutdown-timeout=1",
        "WSGIImportScript ${ROOT}/bad.py process-group=%s application-group=%{GLOBAL}",
        "import time\nwhile True:\n    time.sleep(1)\n",
    )
    httpd = start_httpd(hanging + shop_config(), prepare)
    assert httpd.get("/shop/pid").status == 200
    wait_for(lambda: len(httpd.log.find("WSGI0701: group 'hanging")) == 3 * len(names), "all starts", 60)
    started = [re.search("group '(.*?)'", record.text)[1] for record in httpd.log.find("WSGI0701")]
    # Starts of one moment stand in the order of the groups: a second one may be among the first ones of others.
    third = next(at for at, name in enumerate(started) if started[:at].count(name) == 2)
    assert set(started[:third]) >= {"shop", *names}
    httpd.log.allow("WSGI0716|WSGI0302|WSGI0303")


def test_group_that_fails_in_between(start_httpd):
    """While groups fail again and again a good one is reloaded as ever."""
    names, failing, prepare = bad_groups(
        "failing",
        "",
        "WSGIScriptAlias /%s ${ROOT}/bad.py process-group=%s application-group=%{GLOBAL}",
        "import no_such_module\n",
    )
    httpd = start_httpd(failing + shop_config(), prepare)
    httpd.log.allow("WSGI071[0345]|WSGI0510|WSGI0401|Traceback|^  |ModuleNotFound|^$")
    for name in names:
        httpd.log.expect(f"WSGI0713: group '{name}'", timeout=60)
    for _ in range(3):
        pid = httpd.get("/shop/pid").text
        os.kill(int(pid), signal.SIGUSR1)
        wait_for(lambda pid=pid: httpd.get("/shop/pid").text != pid, "its successor", 60)


# --- signals from outside


@pytest.mark.parametrize("daemons", [False, True])
def test_sigterm_to_all(start_httpd, daemons):
    """An init system that signals every process of the service: what runs is finished, and the stop is httpd's."""
    httpd = start_httpd(shop_config("threads=4 shutdown-timeout=60"), shop.prepare)
    (supervisor,) = httpd.supervisors()
    # One that is still being started would only die of the signal.
    httpd.log.expect("WSGI0702: group 'tests'")
    with ExitStack() as stack:
        first = shop.send(httpd, "/shop/wait/go", stack)
        shop.begun(httpd, "begun-go")
        for pid in [supervisor, *(httpd.daemons() if daemons else [])]:
            os.kill(pid, signal.SIGTERM)
        httpd.log.expect("WSGI0762: SIGTERM is not for this process")
        assert httpd.get("/shop/pid").status == 200
        httpd.process.send_signal(signal.SIGWINCH)  # graceful-stop
        shop.release(httpd, "go")
        reply = first.reply()
        assert (reply.status, reply.end) == (200, "complete")
    assert httpd.process.wait(60) == 0
    httpd.process = None
    wait_for(lambda: not httpd.pids(), "the end of all")


# --- logs

QUIET = "<VirtualHost *:${PORT}>\nServerName quiet\nLogLevel wsgi:%s\nErrorLog ${ROOT}/quiet.log\n%s\n</VirtualHost>\n"
OWN_OUTPUT = """\
import os
os.dup2(os.open(os.path.dirname(__file__) + "/traces/own", os.O_WRONLY | os.O_CREAT), 1)
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def test_moved_log_of_kept_daemons(start_httpd):
    """With WSGIGracefulReload Off daemons go on, and what they write goes to the new log when the old one was moved."""

    def prepare(httpd):
        shop.prepare(httpd)
        httpd.write("own.wsgi", OWN_OUTPUT)

    group = "WSGIDaemonProcess quiet\nWSGIScriptAlias /own ${ROOT}/own.wsgi process-group=quiet application-group=own"
    service = """
    WSGIGracefulReload Off
    WSGIDaemonProcess service threads=0
    WSGIImportScript ${ROOT}/hang.py process-group=service application-group=%{GLOBAL}
    """

    def prepare_all(httpd):
        prepare(httpd)
        httpd.write("hang.py", "import time\nwhile True:\n    time.sleep(1)\n")

    httpd = start_httpd(service + shop_config() + QUIET % ("info", group), prepare_all)
    log, main = httpd.root / "quiet.log", httpd.log.path
    own, kept = int(httpd.get("/own", {"Host": "quiet"}).text), int(httpd.get("/shop/pid").text)
    before = set(wait_for(lambda: len(found := httpd.daemons()) == 4 and found, "all daemons"))

    def output(pid: int) -> list[str]:
        return [str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in (1, 2)]

    for file in (log, main):
        file.rename(file.with_suffix(".old"))
    httpd.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: log.exists() and main.exists(), "the new logs")
    httpd.log.expect("resuming normal operations")
    traces = str(httpd.root / "traces/own")
    wait_for(lambda: output(own) == [traces, str(log)], "the log of the host, and what is the application's own")
    for pid in before - {own}:
        wait_for(lambda pid=pid: output(pid) == [str(main)] * 2, f"the log of {pid}")
    assert int(httpd.get("/shop/pid").text) == kept
    assert set(httpd.daemons()) == before


def test_log_level_of_a_host(start_httpd):
    """A group logs what `LogLevel` of its virtual host says, also when daemons stay over a graceful restart."""
    group = "WSGIDaemonProcess quiet\nWSGIScriptAlias /quiet ${APPS}/daemon.py process-group=quiet application-group=x"

    def config(level: str) -> str:
        return "WSGIGracefulReload Off\n" + shop_config() + QUIET % (level, group)

    httpd = start_httpd(config("warn"), shop.prepare)
    log = httpd.root / "quiet.log"
    pid = int(httpd.get("/quiet/pid", {"Host": "quiet"}).text)
    httpd.log.expect("WSGI0702: group 'shop'")
    assert "wsgi:info" not in log.read_text()
    httpd.configure(config("info"))
    log.rename(log.with_suffix(".old"))
    httpd.graceful()
    # It has heard of the new level when it has the new log.
    wait_for(lambda: Path(f"/proc/{pid}/fd/2").readlink() == log, "the new log")
    assert int(httpd.get("/quiet/pid", {"Host": "quiet"}).text) == pid
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: "asks to be replaced: graceful_signal" in log.read_text(), "a record of the daemon")
    wait_for(lambda: "WSGI0703: group 'quiet'" in log.read_text(), "one about it")


# --- versions

OTHER_VERSION = """\
#!/usr/bin/python3 -SE
# A supervisor of another version: the real one, but for not understanding any configuration from number {first} on.
import os, select, socket, subprocess
httpd = socket.socket(fileno=3)
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
subprocess.Popen(["/bin/sh", "-c", 'exec 3<&0 </dev/null; exec "$0"', "{real}"], stdin=theirs)
theirs.close()
begun = 0
while True:
    for source in select.select([httpd, ours], [], [])[0]:
        message, descriptors, _, _ = socket.recv_fds(source, 65536, 3)
        if not message:
            os._exit(0)
        begun += source is httpd and message[0] == 1
        if begun < {first} or source is ours:
            socket.send_fds(ours if source is httpd else httpd, [message], descriptors)
        elif message[0] == 1:
            text = b"another version"
            httpd.send(b"\\x02" + bytes(8) + len(text).to_bytes(4, "little") + text)
        for descriptor in descriptors:
            os.close(descriptor)
"""


def installation(server: Httpd, setup) -> Path:
    """A copy of the module and what belongs to it, in the server's folder; returns where its supervisor is."""
    folder = server.root / "modules/mod_wsgi"
    shutil.copytree(setup.module.parent / "mod_wsgi", folder)
    shutil.copy(setup.module, folder.parent)
    return folder / "wsgid"


def replace(supervisor: Path, text: str) -> None:
    """Puts another program in its place."""
    supervisor.rename(supervisor.with_name("wsgid.real"))
    supervisor.write_text(text)
    supervisor.chmod(0o755)


def test_supervisor_of_another_version(setup):
    """After an upgrade a graceful restart costs nothing: the old supervisor serves the old requests to their end."""
    server = Httpd(setup, threads=16)
    supervisor = installation(server, setup)
    real = supervisor.with_name("wsgid.real")
    replace(supervisor, OTHER_VERSION.format(first=2, real=real))
    server.setup = dataclasses.replace(setup, module=supervisor.parent.parent / setup.module.name)
    server.configure(shop_config("threads=8"))
    with running(server, shop.prepare) as httpd, ExitStack() as stack:
        load = stack.enter_context(shop.Load(httpd, "/shop/pid"))
        load.more(10)
        before = httpd.get("/shop/pid").body
        old = shop.send(httpd, "/shop/wait/go", stack)
        shop.begun(httpd, "begun-go")
        supervisors = [pid for pid in httpd.pids() if program_of(pid) == "wsgid.real"]
        (left,) = [pid for pid in supervisors if parent_of(pid) not in supervisors]
        real.with_name("wsgid.new").write_bytes(real.read_bytes())
        real.with_name("wsgid.new").chmod(0o755)
        real.with_name("wsgid.new").rename(supervisor)  # the upgrade
        httpd.graceful()
        wait_for(lambda: httpd.get("/shop/pid").body != before, "a new daemon")
        load.more(10)
        shop.release(httpd, "go")
        reply = old.reply()
        assert (reply.status, reply.end, reply.body) == (200, "complete", before)
        wait_for(lambda: not program_of(left), "the end of the old supervisor")
        load.more(10)
        httpd.log.expect("WSGI0761: the supervisor of the daemons .* is of another version")
        # The next restart is an ordinary one.
        httpd.graceful()
        load.more(10)
        assert len(httpd.log.find("WSGI0761")) == 1
    assert not load.failed()


def test_start_with_a_supervisor_of_another_version(setup, new_httpd):
    """Half an upgrade is told at the start."""
    httpd = new_httpd("")
    supervisor = installation(httpd, setup)
    replace(supervisor, OTHER_VERSION.format(first=1, real=supervisor.with_name("wsgid.real")))
    httpd.setup = dataclasses.replace(setup, module=supervisor.parent.parent / setup.module.name, mode="daemon")
    httpd.configure("")
    with pytest.raises(AssertionError, match=r"WSGI0760: mod_wsgi\.so and wsgid are of different versions"):
        httpd.start()
    wait_for(lambda: not httpd.pids(), "the end of all")
