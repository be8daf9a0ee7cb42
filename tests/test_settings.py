"""Settings of Python and its interpreters: what they do, in httpd's own processes and in daemons."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import pythons
from httpd import GROUP

pytestmark = [pytest.mark.mpms("event"), pytest.mark.differs("has its settings elsewhere, or other ones")]

SCRIPT = "WSGIScriptAlias / ${APPS}/settings.py\nWSGIApplicationGroup %{GLOBAL}\n"


def seen(reply) -> dict:
    assert reply.status == 200, reply
    return json.loads(reply.body)


def ask(start_httpd, config: str, path: str = "/", **options) -> dict:
    """What the application sees under a configuration."""
    return seen(start_httpd(SCRIPT + config, **options).get(path))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", {"optimize": 0, "debug": True, "random": True, "dont_write_bytecode": False, "interval": 0.005}),
        ("WSGIPythonOptimize 1", {"optimize": 1, "debug": False}),
        ("WSGIPythonOptimize 2x", {"optimize": 2}),
        ("WSGIPythonOptimize 0", {"optimize": 0}),
        ("WSGIDontWriteBytecode On", {"dont_write_bytecode": True}),
        ("WSGIPythonWarnings ignore::UserWarning", {"warnings": ["ignore::UserWarning"]}),
        (
            'WSGIPythonWarnings ignore::UserWarning\nWSGIPythonWarnings "error:some text:DeprecationWarning"',
            {"warnings": ["ignore::UserWarning", "error:some text:DeprecationWarning"]},
        ),
        ("WSGIPythonHashSeed 0", {"random": False}),
        ("WSGIPythonHashSeed 42", {"random": True}),
        ("WSGIPythonHashSeed random", {"random": True}),
        ("WSGISwitchInterval 0.25", {"interval": 0.25}),
    ],
)
def test_interpreter(start_httpd, config, expected):
    """A setting of Python is in effect, and the environment of applications does not tell of it."""
    answer = ask(start_httpd, config)
    assert {name: answer[name] for name in expected} == expected
    assert answer["environment"] == {}


def test_interpreters_alike(start_httpd):
    """What Python was started with holds in all its interpreters, and none of them sees it in its environment."""
    httpd = start_httpd("""
        WSGIPythonOptimize 1
        WSGIDontWriteBytecode On
        WSGIPythonHashSeed 7
        WSGIPythonWarnings ignore::UserWarning
        WSGIScriptAlias /main ${APPS}/settings.py application-group=%{GLOBAL}
        WSGIScriptAlias /own ${APPS}/settings.py application-group=own
        """)
    main, own = seen(httpd.get("/main")), seen(httpd.get("/own"))
    names = ("optimize", "debug", "dont_write_bytecode", "hash", "warnings", "environment")
    assert {name: main[name] for name in names} == {name: own[name] for name in names}
    assert (own["optimize"], own["dont_write_bytecode"], own["environment"]) == (1, True, {})


def test_hash_seed(start_httpd):
    """A seed makes hashes the same in all processes; `random` makes them differ, as they do without."""
    hashes = [ask(start_httpd, config)["hash"] for config in ["WSGIPythonHashSeed 7", "WSGIPythonHashSeed 7"]]
    assert hashes[0] == hashes[1]
    config = "WSGIPythonHashSeed Random"
    assert ask(start_httpd, config)["hash"] != ask(start_httpd, config)["hash"]


def test_eggs(start_httpd):
    """WSGIPythonEggs is in the environment of applications."""
    answer = ask(start_httpd, "WSGIPythonEggs ${ROOT}/eggs")
    assert answer["environment"]["PYTHON_EGG_CACHE"].endswith("/eggs")


@pytest.mark.modes("daemon")
def test_options_of_group(start_httpd):
    """Options of a daemon group go before the server's directives."""
    config = """
        WSGIPythonOptimize 1
        WSGIPythonEggs /server
        WSGISwitchInterval 0.02
        <WSGIInterpreterOptions process-group=tests>
            WSGISwitchInterval 0.03
        </WSGIInterpreterOptions>
        """
    options = "switch-interval=0.04 python-eggs=/group env=PYTHONOPTIMIZE=2 env=PYTHONNOTE=x"
    answer = ask(start_httpd, config, options=options)
    assert (answer["interval"], answer["optimize"]) == (0.04, 2)
    assert answer["environment"] == {"PYTHON_EGG_CACHE": "/group", "PYTHONOPTIMIZE": "2", "PYTHONNOTE": "x"}
    assert ask(start_httpd, config)["interval"] == 0.03


