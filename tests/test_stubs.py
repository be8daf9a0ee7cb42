"""The type stubs: they name what the modules have, and a type checker understands them."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from test_module import NAMES

STUBS = Path(__file__).parent.parent / "stubs"
CONFIG = "WSGIScriptAlias / ${APPS}/module.py\n"

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("has no stubs")]


def named(module: str) -> dict[str, ast.stmt]:
    """The public names that a stub defines."""
    tree = ast.parse((STUBS / f"{module}-stubs/__init__.pyi").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
    return {name: node for name, node in found.items() if not name.startswith("_")}


def test_names_of_mod_wsgi():
    """The stub has the names that the module has, functions as functions and classes as classes."""
    kinds = {"class": ast.ClassDef, "exception": ast.ClassDef, "function": ast.FunctionDef}
    expected = {name: kinds.get(kind, ast.AnnAssign) for name, kind in NAMES.items()}
    assert {name: type(node) for name, node in named("mod_wsgi").items()} == expected


@pytest.mark.modes("embedded")
def test_names_of_apache(httpd):
    """The same of `apache`."""
    assert set(named("apache")) == set(json.loads(httpd.get("/of_apache").body))


@pytest.mark.modes("embedded")
def test_signatures(httpd):
    """Functions take what the stub says."""
    real = json.loads(httpd.get("/signatures").body)
    functions = {name: node for name, node in named("mod_wsgi").items() if isinstance(node, ast.FunctionDef)}
    assert set(real) == set(functions)
    for name, node in functions.items():
        positional, others = [parameter.arg for parameter in node.args.posonlyargs], node.args.args
        assert (real[name], others) == (positional, []), name


PROGRAM = """
    import logging
    import apache
    import mod_wsgi

    @mod_wsgi.subscribe_events
    def note(name: str, /, **payload: object) -> None:
        mod_wsgi.request_data()["seen"] = name

    logging.getLogger().addHandler(mod_wsgi.LogHandler(logging.INFO))
    group: str = mod_wsgi.process_group or apache.mpm_name
    metrics = mod_wsgi.process_metrics()
    count: int = 0 if metrics is None else metrics["threads"][0]["request_count"]
    with open("file", "rb") as file:
        blocks: list[bytes] = list(mod_wsgi.FileWrapper(file))
"""


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (PROGRAM, None),
        ("import mod_wsgi\nmod_wsgi.process_group = 'x'\n", "Cannot assign to final"),
        ("import mod_wsgi\nmod_wsgi.request_metrics()['pid']\n", "None"),
        ("import mod_wsgi\nmod_wsgi.subscribe_events(print, 1)\n", "Too many arguments"),
        ("import mod_wsgi\nmod_wsgi.nothing\n", "has no attribute"),
    ],
)
def test_type_checker(tmp_path, program, complaint):
    """A type checker takes a right program and refuses wrong ones."""
    for module in ("mod_wsgi", "apache"):
        # As they are found when they are installed.
        (tmp_path / module).symlink_to(STUBS / f"{module}-stubs")
    (tmp_path / "program.py").write_text(dedent(program))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if complaint:
        assert (run.returncode, complaint in run.stdout) == (1, True), run.stdout + run.stderr
    else:
        assert run.returncode == 0, run.stdout + run.stderr
