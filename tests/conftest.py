"""Options, the servers that tests get, and the check of their error logs."""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest

import pythons
from bare_daemon import Daemon, Queue
from client import wait_for
from httpd import Httpd, Setup, assert_quiet, child_can, child_user, connections, program, running

PROJECT = Path(__file__).parent.parent
MPMS = ("event", "worker", "prefork")
MODES = ("embedded", "daemon")


def pytest_addoption(parser) -> None:
    group = parser.getgroup("httpd")
    group.addoption("--module", default=str(PROJECT / "target/dist/mod_wsgi.so"), help="the module under test")
    group.addoption("--peer", action="store_true", help="the module is stock mod_wsgi: leave out what differs")
    group.addoption("--mpm", default=",".join(MPMS), help="MPMs, separated by commas (default: %(default)s)")
    group.addoption(
        "--mode",
        default=",".join(MODES),
        help="where applications run; daemon beside embedded under the first MPM only, if a test names none (default: "
        "%(default)s)",
    )
    group.addoption("--python", help="run with WSGIPython PATH (default: no such directive)")


def pytest_configure(config) -> None:
    module = Path(config.getoption("--module")).resolve()
    if config.option.help or config.option.markers:
        return
    if not module.is_file():
        raise pytest.UsageError(f"no module at {module}: build it, or name one with --module")
    if not child_can(["test", "-r", str(module)]):
        raise pytest.UsageError(f"httpd's children run as {child_user()} and cannot read {module}: move the checkout")
    if unknown := set(mpms(config)) - set(MPMS):
        raise pytest.UsageError(f"--mpm: not among {', '.join(MPMS)}: {', '.join(unknown)}")
    if unknown := set(modes(config)) - set(MODES):
        raise pytest.UsageError(f"--mode: not among {', '.join(MODES)}: {', '.join(unknown)}")
    if config.option.peer and config.option.python:
        raise pytest.UsageError("--python: stock mod_wsgi runs the Python that it was built for")


def pytest_report_header(config) -> list[str]:
    version = subprocess.run([program(), "-v"], capture_output=True, text=True).stdout.split("\n")[0]
    server = version.partition(":")[2].strip()
    lines = [
        f"httpd: {server}, children run as {child_user() or 'this user'}",
        f"mpm: {', '.join(mpms(config))}",
        f"mode: {', '.join(modes(config))}",
        f"module: {config.getoption('--module')}{' (stock mod_wsgi)' if config.option.peer else ''}",
    ]
    default = pythons.ask(Path(config.option.python) if config.option.python else pythons.DEFAULT)
    lines.append(f"python: {default.name if default else 'none'} ({config.option.python or 'no WSGIPython'})")
    if not config.option.python and not config.option.peer:
        short = [python.name for python in pythons.further() if python.readable]
        lines.append(f"python, short pass: {', '.join(short) or 'no other found'}")
        for python in pythons.further():
            if not python.readable:
                lines.append(f"python, not run: {python.name}: {child_user()} cannot read {python.prefix}")
    return lines


def pytest_collection_modifyitems(config, items) -> None:
    if not config.option.peer:
        return
    for item in items:
        for marker in item.iter_markers("differs"):
            item.add_marker(pytest.mark.skip(reason=f"stock mod_wsgi differs: {marker.args[0]}"))


def mpms(config) -> list[str]:
    return config.getoption("--mpm").split(",")


def modes(config) -> list[str]:
    # Daemons of stock mod_wsgi differ in too much.
    return ["embedded"] if config.option.peer else config.getoption("--mode").split(",")


def wanted(metafunc, marker: str, names: list[str]) -> list[str]:
    """Those of `names` that every marker of that name on the test, its class or its file has."""
    chosen = [set(mark.args) for mark in metafunc.definition.iter_markers(marker)]
    return [name for name in names if all(name in names for names in chosen)]


