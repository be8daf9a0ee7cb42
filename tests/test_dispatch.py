"""WSGIDispatchScript: a script chooses where each request runs."""

import json
import os

import pytest

from client import wait_for

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("says other things in its log")]

CONFIG = """
WSGIDaemonProcess blue threads=2
WSGIDaemonProcess green threads=2
SetEnvIf Request_URI . CHOSEN=by-variable
SetEnvIf Request_URI . OUTER=%{ENV:CHOSEN}
WSGIApplicationGroup configured
WSGIScriptAlias /app ${APPS}/dispatch.py
WSGIScriptAlias /alias ${APPS}/dispatch.py process-group=blue application-group=of-the-alias callable-object=second
WSGIScriptAlias /limited ${APPS}/dispatch.py
WSGIScriptAlias /missing ${APPS}/dispatch.py
WSGIScriptAlias /broken ${APPS}/dispatch.py
WSGIScriptAlias /nothing ${APPS}/dispatch.py
WSGIScriptAlias /changing ${APPS}/dispatch.py
WSGIHandlerScript own ${APPS}/handler.py
WSGIDispatchScript ${APPS}/dispatch.py application-group=dispatching
<Location /own>
    SetHandler own
</Location>
<Location /limited>
    WSGIRestrictProcess blue %{GLOBAL} tests
</Location>
<Location /missing>
    WSGIDispatchScript ${ROOT}/missing.py
</Location>
<Location /broken>
    WSGIDispatchScript ${ROOT}/broken.py
</Location>
<Location /nothing>
    WSGIDispatchScript ${ROOT}/nothing.py
</Location>
<Location /changing>
    WSGIDispatchScript ${ROOT}/changing.py
</Location>
"""


def prepare(httpd):
    httpd.write("broken.py", "raise ImportError('on purpose')\n")
    httpd.write("nothing.py", "")
    httpd.write("changing.py", CHOOSES.format("one"))


CHOOSES = "def application_group(environ):\n    return '{}'\n"


def ask(httpd, target: str) -> dict:
    reply = httpd.get(target)
    assert reply.status == 200
    return json.loads(reply.body)


@pytest.mark.short
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/app", {"callable": "application", "application_group": "configured"}),
        ("/app?g=blue", {"process_group": "blue", "application_group": "configured"}),
        (
            "/app?g=green&a=other&c=second",
            {"process_group": "green", "application_group": "other", "callable": "second"},
        ),
        ("/app?g=%25{GLOBAL}&a=%25{GLOBAL}", {"process_group": "", "application_group": ""}),
        ("/app?g=&a=", {"process_group": "", "application_group": ""}),
        ("/app?a=%25{ENV:CHOSEN}", {"application_group": "by-variable"}),
        ("/app?a=%25{ENV:OUTER}", {"application_group": "%{ENV:CHOSEN}"}),
        ("/app?a=%25{ENV:NONE}", {"application_group": "%{ENV:NONE}"}),
        ("/app?a=%25{SERVER}", {"application_group": "localhost:{port}"}),
        ("/app?a=%25{RESOURCE}", {"application_group": "localhost:{port}|/app"}),
        ("/app?a=bytes", {"application_group": "by-bytes"}),
        ("/app?c=", {"callable": "application", "said": "application"}),
        ("/app?c=%25{GLOBAL}", {"callable": "application", "said": "application"}),
        ("/alias", {"process_group": "blue", "application_group": "of-the-alias", "callable": "second"}),
        (
            "/alias?g=green&a=x&c=application",
            {"process_group": "green", "application_group": "x", "callable": "application"},
        ),
        ("/limited?g=blue", {"process_group": "blue"}),
        ("/nothing?g=blue", {"application_group": "configured"}),
    ],
)
def test_chosen(httpd, target, expected):
    """What the script says goes over all that is configured, with the same expansions; None keeps it."""
    seen = ask(httpd, target)
    expected = {key: value.replace("{port}", str(httpd.port)) for key, value in expected.items()}
    assert {key: seen[key] for key in expected} == expected


def test_handler_script(httpd):
    """Handler scripts are dispatched too."""
    seen = ask(httpd, "/own?g=green&a=x")
    assert (seen["mod_wsgi.process_group"], seen["mod_wsgi.application_group"]) == ("green", "x")


@pytest.mark.parametrize("which", ["g", "a", "c"])
@pytest.mark.parametrize("answer", ["number", "list", "true", "nul", "snake", "error"])
def test_useless(httpd, which, answer):
    """Whatever is no name, and an exception, is 500."""
    assert httpd.get(f"/app?{which}={answer}").status == 500
    if answer == "error":
        httpd.log.expect_traceback("ValueError: on purpose")
    else:
        httpd.log.expect("WSGI0432")


@pytest.mark.parametrize(
    ("target", "pattern"), [("/missing", r"WSGI0191.*WSGIDispatchScript.*missing\.py"), ("/broken", "")]
)
def test_unloadable(httpd, target, pattern):
    """A script that cannot be loaded is 500: what would run where it should not does not run."""
    assert httpd.get(target).status == 500
    if pattern:
        httpd.log.expect(pattern)
    else:
        httpd.log.expect_traceback("ImportError: on purpose")


def test_limits(httpd):
    """WSGIRestrictProcess and the groups that there are hold for what is chosen."""
    assert httpd.get("/limited?g=green").status == 500
    httpd.log.expect("WSGI0116.*green")
    assert httpd.get("/app?g=none").status == 500
    httpd.log.expect("WSGI0115.*none")


def test_environ(httpd):
    """The script sees the application's environ as far as it is known, with what is configured."""
    assert httpd.get("/app/more?report").status == 200
    (record,) = httpd.log.expect(r"\] REPORT ")
    seen = json.loads(record.text.partition("REPORT ")[2])
    assert seen["mod_wsgi.process_group"] == ("tests" if httpd.setup.daemon else "")
    assert seen["mod_wsgi.application_group"] == "configured"
    assert seen["mod_wsgi.version"] == seen["apache.version"] == "tuple"
    assert "mod_wsgi.callable_object" not in seen
    assert "wsgi.input" not in seen
    assert (seen["CHOSEN"], seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("by-variable", "/app", "/more")
    assert seen["SCRIPT_FILENAME"].endswith("/apps/dispatch.py")
    assert not [key for key in seen if key.startswith("mod_wsgi.x-")]
    assert seen["mod_ssl.is_https"] == "builtin_function_or_method"


def test_reload(httpd):
    """A changed script is loaded again in place."""
    assert ask(httpd, "/changing")["application_group"] == "one"
    os.utime(httpd.write("changing.py", CHOOSES.format("two")), (10**9, 10**9))
    wait_for(lambda: ask(httpd, "/changing")["application_group"] == "two", "the new code")


@pytest.mark.modes("daemon")
def test_restricted(start_httpd):
    """It runs in httpd's own processes, which have Python for it under WSGIRestrictEmbedded On."""
    server = start_httpd(f"WSGIRestrictEmbedded On\n{CONFIG}", prepare)
    assert ask(server, "/app?g=green")["process_group"] == "green"
    assert server.get("/app?g=").status == 500
    server.log.expect("WSGI0117")
