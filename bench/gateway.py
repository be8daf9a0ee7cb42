"""The contenders behind mod_proxy, each over a Unix socket, with one process and the threads that the others have."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.contender import THREADS, Contender, apxs
from bench.environment import VENV, install
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


GATEWAYS = [
    _gateway("gunicorn", "gunicorn", _gunicorn, "http", "proxy_http"),
    _gateway("uwsgi", "uWSGI", _uwsgi, "uwsgi", "proxy_uwsgi"),
    replace(
        _gateway("granian", "granian", _granian, "http", "proxy_http"),
        # It loses the headers of an application that is a generator and so calls start_response at the first step.
        answers=lambda one: one.name not in ("generator", "many"),
    ),
]
