"""Configurations as they are in use: a distribution's, those that the documentation of frameworks shows, those of
packages, panels and mod_wsgi-express. Only their paths, names and ports are put in."""

import fcntl
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from conftest import PROJECT

from client import PATIENCE, Connection, wait_for
from httpd import APPS, MARK, child_group, child_user, free_port, processes

# Each configuration says itself whether its applications run embedded or in daemons.
pytestmark = [pytest.mark.mpms("event"), pytest.mark.modes("embedded")]

KEPT = PROJECT / "target/wild"
"""Where what is fetched or built once stays."""
VENV = Path(sys.prefix)
"""The virtual environment of this suite, which has Django and Flask."""


def where(reply) -> dict:
    """What apps/where.py tells."""
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


# --- Debian


@contextmanager
def alone():
    """One of pytest's processes at a time."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def debian() -> Path:
    """What Debian's package of mod_wsgi puts under /etc/apache2."""
    if not shutil.which("apt-get"):
        pytest.skip("not a Debian system")
    folder = KEPT / "libapache2-mod-wsgi-py3"
    with alone(), tempfile.TemporaryDirectory() as scratch:
        if not folder.is_dir():
            fetch = ["apt-get", "--quiet", "download", "libapache2-mod-wsgi-py3"]
            if subprocess.run(fetch, cwd=scratch, capture_output=True).returncode:
                # The package lists may be missing or old.
                subprocess.run(["apt-get", "--quiet", "update"], check=True, capture_output=True)
                subprocess.run(fetch, cwd=scratch, check=True, capture_output=True)
            (package,) = Path(scratch).glob("*.deb")
            subprocess.run(["dpkg-deb", "--extract", package, f"{scratch}/files"], check=True)
            shutil.copytree(f"{scratch}/files/etc", folder / "etc")
    return folder / "etc/apache2/mods-available"


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.timeout(600)  # the first one fetches the package
def test_debian(start_httpd, setup, debian, daemon):
    """The package's wsgi.load and wsgi.conf; a site as Debian's README shows it."""

    def prepare(httpd):
        lines = httpd.config.read_text().splitlines(keepends=True)
        httpd.config.write_text("".join(line for line in lines if not line.startswith("LoadModule wsgi_module")))
        load = (debian / "wsgi.load").read_text()
        assert "/usr/lib/apache2/modules/mod_wsgi.so" in load
        httpd.write("mods-enabled/wsgi.load", load.replace("/usr/lib/apache2/modules/mod_wsgi.so", str(setup.module)))
        httpd.write("mods-enabled/wsgi.conf", (debian / "wsgi.conf").read_text())

    group = "WSGIDaemonProcess site\nWSGIProcessGroup site\n" if daemon else ""
    httpd = start_httpd(
        "IncludeOptional ${ROOT}/mods-enabled/*.load\nIncludeOptional ${ROOT}/mods-enabled/*.conf\n"
        "<VirtualHost *:${PORT}>\nServerAdmin webmaster@localhost\n"
        + group
        + "WSGIScriptAlias / ${APPS}/where.py\n</VirtualHost>\n",
        prepare,
    )
    assert where(httpd.get("/x"))["application_group"] == f"localhost:{httpd.port}|"


# --- Django's documentation


def django(httpd):
    """A project, with a static file."""
    shutil.copytree(APPS / "site", httpd.root / "mysite", ignore=shutil.ignore_patterns("__pycache__"))
    httpd.folder("mysite/data")
    httpd.write("static/robots.txt", "User-agent: *\n")


DJANGO_FILES = """
Alias /robots.txt ${{ROOT}}/static/robots.txt
Alias /static/ ${{ROOT}}/static/

<Directory ${{ROOT}}/static>
Require all granted
</Directory>

{wsgi}

<Directory ${{ROOT}}/mysite/shop>
<Files wsgi.py>
Require all granted
</Files>
</Directory>
"""

