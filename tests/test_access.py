"""WSGIAccessScript: who may come in, whatever is asked for."""

import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.request

import pytest

from client import wait_for

pytestmark = pytest.mark.differs("says other things in its log")

CONFIG = """
LoadModule dir_module "${MODULES}/mod_dir.so"
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /app ${APPS}/hello.py
<Location /app>
    WSGIAccessScript ${APPS}/access.py
</Location>
<Location /page>
    WSGIAccessScript ${APPS}/access.py
</Location>
<Location /page/inner>
    WSGIAccessScript ${ROOT}/inner.py
</Location>
<Location /group>
    SetEnvIf Request_URI . INTERPRETER=chosen
    WSGIAccessScript ${APPS}/access.py application-group=%{ENV:INTERPRETER}
</Location>
<Location /resource>
    WSGIAccessScript ${APPS}/access.py application-group=%{RESOURCE}
</Location>
<Location /named>
    HostnameLookups On
    WSGIPassApacheRequest On
    WSGIAccessScript ${APPS}/access.py
</Location>
<Location /missing>
    WSGIAccessScript ${ROOT}/missing.py
</Location>
<Location /broken>
    WSGIAccessScript ${ROOT}/broken.py
</Location>
<Location /changing>
    WSGIAccessScript ${ROOT}/changing.py
</Location>
<Location /fixed>
    WSGIAccessScript ${ROOT}/fixed.py
    WSGIScriptReloading Off
</Location>
<Directory ${ROOT}/htdocs/own>
    AllowOverride AuthConfig
</Directory>
"""

ALLOW = "def allow_access(environ, host):\n    return {}\n"


def prepare(httpd):
    for name in ("page", "group", "resource", "missing", "broken", "changing", "fixed"):
        httpd.write(f"htdocs/{name}/index.html", "a page")
    httpd.write("htdocs/page/inner/index.html", "an inner page")
    httpd.write("htdocs/own/index.html", "a page")
    httpd.write("htdocs/own/.htaccess", 'WSGIAccessScript "${ROOT}/changing.py"\n')
    httpd.write("inner.py", ALLOW.format("False"))
    httpd.write("broken.py", "def allow_access(environ, host)\n")
    for name in ("changing.py", "fixed.py"):
        httpd.write(name, ALLOW.format("True"))


@pytest.mark.short
@pytest.mark.parametrize("place", ["/app", "/page/"])
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("true", 200),
        ("none", 200),
        ("false", 403),
        ("one", 403),
        ("zero", 403),
        ("truthy", 403),
        ("empty", 403),
        ("name", 403),
        ("error", 403),
        ("exit", 403),
    ],
)
def test_answers(httpd, place, answer, status):
    """Only True itself and None let a client pass; whatever is no answer keeps it out, and is logged."""
    assert httpd.get(f"{place}?{answer}").status == status
    if answer == "error":
        httpd.log.expect_traceback("ValueError: on purpose")
    elif answer == "exit":
        httpd.log.expect_traceback("SystemExit: 3")
    elif status == 403:
        httpd.log.expect("WSGI0192" if answer == "false" else "WSGI0432")


def test_inner(httpd):
    """The script of an inner place replaces that of the outer one."""
    assert httpd.get("/page/inner/?true").status == 403
    httpd.log.expect("WSGI0192.*inner.py")


def reported(httpd) -> dict:
    (record,) = httpd.log.expect(r"\] REPORT ")
    httpd.log.expect(r"\] printed")
    return json.loads(record.text.partition("REPORT ")[2].replace(r"\\", "\\"))


HEADERS = {
    "Authorization": "Basic eDp5",
    "Proxy-Authorization": "Basic eDp5",
    "Proxy": "http://evil/",
    "X-Foo": "bar",
    "X_Bar": "spoofed",
    "Content-Type": "text/plain",
    "Content-Length": "0",
}


