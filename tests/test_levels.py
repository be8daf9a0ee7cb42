"""Levels of configuration: main server, virtual host, sections, .htaccess; and how inner ones go over outer ones."""

import json

import pytest

from client import Connection
from httpd import APPS, Httpd, running

pytestmark = pytest.mark.mpms("event")


MERGING = """
WSGIApplicationGroup main
WSGICallableObject application
WSGIScriptAlias /plain ${APPS}/where.py
WSGIScriptAlias /outer/inner ${APPS}/where.py
WSGIScriptAlias /outer ${APPS}/where.py
WSGIScriptAlias /script ${ROOT}/sites/app/where.wsgi
<Location /outer>
    WSGIApplicationGroup outer
    WSGIPassAuthorization On
</Location>
<Location /outer/inner>
    WSGIApplicationGroup inner
</Location>
<Directory ${ROOT}/sites>
    WSGIApplicationGroup sites
    WSGICallableObject other
    WSGIPassAuthorization On
    AllowOverride FileInfo
</Directory>
<Directory ${ROOT}/sites/app>
    WSGICallableObject instance
</Directory>
<VirtualHost *:${PORT}>
    ServerName inherits
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName overrides
    WSGIApplicationGroup host
    WSGICallableObject other
    WSGIPassAuthorization On
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName part
    WSGIPassAuthorization On
    <Location /plain>
        WSGIPassAuthorization Off
    </Location>
</VirtualHost>
"""


def copy_where(httpd):
    httpd.write("sites/app/where.wsgi", (APPS / "where.py").read_text())


@pytest.fixture(scope="module")
def merging(setup):
    with running(Httpd(setup, MERGING), copy_where) as server:
        yield server


@pytest.mark.parametrize(
    ("host", "path", "group", "callable_object", "passed"),
    [
        ("inherits", "/plain", "main", "application", False),
        ("overrides", "/plain", "host", "other", True),
        ("part", "/plain", "main", "application", False),
        ("part", "/outer", "outer", "application", True),
        ("inherits", "/outer", "outer", "application", True),
        ("inherits", "/outer/inner", "inner", "application", True),
        ("overrides", "/outer/inner", "inner", "other", True),
        ("inherits", "/script", "sites", "instance", True),
        ("overrides", "/script", "sites", "instance", True),
    ],
)
def test_merged(merging, host, path, group, callable_object, passed):
    """Inner levels win over outer ones setting by setting: server, host, directory, sub-directory, location."""
    seen = json.loads(merging.get(path, {"Host": host, "Authorization": "Bearer x"}).body)
    assert (seen["application_group"], seen["callable"]) == (group, callable_object)
    assert (seen["authorization"] is not None) is passed


def test_htaccess_wins(start_httpd):
    """FileInfo directives win in .htaccess; others make the request fail."""
    httpd = start_httpd("""
        WSGIApplicationGroup main
        Alias /sites ${ROOT}/sites
        <Directory ${ROOT}/sites>
            AllowOverride FileInfo
            Options +ExecCGI
        </Directory>
        """)
    copy_where(httpd)
    lines = [
        "SetHandler wsgi-script",
        "WSGICallableObject other",
        "WSGIPassAuthorization On",
        "WSGIScriptReloading Off",
    ]
    lines += ["WSGIChunkedRequest On", "WSGIMapHEADToGET Off", "WSGIEnableSendfile On"]
    httpd.write("sites/.htaccess", "\n".join(lines))
    seen = json.loads(httpd.get("/sites/app/where.wsgi", {"Authorization": "Bearer x"}).body)
    assert (seen["callable"], seen["authorization"]) == ("other", "Bearer x")
    for line in ("WSGIApplicationGroup a", "WSGIScriptAlias /x /y", "WSGIPythonHome /usr"):
        httpd.write("sites/.htaccess", line)
        assert httpd.get("/sites/app/where.wsgi").status == 500
        httpd.log.expect(f"{line.split()[0]} not allowed here")


# --- levels


LEVELS = """
{name} {off}
WSGIScriptAlias /plain ${{ROOT}}/plain/app.py
WSGIScriptAlias /directory ${{ROOT}}/directory/app.py
WSGIScriptAlias /htaccess ${{ROOT}}/directory/inner/app.py
<Directory ${{ROOT}}/directory>
    {name} {on}
    AllowOverride FileInfo
</Directory>
<VirtualHost *:${{PORT}}>
    ServerName plain
</VirtualHost>
<VirtualHost *:${{PORT}}>
    ServerName vhost
    {name} {on}
    <Location /plain/off>
        {name} {off}
    </Location>
</VirtualHost>
<VirtualHost *:${{PORT}}>
    ServerName files
    <Files app.py>
        {name} {on}
    </Files>
</VirtualHost>
"""

SEEN = """
import json

def application(environ, start_response):
    body = json.dumps({"method": environ["REQUEST_METHOD"], "authorization": "HTTP_AUTHORIZATION" in environ})
    start_response("404 Own" if environ["QUERY_STRING"] else "200 OK", [("X-Seen", body)])
    return [b"own"]

def other(environ, start_response):
    start_response("200 OK", [])
    return [b"other"]
"""

PLACES = [
    ("plain", "/plain", False),
    ("plain", "/directory", True),
    ("plain", "/htaccess", False),
    ("vhost", "/plain", True),
    ("vhost", "/plain/off", False),
    ("vhost", "/htaccess", False),
    ("files", "/plain", True),
    ("files", "/htaccess", True),
]
"""Host, path, and whether the directive is on there."""


