"""Which Python runs: WSGIPython, WSGIPythonHome, WSGIPythonPath, and what is said when it cannot be."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import pythons
from httpd import Httpd, Setup, running

pytestmark = [
    pytest.mark.mpms("event"),
    pytest.mark.modes("embedded"),
    pytest.mark.differs("knows only the Python that it was built for"),
]


def refused(httpd, *words: str) -> str:
    """Configtest fails with one line that has a code and these words."""
    run = httpd.check()
    assert run.returncode != 0, f"accepted:\n{run.stderr}"
    lines = [line for line in run.stderr.splitlines() if "WSGI02" in line]
    assert len(lines) == 1, run.stderr
    for word in words:
        assert word in lines[0]
    assert len(run.stderr.splitlines()) <= 3, run.stderr
    return lines[0]


def fake(httpd, name: str, text: str, mode: int = 0o755) -> Path:
    """A script that poses as an interpreter."""
    path = httpd.write(f"fake/bin/{name}", text)
    path.chmod(mode)
    return path


def venv(folder: Path, python: Path = pythons.DEFAULT) -> Path:
    """A virtual environment that the children may read; without pip, which takes long."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def default_python(setup):
    """Leaves out the runs with `--python`: these tests name their own."""
    if setup.python:
        pytest.skip("names its own WSGIPython")


pytestmark.append(pytest.mark.usefixtures("default_python"))

# --- what is wrong


@pytest.mark.parametrize("directive", ["WSGIPython", "WSGIPythonHome"])
def test_missing(new_httpd, directive):
    """A path that does not exist."""
    refused(new_httpd(f"{directive} /no/such/path"), "/no/such/path", "does not exist", directive)


def test_start_fails(new_httpd):
    """httpd does not start with a Python that is not there."""
    httpd = new_httpd("WSGIPython /no/such/path\n")
    with pytest.raises(AssertionError, match=r"WSGI02\d\d: .*/no/such/path"):
        httpd.start()
    assert httpd.pids() == []


def test_folder(new_httpd):
    """A folder instead of an interpreter."""
    refused(new_httpd("WSGIPython /usr\n"), "/usr")


def test_file_as_home(new_httpd):
    """An interpreter instead of a folder."""
    refused(new_httpd("WSGIPythonHome /usr/bin/python3\n"), "/usr/bin/python3")


def test_not_executable(new_httpd):
    """A file that cannot be run."""
    httpd = new_httpd("WSGIPython ${ROOT}/fake/bin/python3\n")
    path = fake(httpd, "python3", "#!/bin/sh\n", 0o644)
    refused(httpd, str(path))


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\nexit 0\n", "#!/bin/sh\necho 3.12.0\n", "#!/bin/sh\nexit 3\n", "#!/no/such/shell\n", "not a program"],
)
def test_no_python(new_httpd, text):
    """A program that is no Python."""
    httpd = new_httpd("WSGIPython ${ROOT}/fake/bin/python3\n")
    path = fake(httpd, "python3", text)
    refused(httpd, str(path))


@pytest.mark.parametrize(
    "python", pythons.older() or [None], ids=lambda python: python.name if python else "none found"
)
def test_too_old(new_httpd, python):
    """A Python older than 3.10: which one it is, and what is needed."""
    if not python:
        pytest.skip("this machine has no older Python")
    if not python.readable:
        pytest.skip(f"httpd's children cannot read {python.prefix}")
    refused(new_httpd(f"WSGIPython {python.path}\n"), str(python.path), ".".join(map(str, python.version[:2])), "3.10")


def test_no_shared_library(new_httpd):
    """A Python without a shared library: which, and what to do."""
    httpd = new_httpd("WSGIPython ${ROOT}/fake/bin/python3\n")
    (httpd.root / "fake/lib").mkdir(parents=True)
    # As a static build says of itself: the real one, with another answer where the build is asked for.
    path = fake(
        httpd,
        "python3",
        "#!/bin/sh\n"
        'for last; do :; done; case "$last" in *sysconfig*) shift $#; set -- -I -S -c "\n'
        "import sysconfig, sys\n"
        "real = sysconfig.get_config_var\n"
        "fakes = dict(Py_ENABLE_SHARED=0, LDLIBRARY='libpython3.11.a', INSTSONAME='libpython3.11.a', "
        f"LIBDIR='{httpd.root}/fake/lib', LIBRARY='libpython3.11.a', MULTIARCH='')\n"
        "sysconfig.get_config_var = lambda name: fakes.get(name, real(name))\n"
        f"sys.base_prefix = sys.prefix = '{httpd.root}/fake'\n"
        f"sys.executable = '{httpd.root}/fake/bin/python3'\n"
        'exec(sys.argv[1])" "$last";; esac\n'
        f'exec {pythons.DEFAULT} "$@"\n',
    )
    line = refused(httpd, str(path), "shared library")
    assert "install" in line or "--enable-shared" in line