# --- restrictions


@pytest.mark.parametrize(
    ("trial", "directive"),
    [("stdin", "Stdin"), ("stdin-line", "Stdin"), ("stdout", "Stdout"), ("stdout-attribute", "Stdout")],
)
def test_restricted_stream(start_httpd, trial, directive):
    """Any use of a restricted stream is an error that says why."""
    stream = directive.lower()
    answer = ask(start_httpd, f"WSGIRestrict{directive} On", f"/?{trial}")["trial"]
    assert answer == f"OSError: sys.{stream} may not be used: WSGIRestrict{directive} is On"


def test_free_streams(start_httpd):
    """Without restriction stdin is empty and stdout goes to the log."""
    httpd = start_httpd(SCRIPT)
    assert seen(httpd.get("/?stdin"))["trial"] == "''"
    assert seen(httpd.get("/?stdout"))["trial"] == "None"
    httpd.log.expect("to the log")


def test_signals(start_httpd):
    """Signal handlers are kept from applications, unless WSGIRestrictSignal is Off."""
    httpd = start_httpd(SCRIPT)
    assert seen(httpd.get("/?signal"))["trial"] == "'Handlers'"
    httpd.log.expect(r"signal.signal\(12\) does nothing")
    # Python itself allows it in the main thread only, where no request runs.
    assert ask(start_httpd, "WSGIRestrictSignal Off", "/?signal")["trial"].startswith("ValueError: signal only works")


# --- <WSGIInterpreterOptions>


SECTIONS = """
WSGIScriptAlias /main ${APPS}/settings.py application-group=%{GLOBAL}
WSGIScriptAlias /a ${APPS}/settings.py application-group=a
WSGIScriptAlias /b ${APPS}/settings.py application-group=b
WSGIPythonPath /server
<WSGIInterpreterOptions process-group=GROUP application-group=a>
    WSGIPythonPath /both
</WSGIInterpreterOptions>
<WSGIInterpreterOptions application-group=a>
    WSGIPythonPath /first:/second
    WSGIRestrictStdin On
</WSGIInterpreterOptions>
<WSGIInterpreterOptions PROCESS-group=GROUP>
    WSGIPythonPath /group
    WSGIRestrictStdin Off
</WSGIInterpreterOptions>
<WSGIInterpreterOptions>
    WSGIPythonPath /all
    WSGIRestrictStdin On
</WSGIInterpreterOptions>
<WSGIInterpreterOptions process-group=other>
    WSGIPythonPath /other
</WSGIInterpreterOptions>
<IfModule wsgi_module>
    <WSGIInterpreterOptions application-group=%{GLOBAL}>
        <IfDefine ROOT>
            WSGIPythonPath /main
        </IfDefine>
    </WSGIInterpreterOptions>
</IfModule>
"""


def test_sections(start_httpd, setup):
    """Folders add up, the most particular first; of other settings the most particular holds, of equals the last."""
    group = GROUP if setup.daemon else "%{GLOBAL}"
    httpd = start_httpd(SECTIONS.replace("GROUP", group))
    server = [] if setup.daemon else ["/server"]  # daemons have python-path=
    for path, folders, restricted in [
        ("/a", ["/both", "/group", "/first", "/second", "/all", *server], False),
        ("/b", ["/group", "/all", *server], False),
        ("/main", ["/main", "/group", "/all", *server], False),
    ]:
        answer = seen(httpd.get(f"{path}?stdin"))
        assert answer["path"][: len(folders)] == folders, path
        assert ("OSError" in answer["trial"]) is restricted, path


def test_section_of_application_group(start_httpd):
    """A restriction can be one interpreter's alone."""
    httpd = start_httpd("""
        WSGIScriptAlias /a ${APPS}/settings.py application-group=a
        WSGIScriptAlias /b ${APPS}/settings.py application-group=b
        WSGIRestrictStdin On
        <WSGIInterpreterOptions application-group=a>
            WSGIRestrictStdin Off
            WSGISwitchInterval 0.5
        </WSGIInterpreterOptions>
        """)
    assert seen(httpd.get("/a?stdin"))["trial"] == "''"
    assert "OSError" in seen(httpd.get("/b?stdin"))["trial"]
    # The GIL is everybody's.
    assert seen(httpd.get("/a"))["interval"] == 0.005
    httpd.log.expect('WSGI0421: WSGISwitchInterval for application group "a" alone is ignored')


