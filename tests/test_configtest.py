"""What configtest, httpd's start and `wsgictl check --config` say about a configuration before a request comes."""

import grp
import json
import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest

from client import PATIENCE
from httpd import APPS, child_user

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("says nothing of all that")]

root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root's children are another user")

MISTAKES = {
    "unknown group": ("WSGIProcessGroup nobodys\n", "WSGI0180", "nobodys"),
    "unknown group of a location": ("<Location /x>\nWSGIProcessGroup nobodys\n</Location>\n", "WSGI0180", "nobodys"),
    "unknown group of an alias": ("WSGIScriptAlias /x ${APPS}/hello.py process-group=nobodys\n", "WSGI0180", "nobodys"),
    "group of another host": (
        "WSGIDaemonProcess own\n"
        "<VirtualHost *:${PORT}>\nServerName one\nWSGIDaemonProcess of-one\nWSGIProcessGroup of-one\n</VirtualHost>\n"
        "<VirtualHost *:${PORT}>\nServerName two\nWSGIProcessGroup of-one\n</VirtualHost>\n",
        "WSGI0181",
        "of-one",
    ),
    "closed folder": ("WSGIScriptAlias /x ${ROOT}/closed/in/app.wsgi\n", "WSGI0182", "{root}/closed;"),
    "unreadable script": (
        "WSGIScriptAlias /x ${ROOT}/private.wsgi process-group=%{GLOBAL}\n",
        "WSGI0183",
        "{root}/private.wsgi",
    ),
    "unreadable access script": (
        "<Location /x>\nWSGIAccessScript ${ROOT}/private.wsgi\n</Location>\n",
        "WSGI0183",
        "{root}/private.wsgi",
    ),
    "hidden alias": (
        "WSGIScriptAlias /x ${APPS}/hello.py\nWSGIScriptAlias /x/y ${APPS}/where.py\n",
        "WSGI0184",
        "/x/y is never reached, since WSGIScriptAlias /x at",
    ),
    "unknown header": ("WSGITrustedProxyHeaders Forwarded\n", "WSGI0185", "Forwarded"),
    "name of a variable in a script that is asked": (
        "<Location /x>\nWSGIAccessScript ${APPS}/access.py application-group=%{ENV:NAME}\n</Location>\n",
        "WSGI0197",
        "WSGIAccessScript: application-group=%{ENV:NAME} is a name",
    ),
    "name of a server without a request": (
        "WSGIDaemonProcess %{SERVER}\nWSGIImportScript ${APPS}/hello.py process-group=%{SERVER} application-group=a\n",
        "WSGI0197",
        "WSGIImportScript: process-group=%{SERVER} is a name",
    ),
    "name of a server in a section for interpreters": (
        "<WSGIInterpreterOptions application-group=%{HOST}>\n</WSGIInterpreterOptions>\n",
        "WSGI0197",
        "WSGIInterpreterOptions: application-group=%{HOST} is a name",
    ),
    "closed folder to import from": (
        "WSGIDaemonProcess own python-path=${ROOT}/closed\n",
        "WSGI0187",
        "{root}/closed;",
    ),
}
"""Configurations with what is said about them: a code and words."""

PASSING = {
    "missing authentication script": (
        "<Location /x>\nWSGIAuthUserScript ${ROOT}/later.wsgi\n</Location>\n",
        "WSGI0186",
        "{root}/later.wsgi",
    ),
    "missing script": ("WSGIScriptAlias /x ${ROOT}/later.wsgi\n", "WSGI0186", "{root}/later.wsgi"),
    "missing folder to import from": ("WSGIDaemonProcess own python-path=${ROOT}/later\n", "WSGI0187", "{root}/later"),
}
"""The same, where what is missing may come before a request does."""

NEEDS_ROOT = {"closed folder", "unreadable script", "unreadable access script", "closed folder to import from"}


def prepare(httpd):
    httpd.write("closed/in/app.wsgi", "")
    (httpd.root / "closed").chmod(0o700)
    httpd.write("private.wsgi", "").chmod(0o600)


