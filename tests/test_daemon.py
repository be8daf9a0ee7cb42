"""Daemon mode as it should be: who the daemons are, what they have, and what they must not have."""

import array
import gzip
import json
import os
import pwd
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import pythons
from client import wait_for
from httpd import child_group, child_user, descriptors

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]

GROUP = """
SetEnvIf Request_URI . test.folder=${{ROOT}}/traces
WSGIDaemonProcess {name} {options}
WSGIScriptAlias /{name} ${{APPS}}/daemon.py process-group={name} application-group=%{{GLOBAL}}
"""


def group(name: str = "shop", options: str = "") -> str:
    return GROUP.format(name=name, options=options)


def about(httpd, name: str = "shop") -> dict:
    reply = httpd.get(f"/{name}/about")
    assert reply.status == 200, reply
    return json.loads(reply.body)


@pytest.mark.short
def test_own_process(start_httpd):
    """The application runs in a process that is started by the supervisor, not a fork of httpd."""
    httpd = start_httpd(group())
    seen = about(httpd)
    assert [seen["pid"]] == [pid for pid in httpd.daemons() if pid == seen["pid"]]
    assert seen["process_group"] == seen["environ_group"] == "shop"
    assert (seen["multithread"], seen["multiprocess"]) == (True, False)
    libraries = Path(f"/proc/{seen['pid']}/maps").read_text()
    assert "mod_wsgi.so" not in libraries
    assert "libapr" not in libraries


def children_with_python(httpd) -> int:
    return sum("/libpython" in Path(f"/proc/{pid}/maps").read_text() for pid in httpd.children())


def test_children_without_python(start_httpd):
    """Where every application runs in a daemon, httpd's own processes start no Python."""
    httpd = start_httpd(group())
    about(httpd)
    assert children_with_python(httpd) == 0


ELSEWHERE = """
<Location /embedded>
  SetHandler wsgi-script
  Options +ExecCGI
  WSGIProcessGroup %{GLOBAL}
  WSGIApplicationGroup %{GLOBAL}
</Location>
Alias /embedded ${APPS}/daemon.py
"""


@pytest.mark.parametrize(
    "config",
    [
        "WSGIScriptAlias /own ${APPS}/daemon.py process-group=%{GLOBAL}",
        "<Directory ${ROOT}/htdocs>\nAllowOverride AuthConfig\n</Directory>",
        "<If \"%{REQUEST_URI} == '/own'\">\nWSGIProcessGroup %{GLOBAL}\n</If>",
        "WSGIRestrictEmbedded Off",
        ELSEWHERE,
    ],
)
@pytest.mark.mpms("event")
def test_children_with_python(start_httpd, config):
    """Where something may need it there, Python is started with each child, before that has threads."""
    httpd = start_httpd(group() + config)
    wait_for(lambda: children_with_python(httpd) == len(httpd.children()) > 0, "Python in each child")
    if config is ELSEWHERE:
        seen = json.loads(httpd.get("/embedded/about").body)
        assert (seen["pid"] in httpd.children(), seen["process_group"]) == (True, "")
        assert about(httpd)["pid"] not in httpd.children()


@pytest.mark.parametrize(
    ("options", "multithread", "multiprocess"),
    [("threads=1", False, False), ("processes=1", True, True), ("processes=2 threads=1", False, True)],
)
def test_concurrency(start_httpd, options, multithread, multiprocess):
    """wsgi.multithread and wsgi.multiprocess say what the options allow."""
    seen = about(start_httpd(group(options=options)))
    assert (seen["multithread"], seen["multiprocess"]) == (multithread, multiprocess)


def test_processes(start_httpd):
    """As many processes as are asked for; each answers."""
    httpd = start_httpd(group(options="processes=3 threads=1"))
    wait_for(lambda: len(httpd.log.find("WSGI0702: group 'shop'")) == 3, "three daemons")
    httpd.log.expect("WSGI0702: group 'tests'")  # which the tests have anyway
    assert len(httpd.daemons()) == 4