# --- interpreters


def test_limit(start_httpd):
    """A process has no more interpreters than it may; requests that need another get 503 and a reason."""
    httpd = start_httpd("""
        WSGIInterpreterLimit 3
        SetEnvIf X-Group (.+) GROUP=$1
        WSGIApplicationGroup %{ENV:GROUP}
        WSGIScriptAlias / ${APPS}/settings.py
        """)
    for group in ("one", "two", "%{GLOBAL}", "one"):
        assert httpd.get("/", {"X-Group": group}).status == 200
    assert httpd.get("/", {"X-Group": "three"}).status == 503
    httpd.log.expect('WSGI0420: there is no interpreter for application group "three": this process has 3')
    assert httpd.get("/", {"X-Group": "two"}).status == 200


@pytest.mark.modes("daemon")
def test_limit_of_group(start_httpd):
    """interpreter-limit= goes before WSGIInterpreterLimit."""
    httpd = start_httpd(
        """
        WSGIInterpreterLimit 1
        WSGIScriptAlias /a ${APPS}/settings.py application-group=a
        WSGIScriptAlias /b ${APPS}/settings.py application-group=b
        """,
        options="interpreter-limit=2",
    )
    assert httpd.get("/a").status == 200
    assert httpd.get("/b").status == 503
    httpd.log.expect("WSGI0420")


AT_EXIT = """
import atexit
import pathlib

atexit.register(pathlib.Path({path!r}).touch)

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]
"""


@pytest.mark.parametrize(("config", "runs"), [("", True), ("WSGIDestroyInterpreter Off", False)])
@pytest.mark.parametrize("group", ["%{GLOBAL}", "own"])
def test_exit(start_httpd, config, runs, group):
    """Exit handlers run, unless interpreters are not to be ended."""
    httpd = start_httpd(f"{config}\nWSGIScriptAlias / ${{ROOT}}/app.py application-group={group}\n")
    mark = httpd.folder("marks") / "done"
    httpd.write("app.py", AT_EXIT.format(path=str(mark)))
    assert httpd.get("/").body == b"ok"
    assert httpd.stop() == 0
    assert mark.exists() is runs


# --- a GIL for each interpreter


OWN_GIL = """
WSGIPerInterpreterGIL On
WSGIScriptAlias /main ${APPS}/settings.py application-group=%{GLOBAL}
WSGIScriptAlias /a ${APPS}/settings.py application-group=a
WSGIScriptAlias /b ${APPS}/settings.py application-group=b
WSGIScriptAlias /c ${APPS}/settings.py application-group=c
<WSGIInterpreterOptions application-group=a>
    WSGISwitchInterval 0.5
</WSGIInterpreterOptions>
<WSGIInterpreterOptions application-group=c>
    WSGIPerInterpreterGIL Off
</WSGIInterpreterOptions>
"""


def version(setup) -> tuple[int, ...]:
    python = pythons.ask(setup.python or pythons.DEFAULT)
    assert python
    return python.version


@pytest.mark.short
def test_own_gil(start_httpd, setup):
    """Interpreters have GILs of their own, with settings of their own, and end well."""
    if version(setup) < (3, 13):
        pytest.skip("this Python is too old")
    httpd = start_httpd(OWN_GIL)
    intervals = {path: seen(httpd.get(path))["interval"] for path in ("/main", "/a", "/b", "/c", "/main")}
    assert intervals == {"/main": 0.005, "/a": 0.5, "/b": 0.005, "/c": 0.005}
    with ThreadPoolExecutor(8) as pool:
        assert {reply.status for reply in pool.map(httpd.get, ["/main", "/a", "/b", "/c"] * 50)} == {200}
    assert httpd.stop() == 0