def cases(table):
    """Parameters of a test for each case."""
    return [pytest.param(*case, id=name, marks=root_only if name in NEEDS_ROOT else ()) for name, case in table.items()]


def remarks(text: str) -> list[str]:
    """What the module says about the configuration."""
    return re.findall(r"WSGI01(?:8\d|97): .*", text)


@pytest.mark.parametrize(("config", "code", "words"), cases(MISTAKES | PASSING))
def test_mistake(new_httpd, config, code, words):
    """Configtest says it once, in a line with code, file and line, and accepts the configuration."""
    httpd = new_httpd(config)
    prepare(httpd)
    run = httpd.check()
    assert run.returncode == 0, run.stderr
    (said,) = remarks(run.stderr)
    assert re.match(rf"{code}: {re.escape(str(httpd.config))}:\d+: ", said)
    assert words.replace("{root}", str(httpd.root)) in said


@pytest.mark.parametrize(("config", "code", "words"), cases(MISTAKES))
@pytest.mark.modes("embedded")
def test_mistake_at_start(start_httpd, config, code, words):
    """The server starts and says it once, as a warning; once again at a restart."""
    httpd = start_httpd(config, prepare)
    said = httpd.log.expect(rf"{code}: ")
    assert [record.level for record in said] == ["warn"]
    assert words.replace("{root}", str(httpd.root)) in said[0].text
    httpd.graceful()
    assert len(httpd.log.find(r"WSGI01(8\d|97)")) == 2


@pytest.mark.parametrize(("config", "code", "words"), cases(PASSING))
@pytest.mark.modes("embedded")
def test_missing_at_start(start_httpd, config, code, words):
    """What is missing may come later: at a start it is no alarm."""
    httpd = start_httpd(config)
    (said,) = httpd.log.expect(rf"{code}: ")
    assert said.level == "info"


def test_line(new_httpd):
    """The line is that of the directive, in an included file too."""
    httpd = new_httpd("Include ${ROOT}/more.conf\n")
    httpd.write("more.conf", "# comment\n<Location /x>\n\n    WSGIProcessGroup nobodys\n</Location>\n")
    assert f"WSGI0180: {httpd.root}/more.conf:4: " in httpd.check().stderr


