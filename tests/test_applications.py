"""Real applications: Flask, Django, httpbin, C extensions; and small ones under wsgiref.validate."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlencode

import pytest

from httpd import APPS, child_can

VENV = Path(sys.prefix)
"""Where this suite runs, with its requirements: they are what the applications use."""


@pytest.fixture(autouse=True)
def environment(setup):
    """The environment that script/test makes."""
    if setup.python:
        pytest.skip("the packages are installed for the default Python")
    missing = [name for name in ("django", "flask", "httpbin", "numpy", "lxml", "cryptography") if not find_spec(name)]
    assert not missing, f"not installed: {', '.join(missing)}: run script/test, or install tests/requirements.txt"
    assert child_can(["test", "-r", str(VENV / "pyvenv.cfg")]), (
        f"httpd's children cannot read {VENV}: move the checkout"
    )


# WSGIPythonPath is for embedded mode.
SERVER = {"options": "python-path=${ROOT}/site"}
CONFIG = f"""
WSGIPythonHome "{VENV}"
WSGIPythonPath "${{ROOT}}/site"
WSGIPassAuthorization On
WSGIScriptAlias /flask ${{APPS}}/flask_app.py application-group=flask
WSGIScriptAlias /httpbin ${{APPS}}/httpbin_app.py application-group=httpbin
WSGIScriptAlias /extensions ${{APPS}}/extensions.py application-group=%{{GLOBAL}}
WSGIScriptAlias /valid ${{APPS}}/validated.py application-group=valid
WSGIScriptAlias / ${{ROOT}}/site/shop/wsgi.py application-group=django
"""

FILE = random.Random(5).randbytes(300_000)


def prepare(httpd):
    """Makes the Django project's database, with a user who may use the admin."""
    site = httpd.root / "site"
    shutil.copytree(APPS / "site", site, ignore=shutil.ignore_patterns("__pycache__"))
    data = site / "data"
    data.mkdir()
    (data / "file").write_bytes(FILE)
    user = {
        "DJANGO_SUPERUSER_USERNAME": "ann",
        "DJANGO_SUPERUSER_PASSWORD": "pass",
        "DJANGO_SUPERUSER_EMAIL": "a@b.org",
    }
    env = {**os.environ, **user, "PYTHONPATH": str(site), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    for command in (["migrate", "--verbosity", "0"], ["createsuperuser", "--noinput"]):
        subprocess.run(
            [sys.executable, "-B", "-m", "django", *command], check=True, capture_output=True, cwd=site, env=env
        )
    data.chmod(0o777)
    (data / "db.sqlite3").chmod(0o666)


class Browser:
    """A client with cookies."""

    def __init__(self, httpd):
        self.httpd = httpd
        self.cookies: dict[str, str] = {}

    def request(self, method: str, target: str, headers=None, body: bytes = b""):
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = self.httpd.request(method, target, headers, body)
        assert reply.end == "complete"
        for cookie in reply.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply

    def get(self, target: str):
        return self.request("GET", target)

    def post(self, target: str, fields: dict):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", target, form, urlencode(fields).encode())


@pytest.fixture
def browser(httpd) -> Browser:
    httpd.log.allow("flasgger is not installed")  # httpbin says so when it is loaded, and does without
    return Browser(httpd)


def multipart(fields: dict[str, str], name: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of an upload."""
    parts = [
        f'--frontier\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    parts += [f'--frontier\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n']
    parts += ["Content-Type: application/octet-stream\r\n\r\n"]
    body = "".join(parts).encode() + content + b"\r\n--frontier--\r\n"
    return {"Content-Type": "multipart/form-data; boundary=frontier"}, body


# --- Flask


def test_flask(browser):
    """Pages, queries, forms and JSON; URLs know where the application is mounted."""
    assert browser.get("/flask/").text == "hello at /flask/"
    seen = json.loads(browser.request("GET", "/flask/echo?a=1&b=%C3%A9").body)
    assert seen["query"] == {"a": "1", "b": "é"}
    assert seen["url"] == "http://localhost/flask/echo?a=1&b=é"
    assert json.loads(browser.post("/flask/echo", {"x": "y z"}).body)["form"] == {"x": "y z"}
    body = json.dumps({"k": [1, 2]}).encode()
    reply = browser.request("PUT", "/flask/echo", {"Content-Type": "application/json"}, body)
    assert json.loads(reply.body)["json"] == {"k": [1, 2]}


def test_flask_chunked_upload(start_httpd):
    """A chunked body reaches a form, thanks to wsgi.input_terminated."""
    httpd = start_httpd(f'WSGIPythonHome "{VENV}"\nWSGIChunkedRequest On\nWSGIScriptAlias / ${{APPS}}/flask_app.py\n')
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Transfer-Encoding": "chunked"}
    reply = httpd.request("POST", "/echo", headers, b"3\r\nx=y\r\n2\r\n&z\r\n2\r\n=1\r\n0\r\n\r\n")
    assert json.loads(reply.body)["form"] == {"x": "y", "z": "1"}


def test_flask_files(browser):
    """Uploads, streams, files from disk and from memory."""
    headers, body = multipart({}, "a.bin", b"x" * 1_000_000)
    assert json.loads(browser.request("POST", "/flask/upload", headers, body).body) == {
        "name": "a.bin",
        "size": 1_000_000,
    }
    assert browser.get("/flask/stream").text == "".join(f"{number}\n" for number in range(100))
    reply = browser.get("/flask/file")
    assert reply.body == (APPS / "flask_app.py").read_bytes()
    assert reply.header("Content-Length") == str(len(reply.body))
    assert browser.get("/flask/memory").body == b"in memory"


def test_flask_session(browser):
    """Sessions in cookies."""
    assert [browser.get("/flask/count").text for _ in range(3)] == ["1", "2", "3"]


def test_flask_errors(browser):
    """Flask's own error pages arrive; an exception in a view is in the log."""
    for status in (400, 404, 418, 503):
        reply = browser.get(f"/flask/abort/{status}")
        assert reply.status == status
        assert b"<title>" in reply.body
    reply = browser.get("/flask/fails")
    assert reply.status == 500
    browser.httpd.log.expect(r"LookupError: in a view")
    browser.httpd.log.allow(r"\[script \S+flask_app\.py\]")


# --- Django


def test_django_admin(browser):
    """Login to the admin with CSRF protection, and a page behind it; sessions are in the database."""
    reply = browser.get("/admin/")
    assert reply.status == 302
    assert reply.header("Location") == "/admin/login/?next=/admin/"
    reply = browser.get("/admin/login/?next=/admin/")
    assert reply.status == 200
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', reply.text)[1]
    fields = {"username": "ann", "password": "pass", "next": "/admin/"}
    assert browser.post("/admin/login/", fields).status == 403
    browser.httpd.log.expect("Forbidden")
    fields["csrfmiddlewaretoken"] = token
    wrong = browser.post("/admin/login/", fields | {"password": "wrong"})
    assert wrong.status == 200
    reply = browser.post("/admin/login/", fields)
    assert (reply.status, reply.header("Location")) == (302, "/admin/")
    reply = browser.get("/admin/")
    assert reply.status == 200
    assert "Site administration" in reply.text
    reply = browser.get("/admin/auth/user/")
    assert "ann" in reply.text


AUTHENTICATED = f"""
LoadModule auth_basic_module "${{MODULES}}/mod_auth_basic.so"
LoadModule authn_core_module "${{MODULES}}/mod_authn_core.so"
LoadModule authz_user_module "${{MODULES}}/mod_authz_user.so"
WSGIPythonHome "{VENV}"
WSGIPythonPath "${{ROOT}}/site"
WSGIScriptAlias / ${{ROOT}}/site/shop/accounts.py
<Location "/">
    AuthType Basic
    AuthName "Top Secret"
    AuthBasicProvider wsgi
    WSGIAuthUserScript ${{ROOT}}/site/shop/accounts.py
    WSGIAuthGroupScript ${{ROOT}}/site/shop/accounts.py
    Require valid-user
</Location>
<Location "/stream">
    Require wsgi-group secret-agents
</Location>
"""
ACCOUNTS = """\
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user
"""
USERS = """\
import django
django.setup()
from django.contrib.auth.models import Group, User
User.objects.get(username="ann").groups.add(Group.objects.create(name="secret-agents"))
User.objects.create_user("bob", password="pass")
User.objects.create_user("old", password="pass", is_active=False)
"""


def test_django_authentication(start_httpd):
    """httpd asks Django for users and groups, configured as Django's documentation shows it."""

    def prepare_users(httpd):
        prepare(httpd)
        httpd.write("site/shop/accounts.py", ACCOUNTS)
        env = {**os.environ, "PYTHONPATH": str(httpd.root / "site"), "DJANGO_SETTINGS_MODULE": "shop.settings"}
        subprocess.run([sys.executable, "-B", "-c", USERS], check=True, capture_output=True, env=env)

    server = start_httpd(AUTHENTICATED, prepare_users, **SERVER)
    for target, user, password, status in [
        ("/count", "ann", "pass", 200),
        ("/count", "bob", "pass", 200),
        ("/count", "ann", "wrong", 401),
        ("/count", "old", "pass", 401),
        ("/count", "nobody", "pass", 401),
        ("/stream", "ann", "pass", 200),
        ("/stream", "bob", "pass", 401),
    ]:
        credentials = b64encode(f"{user}:{password}".encode()).decode()
        reply = server.get(target, {"Authorization": f"Basic {credentials}"})
        assert reply.status == status, (target, user, password)
    server.log.expect("AH01617.*ann")
    server.log.expect("AH01618.*nobody")
    server.log.expect("WSGI0193.*bob.*secret-agents")
    server.log.allow("AH0161[78]|AH01631")


def test_django_sessions(browser):
    """Sessions persist, each client has its own."""
    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    assert Browser(browser.httpd).get("/count").text == "1"


def test_django_upload(browser):
    """An upload of 10 MB arrives whole."""
    content = random.Random(6).randbytes(10_000_000)
    headers, body = multipart({"note": "caf\xe9"}, "large.bin", content)
    seen = json.loads(browser.request("POST", "/upload", headers, body).body)
    assert seen == {
        "name": "large.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "note": "caf\xe9",
    }


def test_django_responses(browser):
    """StreamingHttpResponse and FileResponse; the latter's file goes by wsgi.file_wrapper."""
    assert browser.get("/stream").text == "".join(f"line {number}\n" for number in range(1000))
    reply = browser.get("/file")
    assert reply.body == FILE
    assert reply.header("Content-Length") == str(len(FILE))
    assert "file.bin" in reply.header("Content-Disposition")
    assert browser.request("HEAD", "/file").header("Content-Length") == str(len(FILE))
    reply = browser.request("GET", "/file", {"Range": "bytes=100-199"})
    assert (reply.status, reply.body) == (206, FILE[100:200])


def test_django_paths(browser):
    """Paths beyond ASCII arrive decoded."""
    seen = json.loads(browser.get("/echo/%C3%A9/?x=%C3%A9").body)
    assert (seen["path"], seen["q"], seen["host"]) == ("/echo/é/", {"x": "é"}, "localhost")
    assert browser.get("/nothing/here").status == 404
    browser.httpd.log.expect("Not Found: /nothing/here")


def test_django_error(browser):
    """An exception in a view is answered by Django's page, and logged with its traceback."""
    reply = browser.get("/fails")
    assert reply.status == 500
    assert b"Server Error" in reply.body
    browser.httpd.log.expect("LookupError: in a view")
    browser.httpd.log.allow(r"\[script \S+/shop/wsgi\.py\]")


# --- others


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/get?a=1", 200),
        ("/headers", 200),
        ("/status/418", 418),
        ("/redirect/1", 302),
        ("/html", 200),
        ("/image/png", 200),
    ],
)
def test_httpbin(browser, target, status):
    """httpbin's pages."""
    assert browser.get(f"/httpbin{target}").status == status


