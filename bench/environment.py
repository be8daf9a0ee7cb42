"""The virtual environment in the scratch folder: Python servers to compare with, and the frameworks."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / "target" / "bench"
VENV = SCRATCH / "venv"
PYTHON = "/usr/bin/python3"

FROM_SOURCE = ("mod_wsgi", "uwsgi")
"""Built on this machine, as a user of httpd's and of the system's Python would."""


class MissingError(Exception):
    """Something that a contender needs is not there."""


def version(package: str) -> str | None:
    """The version installed, None if it is not."""
    found = [*VENV.glob("lib/*/site-packages/*.dist-info"), *VENV.glob("lib/*/site-packages/*.egg-info")]
    names = {folder.name.split("-")[0].lower(): folder.name.split("-")[1].removesuffix(".egg") for folder in found}
    return names.get(package)


def install(*packages: str) -> None:
    """Installs what is not there yet, in its newest version (delete the folder to begin anew)."""
    if not VENV.exists():
        _run([PYTHON, "-m", "venv", VENV], "the virtual environment")
        _run([VENV / "bin" / "pip", "install", "--quiet", "wheel", "setuptools"], "wheel")
    for package in packages:
        if version(package) is None:
            print(f"installing {package} from PyPI", flush=True)
            source = ["--no-binary", package] if package in FROM_SOURCE else []
            _run([VENV / "bin" / "pip", "install", "--quiet", *source, package], package)


def _run(command: list[str | Path], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise MissingError(f"{what} cannot be installed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