@pytest.mark.parametrize(
    "config",
    [
        "WSGIProcessGroup %{ENV:GROUP}\n",
        "WSGIDaemonProcess own\nWSGIProcessGroup own\n",
        "WSGIProcessGroup own\nWSGIDaemonProcess own\n",
        # The twin for TLS has the same name.
        "<VirtualHost *:1>\nServerName one\nWSGIDaemonProcess own\nWSGIProcessGroup own\n</VirtualHost>\n"
        "<VirtualHost *:2>\nServerName one\nWSGIProcessGroup own\n</VirtualHost>\n",
        # What stands outside of virtual hosts is for all of them.
        "WSGIProcessGroup own\n<VirtualHost *:1>\nServerName one\nWSGIDaemonProcess own\n</VirtualHost>\n",
        "WSGIScriptAlias /x/y ${APPS}/where.py\nWSGIScriptAlias /x ${APPS}/hello.py\nWSGIScriptAlias / ${APPS}\n",
        "WSGIScriptAliasMatch ^/([a-z]+)/ ${ROOT}/$1.wsgi\nWSGIScriptAlias /x ${APPS}/hello.py\n",
        "WSGIScriptAlias / ${APPS}/hello.py\n<VirtualHost *:1>\nWSGIScriptAlias / ${APPS}/where.py\n</VirtualHost>\n",
        "WSGIScriptAlias /x ${APPS}\nWSGIScriptAlias /y ${APPS}/\n",
        "WSGITrustedProxyHeaders x-real-ip X-HTTPS\nWSGITrustedProxies 10.1\n",
        # The group's own user may read what httpd's may not; httpd's only passes.
        pytest.param(
            "WSGIDaemonProcess own user=nobody\nWSGIScriptAlias /x ${ROOT}/nobodys.wsgi process-group=own\n",
            marks=root_only,
        ),
        # A folder that only a group of the user's may enter.
        pytest.param("WSGIDaemonProcess own python-path=${ROOT}/shared\n", marks=root_only),
    ],
)
def test_no_mistake(new_httpd, config):
    """Nothing is said where nothing is wrong, or nothing is known."""
    httpd = new_httpd(config)
    if child_user():
        nobody, own = pwd.getpwnam("nobody"), pwd.getpwnam(child_user())
        os.chown(httpd.write("nobodys.wsgi", ""), nobody.pw_uid, -1)
        (httpd.root / "nobodys.wsgi").chmod(0o400)
        (httpd.root / "shared").mkdir()
        (httpd.root / "shared").chmod(0o750)
        os.chown(httpd.root / "shared", 0, own.pw_gid)
    run = httpd.check()
    assert run.returncode == 0, run.stderr
    assert remarks(run.stderr) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("<Directory />\nWSGIScriptAlias /x /y\n</Directory>", ["{conf}", "WSGIScriptAlias not allowed"]),
        ("<VirtualHost *>\nWSGIPythonHome /usr\n</VirtualHost>", ["{conf}", "WSGIPythonHome", "VirtualHost"]),
        ("WSGIPythonHome /no/such/home", ["WSGI0201", "/no/such/home"]),
        ("WSGIDaemonProcess own\nWSGIDaemonProcess own", ["WSGI0160", "own"]),
        ("WSGIDaemonProcess own python-home=/no/such/home", ["WSGI0161", "own", "/no/such/home"]),
        ("WSGIDaemonProcess own home=/no/such/home", ["WSGI0161", "own", "/no/such/home"]),
        pytest.param("WSGIDaemonProcess own home=${ROOT}/closed", ["WSGI0161", "{root}/closed"], marks=root_only),
        pytest.param("WSGIDaemonProcess own user=no-such-user", ["WSGI0161", "no-such-user"], marks=root_only),
        ("WSGIImportScript /x process-group=none application-group=a", ["WSGI0162", "none"]),
    ],
)
@pytest.mark.modes("embedded")
def test_error(new_httpd, config, words):
    """What cannot work stops httpd, with a line that names it."""
    httpd = new_httpd(config)
    prepare(httpd)
    run = httpd.check()
    assert run.returncode != 0
    for word in words:
        assert word.replace("{root}", str(httpd.root)).replace("{conf}", str(httpd.config)) in run.stderr
    assert remarks(run.stderr) == []


@root_only
@pytest.mark.modes("embedded")
def test_supplementary_groups(start_httpd):
    """What only a further group of the user's may enter is open to its daemons, and no mistake."""

    def prepare(httpd):
        shared = httpd.root / "shared"
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", shared / "venv"], check=True)
        httpd.write("shared/app.wsgi", (APPS / "hello.py").read_text())
        shared.chmod(0o750)
        os.chown(shared, 0, grp.getgrnam("sys").gr_gid)

    httpd = start_httpd(
        """
        WSGIDaemonProcess own user=nobody supplementary-groups=sys home=${ROOT}/shared python-home=${ROOT}/shared/venv
        WSGIHandlerScript hello ${ROOT}/shared/app.wsgi process-group=own application-group=%{GLOBAL}
        WSGIImportScript ${ROOT}/shared/app.wsgi process-group=own application-group=%{GLOBAL}
        """,
        prepare,
    )
    httpd.log.expect(r"\[script \S+/shared/app\.wsgi\] loaded")
    run = httpd.check()
    assert (run.returncode, remarks(run.stderr)) == (0, [])


# --- wsgictl check --config


PICTURE = """
WSGIDaemonProcess blog processes=2 threads=3 python-home=${ROOT}/venv
WSGIScriptAlias /embedded ${APPS}/hello.py process-group=%{GLOBAL}
<VirtualHost *:${PORT}>
    ServerName one
    WSGIDaemonProcess of-one
    WSGIProcessGroup blog
    WSGIScriptAlias /own ${APPS}/where.py process-group=of-one application-group=%{GLOBAL} callable-object=other
    WSGIScriptAlias / ${APPS}/where.py
    <Directory ${APPS}>
        WSGIApplicationGroup directory
    </Directory>
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName two
    <Directory ${ROOT}/sites>
        WSGIProcessGroup nobodys
        SetHandler wsgi-script
    </Directory>
</VirtualHost>
"""