def test_httpbin_bodies(browser):
    """httpbin's bodies: posted, streamed, compressed, delayed, with credentials."""
    seen = json.loads(browser.post("/httpbin/post", {"a": "b"}).body)
    assert seen["form"] == {"a": "b"}
    assert len(browser.get("/httpbin/stream/5").text.splitlines()) == 5
    assert len(browser.get("/httpbin/stream-bytes/5000?chunk_size=100").body) == 5000
    assert len(browser.get("/httpbin/bytes/2000").body) == 2000
    assert browser.get("/httpbin/gzip").header("Content-Encoding") == "gzip"
    assert browser.get("/httpbin/drip?numbytes=5&duration=0.2&delay=0").body == b"*****"
    assert browser.get("/httpbin/basic-auth/ann/pass").status == 401
    headers = {"Authorization": "Basic YW5uOnBhc3M="}
    assert browser.request("GET", "/httpbin/basic-auth/ann/pass", headers).status == 200
    reply = browser.request("GET", "/httpbin/range/1000", {"Range": "bytes=10-19"})
    assert (reply.status, len(reply.body)) == (206, 10)
    assert browser.get("/httpbin/cookies/set?a=b").status == 302
    assert json.loads(browser.get("/httpbin/cookies").body)["cookies"] == {"a": "b"}