DJANGO = {
    "embedded": f"""
WSGIScriptAlias / ${{ROOT}}/mysite/shop/wsgi.py
WSGIPythonHome {VENV}
WSGIPythonPath ${{ROOT}}/mysite
""",
    "daemon": f"""
WSGIDaemonProcess example.com python-home={VENV} python-path=${{ROOT}}/mysite
WSGIProcessGroup example.com
WSGIScriptAlias / ${{ROOT}}/mysite/shop/wsgi.py process-group=example.com
""",
    "daemon, main interpreter": f"""
WSGIDaemonProcess example.com lang='en_US.UTF-8' locale='en_US.UTF-8' python-home={VENV} python-path=${{ROOT}}/mysite
WSGIProcessGroup example.com
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / ${{ROOT}}/mysite/shop/wsgi.py
""",
}


@pytest.mark.parametrize("wsgi", DJANGO.values(), ids=DJANGO)
def test_django(start_httpd, wsgi):
    """Everything is denied but what the documentation grants; static files are httpd's."""
    denied = "<Directory />\nRequire all denied\n</Directory>\n"
    httpd = start_httpd(denied + DJANGO_FILES.format(wsgi=wsgi), django)
    reply = httpd.get("/admin/login/")
    assert (reply.status, b"csrfmiddlewaretoken" in reply.body) == (200, True)
    assert httpd.get("/robots.txt").text == "User-agent: *\n"
    assert httpd.get("/static/robots.txt").text == "User-agent: *\n"
    httpd.log.allow("locale")


# --- Flask's documentation


@pytest.mark.skipif(os.getuid() != 0, reason="only root can choose another user")
@pytest.mark.differs("asks for the home of nobody")
def test_flask(start_httpd):
    """A group with a user of its own, named in the folder's section; sys.path is set in the script."""
    httpd = start_httpd(
        """
        LoadModule access_compat_module ${MODULES}/mod_access_compat.so
        WSGIDaemonProcess yourapplication user=nobody group=nogroup threads=5
        WSGIScriptAlias / ${ROOT}/yourapplication/yourapplication.wsgi

        <Directory ${ROOT}/yourapplication>
            WSGIProcessGroup yourapplication
            WSGIApplicationGroup %{GLOBAL}
            WSGIScriptReloading On
            Order deny,allow
            Allow from all
        </Directory>
        """,
        flask,
    )
    assert httpd.get("/").text == "hello at /"
    (daemon,) = httpd.daemons()
    assert Path(f"/proc/{daemon}").owner() != Path(f"/proc/{httpd.children()[0]}").owner()


def flask(httpd):
    """The script that activates a virtual environment, as the documentation shows it."""
    site = f"{VENV}/lib/python3.{sys.version_info.minor}/site-packages"
    httpd.write(
        "yourapplication/yourapplication.wsgi",
        f"import sys\nsys.path.insert(0, {site!r})\nsys.path.insert(0, {str(APPS)!r})\n"
        "from flask_app import application\n",
    )


# --- OpenStack's packages