@pytest.fixture
def check(request):
    """Runs the command for a server's configuration."""
    program = Path(request.config.getoption("--module")).resolve().parent / "wsgictl"

    def run(httpd, *options) -> subprocess.CompletedProcess:
        command = [program, "check", "--config", httpd.config, "--server-root", httpd.root, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    return run


@pytest.fixture
def pictured(new_httpd):
    httpd = new_httpd(PICTURE)
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", httpd.root / "venv"], check=True)
    return httpd


@pytest.mark.modes("embedded")
def test_picture(check, pictured):
    """Each host, its aliases and sections, each with process group, interpreter, Python and user; then the warnings."""
    run = check(pictured, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    picture = json.loads(run.stdout)
    user, venv = picture["user"], f"{pictured.root}/venv/bin/python3"
    assert child_user() in (user, None)
    hosts = {host["name"]: host for host in picture["hosts"]}
    assert list(hosts) == ["localhost", "one", "two"]
    seen = [
        (row["url"], row["process_group"], row["application_group"], row["callable"], row["user"])
        for row in hosts["one"]["rows"]
    ]
    assert seen == [
        ("/own", "of-one", "%{GLOBAL}", "other", user),
        ("/", "blog", "directory", "application", user),
        (f"<Directory {APPS}>", "blog", "directory", "application", user),
        ("/embedded", None, "directory", "application", user),
    ]
    pythons = [row["python"]["path"] for row in hosts["one"]["rows"]]
    assert [path == venv for path in pythons] == [False, True, True, False]
    assert all(re.fullmatch(r"3\.\d+\.\d+", row["python"]["version"]) for row in hosts["one"]["rows"])
    assert [row["process_group"] for row in hosts["two"]["rows"]][:2] == ["nobodys", "nobodys"]
    groups = {group["name"]: (group["processes"], group["threads"], group["server"]) for group in picture["groups"]}
    assert groups == {"blog": (2, 3, None), "of-one": (1, 15, "one")}
    assert len(picture["warnings"]) == 1
    assert picture["warnings"][0].startswith(f"WSGI0180: {pictured.config}:")
    assert picture["errors"] == []


CONDITIONS = """
WSGIDaemonProcess blog
WSGIScriptAlias / ${APPS}/hello.py process-group=%{GLOBAL}
<If "%{HTTP_HOST} == 'blog'">
    WSGIProcessGroup blog
</If>
<ElseIf "%{HTTP_HOST} == 'shop'">
    WSGIApplicationGroup shop
</ElseIf>
<Else>
    WSGICallableObject other
</Else>
<Location /in>
    <If "true">
        SetHandler wsgi-script
        WSGIProcessGroup blog
    </If>
</Location>
<Directory /srv/files>
    AllowOverride Limit FileInfo
</Directory>
<Directory /srv/none>
    AllowOverride None
</Directory>
<VirtualHost *:${PORT}>
    ServerName own
    <Directory /srv/own>
        AllowOverride AuthConfig
    </Directory>
    <Directory /srv/all>
        AllowOverride All
    </Directory>
</VirtualHost>
"""


@pytest.mark.modes("embedded")
def test_picture_of_what_requests_decide(check, new_httpd):
    """Sections under a condition, with those around them; and where .htaccess files may say more."""
    httpd = new_httpd(CONDITIONS)
    run = check(httpd, "--json")
    assert run.returncode == 0, run.stdout + run.stderr
    main, own = json.loads(run.stdout)["hosts"]
    seen = [(row["url"], row["process_group"], row["application_group"], row["callable"]) for row in main["rows"]]
    assert seen == [
        ("/", None, "%{RESOURCE}", "application"),
        ("<If \"%{HTTP_HOST} == 'blog'\">", "blog", "%{RESOURCE}", "application"),
        ("<ElseIf \"%{HTTP_HOST} == 'shop'\">", None, "shop", "application"),
        ("<Else>", None, "%{RESOURCE}", "other"),
        ('SetHandler wsgi-script in <If "true"> in <Location /in>', "blog", "%{RESOURCE}", "application"),
        ('<If "true"> in <Location /in>', "blog", "%{RESOURCE}", "application"),
    ]
    assert own["rows"] == main["rows"]
    files = [(entry["section"], entry["file_info"], entry["auth_config"]) for entry in main["htaccess"]]
    assert files == [("<Directory /srv/files>", True, False)]
    files = [(entry["section"], entry["file_info"], entry["auth_config"]) for entry in own["htaccess"]]
    assert files == [("<Directory /srv/own>", False, True), ("<Directory /srv/all>", True, True)]
    assert re.fullmatch(rf"{re.escape(str(httpd.config))}:\d+", own["htaccess"][0]["place"])
    text = check(httpd).stdout
    assert ".htaccess in <Directory /srv/own>" in text
    assert "these files may name scripts that say who may come in" in text
    assert "/srv/none" not in text


@pytest.mark.modes("embedded")
def test_picture_as_text(check, pictured):
    """The same to be read."""
    run = check(pictured)
    assert (run.returncode, run.stderr) == (0, "")
    for words in (
        "blog: 2 processes, each with 3 threads",
        "of-one: 1 process",
        f"*:{pictured.port}  one",
        "process group blog, interpreter directory, callable application, user",
        "httpd's own processes, interpreter",
        f"{pictured.root}/venv/bin/python3",
        "WARNING: WSGI0180: ",
    ):
        assert words in run.stdout


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("WSGINothing On\n", ["WSGI0638", "WSGINothing"]),
        ("WSGIPythonHome /no/such/home\n", ["WSGI0201", "/no/such/home"]),
        ("WSGIDaemonProcess own python-home=/no/such/home\n", ["WSGI0161", "/no/such/home"]),
        ("DocumentRoot /no/such/root/\nLoadModule none_module none.so\n", ["WSGI0638", "none.so"]),
    ],
)
@pytest.mark.modes("embedded")
def test_picture_of_what_does_not_start(check, new_httpd, config, words):
    """What stops httpd is said, and the status is 1."""
    httpd = new_httpd(config)
    run = check(httpd)
    assert run.returncode == 1
    for word in words:
        assert word in run.stdout + run.stderr
    run = check(httpd, "--json")
    assert run.returncode == 1
    (error,) = json.loads(run.stdout)["errors"]
    assert all(word in error for word in words)