def seen_of(reply) -> dict:
    return json.loads(reply.header("X-Seen"))


def chunked(httpd, host, path) -> bool:
    headers = {"Host": host, "Transfer-Encoding": "chunked"}
    reply = httpd.request("POST", path, headers, b"0\r\n\r\n")
    if reply.status == 411:
        httpd.log.expect("WSGI0114")
    return reply.status == 200


@pytest.mark.parametrize(
    ("name", "on", "off", "observe"),
    [
        ("WSGIChunkedRequest", "On", "Off", chunked),
        (
            "WSGIMapHEADToGET",
            "On",
            "Off",
            lambda httpd, host, path: seen_of(httpd.request("HEAD", path, {"Host": host}))["method"] == "GET",
        ),
        (
            "WSGIPassAuthorization",
            "On",
            "Off",
            lambda httpd, host, path: seen_of(httpd.get(path, {"Host": host, "Authorization": "x"}))["authorization"],
        ),
        (
            "WSGICallableObject",
            "other",
            "application",
            lambda httpd, host, path: httpd.get(path, {"Host": host}).body == b"other",
        ),
        (
            "WSGIErrorOverride",
            "On",
            "Off",
            lambda httpd, host, path: httpd.get(f"{path}?error", {"Host": host}).body != b"own",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("WSGI") else "",
)
def test_levels(start_httpd, setup, name, on, off, observe):
    """Main server, virtual host, directory, .htaccess, file, location: the inner goes over the outer."""
    effect = setup.daemon or name != "WSGIErrorOverride"  # that is for daemons only
    httpd = start_httpd(LEVELS.format(name=name, on=on, off=off))
    for folder in ("plain", "directory", "directory/inner"):
        httpd.write(f"{folder}/app.py", SEEN)
    httpd.write("directory/inner/.htaccess", f"{name} {off}\n")
    for host, path, expected in PLACES:
        assert observe(httpd, host, path) is (expected and effect), (host, path)


RESTRICTED = """
WSGIDaemonProcess one threads=1
WSGIDaemonProcess two threads=1
WSGIScriptAlias /one ${APPS}/where.py process-group=one
WSGIScriptAlias /two ${APPS}/where.py process-group=two
WSGIScriptAlias /here ${APPS}/where.py process-group=%{GLOBAL}
WSGIRestrictProcess one
<VirtualHost *:${PORT}>
    ServerName main
    <Location /two>
        WSGIRestrictProcess one
        WSGIRestrictProcess two
    </Location>
    <Location /here>
        WSGIRestrictProcess %{ENV:ALLOWED}
        SetEnvIf X-Allowed (.+) ALLOWED=%{$1}
    </Location>
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName other
    WSGIRestrictProcess two
    WSGIRestrictProcess two %{GLOBAL}
</VirtualHost>
"""


@pytest.mark.modes("embedded")
def test_restrict_process(start_httpd):
    """The last list of the innermost level is the one that holds, as a whole."""
    httpd = start_httpd(RESTRICTED)
    for host, path, headers, allowed in [
        ("main", "/one", {}, True),
        ("main", "/two", {}, True),
        ("main", "/here", {}, False),
        ("main", "/here", {"X-Allowed": "GLOBAL"}, True),
        ("other", "/one", {}, False),
        ("other", "/two", {}, True),
        ("other", "/here", {}, True),
    ]:
        reply = httpd.get(path, {"Host": host, **headers})
        assert reply.status == (200 if allowed else 500), (host, path)
        if not allowed:
            httpd.log.expect("WSGI0116")


VISIBLE = """
WSGIDaemonProcess everybodys threads=1
WSGIScriptAlias /everybodys ${APPS}/where.py process-group=everybodys
WSGIScriptAlias /own ${APPS}/where.py process-group=%{ENV:GROUP}
SetEnvIf Host . GROUP=own
<VirtualHost *:${PORT}>
    ServerName shop
    WSGIDaemonProcess own threads=1
</VirtualHost>
<VirtualHost 127.0.0.2:${PORT}>
    ServerName shop
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName other
</VirtualHost>
"""


@pytest.mark.modes("embedded")
def test_visible(start_httpd):
    """A group of a virtual host is for hosts of the same ServerName, one of the main server for all."""
    httpd = start_httpd(f"Listen 127.0.0.2:${{PORT}}\n{VISIBLE}")
    for host, own in [("shop", 200), ("other", 500)]:
        assert httpd.get("/everybodys", {"Host": host}).status == 200
        assert httpd.get("/own", {"Host": host}).status == own
    httpd.log.expect("WSGI0115: there is no daemon process group own for this server")
    with Connection(httpd.port, address="127.0.0.2") as twin:
        assert json.loads(twin.get("/own", {"Host": "whatever"}).body)["application_group"].startswith("shop:")


def test_callable_by_variable(start_httpd):
    """%{ENV:…} names the callable by a variable of the request."""
    httpd = start_httpd("""
        SetEnvIf X-Callable (.+) CALLABLE=$1
        WSGICallableObject %{ENV:CALLABLE}
        WSGIScriptAlias / ${APPS}/where.py
        """)
    assert json.loads(httpd.get("/", {"X-Callable": "other"}).body)["callable"] == "other"
