"""WSGITrustedProxyHeaders and WSGITrustedProxies: which headers of a proxy are believed, and what they change."""

import json

import pytest

from httpd import APPS

pytestmark = pytest.mark.mpms("event")

CONFIG = """
LoadModule remoteip_module ${MODULES}/mod_remoteip.so
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias / ${APPS}/environ.py
<Location /chain>
    WSGITrustedProxyHeaders X-Forwarded-For
</Location>
<Location /known>
    WSGITrustedProxyHeaders x-forwarded-for
    WSGITrustedProxies 127.0.0.0/8 10
    WSGITrustedProxies fd00::/8
</Location>
<Location /others>
    WSGITrustedProxyHeaders X-Forwarded-For X-Scheme X-Host
    WSGITrustedProxies 10.0.0.0/8
</Location>
<Location /all>
    WSGITrustedProxyHeaders X-Forwarded-For X-Client-IP X-Real-IP X-Forwarded-Host X-Host X-Forwarded-Server
    WSGITrustedProxyHeaders X-Forwarded-Port X-Script-Name X-Forwarded-Script-Name X-Forwarded-Proto
    WSGITrustedProxyHeaders X-Forwarded-Scheme X-Scheme X-Forwarded-HTTPS X-Forwarded-SSL X-HTTPS X-Nothing Forwarded
</Location>
<Location /all/inner>
    WSGITrustedProxyHeaders X-Real-IP
</Location>
<Location /set>
    WSGITrustedProxyHeaders X-Scheme
    SetEnvIf X-Secure (.*) HTTPS=$1
</Location>
<VirtualHost *:${PORT}>
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName remoteip
    RemoteIPHeader X-Inner
    RemoteIPInternalProxy 127.0.0.1
    WSGITrustedProxyHeaders X-Real-IP
    WSGITrustedProxies 10.0.0.1
</VirtualHost>
"""


def environ(httpd, target, headers):
    reply = httpd.get(target, headers)
    assert reply.status == 200, reply.body
    return {key: value for key, (_, value) in json.loads(reply.body).items()}


@pytest.mark.parametrize(
    ("target", "chain", "address", "left"),
    [
        ("/chain", "1.1.1.1, 2.2.2.2", "1.1.1.1", "1.1.1.1, 2.2.2.2"),
        ("/chain", " ,, junk, 2.2.2.2", "junk", ",, junk, 2.2.2.2"),
        ("/chain", ", ,", "127.0.0.1", ", ,"),
        ("/known", "1.1.1.1, 2.2.2.2", "2.2.2.2", "2.2.2.2"),
        ("/known", "1.1.1.1,2.2.2.2 , 10.0.0.1,fd00::1", "2.2.2.2", "2.2.2.2, 10.0.0.1, fd00::1"),
        ("/known", "10.0.0.3, 10.0.0.1", "10.0.0.3", "10.0.0.3, 10.0.0.1"),
        ("/known", "1.1.1.1, example.org, 10.0.0.1", "example.org", "example.org, 10.0.0.1"),
        ("/known", "10.0.0.2, 10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
        ("/others", "1.1.1.1", "127.0.0.1", None),
        ("/", "1.1.1.1", "127.0.0.1", "1.1.1.1"),
    ],
)
def test_chain(httpd, target, chain, address, left):
    """X-Forwarded-For is believed as far as those who wrote it are; what is left of it is what is believed."""
    seen = environ(httpd, target, {"X-Forwarded-For": chain})
    assert (seen["REMOTE_ADDR"], seen.get("HTTP_X_FORWARDED_FOR")) == (address, left)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("X-Client-IP", "REMOTE_ADDR"),
        ("X-Real-IP", "REMOTE_ADDR"),
        ("X-Forwarded-Host", "HTTP_HOST"),
        ("X-Host", "HTTP_HOST"),
        ("X-Forwarded-Server", "SERVER_NAME"),
        ("X-Forwarded-Port", "SERVER_PORT"),
        ("X-Script-Name", "SCRIPT_NAME"),
        ("X-Script-Name", "mod_wsgi.mount_point"),
        ("X-Forwarded-Script-Name", "SCRIPT_NAME"),
    ],
)
def test_values(httpd, header, key):
    """Each header's value becomes that of its variable; the header itself stays."""
    seen = environ(httpd, "/all/x", {header: "a-value"})
    assert seen[key] == "a-value"
    assert seen["HTTP_" + header.upper().replace("-", "_")] == "a-value"
    assert (seen["mod_wsgi.script_name"], seen["PATH_INFO"]) == ("", "/all/x")


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"X-Forwarded-Proto": "https"}, "https"),
        ({"X-Forwarded-Scheme": "HTTPS"}, "https"),
        ({"X-Scheme": "http"}, "http"),
        ({"X-Scheme": "on"}, "http"),
        ({"X-Forwarded-HTTPS": "On"}, "https"),
        ({"X-Forwarded-SSL": "true"}, "https"),
        ({"X-HTTPS": "1"}, "https"),
        ({"X-HTTPS": "https"}, "http"),
        ({"X-Forwarded-Proto": "https", "X-HTTPS": "off"}, "http"),
        ({"X-Forwarded-Proto": "https", "X-HTTPS": "maybe"}, "https"),
    ],
)
def test_scheme(httpd, headers, scheme):
    """Headers of the scheme set wsgi.url_scheme, the last one that is understood wins; HTTPS is not shown."""
    seen = environ(httpd, "/all", headers)
    assert seen["wsgi.url_scheme"] == scheme
    assert "HTTPS" not in seen


