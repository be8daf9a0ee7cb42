"""The directives: what configtest accepts and refuses, in which context; and how levels of configuration merge."""

import json

import pytest

from httpd import APPS, Httpd, running

differs = pytest.mark.differs

SETTINGS = {
    "WSGIApplicationGroup": "name",
    "WSGICallableObject": "name",
    "WSGIPassAuthorization": "On",
    "WSGIScriptReloading": "Off",
    "WSGIChunkedRequest": "On",
    "WSGIMapHEADToGET": "Auto",
    "WSGIEnableSendfile": "On",
}
"""Directives that may be given at any level, with a value."""

CONTEXTS = {
    "server": "{}",
    "vhost": "<VirtualHost *:${{PORT}}>\n{}\n</VirtualHost>",
    "directory": '<Directory "/">\n{}\n</Directory>',
    "location": "<Location />\n{}\n</Location>",
    "files": "<Files *.wsgi>\n{}\n</Files>",
}


def accepts(httpd) -> None:
    run = httpd.check()
    assert run.returncode == 0, run.stderr
    assert "Syntax OK" in run.stderr


def refuses(httpd, *words: str) -> str:
    """The one line that configtest says, which holds these words."""
    run = httpd.check()
    assert run.returncode != 0, "accepted"
    for word in words if not httpd.setup.peer else ():  # its messages are its own
        assert word in run.stderr
    assert "panicked" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("name", SETTINGS)
def test_settings(new_httpd, name, context):
    """These are allowed in every context of the server's files."""
    accepts(new_httpd(CONTEXTS[context].format(f"{name} {SETTINGS[name]}")))


@pytest.mark.parametrize("name", ["WSGIScriptAlias", "WSGIScriptAliasMatch"])
def test_alias_contexts(new_httpd, name):
    """Aliases are for servers, not for directories."""
    line = f"{name} /x /nowhere.wsgi"
    accepts(new_httpd(line))
    accepts(new_httpd(CONTEXTS["vhost"].format(line)))
    for context in ("directory", "location", "files"):
        refuses(new_httpd(CONTEXTS[context].format(line)), name)


@pytest.mark.parametrize(
    "line",
    [
        "WSGIPythonHome /usr",
        "WSGIPythonPath /a:/b",
        pytest.param("WSGIPython /usr/bin/python3", marks=differs("has no such directive")),
    ],
)
def test_global_contexts(new_httpd, line):
    """Python's own settings are for the main server only."""
    accepts(new_httpd(line))
    for context in ("vhost", "directory", "location"):
        refuses(new_httpd(CONTEXTS[context].format(line)), line.split()[0])


