"""wsgictl: an application served by one command, and what `check` says about the machine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import pythons
from client import PATIENCE, Connection, wait_for
from httpd import MARK, child_group, child_user, processes

pytestmark = [pytest.mark.differs("has no wsgictl")]

SOURCE = """\
import sys

def application(environ, start_response):
    print("a line for the log", file=sys.stderr)
    headers = [("X-Mount", environ["SCRIPT_NAME"] or "-"), ("X-Threads", str(environ["wsgi.multithread"]))]
    start_response("200 OK", headers)
    return [b"{text}"]

other = application
not_callable = "text"
"""


@pytest.fixture
def folder():
    """A folder that httpd's children may read."""
    path = Path(tempfile.mkdtemp(prefix="wsgi-test-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Command:
    """A running `wsgictl serve`, with what it says."""

    def __init__(self, program: Path, folder: Path, arguments, environment=(), **options):
        self.mark = str(folder)
        self.output = folder / "said"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [program, "serve", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": "/", "LANG": "C.UTF-8", MARK: self.mark} | dict(environment),
                start_new_session=True,
                **options,
            )

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def url(self) -> re.Match:
        """Waits for the line that names the address."""

        def banner():
            assert self.process.poll() is None, f"ended:\n{self.said()}"
            return re.search(r"http://127\.0\.0\.1:(\d+)(/\S*)", self.said())

        return wait_for(banner, "the address")

    def get(self, target: str = "/"):
        with Connection(int(self.url()[1])) as connection:
            return connection.get(target, {"Connection": "close"})

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        status = self.process.wait(PATIENCE)
        wait_for(lambda: not processes(self.mark), "its processes to end")
        return status

    def kill(self) -> None:
        for pid in processes(self.mark):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def program(request) -> Path:
    """The command beside the module under test."""
    return Path(request.config.getoption("--module")).resolve().parent / "wsgictl"


@pytest.fixture
def serve(program, folder):
    """Starts `wsgictl serve` with a free port."""
    running = []

    def start(*arguments, **options) -> Command:
        port = [] if "--port" in arguments else ["--port", "0"]
        command = Command(program, folder, [*port, *arguments], **options)
        running.append(command)
        return command

    yield start
    for command in running:
        if command.process.poll() is None:
            command.kill()
            pytest.fail(f"still running:\n{command.said()}")
        assert not processes(command.mark)
        assert "panicked" not in command.said()


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(SOURCE.replace("{text}", text))
    new.rename(path)
    return path


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_script(serve, folder, how):
    """A script is served at the address that is said; a signal stops everything, with status 0."""
    command = serve(write(folder / "app.wsgi", "a script"))
    reply = command.get()
    assert (reply.status, reply.body, reply.header("X-Mount")) == (200, b"a script", "-")
    assert command.stop(how) == 0


def test_private_files_are_removed(serve, folder):
    """Nothing is left on disk."""
    private = folder / "private"
    private.mkdir(mode=0o755)
    command = serve(write(folder / "app.wsgi", "x"), environment={"TMPDIR": str(private)})
    assert command.get().status == 200
    assert [path.name for path in private.iterdir() if path.name.startswith("wsgictl-")]
    assert command.stop() == 0
    assert list(private.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "status"), [("shop.web", 200), ("shop.web:other", 200), ("shop.web:missing", 500), ("shop.nothing", 500)]
)
def test_module(serve, folder, name, status):
    """A module by its name, from the current folder."""
    write(folder / "shop/web.py", "a module")
    (folder / "shop/__init__.py").write_text("")
    command = serve(name)
    assert command.get().status == status
    assert command.stop() == 0


@pytest.mark.parametrize("option", ["--working-directory", "--python-path"])
def test_working_directory(serve, folder, option):
    """Or from a folder that is named, or on a path that is."""
    write(folder / "deep/web.py", "found")
    command = serve("web", option, folder / "deep")
    assert command.get().body == b"found"
    assert command.stop() == 0


def test_script_callable(serve, folder):
    """A script's other callable, after a colon."""
    path = write(folder / "app.wsgi", "x")
    command = serve(f"{path}:other")
    assert command.get().status == 200
    assert command.stop() == 0


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_mpm(serve, folder, mpm):
    """The MPM can be chosen; with --embedded it runs the application."""
    command = serve(write(folder / "app.wsgi", "x"), "--mpm", mpm, "--threads", 3, "--embedded")
    assert command.get().header("X-Threads") == str(mpm != "prefork")
    assert command.stop() == 0


@pytest.mark.parametrize(("options", "threads"), [((), "True"), (("--threads", 1, "--processes", 2), "False")])
def test_daemons(serve, folder, options, threads):
    """Without it, daemons run the application, with as many threads as asked for."""
    command = serve(write(folder / "app.wsgi", "x"), "--mpm", "prefork", *options)
    assert command.get().header("X-Threads") == threads
    assert command.stop() == 0


def test_prefix_and_static(serve, folder):
    """The application below a path, files beside it."""
    (folder / "files").mkdir()
    (folder / "files/style.css").write_text("body {}")
    command = serve(write(folder / "app.wsgi", "x"), "--url-prefix", "/shop", "--static", f"/static={folder / 'files'}")
    assert command.url()[2].startswith("/shop")
    assert command.get("/shop/a").header("X-Mount") == "/shop"
    assert command.get("/elsewhere").status in (403, 404)
    reply = command.get("/static/style.css")
    assert (reply.body, reply.header("Content-Type")) == (b"body {}", "text/css")
    assert command.stop() == 0


def test_log(serve, folder):
    """Log and requests are on the terminal; a failing application shows its traceback there."""
    command = serve(write(folder / "app.wsgi", "x"))
    assert command.get("/page?q=1").status == 200
    wait_for(lambda: "a line for the log" in command.said(), "the application's line")
    wait_for(lambda: "GET /page?q=1" in command.said(), "the request's line")
    (folder / "app.wsgi").write_text("raise LookupError('at import')\n")
    assert command.get().status == 200
    wait_for(lambda: "LookupError: at import" in command.said(), "the traceback")
    # What cannot be loaded does not take the place of what can.
    assert command.get().status == 200
    assert command.stop() == 0


def test_reload(serve, folder):
    """With --reload a change of an imported file is seen without touching the script."""
    write(folder / "pages.py", "before")
    (folder / "app.wsgi").write_text("from pages import application\n")
    command = serve(folder / "app.wsgi", "--reload", "--python-path", folder)
    assert command.get().body == b"before"
    write(folder / "pages.py", "after")

    def changed():
        try:
            return command.get().body == b"after"
        except (OSError, EOFError):
            return False

    wait_for(changed, "the new answer")
    assert command.stop() == 0


def test_venv(serve, folder):
    """--python takes a virtual environment."""
    subprocess.run([pythons.DEFAULT, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (folder / "app.wsgi").write_text(
        "import sys\n\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    return [sys.prefix.encode()]\n"
    )
    command = serve(folder / "app.wsgi", "--python", folder / "venv")
    assert command.get().text == str(folder / "venv")
    assert command.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="the tests run as an ordinary user anyway")
def test_ordinary_user(serve, folder):
    """Who is not root can serve too."""
    path = write(folder / "app.wsgi", "as a user")
    command = serve(path, user=child_user(), group=child_group(), extra_groups=[])
    assert command.get().body == b"as a user"
    assert command.stop() == 0


def test_port_in_use(serve, folder):
    """A port that is taken: status 1, and a line that says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = serve(write(folder / "app.wsgi", "x"), "--port", taken.getsockname()[1])
        assert command.process.wait(PATIENCE) == 1
    assert "WSGI06" in command.said()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["/no/such/app.wsgi"], ["WSGI06", "/no/such/app.wsgi"]),
        (["app.wsgi", "--python", "/no/such/python"], ["WSGI02", "/no/such/python"]),
        (["app.wsgi", "--static", "/x"], ["WSGI06", "--static"]),
        (["app.wsgi", "--static", "/x=/no/such/folder"], ["/no/such/folder"]),
        (["app.wsgi", "--url-prefix", "shop"], ["--url-prefix"]),
        (["app.wsgi", "--httpd", "/no/such/httpd"], ["/no/such/httpd"]),
        (["app.wsgi", "--module", "/no/such/module.so"], ["/no/such/module.so"]),
        (["app.wsgi", "--mpm", "other"], ["other"]),
        (["app.wsgi", "--port", "99999"], ["99999"]),
        (["app.wsgi", "--host", "not an address"], ["not an address"]),
        ([], ["APP"]),
    ],
)
def test_refused(program, folder, arguments, words):
    """What is wrong is said in one go, before anything starts."""
    write(folder / "app.wsgi", "x")
    run = subprocess.run([program, "serve", *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert run.returncode in (1, 2)
    for word in words:
        assert word in run.stderr
    assert "panicked" not in run.stderr


def test_unreadable_application(serve, folder):
    """As root: an application that the children's user cannot read is refused, with the path."""
    if os.getuid() != 0:
        pytest.skip("only root's children are another user")
    path = write(folder / "closed/app.wsgi", "x")
    path.parent.chmod(0o700)
    command = serve(path)
    assert command.process.wait(PATIENCE) == 1
    assert str(path.parent) in command.said()


# --- check


def check(program, *arguments):
    return subprocess.run([program, "check", *arguments], capture_output=True, text=True, timeout=PATIENCE)


def test_check(program):
    """What would be used: httpd, MPMs, module, Python and its library."""
    run = check(program)
    assert run.returncode == 0, run.stdout + run.stderr
    for word in ("httpd", "2.4.", "event", "mod_wsgi.so", "wsgi_host.abi3.so", "libpython", "/usr/bin/python3"):
        assert word in run.stdout
    assert "WRONG" not in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--python", "/no/such/python"],
        ["--httpd", "/no/such/httpd"],
        ["--httpd", "/bin/true"],
        ["--module", "/no/such/mod_wsgi.so"],
    ],
)
def test_check_finds_fault(program, arguments):
    """What is wrong is named, with what to do; the status says that something is."""
    run = check(program, *arguments)
    assert run.returncode == 1
    (line,) = [line for line in run.stdout.splitlines() if "WRONG" in line]
    assert re.search(r"WSGI0[26]\d\d: ", line)
    assert arguments[1] in line


def test_help(program):
    """Help and version."""
    for arguments in (["--help"], ["serve", "--help"], ["check", "--help"], ["--version"]):
        run = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert run.returncode == 0
        assert "wsgictl" in run.stdout
    assert subprocess.run([program], capture_output=True).returncode == 2