def pytest_generate_tests(metafunc) -> None:
    """Runs each test with a server in each mode, under each MPM, and the short ones also with each further Python."""
    if "setup" not in metafunc.fixturenames:
        return
    config = metafunc.config
    module = Path(config.getoption("--module")).resolve()
    python = Path(config.option.python).absolute() if config.option.python else None
    short = any(metafunc.definition.iter_markers("short")) and not python and not config.option.peer
    setups = {}
    known = wanted(metafunc, "modes", modes(config))
    # Where nothing runs the mode does not matter.
    for mode in known[:1] if "new_httpd" in metafunc.fixturenames else known:
        beside = mode == "daemon" and "embedded" in modes(config)
        everywhere = not beside or any(metafunc.definition.iter_markers("mpms"))
        names = wanted(metafunc, "mpms", mpms(config) if everywhere else mpms(config)[:1])
        suffix = "" if mode == "embedded" else f"-{mode}"
        for mpm in names:
            setups[mpm + suffix] = Setup(module, mpm, python, config.option.peer, mode)
        if short and names:
            for other in pythons.further():
                if other.readable:
                    setups[f"{names[0]}{suffix}-{other.name}"] = Setup(module, names[0], other.path, mode=mode)
    metafunc.parametrize("setup", setups.values(), ids=list(setups), indirect=True, scope="session")


@pytest.fixture(scope="session")
def setup(request) -> Setup:
    """The module, the MPM, the Python and the mode of this run."""
    return request.param


@pytest.fixture(scope="module")
def module_httpd(request, setup):
    """One server for all tests of a file, with its `CONFIG`; use `httpd`."""
    server = Httpd(setup, dedent(request.module.CONFIG), **getattr(request.module, "SERVER", {}))
    with running(server, getattr(request.module, "prepare", None)):
        yield server


@pytest.fixture
def httpd(module_httpd):
    """The server of this file. A record in its log at level warn or above that the test did not name fails the test."""
    assert module_httpd.process.poll() is None, "httpd is dead"
    module_httpd.log.begin()
    yield module_httpd
    # What a request leaves in the log may come after its reply: it is not for the next test.
    wait_for(lambda: not connections(module_httpd.port), "the server to be done with its requests")
    assert_quiet(module_httpd)


@pytest.fixture
def start_httpd(setup):
    """Starts servers of the test's own: `start_httpd(config, **options)`."""
    with ExitStack() as servers:

        def start(config: str, prepare=None, **options) -> Httpd:
            server = Httpd(setup, dedent(config), **options)
            return servers.enter_context(running(server, prepare))

        yield start


@pytest.fixture
def new_httpd(setup):
    """Makes servers that are not started: `new_httpd(config)`, for tests of the configuration and of starting."""
    with ExitStack() as servers:

        def make(config: str, **options) -> Httpd:
            server = Httpd(setup, dedent(config), **options)
            servers.callback(server.remove)
            return server

        yield make


PYTHONS = [python for python in (pythons.ask(pythons.DEFAULT), *pythons.further()) if python]


@pytest.fixture(params=PYTHONS, ids=lambda python: python.name)
def python(request):
    """Each CPython that is found, for daemons without httpd."""
    return request.param.path


@pytest.fixture
def queue():
    """The queue of a process group without httpd."""
    queue = Queue()
    yield queue
    queue.close()


@pytest.fixture
def start_daemon(pytestconfig, python, queue, tmp_path):
    """Starts daemons on the one queue: `start_daemon(preload=…, threads=…)`, each READY."""
    host = Path(pytestconfig.getoption("--module")).resolve().parent / "mod_wsgi/wsgi_host.abi3.so"
    with ExitStack() as daemons:

        def start(preload=(), ready=True, errors=None, **options) -> Daemon:
            given = [(name.replace("_", "-"), str(value)) for name, value in options.items()]
            daemon = Daemon(host, python, queue, tmp_path / "log", given, preload, errors)
            daemons.callback(daemon.remove)
            if ready:
                assert daemon.hear() == ("Ready", ""), daemon.log.read_text()
            return daemon

        yield start
