"""WSGIAuthUserScript and WSGIAuthGroupScript: users for Basic and Digest authentication, groups for Require."""

import base64
import hashlib
import json
import re

import pytest
from test_access import HEADERS, reported

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("says other things in its log")]

CONFIG = """
LoadModule auth_basic_module "${MODULES}/mod_auth_basic.so"
LoadModule auth_digest_module "${MODULES}/mod_auth_digest.so"
LoadModule authn_core_module "${MODULES}/mod_authn_core.so"
LoadModule authn_file_module "${MODULES}/mod_authn_file.so"
LoadModule authz_user_module "${MODULES}/mod_authz_user.so"
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /basic ${APPS}/environ.py
WSGIScriptAlias /groups ${APPS}/environ.py
WSGIScriptAlias /several ${APPS}/environ.py
WSGIScriptAlias /digest ${APPS}/environ.py
WSGIScriptAlias /unset ${APPS}/environ.py
<AuthzProviderAlias wsgi-group scum banned>
    WSGIAuthGroupScript ${APPS}/access.py
</AuthzProviderAlias>
<AuthnProviderAlias wsgi aliased>
    WSGIAuthUserScript ${ROOT}/aliased.py application-group=aliased
</AuthnProviderAlias>
<LocationMatch "^/(basic|groups|several|unset)">
    AuthType Basic
    AuthName private
    AuthBasicProvider wsgi
    Require valid-user
</LocationMatch>
<Location /basic>
    WSGIAuthUserScript ${APPS}/access.py
</Location>
<Location /groups>
    WSGIAuthUserScript ${APPS}/access.py
    WSGIAuthGroupScript ${APPS}/access.py
    Require wsgi-group nobodies "sTaff" café
</Location>
<Location /groups/not>
    <RequireAll>
        Require valid-user
        Require NOT wsgi-group banned
    </RequireAll>
</Location>
<Location /groups/none>
    <RequireAll>
        Require valid-user
        <RequireNone>
            Require wsgi-group banned
        </RequireNone>
    </RequireAll>
</Location>
<Location /groups/any>
    Require wsgi-group banned
    Require user error
</Location>
<Location /groups/alias>
    <RequireAll>
        Require valid-user
        Require not scum
    </RequireAll>
</Location>
<Location /unset/groups>
    WSGIAuthUserScript ${APPS}/access.py
    Require wsgi-group staff
</Location>
<Location /several>
    AuthBasicProvider file aliased wsgi
    AuthUserFile ${ROOT}/users
    WSGIAuthUserScript ${APPS}/access.py
</Location>
<Location /digest>
    AuthType Digest
    AuthName "inner realm"
    AuthDigestProvider wsgi
    WSGIAuthUserScript ${APPS}/access.py
    Require valid-user
</Location>
<Directory ${ROOT}/htdocs/own>
    AllowOverride AuthConfig
</Directory>
"""

HTACCESS = """\
AuthType Basic
AuthName own
AuthBasicProvider wsgi
WSGIAuthUserScript "${APPS}/access.py"
WSGIAuthGroupScript "${APPS}/access.py"
WSGIGroupAuthoritative Off
Require wsgi-group staff
"""


def prepare(httpd):
    httpd.write(
        "aliased.py", "def check_password(environ, user, password):\n    return None if user == 'ann' else False\n"
    )
    httpd.write("users", "")
    httpd.write("htdocs/own/page", "a page")
    httpd.write("htdocs/own/.htaccess", HTACCESS)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.short
@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("right", 200),
        ("true", 200),
        ("name", 200),
        ("latin", 200),
        ("snake", 200),
        ("false", 401),
        ("none", 401),
        ("one", 500),
        ("zero", 500),
        ("truthy", 500),
        ("empty", 500),
        ("surrogate", 500),
        ("nul", 500),
        ("bytes", 500),
        ("list", 500),
        ("error", 500),
        ("exit", 500),
    ],
)
def test_password(httpd, password, status):
    """True itself or a name lets the user in; whatever is no answer is an error of the server."""
    reply = httpd.get("/basic", basic("ann", password))
    assert reply.status == status
    if status == 200:
        user = json.loads(reply.body)["REMOTE_USER"][1]
        renamed = {"name": "renamed", "latin": "caf\xe9", "snake": "\U0001f40d"}.get(password, "ann")
        assert user.encode("latin-1").decode() == renamed
    elif status == 401:
        assert reply.header("WWW-Authenticate") == 'Basic realm="private"'
        httpd.log.expect("AH0161[78]")
    elif password in ("error", "exit"):
        httpd.log.expect_traceback("ValueError: on purpose" if password == "error" else "SystemExit: 3")
    else:
        httpd.log.expect(r"WSGI0432.*check_password\(\)")