@pytest.mark.differs("has daemons without a supervisor, by whom this finds them")
def test_openstack(start_httpd):
    """Groups of single-threaded processes, each with a port and virtual host of its own, and a path beside them."""
    public, admin = free_port(), free_port()
    host = """
        <VirtualHost *:{port}>
            WSGIDaemonProcess {name} processes=2 threads=1 user={user} group={group} display-name=%{{GROUP}}
            WSGIProcessGroup {name}
            WSGIScriptAlias / ${{ROOT}}/bin/{name}
            WSGIApplicationGroup %{{GLOBAL}}
            WSGIPassAuthorization On
            WSGIChunkedRequest On
            LimitRequestBody 114688
            <IfVersion >= 2.4>
                ErrorLogFormat "%{{cu}}t %M"
            </IfVersion>
            ErrorLog ${{ROOT}}/{name}.log
            CustomLog ${{ROOT}}/access.log combined

            <Directory ${{ROOT}}/bin>
                <IfVersion >= 2.4>
                    Require all granted
                </IfVersion>
                <IfVersion < 2.4>
                    Order allow,deny
                    Allow from all
                </IfVersion>
            </Directory>
        </VirtualHost>
        """
    user, group = child_user() or "nobody", child_group() if child_user() else "nogroup"
    config = """
        <IfModule !version_module>
            LoadModule version_module ${MODULES}/mod_version.so
        </IfModule>
        <IfModule !log_config_module>
            LoadModule log_config_module ${MODULES}/mod_log_config.so
        </IfModule>
        LogFormat "%h %l %u %t \\"%r\\" %>s %b" combined
        WSGISocketPrefix ${ROOT}/run/wsgi
        """
    config += f"Listen 127.0.0.1:{public}\nListen 127.0.0.1:{admin}\n"
    config += host.format(port=public, name="keystone-public", user=user, group=group)
    config += host.format(port=admin, name="keystone-admin", user=user, group=group)
    config += """
        Alias /identity ${ROOT}/bin/keystone-public
        <Location /identity>
            SetHandler wsgi-script
            Options +ExecCGI

            WSGIProcessGroup keystone-public
            WSGIApplicationGroup %{GLOBAL}
            WSGIPassAuthorization On
        </Location>
        """

    def prepare(httpd):
        httpd.folder("run")
        for name in ("keystone-public", "keystone-admin"):
            httpd.write(f"bin/{name}", (APPS / "where.py").read_text())

    httpd = start_httpd(config, prepare)
    seen = {}
    headers = [("Authorization", "Bearer x"), ("Connection", "close")]
    for name, port in (("public", public), ("admin", admin)):
        with Connection(port) as connection:
            connection.send_head("POST", "/v3", [*headers, ("Transfer-Encoding", "chunked")])
            connection.send("1\r\nx\r\n0\r\n\r\n")
            seen[name] = where(connection.reply())
    seen["identity"] = where(httpd.get("/identity/v3", headers[:1]))
    assert [seen[name]["path_info"] for name in seen] == ["/v3"] * 3
    assert {seen[name]["authorization"] for name in seen} == {"Bearer x"}
    assert {seen[name]["application_group"] for name in seen} == {""}

    def titles() -> dict[int, bytes]:
        return {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] for pid in httpd.daemons()}

    # The second ones may come later than the first requests.
    both = [b"(wsgi:keystone-admin)"] * 2 + [b"(wsgi:keystone-public)"] * 2
    wait_for(lambda: sorted(titles().values()) == both, "two processes of each group")
    assert titles()[seen["identity"]["pid"]] == titles()[seen["public"]["pid"]] == b"(wsgi:keystone-public)"


# --- a site over both protocols


def certificate(httpd):
    """A self-signed certificate."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=www.example.org"]
    names = ["-addext", "subjectAltName=DNS:www.example.org", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", httpd.root / "key.pem", "-out", httpd.root / "certificate.pem"]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)


@pytest.mark.parametrize("daemon", [False, True])
def test_both_protocols(start_httpd, daemon):
    """Two virtual hosts of one name, for http and https, share one process group, which one of them defines."""
    secure = free_port()
    group = "WSGIDaemonProcess www.example.org processes=1 threads=5" if daemon else ""
    uses = "WSGIProcessGroup www.example.org" if daemon else ""
    httpd = start_httpd(
        f"""
        LoadModule ssl_module ${{MODULES}}/mod_ssl.so
        Listen 127.0.0.1:{secure}
        <VirtualHost *:${{PORT}}>
            ServerName www.example.org
            {group}
            {uses}
            WSGIApplicationGroup %{{GLOBAL}}
            WSGIScriptAlias / ${{APPS}}/environ.py
        </VirtualHost>
        <VirtualHost *:{secure}>
            ServerName www.example.org
            SSLEngine on
            SSLCertificateFile ${{ROOT}}/certificate.pem
            SSLCertificateKeyFile ${{ROOT}}/key.pem
            SSLOptions +StdEnvVars
            {uses}
            WSGIApplicationGroup %{{GLOBAL}}
            WSGIScriptAlias / ${{APPS}}/environ.py
            <Location /terminated>
                WSGITrustedProxyHeaders X-Forwarded-Proto
            </Location>
        </VirtualHost>
        """,
        certificate,
    )
    # mod_ssl about its library, and about the cache that it can do without.
    httpd.log.allow("AH0188[12]|AH01873")
    plain = values(httpd.get("/x", {"Host": f"www.example.org:{httpd.port}"}).body)
    trust = ssl.create_default_context(cafile=httpd.root / "certificate.pem")

    def get(target, **headers):
        connection = Secure("127.0.0.1", secure, context=trust, timeout=PATIENCE)
        connection.request("GET", target, headers={"Host": f"www.example.org:{secure}", **headers})
        return values(connection.getresponse().read())

    encrypted = get("/x")
    assert (plain["wsgi.url_scheme"], encrypted["wsgi.url_scheme"]) == ("http", "https")
    assert (plain["SERVER_PORT"], encrypted["SERVER_PORT"]) == (str(httpd.port), str(secure))
    assert re.match("TLSv1", encrypted["SSL_PROTOCOL"])
    assert plain["mod_wsgi.process_group"] == encrypted["mod_wsgi.process_group"] == (uses and "www.example.org")
    assert "HTTPS" not in encrypted
    # What the connection is does not count where a proxy says what it was; nor does what it says in words unknown.
    for said, scheme in (("http", "http"), ("https", "https")):
        assert get("/terminated", **{"X-Forwarded-Proto": said})["wsgi.url_scheme"] == scheme
    if daemon and not httpd.setup.peer:
        assert len(httpd.daemons()) == 1


class Secure(HTTPSConnection):
    """Connects to an address under the certificate's name."""

    def connect(self):
        super(HTTPSConnection, self).connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname="www.example.org")