def test_environment(start_httpd):
    """A bare environment with what `env=` and `lang=` add; nothing of httpd's."""
    httpd = start_httpd(group(options="env=COLOUR=red env=SIZE=10 lang=C.UTF-8 python-eggs=/eggs"))
    seen = about(httpd)["environ"]
    assert (seen["COLOUR"], seen["SIZE"], seen["LANG"]) == ("red", "10", "C.UTF-8")
    assert seen["PYTHON_EGG_CACHE"] == "/eggs"
    assert "HTTPD_UNDER_TEST" not in seen
    assert "NOTIFY_SOCKET" not in seen
    if child_user():
        assert seen["HOME"] == pwd.getpwnam(child_user()).pw_dir
        assert seen["USER"] == child_user()


def test_home_and_umask(start_httpd):
    """`home=` is the working directory and first on sys.path; `umask=` is the process's."""
    httpd = start_httpd(group(options="home=${ROOT}/htdocs umask=0027"))
    seen = about(httpd)
    assert seen["cwd"] == str(httpd.root / "htdocs")
    assert seen["path"][0] == str(httpd.root / "htdocs")
    assert seen["umask"] == 0o027


@pytest.mark.parametrize(
    ("option", "shown"), [("%{GROUP}", "(wsgi:shop)"), ("my shop", "my shop"), ("x" * 5000, "xxx")]
)
@pytest.mark.mpms("event")
def test_display_name(start_httpd, option, shown):
    """`display-name=`: what ps shows, no longer than the line that the daemon was started with."""
    seen = about(start_httpd(group(options=f'display-name="{option}" threads=1')))
    line = Path(f"/proc/{seen['pid']}/cmdline").read_bytes()
    assert line.rstrip(b"\0").decode().startswith(shown)
    assert set(line) - set(shown.encode()) == {0}
    assert len(line) < 5000
    assert seen["prefix"] == str(pythons.ask(pythons.DEFAULT).prefix)


def test_python_path(start_httpd):
    """`python-path=`: its folders are on sys.path, in their order, before the standard ones."""
    httpd = start_httpd(group(options="python-path=${ROOT}/one:${ROOT}/two"), lambda httpd: make(httpd, "one", "two"))
    path = about(httpd)["path"]
    one, two = path.index(str(httpd.root / "one")), path.index(str(httpd.root / "two"))
    assert one < two < path.index(next(entry for entry in path if entry.endswith("lib-dynload")))


def make(httpd, *names):
    for name in names:
        httpd.folder(name)


@pytest.mark.skipif(os.getuid() != 0, reason="only root chooses users")
def test_users(start_httpd):
    """Each group has its own user, group and supplementary groups; nothing of root's is left."""
    httpd = start_httpd(
        group("one")
        + group("two", "user=daemon group=daemon")
        + group("three", "user=nobody supplementary-groups=daemon,mail")
    )
    expected = {"one": (child_user(), child_group()), "two": ("daemon", "daemon"), "three": ("nobody", None)}
    for name, (user, primary) in expected.items():
        seen = about(httpd, name)
        assert seen["uid"] == [pwd.getpwnam(user).pw_uid] * 3
        assert 0 not in seen["gid"]
        assert 0 not in seen["groups"]
        if primary:
            assert seen["gid"] == [pwd.getpwnam(user).pw_gid] * 3
        for kind in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert re.search(rf"{kind}:\s+0+\n", seen["status"]), kind


def test_descriptors(start_httpd):
    """A daemon has its log, its queue, its control socket and its own files, nothing else of the server's."""
    httpd = start_httpd(group() + group("other"))
    about(httpd, "other")
    seen = about(httpd)["descriptors"]
    files = [target for target in seen.values() if target.startswith("/")]
    pages = {"/memfd:wsgi-stats (deleted)", "/memfd:wsgi-stacks (deleted)"}
    assert set(files) <= {"/dev/null", str(httpd.log.path)} | pages, files
    mine = {target for target in seen.values() if target.startswith("socket:")}
    others = {target for target in about(httpd, "other")["descriptors"].values() if target.startswith("socket:")}
    assert not mine & others
    listening = Path("/proc/net/tcp").read_text().split("\n")
    inodes = {f"socket:[{line.split()[9]}]" for line in listening[1:] if line}
    assert not mine & inodes