@pytest.mark.modes("embedded")
def test_no_picture(check, new_httpd):
    """A file that is not there, and a configuration without the module."""
    httpd = new_httpd("")
    lines = httpd.config.read_text().splitlines(keepends=True)
    httpd.config.write_text("".join(line for line in lines if "wsgi" not in line.lower().replace("wsgi-test", "")))
    run = check(httpd)
    assert (run.returncode, "WSGI0639" in run.stderr) == (1, True), run.stdout + run.stderr
    httpd.config.unlink()
    run = check(httpd)
    assert (run.returncode, "WSGI0637" in run.stderr) == (1, True)


@pytest.mark.modes("embedded")
def test_environment(check, new_httpd):
    """As apachectl does: variables of the file envvars, names for IfDefine."""
    httpd = new_httpd(
        "WSGIScriptAlias ${WHERE} ${APPS}/hello.py\n<IfDefine MORE>\nWSGIScriptAlias /b /x\n</IfDefine>\n"
    )
    httpd.write("envvars", "export WHERE=/from-envvars\n")
    for options, urls in (([], ["/from-envvars"]), (["--define", "MORE"], ["/from-envvars", "/b"])):
        picture = json.loads(check(httpd, "--json", *options).stdout)
        assert [row["url"] for row in picture["hosts"][0]["rows"]] == urls