def values(body: bytes) -> dict:
    """What apps/environ.py tells."""
    return {key: value for key, (_, value) in json.loads(body).items()}


# --- a hosting panel


@pytest.mark.parametrize("daemon", [False, True])
def test_panel(start_httpd, daemon):
    """Accounts put scripts into their folder and set them up by .htaccess; every URL that is no file goes to one."""

    def prepare(httpd):
        httpd.write("home/ann/public_html/app.wsgi", (APPS / "where.py").read_text())
        httpd.write("home/ann/public_html/style.css", "body {}")
        httpd.write(
            "home/ann/public_html/.htaccess",
            "Options +ExecCGI\n"
            "AddHandler wsgi-script .wsgi\n"
            "WSGICallableObject other\n"
            "WSGIPassAuthorization On\n"
            "RewriteEngine On\n"
            "RewriteCond %{REQUEST_FILENAME} !-f\n"
            "RewriteRule ^(.*)$ app.wsgi/$1 [QSA,PT,L]\n",
        )

    group = "WSGIDaemonProcess ann processes=2 threads=2 display-name=%{GROUP}\nWSGIProcessGroup ann" if daemon else ""
    httpd = start_httpd(
        f"""
        LoadModule mime_module ${{MODULES}}/mod_mime.so
        LoadModule rewrite_module ${{MODULES}}/mod_rewrite.so
        TypesConfig /dev/null
        AddType text/css .css
        <VirtualHost *:${{PORT}}>
            ServerName ann.example.org
            DocumentRoot ${{ROOT}}/home/ann/public_html
            {group}
            <Directory ${{ROOT}}/home/ann/public_html>
                Options -Indexes +FollowSymLinks
                AllowOverride FileInfo AuthConfig Limit Options=ExecCGI,Indexes,MultiViews
                Require all granted
            </Directory>
        </VirtualHost>
        """,
        prepare,
    )
    for target, info in (("/app.wsgi/a/b", "/a/b"), ("/a/b", "/a/b"), ("/app.wsgi", "")):
        seen = where(httpd.get(target, {"Authorization": "Basic x"}))
        assert (seen["path_info"], seen["callable"], seen["authorization"]) == (info, "other", "Basic x")
    assert httpd.get("/style.css").text == "body {}"


# --- mod_wsgi-express


@pytest.fixture(scope="session")
def express() -> Path:
    """mod_wsgi-express, in an environment of its own."""
    venv = KEPT / "express"
    with alone():
        if not (venv / "complete").is_file():
            shutil.rmtree(venv, ignore_errors=True)
            subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
            pip = [venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "mod_wsgi==6.1.1"]
            run = subprocess.run(pip, capture_output=True, text=True)
            assert run.returncode == 0, run.stderr
            (venv / "complete").touch()
    return venv / "bin/mod_wsgi-express"