def test_environ(httpd):
    """The environ is cut down to what is known before it is settled what runs; it holds no secret."""
    assert httpd.get("/app/extra?report", HEADERS).status == 200
    seen = reported(httpd)
    assert seen.pop("argument") == "127.0.0.1"
    assert seen.pop("versions")[0] == [6, 1, 1]
    assert seen.pop("name").startswith("_mod_wsgi_")
    assert seen.pop("pid") in httpd.children()
    expected = {
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_HOST": "localhost",
        "HTTP_X_FOO": "bar",
        "HTTP_CONNECTION": "close",
        "SERVER_SIGNATURE": "",
        "SERVER_NAME": "localhost",
        "SERVER_ADDR": "127.0.0.1",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "DOCUMENT_ROOT": f"{httpd.root}/htdocs",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": "report",
        "REQUEST_URI": "/app/extra?report",
        "SCRIPT_NAME": "/app",
        "PATH_INFO": "/extra",
        "apache.version": "tuple",
        "mod_wsgi.version": "tuple",
        "mod_wsgi.process_group": "",
        "mod_wsgi.application_group": "",
        "wsgi.errors": "TextIOWrapper",
        "mod_ssl.is_https": "builtin_function_or_method",
        "mod_ssl.var_lookup": "builtin_function_or_method",
    }
    assert seen.pop("SERVER_SOFTWARE").startswith("Apache")
    assert seen.pop("REMOTE_PORT").isdigit()
    assert seen.pop("SERVER_ADMIN", "")
    assert seen == expected


@pytest.mark.parametrize(("place", "group"), [("/group/", "%{ENV:INTERPRETER}"), ("/resource/", "%{RESOURCE}")])
def test_application_group(httpd, place, group):
    """The script runs in the interpreter that its option names."""
    assert httpd.get(f"{place}?report").status == 200
    assert reported(httpd)["mod_wsgi.application_group"] == group


def test_host(httpd):
    """Where httpd looks the client's name up, the script gets it; and httpd's own record where that is passed on."""
    assert httpd.get("/named/?report").status == 404
    seen = reported(httpd)
    assert seen["argument"] == seen["REMOTE_HOST"] != seen["REMOTE_ADDR"] == "127.0.0.1"
    assert seen["apache.request_rec"] == "PyCapsule"


def test_ssl_helpers(httpd):
    """What mod_ssl knows can be asked for while the hook runs, not later."""
    with httpd.connect() as connection:
        assert connection.get("/app?ssl").status == 200
        (record,) = httpd.log.expect(r"\] SSL ")
        assert json.loads(record.text.partition("SSL ")[2]) == [0, None, None, None]
        assert connection.get("/app?expired").status == 200


@pytest.mark.parametrize(("place", "pattern"), [("/missing/", "WSGI0191.*missing.py"), ("/broken/", None)])
def test_unloadable(httpd, place, pattern):
    """A script that cannot be loaded keeps everybody out."""
    assert httpd.get(place).status == 403
    if pattern:
        httpd.log.expect(pattern)
    else:
        httpd.log.expect_traceback("SyntaxError")


def touch(httpd, name: str, source: str) -> None:
    """Changes a script so that its time is surely another."""
    path = httpd.write(name, source)
    os.utime(path, ns=(touch.time, touch.time))
    touch.time += 10**9


touch.time = 10**18


def test_reload(httpd):
    """A changed script is loaded again in place, a lost function and a lost file keep everybody out."""
    with httpd.connect() as connection:
        for target in ("/changing/", "/own/"):
            touch(httpd, "changing.py", ALLOW.format("True"))
            assert connection.get(target).status == 200
            touch(httpd, "changing.py", ALLOW.format("False"))
            assert connection.get(target).status == 403
        touch(httpd, "changing.py", "")
        assert connection.get("/changing/").status == 403
        httpd.log.expect(r"WSGI0431.*allow_access")
        (httpd.root / "changing.py").unlink()
        assert connection.get("/changing/").status == 403
        httpd.log.expect("WSGI0191.*changing.py")
        httpd.log.allow("WSGI0192")
        touch(httpd, "changing.py", ALLOW.format("True"))
        assert connection.get("/changing/").status == 200


def test_no_reload(httpd):
    """WSGIScriptReloading Off holds for these scripts too."""
    with httpd.connect() as connection:
        assert connection.get("/fixed/").status == 200
        touch(httpd, "fixed.py", ALLOW.format("False"))
        assert connection.get("/fixed/").status == 200
    touch(httpd, "fixed.py", ALLOW.format("True"))