@pytest.mark.short
@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("WSGIPerInterpreterGIL On", ["httpd's own processes", "3.13"]),
        (
            "<WSGIInterpreterOptions process-group=%{GLOBAL} application-group=a>\nWSGIPerInterpreterGIL On\n"
            "</WSGIInterpreterOptions>",
            ["httpd's own processes", "3.13"],
        ),
        (
            "WSGIDaemonProcess shop\nWSGIRestrictEmbedded On\nWSGIPerInterpreterGIL On",
            ["WSGIDaemonProcess shop", "3.13"],
        ),
        (
            "WSGIDaemonProcess shop\n<WSGIInterpreterOptions process-group=other>\nWSGIPerInterpreterGIL On\n"
            "</WSGIInterpreterOptions>",
            None,
        ),
    ],
)
def test_own_gil_refused(new_httpd, setup, config, says):
    """A Python that cannot bear several GILs is refused when the configuration is tested."""
    run = new_httpd(config + "\n").check()
    if says and version(setup) < (3, 13):
        # Where there are other daemons, Python in httpd is not worth more than a warning; and they are looked at first.
        says = ["3.13"] if setup.daemon else says
        assert setup.daemon or run.returncode != 0
        for word in says:
            assert word in run.stderr
    else:
        assert run.returncode == 0, run.stderr


def test_free_threading(start_httpd):
    """WSGIFreeThreading says that it does nothing."""
    httpd = start_httpd(SCRIPT + "WSGIFreeThreading On\n")
    assert httpd.get("/").status == 200
    httpd.log.expect("WSGI0170: WSGIFreeThreading On has no effect")


# --- requests


def test_request_rec(start_httpd, setup):
    """httpd's own record of the request is in environ if it is asked for, in httpd's own processes."""
    config = """
        WSGIScriptAlias / ${APPS}/settings.py
        <Location /with>
            WSGIPassApacheRequest On
        </Location>
        """
    httpd = start_httpd(config)
    assert seen(httpd.get("/with"))["request_rec"] is (None if setup.daemon else True)
    assert seen(httpd.get("/without"))["request_rec"] is None


NAMED = """
requests = 0

def application(environ, start_response):
    global requests
    requests += 1
    start_response("200 OK", [])
    return [f"{__name__} {__file__} {requests}".encode()]
"""


def test_case_sensitivity(start_httpd):
    """%{RESOURCE} can be in lower case, and with it what a script's module is named after."""
    httpd = start_httpd("""
        WSGICaseSensitivity Off
        WSGIScriptAlias /Shop ${APPS}/settings.py
        WSGIScriptAlias /one ${ROOT}/Shop.wsgi application-group=shared
        WSGIScriptAlias /two ${ROOT}/shoP.wsgi application-group=shared
        """)
    assert seen(httpd.get("/Shop"))["application_group"] == f"localhost:{httpd.port}|/shop"
    file = httpd.write("Shop.wsgi", NAMED)
    # As a file system shows it that does not tell the two apart.
    file.with_name("shoP.wsgi").symlink_to(file)
    name = "_mod_wsgi_" + hashlib.md5(str(file).lower().encode()).hexdigest()
    assert httpd.get("/one").text == f"{name} {file} 1"
    assert httpd.get("/two").text == f"{name} {file} 2"


ERRORS = """
from urllib.parse import parse_qsl

def application(environ, start_response):
    status = environ["PATH_INFO"].strip("/")
    headers = [("Content-Type", "text/x-own"), ("X-Own", "1"), ("WWW-Authenticate", "Own realm=x")]
    start_response(status + " Own", headers)
    return [b"own body"]
"""


def test_error_override(start_httpd, setup):
    """httpd answers for a daemon's application that says an error, by its ErrorDocument; the challenge stays."""
    httpd = start_httpd("""
        WSGIScriptAlias /plain ${ROOT}/errors.py
        WSGIScriptAlias /replaced ${ROOT}/errors.py
        <Location /replaced>
            WSGIErrorOverride On
            ErrorDocument 404 "the document"
        </Location>
        """)
    httpd.write("errors.py", ERRORS)
    for status in (399, 400, 401, 404, 500, 503, 599, 600):
        plain = httpd.get(f"/plain/{status}")
        assert (plain.status, plain.body) == (status, b"own body")
        reply = httpd.get(f"/replaced/{status}")
        if setup.daemon and 400 <= status < 600:
            assert b"own body" not in reply.body
            assert reply.header("X-Own") is None
            assert reply.header("WWW-Authenticate") == "Own realm=x"
            if status != 599:  # httpd has no page for that
                assert reply.status == status
        else:
            assert (reply.status, reply.body, reply.header("X-Own")) == (status, b"own body", "1")
    if setup.daemon:
        assert httpd.get("/replaced/404").body == b"the document"
    assert httpd.request("HEAD", "/replaced/404").status == 404