class Express:
    """A server that mod_wsgi-express has set up, with the module under test put in."""

    def __init__(self, command: Path, setup, *options):
        self.setup, self.port = setup, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="wsgi-test-")).resolve()
        self.folder.chmod(0o755)
        shutil.copy(APPS / "environ.py", self.folder / "app.wsgi")
        self.root = self.folder / "server"
        who = ["--user", child_user(), "--group", child_group()] if child_user() else []
        logs = ["--log-directory", self.folder, "--log-level", "info"]
        words = ["setup-server", "app.wsgi", "--port", self.port, "--server-root", self.root, *who, *logs, *options]
        run = subprocess.run([command, *map(str, words)], cwd=self.folder, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        config = self.root / "httpd.conf"
        load = f"LoadModule wsgi_module '{setup.module}'"
        text, count = re.subn(r"(?m)^LoadModule wsgi_module .*$", load, config.read_text())
        assert count == 1
        config.write_text(text)

    def control(self, *words) -> subprocess.CompletedProcess:
        """Runs the generated apachectl."""
        environment = {"PATH": os.environ["PATH"], MARK: str(self.folder)}
        return subprocess.run(
            [self.root / "apachectl", *words], capture_output=True, text=True, timeout=PATIENCE, env=environment
        )

    def get(self, target, **headers):
        with Connection(self.port) as connection:
            return connection.get(target, {"Connection": "close", **headers})

    def log(self) -> str:
        path = self.folder / "error_log"
        return path.read_text() if path.exists() else ""

    def __enter__(self):
        try:
            run = self.control("configtest")
            assert run.returncode == 0, run.stderr
            self.control("start")
            wait_for(lambda: "resuming normal operations" in self.log(), "the server to start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception):
        self.control("stop")
        try:
            wait_for(lambda: not processes(str(self.folder)), "its processes to end")
        finally:
            for pid in processes(str(self.folder)):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.folder)


@pytest.mark.parametrize(
    ("options", "embedded"),
    [
        ((), False),
        (("--processes", 2, "--threads", 3, "--reload-on-changes", "--server-metrics"), False),
        (("--embedded-mode",), True),
        (("--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "127.0.0.1", "--compress-responses"), False),
        (("--mount-point", "/shop", "--enable-sendfile", "--chunked-request", "--error-override"), False),
    ],
    ids=lambda value: " ".join(map(str, value[::2])) or "plain" if isinstance(value, tuple) else "",
)
@pytest.mark.differs("is what wrote it")
@pytest.mark.timeout(600)  # the first one builds mod_wsgi
def test_express(express, setup, options, embedded):
    """Set up, checked, started and stopped by what it has written."""
    mount = "/shop" if "--mount-point" in options else ""
    with Express(express, setup, *options) as server:
        seen = values(
            server.get(f"{mount}/a/b?q=1", **{"X-Forwarded-For": "1.2.3.4", "Authorization": "Bearer x"}).body
        )
        assert (seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]) == (mount, "/a/b", "q=1")
        assert seen["HTTP_AUTHORIZATION"] == "Bearer x"
        assert seen["mod_wsgi.process_group"] == ("" if embedded else f"localhost:{server.port}")
        assert seen["mod_wsgi.application_group"] == ""
        assert seen["mod_wsgi.request_handler"] == "wsgi-handler"
        assert seen["REMOTE_ADDR"] == ("1.2.3.4" if "--trust-proxy" in options else "127.0.0.1")
        assert server.get("/elsewhere").status == (404 if mount else 200)
        (server.root / "htdocs/file.txt").write_text("a static file")
        assert server.get("/file.txt").body == b"a static file"
        check = [setup.module.parent / "wsgictl", "check", "--httpd", server.root / "apachectl", "--config"]
        run = subprocess.run([*check, server.root / "httpd.conf"], capture_output=True, text=True)
        assert (run.returncode, "handler wsgi-handler" in run.stdout) == (0, True), run.stdout + run.stderr
        # What the application's side prints is an error by its level only.
        assert not re.search(r":(error|crit|alert|emerg)\] .*WSGI\d+|Traceback|panicked", server.log()), server.log()
        # The generated script controls the server further.
        assert server.control("graceful").returncode == 0
        wait_for(lambda: server.log().count("resuming normal operations") == 2, "the restart")
        assert server.get(f"{mount}/").status == 200