RESTRICTED = """
WSGIRestrictEmbedded On
WSGIScriptAlias /app ${APPS}/hello.py process-group=%{GLOBAL}
<Directory ${ROOT}/htdocs>
    AllowOverride AuthConfig
</Directory>
"""


@pytest.mark.modes("embedded")
def test_restricted(start_httpd):
    """A script of the configuration brings Python into httpd's children under WSGIRestrictEmbedded On; but for
    applications it stays closed."""
    server = start_httpd(RESTRICTED + "<Location /page>\nWSGIAccessScript ${APPS}/access.py\n</Location>\n", prepare)
    assert server.get("/page/index.html?true").status == 200
    assert server.get("/page/index.html?false").status == 403
    assert server.get("/app").status == 500
    server.log.expect("WSGI0117")
    server.log.expect("WSGI0192")


@pytest.mark.modes("embedded")
@pytest.mark.mpms("event")
def test_restricted_htaccess(start_httpd):
    """One of an .htaccess file comes too late for that, and keeps everybody out."""
    server = start_httpd(RESTRICTED, prepare)
    assert server.get("/own/index.html").status == 403
    server.log.expect("WSGI0190.*htaccess")


@pytest.mark.modes("daemon")
@pytest.mark.mpms("event")
def test_htaccess_alone(start_httpd):
    """Where all else runs in daemons it is asked all the same."""
    config = (
        "WSGIScriptAlias /app ${APPS}/hello.py\n<Directory ${ROOT}/htdocs>\nAllowOverride AuthConfig\n</Directory>\n"
    )
    server = start_httpd(config, prepare)
    assert server.get("/own/index.html").status == 200
    server.write("changing.py", ALLOW.format("False"))
    os.utime(server.root / "changing.py", (10**9, 10**9))
    wait_for(lambda: server.get("/own/index.html").status == 403, "the new code")
    server.log.expect("WSGI0192")


INCLUDING = """
LoadModule include_module "${MODULES}/mod_include.so"
LoadModule filter_module "${MODULES}/mod_filter.so"
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /outer ${ROOT}/outer.py
WSGIScriptAlias /app ${APPS}/hello.py application-group=inner
<Location /outer>
    Options +Includes
    SetOutputFilter INCLUDES
</Location>
<Location /app>
    WSGIAccessScript ${APPS}/access.py
</Location>
"""
OUTER = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    yield b'[<!--#include virtual="/app?report" -->]'
    print("AFTERWARDS")
    yield b'.'
"""


@pytest.mark.mpms("event")
def test_included(start_httpd):
    """A request within the reply of another is asked about, and leaves the other as it was."""

    def prepare(httpd):
        httpd.write("outer.py", OUTER)

    server = start_httpd(INCLUDING, prepare)
    assert server.get("/outer").body == b"[Hello, world!\n]."
    assert reported(server)["mod_wsgi.application_group"] == ""
    (record,) = server.log.expect("AFTERWARDS")
    assert "/outer.py]" in record.text
    assert record.client


@pytest.mark.mpms("event")
@pytest.mark.parametrize(
    "line",
    [
        "<Location />\nWSGIAccessScript /x.py\n</Location>",
        "WSGIDispatchScript /x.py",
        "WSGIImportScript /x.py process-group=%{GLOBAL} application-group=x",
    ],
)
def test_python_needed(new_httpd, line):
    """Without a Python a configuration that needs it in httpd's children is refused, whatever else there is."""
    config = "WSGIRestrictEmbedded On\nWSGIDaemonProcess other python=/usr/bin/python3\nWSGIPython /nonexistent\n"
    httpd = new_httpd(config)
    assert httpd.check().returncode == 0
    httpd.configure(config + line + "\n")
    run = httpd.check()
    assert run.returncode != 0
    assert "/nonexistent" in run.stderr


TLS = """
LoadModule ssl_module "${MODULES}/mod_ssl.so"
LoadModule socache_shmcb_module "${MODULES}/mod_socache_shmcb.so"
SSLEngine On
SSLCertificateFile ${ROOT}/cert.pem
SSLCertificateKeyFile ${ROOT}/key.pem
<Location />
    WSGIAccessScript ${APPS}/access.py
</Location>
"""


