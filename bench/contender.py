"""The contenders: what each one needs, and what it adds to the common httpd configuration."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.workload import Workload

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / "target" / "bench"
PYTHON = "/usr/bin/python3"
DIST = ROOT / "target" / "dist"
PEER = SCRATCH / "peer"


class MissingError(Exception):
    """A file that a contender needs is not there."""


@dataclass(frozen=True)
class Contender:
    """One way to answer; `serve` gives the lines for one workload, whose file in the server's `apps` folder it gets."""

    name: str
    title: str
    module: Callable[[], str]
    """The lines that load it."""
    serve: Callable[[Workload, Path], str]
    folder: str = ""
    """A directive for the folder of the files."""
    static: bool = False

    def answers(self, workload: Workload) -> bool:
        return workload.static or not self.static


def apxs(name: str) -> str:
    """What httpd's build says about itself."""
    return subprocess.run(["apxs", "-q", name], check=True, capture_output=True, text=True).stdout.strip()


def ours(dist: Path, name: str = "ours") -> Contender:
    """What `script/build` left in that folder."""

    def module() -> str:
        for file in (dist / "mod_wsgi.so", dist / "mod_wsgi" / "wsgi_host.abi3.so"):
            if not file.exists():
                raise MissingError(f"{file} is missing: run script/build first, or leave ours out with --only")
        return f'LoadModule wsgi_module "{dist}/mod_wsgi.so"\nWSGIPython {PYTHON}\nWSGIApplicationGroup %{{GLOBAL}}\n'

    return Contender(name, name, module, _wsgi_alias)


def _peer() -> str:
    """mod_wsgi from PyPI, the newest when the scratch environment was made (delete the folder to make it anew)."""
    pip = PEER / "bin" / "pip"
    if not list(PEER.glob("lib/*/site-packages/mod_wsgi/server/mod_wsgi-*.so")):
        print("building mod_wsgi from PyPI", flush=True)
        subprocess.run([PYTHON, "-m", "venv", "--clear", PEER], check=True)
        subprocess.run([pip, "install", "--quiet", "wheel"], check=True)
        subprocess.run([pip, "install", "--quiet", "--no-binary", "mod_wsgi", "mod_wsgi"], check=True)
    module = next(PEER.glob("lib/*/site-packages/mod_wsgi/server/mod_wsgi-*.so"))
    return f'LoadModule wsgi_module "{module}"\nWSGIApplicationGroup %{{GLOBAL}}\n'


def peer_version() -> str:
    folder = next(PEER.glob("lib/*/site-packages/mod_wsgi-*.*-info"), None)
    return folder.name.split("-")[1] if folder else "none"


def c_module(name: str) -> str:
    """Compiles `bench/NAME.c` if it is newer than its module; the line that loads it."""
    source, folder = ROOT / "bench" / f"{name}.c", SCRATCH / name
    module = folder / ".libs" / f"{name}.so"
    if not module.exists() or module.stat().st_mtime < source.stat().st_mtime:
        # apxs leaves its objects beside the source.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / source.name).write_bytes(source.read_bytes())
        build = subprocess.run(["apxs", "-c", "-Wc,-O2", source.name], cwd=folder, capture_output=True, text=True)
        if build.returncode:
            raise MissingError(f"{source.name} does not compile:\n{build.stdout}{build.stderr}")
    return f'LoadModule {name}_module "{module}"\n'


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


PEERS = [
    Contender("peer", "mod_wsgi", _peer, _wsgi_alias),
    Contender("handler", "C handler", _handler, _alias, "SetHandler bench"),
    Contender("flushing", "C handler, flushing", _handler, _alias, "SetHandler bench-flush"),
    Contender("static", "static file", str, _file, "ForceType text/plain", static=True),
]