def test_broken_venv(new_httpd):
    """A virtual environment whose Python is gone."""
    httpd = new_httpd("WSGIPythonHome ${ROOT}/venv\n")
    folder = venv(httpd.root / "venv")
    (folder / "bin/python3").unlink()
    (folder / "bin/python3").symlink_to("/no/such/python3")
    refused(httpd, str(folder), "/no/such/python3")
    (folder / "bin/python3").unlink()
    refused(httpd, str(folder))


def test_venv_of_moved_python(new_httpd):
    """A virtual environment that names a base that does not exist any more."""
    httpd = new_httpd("WSGIPythonHome ${ROOT}/venv\n")
    folder = venv(httpd.root / "venv")
    config = folder / "pyvenv.cfg"
    config.write_text(config.read_text().replace("home = /usr/bin", "home = /no/such/bin"))
    refused(httpd, str(folder), "/no/such/bin")


def test_home_is_no_python(new_httpd):
    """A folder that is neither an environment nor an installation."""
    httpd = new_httpd("WSGIPythonHome ${ROOT}/htdocs\n")
    refused(httpd, str(httpd.root / "htdocs"))


def test_venv_of_other_version(new_httpd):
    """An environment of one version beside an interpreter of another."""
    other = next((python for python in pythons.further() if python.readable), None)
    if not other:
        pytest.skip("this machine has no second Python")
    httpd = new_httpd(f"WSGIPython {other.path}\nWSGIPythonHome ${{ROOT}}/venv\n")
    venv(httpd.root / "venv")
    refused(httpd, str(httpd.root / "venv"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root's children are another user")
def test_unreachable(new_httpd):
    """An environment behind a folder that the children's user may not enter."""
    httpd = new_httpd("WSGIPythonHome ${ROOT}/closed/venv\n")
    venv(httpd.root / "closed/venv")
    (httpd.root / "closed").chmod(0o700)
    refused(httpd, str(httpd.root / "closed"))


def test_relative(new_httpd):
    """A path that is not absolute."""
    run = new_httpd("WSGIPython python3\n").check()
    assert run.returncode != 0
    assert "WSGIPython" in run.stderr


def test_restart_with_broken_python(start_httpd):
    """A graceful restart with a Python that has become wrong is refused by configtest; the server runs on."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/hello.py\n")
    httpd.configure("WSGIPythonHome /no/such/path\n")
    refused(httpd, "/no/such/path")
    assert httpd.get("/").status == 200


# --- what runs


def where(httpd) -> dict:
    reply = httpd.get("/")
    assert reply.status == 200, reply
    return json.loads(reply.body)


ALIAS = "WSGIScriptAlias / ${APPS}/where.py application-group=%{GLOBAL}\n"


def test_default(start_httpd):
    """Without any directive the system's python3 runs, in UTF-8, whatever the environment of httpd."""
    httpd = start_httpd(ALIAS)
    seen = where(httpd)
    assert tuple(seen["version"]) == pythons.ask(pythons.DEFAULT).version
    assert seen["prefix"] == seen["base_prefix"] == "/usr"
    assert seen["flags"]["filesystem"] == "utf-8"
    assert not [record for record in httpd.log.records() if "encodings" in record.text]


def test_named(start_httpd):
    """WSGIPython names an interpreter by its path, also by a link to it."""
    link = "/usr/bin/python3"
    seen = where(start_httpd(f"WSGIPython {link}\n{ALIAS}"))
    assert tuple(seen["version"]) == pythons.ask(Path(link)).version


@pytest.mark.parametrize("how", ["WSGIPythonHome ${ROOT}/venv\n", "WSGIPython ${ROOT}/venv/bin/python3\n"])
def test_venv(start_httpd, how):
    """A virtual environment: its packages are seen, its base is found."""

    def prepare(httpd):
        folder = venv(httpd.root / "venv")
        packages = next(folder.glob("lib/python3.*/site-packages"))
        (packages / "only_here.py").write_text("name = 'of the environment'\n")
        (packages / "extra.pth").write_text(f"{httpd.root}/extra\n")
        httpd.write("extra/by_pth.py", "name = 'by pth'\n")
        source = "import only_here, by_pth, json, sys\n\ndef application(environ, start_response):\n"
        source += (
            "    start_response('200 OK', [])\n    seen = [only_here.name, by_pth.name, sys.prefix, sys.base_prefix]\n"
        )
        source += "    return [json.dumps(seen + [sys.executable]).encode()]\n"
        httpd.write("app.wsgi", source)

    for group in ("%{GLOBAL}", "some"):
        httpd = start_httpd(how + f"WSGIScriptAlias / ${{ROOT}}/app.wsgi application-group={group}\n", prepare)
        seen = json.loads(httpd.get("/").body)
        assert seen[:4] == ["of the environment", "by pth", str(httpd.root / "venv"), "/usr"]
        assert seen[4].startswith(str(httpd.root / "venv/bin/python"))


def test_installation_as_home(start_httpd):
    """WSGIPythonHome may name an installation."""
    seen = where(start_httpd("WSGIPythonHome /usr\n" + ALIAS))
    assert seen["prefix"] == "/usr"


@pytest.mark.parametrize("group", ["%{GLOBAL}", "some"])
def test_path(start_httpd, group):
    """WSGIPythonPath: its folders come first, in their order, and are site folders."""

    def prepare(httpd):
        httpd.write("one/module_one.py", "name = 'one'\n")
        httpd.write("two/module_one.py", "name = 'two'\n")
        httpd.write("two/json.py", "name = 'shadows the standard library'\n")
        httpd.write("two/more.pth", f"{httpd.root}/three\n")
        httpd.write("three/module_three.py", "name = 'three'\n")
        source = "import sys, module_one, module_three\n\ndef application(environ, start_response):\n"
        source += "    start_response('200 OK', [])\n"
        source += "    return ['\\n'.join([module_one.name, module_three.name, *sys.path]).encode()]\n"
        httpd.write("app.wsgi", source)

    httpd = start_httpd(
        f"WSGIPythonPath ${{ROOT}}/one:${{ROOT}}/two\nWSGIScriptAlias / ${{ROOT}}/app.wsgi application-group={group}\n",
        prepare,
    )
    one, three, *path = httpd.get("/").text.split("\n")
    assert (one, three) == ("one", "three")
    assert path[:2] == [str(httpd.root / "one"), str(httpd.root / "two")]
    assert str(httpd.root / "three") in path
    assert "" not in path


def test_foreign_environment(start_httpd, monkeypatch):
    """Python variables in httpd's own environment do not reach a Python that the configuration names."""
    original = Httpd._environment
    poisoned = {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"}
    monkeypatch.setattr(Httpd, "_environment", lambda self: original(self) | poisoned)
    seen = where(start_httpd("WSGIPythonHome /usr\n" + ALIAS))
    assert seen["prefix"] == "/usr"


def test_environment_restored(start_httpd):
    """Choosing the Python leaves no trace in the environment that applications see."""

    def prepare(httpd):
        venv(httpd.root / "venv")
        source = "import os, json\n\ndef application(environ, start_response):\n    start_response('200 OK', [])\n"
        httpd.write("app.wsgi", source + "    return [json.dumps(dict(os.environ)).encode()]\n")

    httpd = start_httpd("WSGIPythonHome ${ROOT}/venv\nWSGIScriptAlias / ${ROOT}/app.wsgi\n", prepare)
    seen = json.loads(httpd.get("/").body)
    assert str(httpd.root / "venv") not in seen["PATH"]
    assert not [name for name in seen if name.startswith("PYTHON")]


def test_parent_without_python(start_httpd):
    """Python is loaded into the children only, never into the parent that runs as root."""
    httpd = start_httpd(ALIAS)
    where(httpd)
    assert "libpython" not in Path(f"/proc/{httpd.process.pid}/maps").read_text()
    child = int(json.loads(httpd.get("/").body)["pid"])
    assert "libpython" in Path(f"/proc/{child}/maps").read_text()


@pytest.mark.parametrize(
    "python",
    [python for python in pythons.further()] or [None],
    ids=lambda python: python.name if python else "none found",
)
def test_further(setup, python):
    """Each CPython of this machine runs, by its interpreter and as the base of an environment."""
    if not python:
        pytest.skip("this machine has no other Python from 3.10 on")
    if not python.readable:
        pytest.skip(f"httpd's children cannot read {python.prefix}")
    other = Setup(setup.module, setup.mpm, python.path)
    with running(Httpd(other, ALIAS)) as httpd:
        seen = where(httpd)
        assert tuple(seen["version"]) == python.version
        assert seen["prefix"] == python.prefix
    with running(
        Httpd(setup, "WSGIPythonHome ${ROOT}/venv\n" + ALIAS), lambda httpd: venv(httpd.root / "venv", python.path)
    ) as httpd:
        seen = where(httpd)
        assert tuple(seen["version"]) == python.version
        assert seen["base_prefix"] == python.prefix
        assert seen["prefix"] == str(httpd.root / "venv")


def test_library(start_httpd):
    """The library in the child is the one of the Python that was asked for."""
    seen = where(start_httpd(ALIAS))
    maps = Path(f"/proc/{seen['pid']}/maps").read_text()
    assert "libpython" + ".".join(map(str, seen["version"][:2])) in maps