def test_nobody(httpd):
    """Who says nothing about himself is asked."""
    reply = httpd.get("/basic")
    assert reply.status == 401
    assert reply.header("WWW-Authenticate") == 'Basic realm="private"'


def test_environ(httpd):
    """Neither the password nor other headers of the kind are in environ."""
    assert httpd.get("/basic?x", HEADERS | basic("b\u00f6b", "report")).status == 200
    seen = reported(httpd)
    assert seen["argument"] == "b\xc3\xb6b"
    assert (seen["QUERY_STRING"], seen["mod_wsgi.process_group"]) == ("x", "")
    assert not [key for key in seen if "AUTHORIZATION" in key or key == "HTTP_PROXY"]


def test_several_providers(httpd):
    """A provider that knows no such user leaves it to the next; another answer of its own is final."""
    assert httpd.get("/several", basic("ann", "right")).status == 200
    assert httpd.get("/several", basic("bob", "right")).status == 401
    httpd.log.expect("AH01617")


def test_unset(httpd):
    """Without a script the provider fails, and says what is missing."""
    assert httpd.get("/unset", basic("ann", "right")).status == 500
    httpd.log.expect("WSGI0194.*WSGIAuthUserScript")


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ("ann", 200),
        ("list", 200),
        ("bytes", 200),
        ("generator", 200),
        ("empty", 401),
        ("none", 401),
        ("text", 401),
        ("single", 401),
        ("number", 401),
        ("broken", 401),
        ("error", 401),
    ],
)
def test_groups(httpd, user, status):
    """Any group of the list that the user is in will do, in whatever case; errors let nobody in."""
    target = "/own/page" if user in ("bytes", "empty") else "/groups"
    assert httpd.get(target, basic(user, "right")).status == status
    if user in ("error", "broken"):
        httpd.log.expect_traceback("ValueError: on purpose")
    elif user == "empty":
        httpd.log.expect("WSGI0193.*user empty")
    elif status == 401:
        httpd.log.expect(r"WSGI0432.*groups_for_user\(\)")
    httpd.log.allow("AH01631")


@pytest.mark.parametrize(
    ("target", "user", "status"),
    [
        ("/groups/not", "ann", 200),
        ("/groups/not", "banned", 401),
        ("/groups/not", "error", 500),
        ("/groups/none", "ann", 200),
        ("/groups/none", "banned", 401),
        ("/groups/none", "error", 500),
        ("/groups/alias", "ann", 200),
        ("/groups/alias", "banned", 401),
        ("/groups/alias", "error", 500),
        ("/groups/any", "banned", 200),
        ("/groups/any", "error", 200),
        ("/groups/any", "ann", 401),
    ],
)
def test_negated(httpd, target, user, status):
    """Nobody is let in where those of a group are kept out and it cannot be said who is of it."""
    assert httpd.get(target, basic(user, "right")).status == status
    if user == "error":
        httpd.log.expect_traceback("ValueError: on purpose")
    httpd.log.allow("AH01631")


def test_group_unset(httpd):
    """Require wsgi-group without a script lets nobody in, and says what is missing."""
    assert httpd.get("/unset/groups", basic("ann", "right")).status == 401
    httpd.log.expect("WSGI0194.*WSGIAuthGroupScript")
    httpd.log.allow("AH01631")


def digest(httpd, user: str, password: str, target: str = "/digest") -> int:
    """The status of a request after a challenge (RFC 2617)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    challenge = httpd.get(target).header("WWW-Authenticate")
    asked = dict(re.findall(r'(\w+)="?([^",]+)', challenge))
    secret, request = md5(f"{user}:{asked['realm']}:{password}"), md5(f"GET:{target}")
    response = md5(f"{secret}:{asked['nonce']}:00000001:0123:auth:{request}")
    fields = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": target, "response": response}
    text = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    header = f'Digest {text}, algorithm=MD5, qop=auth, nc=00000001, cnonce="0123"'
    reply = httpd.get(target, {"Authorization": header})
    if reply.status == 200:
        assert json.loads(reply.body)["REMOTE_USER"][1] == user
    return reply.status


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [
        ("ann", "secret", 200),
        ("bob", "secret", 200),
        ("ann", "wrong", 401),
        ("nobody", "secret", 401),
        ("empty", "secret", 500),
        ("short", "secret", 500),
        ("true", "secret", 500),
        ("error", "secret", 500),
    ],
)
def test_digest(httpd, user, password, status):
    """get_realm_hash serves AuthDigestProvider; only a hash or None is an answer."""
    assert digest(httpd, user, password) == status
    if user == "error":
        httpd.log.expect_traceback("ValueError: on purpose")
    elif status == 500:
        httpd.log.expect(r"WSGI0432.*get_realm_hash\(\)")
    elif status == 401:
        httpd.log.expect("AH0179[024]")