@pytest.mark.parametrize(
    ("secure", "header", "scheme"),
    [("on", "http", "http"), ("on", "", "https"), ("off", "https", "https"), ("on", None, "https")],
)
def test_scheme_over_variable(httpd, secure, header, scheme):
    """They win over the variable HTTPS, where they say something."""
    headers = {"X-Secure": secure, **({} if header is None else {"X-Scheme": header})}
    assert environ(httpd, "/set", headers)["wsgi.url_scheme"] == scheme


def test_synonyms(httpd):
    """The last header of a kind that the request has wins, and is all that is seen of its kind."""
    sent = {"X-Forwarded-For": "1.1.1.1", "X-Client-IP": "2.2.2.2", "X-Forwarded-Host": "a", "X-Forwarded-Port": "81"}
    seen = environ(httpd, "/all", sent)
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["SERVER_PORT"]) == ("2.2.2.2", "a", "81")
    assert seen["HTTP_X_CLIENT_IP"] == "2.2.2.2"
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_X_HOST"} & set(seen)


def test_nested(httpd):
    """An inner list replaces the outer one; kinds of which nothing is listed stay as they came."""
    seen = environ(httpd, "/all/inner", {"X-Forwarded-For": "1.1.1.1", "X-Forwarded-Host": "a", "X-Scheme": "https"})
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "localhost", "http")
    assert "HTTP_X_FORWARDED_FOR" not in seen
    assert (seen["HTTP_X_FORWARDED_HOST"], seen["HTTP_X_SCHEME"]) == ("a", "https")


def test_untrusted(httpd):
    """From an address that is no proxy's, headers of the listed kinds are dropped without effect."""
    sent = {"X-Forwarded-For": "1.1.1.1", "X-HTTPS": "on", "X-Host": "a", "X-Forwarded-Port": "81"}
    seen = environ(httpd, "/others", sent)
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "localhost", "http")
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_HTTPS", "HTTP_X_HOST"} & set(seen)
    assert seen["HTTP_X_FORWARDED_PORT"] == "81"


def test_after_remoteip(httpd):
    """Who is trusted is decided by the address that mod_remoteip leaves."""
    for inner, address in (("10.0.0.1", "1.1.1.1"), ("10.0.0.2", "10.0.0.2")):
        seen = environ(httpd, "/", {"Host": "remoteip", "X-Inner": inner, "X-Real-IP": "1.1.1.1"})
        assert seen["REMOTE_ADDR"] == address


def test_htaccess(start_httpd):
    """Both may stand in .htaccess under AllowOverride FileInfo."""
    httpd = start_httpd("""
        Alias /sites ${ROOT}/sites
        <Directory ${ROOT}/sites>
            AllowOverride FileInfo
            Options +ExecCGI
            SetHandler wsgi-script
        </Directory>
        """)
    httpd.write("sites/app.wsgi", (APPS / "environ.py").read_text())
    httpd.write("sites/.htaccess", "WSGITrustedProxyHeaders X-Real-IP\nWSGITrustedProxies 127.0.0.1\n")
    assert environ(httpd, "/sites/app.wsgi", {"X-Real-IP": "1.1.1.1"})["REMOTE_ADDR"] == "1.1.1.1"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("WSGITrustedProxyHeaders", ["WSGITrustedProxyHeaders"]),
        ("WSGITrustedProxyHeaders X_Real_IP", ["'X_Real_IP'"]),
        ("WSGITrustedProxyHeaders X-Real-IP X-Host:", ["'X-Host:'"]),
        ("WSGITrustedProxies", ["WSGITrustedProxies"]),
        ("WSGITrustedProxies 10.0.0.0/8 localhost", ["'localhost'"]),
        ("WSGITrustedProxies 10.0.0.0/33", ["'10.0.0.0/33'"]),
        ("WSGITrustedProxies 300.1", ["'300.1'"]),
        ("WSGITrustedProxies ::1/129", ["'::1/129'"]),
    ],
)
def test_refused(new_httpd, line, words):
    """What is no header's name, or no address or network, is refused at configtest and named."""
    run = new_httpd(line).check()
    assert run.returncode != 0
    for word in [*words, line.split()[0]]:
        assert word in run.stderr


@pytest.mark.parametrize(
    "line",
    [
        "WSGITrustedProxyHeaders Some-Header",
        "WSGITrustedProxies 10.1 10.1. 10.0.0.0/255.0.0.0 ::1 2001:db8::/32 127.0.0.1",
        "<VirtualHost *>\nWSGITrustedProxies 10.1\n</VirtualHost>",
        "<Location />\nWSGITrustedProxyHeaders X-Host\n</Location>",
    ],
)
def test_accepted(new_httpd, line):
    """Every form of network, and names of headers that have no meaning."""
    run = new_httpd(line).check()
    assert run.returncode == 0, run.stderr
