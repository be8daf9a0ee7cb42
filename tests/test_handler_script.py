"""WSGIHandlerScript: a handler of one's own name, for what httpd maps by its usual rules."""

import json
import os
import pwd

import pytest

from client import wait_for
from httpd import child_user

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("says other things in its log")]

CONFIG = """
LoadModule actions_module "${MODULES}/mod_actions.so"
LoadModule mime_module "${MODULES}/mod_mime.so"
LoadModule rewrite_module "${MODULES}/mod_rewrite.so"
TypesConfig /dev/null
WSGIApplicationGroup outer
WSGIHandlerScript resource ${APPS}/handler.py
WSGIHandlerScript named ${APPS}/handler.py application-group=named pass-authorization=On
WSGIHandlerScript absent ${ROOT}/absent.py
WSGIHandlerScript empty ${ROOT}/empty.py
WSGIHandlerScript changing ${ROOT}/changing.py
WSGIHandlerScript overlaid ${ROOT}/absent.py
WSGIHandlerScript twice ${ROOT}/absent.py
WSGIHandlerScript twice ${APPS}/handler.py application-group=last
WSGIHandlerScript embedded ${APPS}/handler.py process-group=%{GLOBAL} application-group=%{GLOBAL}
AddHandler resource .rsc
AddHandler acted .act
Action acted /act virtual
<Location /act>
    SetHandler named
</Location>
<Location /set>
    SetHandler resource
</Location>
<Location /absent>
    SetHandler absent
</Location>
<Location /empty>
    SetHandler empty
</Location>
<Location /changing>
    SetHandler changing
</Location>
<Location /twice>
    SetHandler twice
</Location>
<Location /embedded>
    SetHandler embedded
</Location>
<Location /overlaid>
    WSGIHandlerScript overlaid ${APPS}/handler.py application-group=inner
    WSGIHandlerScript other ${APPS}/handler.py
    SetHandler overlaid
</Location>
<Location /overlaid/kept>
    WSGIHandlerScript further ${APPS}/handler.py
</Location>
<Location /strict>
    SetHandler resource
    AcceptPathInfo Off
</Location>
RewriteEngine On
RewriteRule ^/rewritten/(.*) ${ROOT}/htdocs/$1 [H=named]
<VirtualHost *:${PORT}>
    ServerName main
    RewriteEngine On
    RewriteOptions Inherit
</VirtualHost>
<VirtualHost *:${PORT}>
    ServerName other
    WSGIHandlerScript absent ${APPS}/handler.py application-group=of-the-host
</VirtualHost>
"""


def prepare(httpd):
    httpd.write("htdocs/page.rsc", "the page")
    httpd.write("htdocs/page.txt", "the text")
    httpd.write("htdocs/page.act", "the acted")
    httpd.write("empty.py", "")
    httpd.write("changing.py", SOURCE.format(1))


SOURCE = """\
def handle_request(environ, start_response):
    start_response("200 OK", [])
    return [b"{}"]
"""


def ask(httpd, target: str, headers=()) -> dict:
    reply = httpd.get(target, headers)
    assert reply.status == 200
    return json.loads(reply.body)


@pytest.mark.short
@pytest.mark.parametrize(
    ("target", "handler", "group", "mapped"),
    [
        ("/page.rsc", "resource", "outer", "page.rsc"),
        ("/missing.rsc", "resource", "outer", "missing.rsc"),
        ("/page.rsc/extra//path", "resource", "outer", "page.rsc"),
        ("/set/nothing", "resource", "outer", "set"),
        ("/page.act", "named", "named", None),
        ("/rewritten/page.txt", "named", "named", "page.txt"),
        ("/overlaid/x", "overlaid", "inner", "overlaid"),
        ("/overlaid/kept/x", "overlaid", "inner", "overlaid"),
        ("/twice/x", "twice", "last", "twice"),
    ],
)
def test_handled(httpd, target, handler, group, mapped):
    """Whatever has the handler is handled by the script, which is told what httpd mapped the URL to."""
    seen = ask(httpd, target)
    assert seen["mod_wsgi.request_handler"] == handler
    assert seen["mod_wsgi.handler_script"].endswith("/apps/handler.py")
    assert seen["mod_wsgi.application_group"] == seen["interpreter"] == group
    assert seen["mod_wsgi.callable_object"] == "handle_request"
    assert seen["mod_wsgi.process_group"] == ("tests" if httpd.setup.daemon else "")
    if mapped:
        assert seen["SCRIPT_FILENAME"] == f"{httpd.root}/htdocs/{mapped}"
    assert seen["SCRIPT_NAME"] + seen["PATH_INFO"] == target.replace("//", "/") or handler == "named"