def test_signals_of_group(start_httpd):
    """Daemons start with no signal blocked or ignored but SIGPIPE, which Python ignores."""
    status = about(start_httpd(group()))["status"]
    ignored = int(re.search(r"SigIgn:\s+(\w+)", status)[1], 16)
    assert ignored & ~(1 << 12 | 1 << 24) == 0  # SIGPIPE, SIGXFSZ: Python's own doing


def others() -> list:
    return [python for python in pythons.found() if python.version >= pythons.OLDEST and python.readable]


@pytest.mark.skipif(sys.platform != "linux", reason="daemons are Linux only")
def test_own_python(start_httpd):
    """Groups with different Pythons, by `python=` and `python-home=`, run under one httpd."""
    found = others()
    if len(found) < 2:
        pytest.skip("needs two Pythons that httpd's children can read")
    first, second = found[:2]

    def prepare(httpd):
        subprocess.run([second.path, "-m", "venv", "--without-pip", httpd.root / "venv"], check=True)

    httpd = start_httpd(
        group("one", f"python={first.path}") + group("two", "python-home=${ROOT}/venv"),
        prepare,
    )
    assert tuple(about(httpd, "one")["version"]) == first.version
    seen = about(httpd, "two")
    assert tuple(seen["version"]) == second.version
    assert seen["prefix"] == str(httpd.root / "venv")


def test_static_python(start_httpd):
    """The Python of the system by its path."""
    seen = about(start_httpd(group(options=f"python={pythons.DEFAULT}")))
    assert tuple(seen["version"]) == pythons.ask(pythons.DEFAULT).version


TLS = """
LoadModule ssl_module ${MODULES}/mod_ssl.so
SSLEngine On
SSLCertificateFile ${ROOT}/cert.pem
SSLCertificateKeyFile ${ROOT}/key.pem
"""


def certificate(httpd):
    files = ["-keyout", httpd.root / "key.pem", "-out", httpd.root / "cert.pem"]
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)


def occurrences(pid: int, wanted: list[bytes]) -> int:
    """How often one of these is in the readable memory of a process."""
    count = 0
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, access = line.split()[:2]
            low, high = (int(part, 16) for part in span.split("-"))
            if "r" not in access or line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            memory.seek(low)
            try:
                data = memory.read(high - low)
            except OSError:
                continue
            count += sum(data.count(each) for each in wanted)
    return count