@pytest.mark.modes("embedded")
@pytest.mark.mpms("event")
def test_tls(start_httpd):
    """Over TLS the helpers say so."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")

    def prepare(httpd):
        httpd.write("htdocs/index.html", "a page")
        command = "req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 -keyout key.pem -out cert.pem"
        subprocess.run(["openssl", *command.split()], cwd=httpd.root, check=True, capture_output=True)

    server = start_httpd(TLS, prepare)
    context = ssl.create_default_context(cafile=server.root / "cert.pem")
    with urllib.request.urlopen(f"https://localhost:{server.port}/index.html?ssl", context=context) as reply:
        assert reply.status == 200
    (record,) = server.log.expect(r"\] SSL ")
    encrypted, *names, unknown = json.loads(record.text.partition("SSL ")[2])
    assert encrypted == 1
    assert all(re.match(r"TLSv1\.\d", name) for name in names)
    assert unknown == ""
    server.log.allow("AH01(873|882|906)")


HOOKS = ["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript"]
PLACES = {
    "main": "{}",
    "host": "<VirtualHost *:${{PORT}}>\n{}\n</VirtualHost>",
    "directory": "<Directory />\n{}\n</Directory>",
    "location": "<Location />\n{}\n</Location>",
    "files": "<Files *.py>\n{}\n</Files>",
}


@pytest.mark.mpms("event")
@pytest.mark.parametrize(
    ("directive", "places"),
    [
        *((name, {"directory", "location", "files"}) for name in HOOKS),
        ("WSGIDispatchScript", set(PLACES)),
        ("WSGIHandlerScript name", set(PLACES)),
        ("WSGIImportScript", {"main", "host"}),
    ],
)
def test_places(new_httpd, directive, places):
    """Each may stand where mod_wsgi lets it stand, with one option or more, and nowhere else."""
    options = "process-group=%{{GLOBAL}}" if "Import" in directive else ""
    for place, text in PLACES.items():
        line = f"{directive} '/a b.py' application-group=\"%{{GLOBAL}}\" {options}".replace("{{", "{").replace(
            "}}", "}"
        )
        run = new_httpd(text.format(line)).check()
        assert (run.returncode == 0) == (place in places), f"{place}: {run.stderr}"
        assert place in places or directive.split()[0] in run.stderr


@pytest.mark.mpms("event")
@pytest.mark.parametrize("directive", [*HOOKS, "WSGIDispatchScript", "WSGIHandlerScript"])
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("", "missing"),
        ("/x.py callable-object=x", "callable-object"),
        ("/x.py application-group=", "no value"),
        ("/x.py application-group", "not an option"),
        ("/x.py Application-Group=x", "known here: "),
        ("/x.py process-group=x", "process-group"),
    ],
)
def test_refused(new_httpd, directive, arguments, word):
    """A missing path, an option that is none, or one without a value is refused at configtest."""
    handler = directive == "WSGIHandlerScript"
    if handler and "process-group" in arguments:
        arguments = "/x.py pass-authorization=maybe"
        word = "maybe"
    run = new_httpd(f"<Location />\n{directive} {'name ' * handler}{arguments}\n</Location>\n").check()
    assert run.returncode != 0
    assert directive in run.stderr
    assert word in run.stderr


@pytest.mark.mpms("event")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("WSGIAccessScript ${APPS}/access.py", 200),
        ("WSGIDispatchScript ${APPS}/dispatch.py", 500),
        ("WSGIHandlerScript name ${APPS}/handler.py", 500),
    ],
)
def test_htaccess(start_httpd, line, status):
    """In .htaccess only those of AuthConfig may stand, and only where that is allowed."""

    def prepare(httpd):
        for name in ("auth", "files"):
            httpd.write(f"htdocs/{name}/page", "a page")
            httpd.write(f"htdocs/{name}/.htaccess", f"{line}\n")

    overrides = "".join(
        f"<Directory ${{ROOT}}/htdocs/{name}>\nAllowOverride {what}\n</Directory>\n"
        for name, what in (("auth", "AuthConfig"), ("files", "FileInfo"))
    )
    server = start_httpd(overrides, prepare)
    assert server.get("/auth/page?true").status == status
    assert server.get("/files/page?true").status == 500
    server.log.expect("not allowed here")