def test_options(httpd):
    """The script's options go before the settings of the place."""
    authorization = {"Authorization": "Bearer x"}
    assert ask(httpd, "/rewritten/page.txt", authorization)["HTTP_AUTHORIZATION"] == "Bearer x"
    assert "HTTP_AUTHORIZATION" not in ask(httpd, "/page.rsc", authorization)
    seen = ask(httpd, "/embedded/x")
    assert (seen["mod_wsgi.process_group"], seen["mod_wsgi.application_group"]) == ("", "")
    assert seen["pid"] in httpd.children()


def test_virtual_host(httpd):
    """A host's own handler goes over the main server's of that name; the others stay."""
    assert ask(httpd, "/absent/x", {"Host": "other"})["mod_wsgi.application_group"] == "of-the-host"
    assert ask(httpd, "/page.rsc", {"Host": "other"})["mod_wsgi.application_group"] == "outer"


def test_body(httpd):
    """The script reads the request's body as an application does."""
    reply = httpd.request("POST", "/page.rsc", body=b"x" * 100_000)
    assert json.loads(reply.body)["read"] == 100_000


@pytest.mark.parametrize(
    ("target", "status", "pattern"),
    [
        ("/absent/x", 500, r"WSGI0195.*absent\.py"),
        ("/empty/x", 404, "WSGI0404.*handle_request"),
        ("/strict/extra", 404, None),
    ],
)
def test_faults(httpd, target, status, pattern):
    """What is missing is said in the log."""
    httpd.write("htdocs/strict", "a file")
    assert httpd.get(target).status == status
    if pattern:
        httpd.log.expect(pattern)
    else:
        httpd.log.expect("WSGI0113")


def test_reload(httpd):
    """The handler script's own time counts, not that of what it handles."""
    path = httpd.root / "changing.py"
    assert httpd.get("/changing/x").text == "1"
    httpd.write("changing.py", SOURCE.format(2))
    os.utime(path, (10**9, 10**9))
    wait_for(lambda: httpd.get("/changing/x").text == "2", "the new code")


@pytest.mark.modes("embedded")
def test_reload_required(start_httpd):
    """reload_required gets what the request is mapped to."""

    def prepare(httpd):
        httpd.write("htdocs/page.own", "a page")
        source = "asked = []\ndef reload_required(path):\n    asked.append(path)\n    return False\n"
        source += "def handle_request(environ, start_response):\n    start_response('200 OK', [])\n"
        source += "    return [repr(asked).encode()]\n"
        httpd.write("own.py", source)

    config = (
        'LoadModule mime_module "${MODULES}/mod_mime.so"\nTypesConfig /dev/null\nWSGIHandlerScript own ${ROOT}/own.py\n'
    )
    server = start_httpd(config + "AddHandler own .own\n", prepare, threads=1)
    assert server.get("/page.own").text == "[]"
    assert server.get("/page.own").text == repr([f"{server.root}/htdocs/page.own"])


@pytest.mark.modes("daemon")
@pytest.mark.skipif(not child_user(), reason="only root can run daemons as another user")
def test_unseen(start_httpd):
    """A script that httpd's children may not see is run by daemons that may; in httpd's children it is refused."""
    owner = next(entry for entry in pwd.getpwall() if entry.pw_uid and entry.pw_name != child_user())

    def prepare(httpd):
        os.chown(httpd.write("private/own.py", SOURCE.format("seen")).parent, owner.pw_uid, owner.pw_gid)
        (httpd.root / "private").chmod(0o700)

    server = start_httpd(
        f"""
        WSGIDaemonProcess private user={owner.pw_name}
        WSGIHandlerScript seen ${{ROOT}}/private/own.py process-group=private
        WSGIHandlerScript unseen ${{ROOT}}/private/own.py process-group=%{{GLOBAL}}
        <Location /seen>
            SetHandler seen
        </Location>
        <Location /unseen>
            SetHandler unseen
        </Location>
        """,
        prepare,
    )
    assert server.get("/seen").text == "seen"
    assert server.get("/unseen").status == 403
    server.log.expect("WSGI0412.*own.py")
    server.log.expect("WSGI0182.*the user .* that httpd's children run as cannot get to the script .*own.py")