@pytest.mark.skipif(os.getuid() != 0, reason="only root reads other processes' memory")
def test_memory(start_httpd):
    """httpd's memory holds the TLS key; the supervisor's and the daemons' hold nothing of it."""
    httpd = start_httpd(group() + TLS, certificate)
    run = ["curl", "-sk", "--max-time", "60", f"https://127.0.0.1:{httpd.port}/shop/pid"]
    daemon = int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    text = subprocess.run(
        ["openssl", "rsa", "-in", httpd.root / "key.pem", "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    digits = re.search(r"prime1:\s+([0-9a-f:\s]+)", text)[1]
    prime = bytes.fromhex(re.sub(r"[:\s]", "", digits)).lstrip(b"\0")
    wanted = [prime[:32], prime[::-1][-32:]]  # as in the file, and as openssl computes with it
    httpd.log.allow("^AH0")  # mod_ssl is not content with this certificate
    assert occurrences(httpd.process.pid, wanted) > 0
    assert occurrences(daemon, wanted) == 0
    for pid in httpd.supervisors():
        assert occurrences(pid, wanted) == 0


# --- the way between httpd and a daemon


@pytest.mark.mpms("event")
@pytest.mark.parametrize(
    "options",
    ["send-buffer-size=20000", "receive-buffer-size=20000", "send-buffer-size=9000 receive-buffer-size=20000"],
)
def test_buffers(start_httpd, options):
    """`send-buffer-size=` and `receive-buffer-size=`: what waits between httpd and a daemon. The kernel doubles the
    number, for its own needs."""
    httpd = start_httpd(group(options=options) + group("other"))
    assert json.loads(httpd.get("/shop/buffers").body) == [40_000]
    assert json.loads(httpd.get("/other/buffers").body) != [40_000]


@pytest.mark.mpms("event")
def test_large_replies(start_httpd):
    """They come whole and in order, whatever way they take: to slow clients, compressed, broken off."""
    load = "".join(f"LoadModule {name}_module ${{MODULES}}/mod_{name}.so\n" for name in ("deflate", "filter"))
    httpd = start_httpd(load + group() + "<Location /shop/long/gzip>\nSetOutputFilter DEFLATE\n</Location>\n")

    def expected(size: int, seed: int) -> bytes:
        return array.array("I", range(seed, seed + size // 4)).tobytes()

    def pipes() -> int:
        return sum("pipe:" in name for pid in httpd.children() for name in descriptors(pid))

    before = pipes()
    for seed, size in enumerate([2_000_000, 1 << 20, 10_000, 1 << 20, 7_000_000, 100, 400_000] * 3):
        assert httpd.get(f"/shop/long/{size}/{seed}").body == expected(size, seed)
    assert pipes() > before
    reply = httpd.get("/shop/long/gzip/2000000/5", {"Accept-Encoding": "gzip"})
    assert gzip.decompress(reply.body) == expected(2_000_000, 5)
    for seed in range(10):
        with httpd.connect() as connection:
            connection.send_head("GET", f"/shop/long/20000000/{seed}")
            assert connection.head().status == 200
            assert connection.exactly(100_000 * seed) == expected(20_000_000, seed)[: 100_000 * seed]
        assert httpd.get(f"/shop/long/2000000/{seed}").body == expected(2_000_000, seed)
    with httpd.connect() as connection:
        connection.send_head("GET", "/shop/long/8000000/3")
        assert connection.head().status == 200
        pieces = [connection.exactly(4000) for _ in range(2000)]
        assert b"".join(pieces) == expected(8_000_000, 3)
    # Short ones for a while: pipes are given back.
    for _ in range(100):
        assert httpd.get("/shop/pid").status == 200
    wait_for(lambda: pipes() <= before, "pipes to be given back")


@pytest.mark.mpms("event")
def test_options_without_effect(start_httpd):
    """Each is accepted, and the log says once why it does nothing."""
    options = {"socket-user": "root", "response-buffer-size": "70000"}
    written = " ".join(f"{name}={value}" for name, value in options.items())
    httpd = start_httpd(group(options=written) + "WSGIDaemonProcess as-express-writes-it response-buffer-size=0\n")
    assert httpd.get("/shop/pid").status == 200
    records = httpd.log.find("WSGI0164")
    assert [record.text.split()[4] for record in records] == [f"{name}=" for name in options]
    assert {record.level for record in records} == {"notice"}
    assert all("has no effect: " in record.text for record in records)


@pytest.mark.mpms("event")
def test_header_buffer(start_httpd):
    """`header-buffer-size=`: a longer line of a reply's head is a 500; without it only the whole head is bounded."""
    httpd = start_httpd(group(options="header-buffer-size=8192") + group("other"))
    assert httpd.get("/shop/header/8000").status == 200
    assert httpd.get("/shop/header/9000").status == 500
    httpd.log.expect("WSGI0141: process group shop: a header of the reply is longer than header-buffer-size")
    assert httpd.get("/other/header/9000").status == 200


@pytest.mark.mpms("event")
@pytest.mark.parametrize("option", ["response-socket-timeout=1", "socket-timeout=1"])
def test_response_socket_timeout(start_httpd, option):
    """A client that does not take the reply holds a daemon's thread for no longer than that."""
    httpd = start_httpd("Timeout 300\n" + group(options=f"threads=1 {option}"))
    # The start of a daemon may take longer than that.
    wait_for(lambda: httpd.get("/shop/pid").status == 200, "the daemon")
    with ExitStack() as stack:

        def flooded() -> bool:
            connection = stack.enter_context(httpd.connect())
            connection.send_head("GET", "/shop/flood")
            return connection.head().status == 200

        wait_for(flooded, "a reply that nobody takes")
        # Who waits for the thread has no longer than socket-timeout either.
        wait_for(lambda: httpd.get("/shop/pid").status == 200, "the thread to be free")
    httpd.log.allow("WSGI0141: process group shop: no answer within socket-timeout")


@pytest.mark.mpms("event")
@pytest.mark.parametrize(("option", "statuses"), [("", {200, 503}), ("connect-timeout=60", {200})])
def test_full_queue(start_httpd, option, statuses):
    """A full queue refuses at once, unless `connect-timeout=` lets requests wait for a place in it."""
    httpd = start_httpd(
        group(options=f"threads=1 queue-limit=1 {option}"), lambda httpd: make(httpd, "traces"), threads=64
    )
    with ExitStack() as stack:
        connections = [stack.enter_context(httpd.connect()) for _ in range(40)]
        connections[0].send_head("GET", "/shop/wait/go")
        wait_for(lambda: list((httpd.root / "traces").glob("begun-go*")), "the first request to run")
        for connection in connections[1:]:
            connection.send_head("GET", "/shop/pid", {"X-Long": "x" * 8000})
        if 503 in statuses:
            httpd.log.expect("WSGI0142: process group shop did not take the request: its queue is full")
        (httpd.root / "traces/go").touch()
        assert {connection.reply().status for connection in connections} == statuses


# --- the configuration


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("user=nosuchuser", ["shop", "nosuchuser"]),
        ("group=nosuchgroup", ["shop", "group"]),
        ("user=root", ["shop", "root"]),
        ("home=relative", ["home"]),
        ("home=/no/such/folder", ["shop", "/no/such/folder"]),
        ("python=/no/such/python", ["/no/such/python"]),
        ("python-home=/no/such/venv", ["/no/such/venv"]),
        ("threads=-1", ["threads"]),
        ("processes=0", ["processes"]),
        ("umask=9", ["umask"]),
        ("colour=red", ["colour"]),
        ("script-user=root script-group=root", ["script-user", "script-group"]),
        ("proxy-buffer-size=65536", ["response-buffer-size"]),
    ],
)
def test_refused(new_httpd, options, words):
    """Configtest fails, with a line that names the fault."""
    run = new_httpd(group(options=options)).check()
    assert run.returncode != 0, run.stderr
    assert "panicked" not in run.stderr
    for word in words:
        assert word in run.stderr


def test_start_refused(new_httpd):
    """Nor does the server start, if the fault is the administrator's."""
    httpd = new_httpd(group(options="user=nosuchuser"))
    with pytest.raises(AssertionError, match="did not start"):
        httpd.start()
    wait_for(lambda: not httpd.pids(), "nothing to be left")


@pytest.mark.parametrize("options", ["python=/no/such/python", "home=/no/such/folder"])
def test_start_with_a_broken_group(start_httpd, options):
    """What a tenant can break by himself costs his group alone."""
    httpd = start_httpd(group(options=options) + group("other"))
    assert about(httpd, "other")
    reply = httpd.get("/shop/about")
    assert (reply.status, reply.header("Retry-After") is not None) == (503, True)
    httpd.log.expect(r"WSGI0161: WSGIDaemonProcess shop")
    httpd.log.expect(r"WSGI0142: process group shop")


def test_defined_twice(new_httpd):
    """A name stands for one group."""
    run = new_httpd(group() + "WSGIDaemonProcess shop\n").check()
    assert run.returncode != 0
    assert "WSGI0160: WSGIDaemonProcess shop is defined twice" in run.stderr


def test_unknown_group(start_httpd):
    """A request for a group that is not defined gets 500 and a line that says what to do."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/hello.py process-group=nowhere\n")
    httpd.log.expect("WSGI0180: .*nowhere")
    assert httpd.get("/").status == 500
    httpd.log.expect("WSGI0115: there is no daemon process group nowhere for this server; define it")
