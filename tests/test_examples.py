"""The files of apache-conf/: each example is started, with only its paths, port and user put in."""

import json
import re
import subprocess

import pytest
from conftest import PROJECT

from httpd import APPS, child_group, child_user

pytestmark = [pytest.mark.mpms("event"), pytest.mark.modes("embedded"), pytest.mark.differs("has other examples")]

FOLDER = PROJECT / "apache-conf"
WHERE = (APPS / "where.py").read_text()
FILES = {
    "shop/app.wsgi": WHERE,
    "shop/static/style.css": "body {}\n",
    "shop/lib/shop_settings.py": "",
    "blog/app.wsgi": WHERE,
    "wiki/main.py": WHERE.replace("application = ", "app = ").replace("def application(", "def app("),
    "tools/a.wsgi": WHERE,
    "tools/b.wsgi": WHERE,
    "tools/readme.txt": "",
}
"""What the examples take to be below /srv."""

EXAMPLES = {
    "daemon-processes.conf": {"/": ("shop", "")},
    "one-application.conf": {"/": ("", ""), "/static/style.css": None},
    "several-applications.conf": {
        "/blog": ("", "blog"),
        "/wiki/a": ("", "wiki"),
        "/tools/a.wsgi": ("", "localhost:{port}|/tools/a.wsgi"),
        "/tools/b.wsgi/x": ("", "localhost:{port}|/tools/b.wsgi"),
    },
    "status.conf": {"/wsgi-status": None},
}
"""URLs, with the process group and the interpreter that answer."""


def put_in(httpd, text: str) -> str:
    """The text of a file with what is so on this machine."""
    who = f"user={child_user()} group={child_group()}" if child_user() else ""
    text = text.replace("user=shop group=shop", who).replace("*:80", f"*:{httpd.port}")
    return re.sub(r"(?<![\w/])/srv/", f"{httpd.root}/srv/", text)


def prepare(httpd):
    for name, text in FILES.items():
        httpd.write(f"srv/{name}", text)
    python = httpd.setup.python or "/usr/bin/python3"
    subprocess.run([python, "-m", "venv", "--without-pip", httpd.root / "srv/shop/venv"], check=True)


def test_all_are_here():
    """Each example has a row."""
    assert sorted(path.name for path in (FOLDER / "examples").iterdir()) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(start_httpd, name):
    """Configtest has nothing to say about it, and each of its URLs is answered as it says."""

    def configure(httpd):
        prepare(httpd)
        text = put_in(httpd, (FOLDER / "examples" / name).read_text())
        httpd.write("example.conf", text)

    modules = "LoadModule mime_module ${MODULES}/mod_mime.so\nTypesConfig /dev/null\nLoadModule authz_host_module "
    httpd = start_httpd(modules + "${MODULES}/mod_authz_host.so\nInclude ${ROOT}/example.conf\n", configure)
    assert "WSGI0" not in httpd.check().stderr
    for url, expected in EXAMPLES[name].items():
        reply = httpd.get(url)
        assert reply.status == 200, (url, reply.body)
        if expected:
            seen = json.loads(reply.body)
            process_group, application_group = expected
            assert seen["application_group"] == application_group.format(port=httpd.port)
            assert seen["process_group"] == process_group


def test_settings(start_httpd, setup):
    """wsgi.load and wsgi.conf, as they are and with every setting that they show."""

    def configure(httpd):
        prepare(httpd)
        lines = httpd.config.read_text().splitlines(keepends=True)
        httpd.config.write_text("".join(line for line in lines if not line.startswith("LoadModule wsgi_module")))
        load = (FOLDER / "wsgi.load").read_text()
        assert "/usr/lib/apache2/modules/mod_wsgi.so" in load
        httpd.write("mods/wsgi.load", load.replace("/usr/lib/apache2/modules/mod_wsgi.so", str(setup.module)))
        settings = put_in(httpd, (FOLDER / "wsgi.conf").read_text())
        httpd.write("mods/wsgi.conf", settings)
        # A virtual environment brings its own Python.
        shown, count = re.subn(r"(?m)^#(WSGI(?!Python ))", r"\1", settings)
        assert count >= 4
        httpd.write("shown.conf", shown)

    config = (
        "Include ${ROOT}/mods/wsgi.load\nInclude ${ROOT}/mods/wsgi.conf\n<IfDefine SHOWN>\nInclude ${ROOT}/shown.conf\n"
    )
    config += "</IfDefine>\nWSGIScriptAlias / ${ROOT}/srv/shop/app.wsgi\n"
    httpd = start_httpd(config, configure)
    seen = json.loads(httpd.get("/").body)
    assert (seen["application_group"], seen["authorization"]) == (f"localhost:{httpd.port}|", None)
    httpd.config.write_text("Define SHOWN\n" + httpd.config.read_text())
    httpd.restart()
    seen = json.loads(httpd.get("/", {"Authorization": "Bearer x"}).body)
    assert (seen["application_group"], seen["authorization"]) == ("", "Bearer x")
