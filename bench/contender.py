"""The contenders that live in httpd: what each one needs, and what it adds to the common configuration."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.environment import ROOT, SCRATCH, VENV, MissingError, install
from bench.workload import Workload

DIST = ROOT / "target" / "dist"
THREADS = 64
"""Threads that serve, of httpd and of an application's processes together: as many as the most clients."""


@dataclass(frozen=True)
class Contender:
    """One way to answer; `serve` gives the lines for one workload, whose file in the server's `apps` folder it gets."""

    name: str
    title: str
    module: Callable[[], str]
    """The lines that load it."""
    serve: Callable[[Workload, Path], str]
    python: str = ""
    """Lines that name the Python of its processes: `{python}`, for daemons `{daemon}`."""
    folder: str = ""
    """A directive for the folder of the files."""
    answers: Callable[[Workload], bool] = lambda _workload: True
    backend: Callable[[Path], list[str]] | None = None
    """The command of the server behind httpd, if there is one; it gets the server's folder."""
    separate: bool = False
    """Whether the application runs in a process of its own."""


def apxs(name: str) -> str:
    """What httpd's build says about itself."""
    return subprocess.run(["apxs", "-q", name], check=True, capture_output=True, text=True).stdout.strip()


def ours(dist: Path, name: str = "ours") -> list[Contender]:
    """What `script/build` left in that folder, embedded and as daemons."""

    def module() -> str:
        install("flask", "django")
        for file in (dist / "mod_wsgi.so", dist / "mod_wsgi" / "wsgi_host.abi3.so"):
            if not file.exists():
                raise MissingError(f"{file} is missing: run script/build first, or leave ours out with --only")
        return f'LoadModule wsgi_module "{dist}/mod_wsgi.so"\nWSGIApplicationGroup %{{GLOBAL}}\n'

    return _modes(name, name, module, 'WSGIPython "{python}"\n', "python={daemon}")


def _peer() -> str:
    """mod_wsgi from PyPI, the newest when the scratch environment was made (delete the folder to make it anew)."""
    install("mod_wsgi", "flask", "django")
    module = next(VENV.glob("lib/*/site-packages/mod_wsgi/server/mod_wsgi-*.so"))
    return f'LoadModule wsgi_module "{module}"\nWSGIPythonHome "{VENV}"\nWSGIApplicationGroup %{{GLOBAL}}\n'


def _modes(name: str, title: str, module: Callable[[], str], python: str, option: str) -> list[Contender]:
    """A module for WSGI, embedded, with one daemon process and with two."""
    found = [Contender(name, title, module, _wsgi_alias, python=python)]
    for processes in (1, 2):
        mark = "daemon" if processes == 1 else f"daemon-{processes}"
        line = f"WSGIDaemonProcess bench processes={processes} threads={THREADS // processes} {option}\n"
        daemon = python + line + "WSGIProcessGroup bench\n"
        found.append(Contender(f"{name}-{mark}", f"{title} {mark}", module, _wsgi_alias, python=daemon, separate=True))
    return found


def c_module(name: str) -> str:
    """Compiles `bench/NAME.c` if it is newer than its module; the line that loads it."""
    return f'LoadModule {name}_module "{c_library(name)}"\n'


def c_library(name: str) -> Path:
    """Compiles `bench/NAME.c` if it is newer than its module."""
    source, folder = ROOT / "bench" / f"{name}.c", SCRATCH / name
    module = folder / ".libs" / f"{name}.so"
    if not module.exists() or module.stat().st_mtime < source.stat().st_mtime:
        # apxs leaves its objects beside the source.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / source.name).write_bytes(source.read_bytes())
        build = subprocess.run(["apxs", "-c", "-Wc,-O2", source.name], cwd=folder, capture_output=True, text=True)
        if build.returncode:
            raise MissingError(f"{source.name} does not compile:\n{build.stdout}{build.stderr}")
    return module


def _handler() -> str:
    return c_module("handler")


def _wsgi_alias(workload: Workload, script: Path) -> str:
    return f'WSGIScriptAlias {workload.path} "{script}"\n'


def _alias(workload: Workload, script: Path) -> str:
    # The same file as for the others, so that httpd walks the same directories and looks at the same file.
    return f'Alias {workload.path} "{script}"\n'


def _file(workload: Workload, script: Path) -> str:
    file = script.with_suffix(".txt")
    body = b"Hello World!\n"
    file.write_bytes(body if workload.length == len(body) else b"x" * workload.length)
    return f'Alias {workload.path} "{file}"\n'


IN_HTTPD = [
    *_modes("peer", "mod_wsgi", _peer, "WSGISocketPrefix wsgi\n", f'python-home="{VENV}"'),
    Contender("handler", "C handler", _handler, _alias, folder="SetHandler bench", answers=lambda one: one.in_c),
    Contender(
        "flushing",
        "C handler, flushing",
        _handler,
        _alias,
        folder="SetHandler bench-flush",
        answers=lambda one: one.in_c,
    ),
    Contender("static", "static file", str, _file, folder="ForceType text/plain", answers=lambda one: one.static),
]
