"""The contenders behind httpd: over mod_proxy and a Unix socket, with one process and the threads that the others have;
and Passenger, which has a module of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.contender import THREADS, Contender, apxs
from bench.environment import VENV, MissingError, install
from bench.server import SOCKET
from bench.workload import Workload


def _module(package: str, *modules: str) -> Callable[[], str]:
    def lines() -> str:
        install(package, "flask", "django")
        folder = apxs("LIBEXECDIR")
        return "".join(
            f'<IfModule !{name}_module>\n  LoadModule {name}_module "{folder}/mod_{name}.so"\n</IfModule>\n'
            for name in ("proxy", *modules)
        )

    return lines


def _pass(scheme: str) -> Callable[[Workload, Path], str]:
    def line(workload: Workload, script: Path) -> str:
        socket = script.parents[1] / SOCKET
        return f'ProxyPass {workload.path} "unix:{socket}|{scheme}://localhost{workload.path}"\n'

    return line


def _gunicorn(folder: Path) -> list[str]:
    return [
        *(f"{VENV}/bin/python", "-m", "gunicorn", "--bind", f"unix:{folder / SOCKET}", "--chdir", f"{folder}/apps"),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(THREADS), "--worker-tmp-dir", "/dev/shm"),
        *("--keep-alive", "60", "--log-level", "warning", "--no-control-socket", "dispatch:application"),
    ]


def _uwsgi(folder: Path) -> list[str]:
    return [
        *(f"{VENV}/bin/uwsgi", "--socket", str(folder / SOCKET), "--chmod-socket=666", "--chdir", f"{folder}/apps"),
        *("--virtualenv", str(VENV), "--module", "dispatch", "--need-app", "--die-on-term"),
        *("--threads", str(THREADS), "--disable-logging"),
    ]


def _granian(folder: Path) -> list[str]:
    return [
        *(f"{VENV}/bin/granian", "--interface", "wsgi", "--uds", str(folder / SOCKET), "--workers", "1"),
        *("--blocking-threads", str(THREADS), "--working-dir", f"{folder}/apps", "--log-level", "warning"),
        *("--no-ws", "dispatch:application"),
    ]


def _gateway(name: str, title: str, command: Callable[[Path], list[str]], scheme: str, module: str) -> Contender:
    return Contender(name, title, _module(name, module), _pass(scheme), backend=command, separate=True)


def _passenger() -> str:
    """Phusion Passenger as the system's package has it."""
    module = Path(apxs("LIBEXECDIR")) / "mod_passenger.so"
    root = Path("/usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini")
    if not module.exists() or not root.exists():
        raise MissingError("Passenger is not there: install Debian's package libapache2-mod-passenger")
    install("flask", "django")
    return f'LoadModule passenger_module "{module}"\nPassengerRoot "{root}"\n'


def _root(_workload: Workload, script: Path) -> str:
    # Passenger knows one application below a DocumentRoot.
    return f'DocumentRoot "{script.parent}"\nPassengerAppRoot "{script.parent}"\n'


GATEWAYS = [
    _gateway("gunicorn", "gunicorn", _gunicorn, "http", "proxy_http"),
    _gateway("uwsgi", "uWSGI", _uwsgi, "uwsgi", "proxy_uwsgi"),
    replace(
        _gateway("granian", "granian", _granian, "http", "proxy_http"),
        # It loses the headers of an application that is a generator and so calls start_response at the first step.
        answers=lambda one: one.name not in ("generator", "many"),
    ),
    Contender(
        "passenger",
        "Passenger",
        _passenger,
        _root,
        # Without a licence it gives each process of Python's one request at a time.
        python="PassengerPython {daemon}\nPassengerAppType wsgi\nPassengerStartupFile dispatch.py\n"
        "PassengerMaxPoolSize 1\nPassengerPoolIdleTime 0\nPassengerLogLevel 2\n"
        "PassengerDisableSecurityUpdateCheck on\nPassengerDisableAnonymousTelemetry on\n",
        separate=True,
    ),
]