@pytest.mark.differs("once there are other interpreters, numpy does not load in its main one")
def test_extensions(httpd):
    """numpy, lxml and cryptography work in the main interpreter."""
    for _ in range(3):
        assert httpd.get("/extensions").text == "45,text,secret"


def test_extensions_twice(start_httpd):
    """Where an extension refuses a second interpreter, a line says what to set; the main one goes on."""
    httpd = start_httpd(
        f"""
        WSGIPythonHome "{VENV}"
        WSGIScriptAlias /main ${{APPS}}/extensions.py application-group=%{{GLOBAL}}
        WSGIScriptAlias /second ${{APPS}}/extensions.py application-group=second
        """,
        threads=1,
    )
    with httpd.connect() as connection:
        assert connection.get("/main").text == "45,text,secret"
        status = connection.get("/second").status
    if status != 200:
        assert status == 500
        httpd.log.expect("ImportError")
        if not httpd.setup.peer:
            httpd.log.expect(r"WSGIApplicationGroup %\{GLOBAL\}")
        httpd.log.allow("extensions|Traceback|^  |^$|rror")
    assert httpd.get("/main").text == "45,text,secret"


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("hello", b"", "hello"),
        ("generator", b"", "one two"),
        ("writer", b"", "one two"),
        ("echo", b"one\ntwo\nthree\nfour\nfive", '["one", "\\n", "two\\n", "three\\n", "four\\n", "five", ""]'),
        ("iterated", b"one\ntwo", '["one\\n", "two"]'),
        ("no_content", b"", ""),
    ],
)
def test_valid(httpd, name, body, expected):
    """wsgiref.validate finds nothing wrong on the server's side."""
    for method in ("GET", "POST"):
        reply = httpd.request(method, f"/valid/{name}", body=body if method == "POST" else b"")
        if method == "POST" or not body:
            assert (reply.status, reply.text) == (204 if name == "no_content" else 200, expected)


def test_valid_errors(httpd):
    """Nor with wsgi.errors."""
    assert httpd.get("/valid/errors").body == b"logged"
    httpd.log.expect("from a valid application")
    httpd.log.expect("and another line")