@pytest.mark.parametrize(
    "line",
    [
        "wsgiscriptalias /x /y.wsgi",
        'WSGIScriptAlias "/x y" "/y z.wsgi"',
        "WSGIScriptAlias '/x' '/y.wsgi' application-group=a",
        'WSGIScriptAlias /x /y.wsgi application-group="a b"',
        "WSGIScriptAlias /x /y.wsgi application-group=%{GLOBAL} callable-object=app pass-authorization=On",
        "WSGIScriptAlias /x /y.wsgi pass-authorization=oFf",
        "WSGIScriptAlias /x \\\n    /y.wsgi",
        "WSGIScriptAliasMatch ^/x/(.*)$ /y/$1.wsgi application-group=a",
        "WSGIScriptAliasMatch (?i)^/x /y.wsgi",
        "WSGIApplicationGroup %{GLOBAL}",
        "WSGIApplicationGroup %{SERVER}",
        "WSGIApplicationGroup %{HOST}",
        "WSGIApplicationGroup %{RESOURCE}",
        "WSGIApplicationGroup %{ENV:NAME}",
        "WSGIApplicationGroup %{UNKNOWN}",
        "WSGIPassAuthorization on",
        "WSGIPassAuthorization OFF",
        "WSGIMapHEADToGET auto",
        "WSGIMapHEADToGET oN",
        "WSGIApplicationGroup a\nWSGIApplicationGroup b",
        "<IfModule mod_wsgi.c>\nWSGIApplicationGroup a\n</IfModule>",
        "<IfModule wsgi_module>\nWSGIApplicationGroup a\n</IfModule>",
        "<IfModule !mod_wsgi.c>\nWSGINothing\n</IfModule>",
        "LogLevel wsgi:debug",
        "SetHandler wsgi-script",
    ],
)
def test_accepted(new_httpd, line):
    """Configtest accepts it."""
    accepts(new_httpd(line))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WSGIScriptAlias", ["WSGIScriptAlias"]),
        ("WSGIScriptAlias /x", ["WSGIScriptAlias"]),
        ("WSGIScriptAlias /x /y.wsgi /z", ["/z"]),
        ("WSGIScriptAlias /x /y.wsgi unknown=1", ["unknown"]),
        ("WSGIScriptAlias /x /y.wsgi Application-Group=a", ["Application-Group"]),
        ("WSGIScriptAlias /x /y.wsgi application-group", ["application-group"]),
        ("WSGIScriptAlias /x /y.wsgi application-group = a", ["application-group"]),
        ("WSGIScriptAlias /x /y.wsgi callable-object=", ["callable-object"]),
        ("WSGIScriptAlias /x /y.wsgi application-group=", ["application-group"]),
        ("WSGIScriptAlias /x /y.wsgi pass-authorization=maybe", ["pass-authorization"]),
        ("WSGIScriptAlias /x /y.wsgi pass-authorization=", ["pass-authorization"]),
        ("WSGIScriptAliasMatch ^/x( /y.wsgi", ["WSGIScriptAliasMatch"]),
        ("WSGIScriptAliasMatch ^/x", ["WSGIScriptAliasMatch"]),
        ("WSGIApplicationGroup", ["WSGIApplicationGroup"]),
        ('WSGIApplicationGroup ""', ["WSGIApplicationGroup"]),
        ("WSGIApplicationGroup a b", ["WSGIApplicationGroup"]),
        ("WSGICallableObject", ["WSGICallableObject"]),
        ("WSGICallableObject a b", ["WSGICallableObject"]),
        ("WSGIPassAuthorization", ["WSGIPassAuthorization"]),
        ("WSGIPassAuthorization yes", ["WSGIPassAuthorization", "On", "Off"]),
        ("WSGIPassAuthorization On Off", ["WSGIPassAuthorization"]),
        ("WSGIScriptReloading 1", ["WSGIScriptReloading", "On", "Off"]),
        ("WSGIChunkedRequest true", ["WSGIChunkedRequest", "On", "Off"]),
        ("WSGIEnableSendfile maybe", ["WSGIEnableSendfile", "On", "Off"]),
        ("WSGIMapHEADToGET maybe", ["WSGIMapHEADToGET", "On", "Off", "Auto"]),
        ("WSGIPythonHome", ["WSGIPythonHome"]),
        ("WSGIPythonHome /usr /usr", ["WSGIPythonHome"]),
        ("WSGIPythonPath", ["WSGIPythonPath"]),
        pytest.param("WSGIPython", ["WSGIPython"], marks=differs("has no such directive")),
        pytest.param("WSGIPython /usr/bin/python3 /x", ["WSGIPython"], marks=differs("has no such directive")),
        ("WSGILazyInitialization2 On", ["WSGILazyInitialization2"]),
        ("WSGINoSuchDirective On", ["WSGINoSuchDirective"]),
    ],
)
def test_refused(new_httpd, line, words):
    """Configtest refuses it and names what is wrong."""
    refuses(new_httpd(line), *words)


def test_restart_refuses(start_httpd):
    """A configuration that became wrong is seen by configtest while the server runs on."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/hello.py\n")
    httpd.configure("WSGIPassAuthorization perhaps\n")
    refuses(httpd, "WSGIPassAuthorization")
    assert httpd.get("/").status == 200


# --- merging


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


def test_htaccess(start_httpd):
    """FileInfo directives may stand in .htaccess, and win there; others make the request fail."""
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


def test_htaccess_override(start_httpd):
    """AllowOverride without FileInfo refuses them."""
    httpd = start_httpd("""
        Alias /sites ${ROOT}/sites
        <Directory ${ROOT}/sites>
            AllowOverride AuthConfig
        </Directory>
        """)
    copy_where(httpd)
    httpd.write("sites/.htaccess", "WSGICallableObject other")
    assert httpd.get("/sites/app/where.wsgi").status == 500
    httpd.log.expect("WSGICallableObject not allowed here")


def test_callable_by_variable(start_httpd):
    """%{ENV:…} names the callable by a variable of the request."""
    httpd = start_httpd("""
        SetEnvIf X-Callable (.+) CALLABLE=$1
        WSGICallableObject %{ENV:CALLABLE}
        WSGIScriptAlias / ${APPS}/where.py
        """)
    assert json.loads(httpd.get("/", {"X-Callable": "other"}).body)["callable"] == "other"
