"""The CPythons of this machine."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from client import PATIENCE
from httpd import child_can

DEFAULT = Path("/usr/bin/python3")
OLDEST = (3, 10)
"""The oldest Python that the module runs."""

QUESTION = """
import json, sys, sysconfig
print(json.dumps([sys.version_info[:3], sys.prefix, bool(sysconfig.get_config_var("Py_ENABLE_SHARED")),
                  bool(sysconfig.get_config_var("Py_GIL_DISABLED"))]))
"""


@dataclass(frozen=True)
class Python:
    """An installation, by its program."""

    path: Path
    version: tuple[int, int, int]
    prefix: str
    shared: bool
    free_threaded: bool

    @property
    def name(self) -> str:
        """Its version, as in `3.12.1`."""
        return ".".join(map(str, self.version))

    @property
    def usable(self) -> bool:
        """Whether the module should run it."""
        return self.version >= OLDEST and self.shared and not self.free_threaded

    @cached_property
    def readable(self) -> bool:
        """Whether httpd's children may read it."""
        return child_can([str(self.path), "-c", "import encodings, json"])


@cache
def ask(path: Path) -> Python | None:
    """What a program says of itself; None if it is no working Python."""
    try:
        run = subprocess.run([path, "-c", QUESTION], capture_output=True, text=True, timeout=PATIENCE)
        version, prefix, shared, free_threaded = json.loads(run.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return Python(path, tuple(version), prefix, shared, free_threaded)


@cache
def found() -> tuple[Python, ...]:
    """One installation for each minor version, newest first, from the PATH, the usual folders and pyenv."""
    roots = [Path(entry) for entry in os.environ.get("PATH", "").split(":") if entry]
    roots += [Path("/usr/bin"), Path("/usr/local/bin"), *Path("/opt").glob("*/bin")]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    if pyenv.is_dir() and os.access(pyenv, os.R_OK):
        roots = [root for root in roots if pyenv / "shims" != root] + sorted(pyenv.glob("versions/*/bin"))
    by_minor: dict[tuple[int, int], Python] = {}
    for root in roots:
        for name in [f"python3.{minor}" for minor in range(6, 16)]:
            if (path := shutil.which(name, path=str(root))) and (python := ask(Path(path))):
                minor = python.version[:2]
                if minor not in by_minor or python.version > by_minor[minor].version:
                    by_minor[minor] = python
    return tuple(sorted(by_minor.values(), key=lambda python: python.version, reverse=True))


def older() -> list[Python]:
    """Those that are too old for the module, newest first."""
    return [python for python in found() if python.version < OLDEST]


def further() -> list[Python]:
    """Those that the module should run, but for the version of the default one."""
    default = ask(DEFAULT)
    return [
        python for python in found() if python.usable and not (default and default.version[:2] == python.version[:2])
    ]
