"""WSGIScriptAlias and WSGIScriptAliasMatch: what is mapped to which script, and which options count."""

import json

import pytest

CONFIG = """
MergeSlashes Off
WSGIApplicationGroup outer
WSGIScriptAlias /first/longer ${APPS}/where.py application-group=longer
WSGIScriptAlias /first ${APPS}/where.py application-group=shorter
WSGIScriptAlias /order ${APPS}/where.py application-group=wins
WSGIScriptAlias /order/never ${APPS}/where.py application-group=never
WSGIScriptAlias /slash/ ${APPS}/where.py/
WSGIScriptAlias /dir ${APPS}
WSGIScriptAlias /options ${APPS}/where.py application-group=inner callable-object=other pass-authorization=On
WSGIScriptAlias /global ${APPS}/where.py application-group=%{GLOBAL}
WSGIScriptAlias /located ${APPS}/where.py
WSGIScriptAlias "/with blank" "${ROOT}/with blank.wsgi"
WSGIScriptAliasMatch ^/user/([a-z]+)/app ${ROOT}/users/$1.wsgi
WSGIScriptAliasMatch ^/Case ${APPS}/where.py application-group=matched
WSGIScriptAliasMatch ^/all/(.*) ${APPS}/where.py/$1
WSGIScriptAlias /aliased ${APPS}/where.py
Alias /aliased ${ROOT}/htdocs
WSGIScriptAlias /denied ${APPS}/hello.py
<Location /located>
    WSGIApplicationGroup location
    WSGICallableObject other
</Location>
<Location /options>
    WSGIApplicationGroup location
    WSGICallableObject application
    WSGIPassAuthorization Off
</Location>
<Location /denied>
    Require all denied
</Location>
<VirtualHost *:${PORT}>
    ServerName main
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName other
    WSGIScriptAlias /first ${APPS}/where.py application-group=of-the-host
</VirtualHost>
"""


def prepare(httpd):
    source = (
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [__file__.rpartition('/')[2].encode() + b'|' + environ['PATH_INFO'].encode()]\n"
    )
    httpd.write("with blank.wsgi", source)
    httpd.write("users/ann.wsgi", source)
    httpd.write("htdocs/page", "a static page")


@pytest.mark.parametrize(
    ("target", "script_name", "path_info", "group"),
    [
        ("/first", "/first", "", "shorter"),
        ("/first/", "/first", "/", "shorter"),
        ("/first/x", "/first", "/x", "shorter"),
        ("/first/longer/x", "/first/longer", "/x", "longer"),
        ("/order/never", "/order", "/never", "wins"),
        ("/slash/", "/slash", "/", "outer"),
        ("/slash/x", "/slash", "/x", "outer"),
        ("/dir/where.py", "/dir/where.py", "", "outer"),
        ("/dir/where.py/x", "/dir/where.py", "/x", "outer"),
        ("/global/x", "/global", "/x", ""),
        ("/options", "/options", "", "inner"),
        ("/located", "/located", "", "location"),
        ("/Case/x", "/Case", "/x", "matched"),
        ("/all/x/y", "/all", "/x/y", "outer"),
        ("//first//x", "/first", "/x", "shorter"),
    ],
)
def test_mapped(httpd, target, script_name, path_info, group):
    """The first alias that matches whole path components wins; its options win over other configuration."""
    reply = httpd.get(target)
    assert reply.status == 200
    seen = json.loads(reply.body)
    assert (seen["script_name"], seen["path_info"]) == (script_name, path_info)
    assert seen["application_group"] == seen["module_group"] == group


@pytest.mark.parametrize("target", ["/", "/firstly", "/firs", "/slash", "/case", "/user/ANN/app"])
def test_not_mapped(httpd, target):
    """A prefix that ends inside a component is no match; letters keep their case."""
    assert httpd.get(target).status in (403, 404)
    httpd.log.allow("AH0[0-9]{4}|htdocs")


def test_options(httpd):
    """Options of the alias win over the location's directives."""
    seen = json.loads(httpd.get("/options", {"Authorization": "Bearer x"}).body)
    assert seen["callable"] == "other"
    assert seen["authorization"] == "Bearer x"
    seen = json.loads(httpd.get("/located", {"Authorization": "Bearer x"}).body)
    assert seen["callable"] == "other"
    assert seen["authorization"] is None


def test_blank(httpd):
    """Quoted arguments may hold blanks."""
    assert httpd.get("/with%20blank/x").text == "with blank.wsgi|/x"


def test_match(httpd):
    """Groups of the expression go into the target; what follows the match is path."""
    assert httpd.get("/user/ann/app/x").text == "ann.wsgi|/x"
    assert httpd.get("/user/bob/app").status == 404
    httpd.log.expect(r"users/bob\.wsgi")


def test_alias_first(httpd):
    """Alias wins over WSGIScriptAlias, whatever their order."""
    assert httpd.get("/aliased/page").body == b"a static page"


def test_virtual_host(httpd):
    """A host's own aliases come before the main server's, which it has too."""
    assert json.loads(httpd.get("/first", {"Host": "other"}).body)["application_group"] == "of-the-host"
    assert json.loads(httpd.get("/order", {"Host": "other"}).body)["application_group"] == "wins"
    assert json.loads(httpd.get("/first", {"Host": "main"}).body)["application_group"] == "shorter"


def test_authorization_applies(httpd):
    """httpd's access control applies to aliased scripts."""
    assert httpd.get("/denied").status == 403
    httpd.log.expect("AH01630")


def test_traversal(httpd):
    """Nothing outside the aliased folder can be named."""
    for target in (
        "/dir/../conftest.py",
        "/dir/%2e%2e/conftest.py",
        "/dir/..%2fconftest.py",
        "/dir/x/../../conftest.py",
    ):
        assert httpd.get(target).status in (400, 403, 404)
    httpd.log.allow("AH0[0-9]{4}|conftest|htdocs")
