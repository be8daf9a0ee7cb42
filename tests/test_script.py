"""Scripts: how they are loaded, loaded anew, and what happens when they cannot be."""

import json
import os
import threading

import pytest

CONFIG = """
LoadModule mime_module ${MODULES}/mod_mime.so
TypesConfig /dev/null
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /where ${APPS}/where.py
WSGIScriptAlias /renamed ${APPS}/where.py callable-object=other
WSGIScriptAlias /instance ${APPS}/where.py callable-object=instance
WSGIScriptAlias /absent ${APPS}/where.py callable-object=no_such_name
WSGIScriptAlias /odd ${APPS}/where.py callable-object=not_callable
WSGIScriptAlias /missing ${ROOT}/missing.wsgi
WSGIScriptAlias /secret ${ROOT}/secret.wsgi
WSGIScriptAlias /folder ${ROOT}/htdocs
WSGIScriptAlias /scripts/ ${ROOT}/scripts/
WSGIScriptAlias /fixed/ ${ROOT}/scripts/
<Location /fixed>
    WSGIScriptReloading Off
</Location>
<Directory ${ROOT}/htdocs>
    AddHandler wsgi-script .wsgi
</Directory>
<Directory ${ROOT}/htdocs/exec>
    Options +ExecCGI
</Directory>
<Directory ${ROOT}/htdocs/set>
    Options +ExecCGI
    SetHandler wsgi-script
</Directory>
<Directory ${ROOT}/htdocs/strict>
    Options +ExecCGI
    AcceptPathInfo Off
</Directory>
<Directory ${ROOT}/htdocs/typed>
    Options +ExecCGI
    AddType application/x-httpd-wsgi .py
</Directory>
"""

SCRIPT = """\
def application(environ, start_response):
    start_response("200 OK", [])
    return [{text!r}]
"""


def script(text: str) -> str:
    """The source of an application that answers with `text`."""
    return SCRIPT.format(text=text.encode())


def prepare(httpd):
    hello = script("hello")
    httpd.folder("scripts")
    for name in ("plain", "exec", "set", "strict"):
        httpd.write(f"htdocs/{name}/app.wsgi", hello)
    httpd.write("htdocs/typed/app.py", hello)
    httpd.write("htdocs/set/sub/page", hello)
    httpd.write("secret.wsgi", hello).chmod(0)


def test_module(httpd):
    """The script is a module of its own name, with its path in __file__; it is not __main__."""
    seen = json.loads(httpd.get("/where").body)
    assert seen["file"].endswith("/apps/where.py")
    assert seen["name"].startswith("_mod_wsgi_")
    assert seen["argv"] == ["mod_wsgi"]
    assert not [entry for entry in seen["path"] if entry.endswith("/apps")]


def test_loaded_once(httpd):
    """One process loads a script once."""
    with httpd.connect() as connection:
        first = json.loads(connection.get("/where").body)
        for _ in range(5):
            seen = json.loads(connection.get("/where").body)
            assert (seen["pid"], seen["loads"]) == (first["pid"], first["loads"])


@pytest.mark.parametrize("path", ["/renamed", "/instance"])
def test_callable(httpd, path):
    """Any callable of the module can be named."""
    assert httpd.get(path).status == 200


@pytest.mark.short
def test_no_callable(httpd):
    """A missing callable is 404, with a line that names file and callable."""
    assert httpd.get("/absent").status == 404
    (record,) = httpd.log.expect("no_such_name")
    assert "where.py" in record.text


def test_not_callable(httpd):
    """A name that is no callable is 500."""
    assert httpd.get("/odd").status == 500
    httpd.log.expect("TypeError|not_callable|callable")
    httpd.log.allow("Traceback|^  ")


@pytest.mark.short
@pytest.mark.parametrize(
    ("path", "status", "pattern"),
    [
        ("/missing", 404, r"missing\.wsgi"),
        ("/scripts/none.wsgi", 404, r"scripts/none\.wsgi"),
        ("/exec/none.wsgi", 404, r"exec/none\.wsgi"),
        ("/plain/app.wsgi", 403, r"plain/app\.wsgi"),
        ("/folder", 403, "htdocs"),
        ("/set/", 403, "set"),
        ("/strict/app.wsgi/more", 404, r"strict/app\.wsgi"),
    ],
)
def test_faults(httpd, path, status, pattern):
    """Missing is 404; without ExecCGI, or a folder: 403; a path behind where none may be: 404. All logged with path."""
    reply = httpd.get(path)
    assert reply.status == status
    assert any(record.level == "error" for record in httpd.log.expect(pattern))


@pytest.mark.skipif(os.getuid() != 0, reason="what this user may not read, it may not prepare")
@pytest.mark.differs("answers 500")
def test_unreadable(httpd):
    """A script that the server may not read is 403, logged with the path."""
    assert httpd.get("/secret").status == 403
    httpd.log.expect(r"secret\.wsgi")


@pytest.mark.parametrize(
    "path", ["/exec/app.wsgi", "/set/app.wsgi", "/set/sub/page", "/strict/app.wsgi", "/typed/app.py"]
)
def test_handler(httpd, path):
    """SetHandler, AddHandler and the media type run a mapped file where ExecCGI allows it."""
    assert httpd.get(path).body == b"hello"


def test_handler_paths(httpd):
    """By handler too, httpd's own mapping makes SCRIPT_NAME and PATH_INFO."""
    httpd.write(
        "htdocs/exec/paths.wsgi",
        (script("").replace("b''", "(environ['SCRIPT_NAME'] + '|' + environ['PATH_INFO']).encode()")),
    )
    assert httpd.get("/exec/paths.wsgi/a/b").text == "/exec/paths.wsgi|/a/b"


@pytest.mark.parametrize(
    ("name", "source", "exception"),
    [
        ("syntax", "def (\n", "SyntaxError"),
        ("raises", "raise LookupError('at import')\n", "LookupError: at import"),
        ("no_module", "import no_such_module_at_all\n", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("exits", "import sys\nsys.exit('at import')\n", "SystemExit: at import"),
        ("interrupts", "raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        pytest.param(
            "nul", "x = 1\0\n", "(ValueError|SyntaxError): source code", marks=pytest.mark.differs("cuts it at a NUL")
        ),
        ("encoding", "# -*- coding: no-such-thing -*-\n", "SyntaxError"),
        ("indented", "  x = 1\n", "IndentationError"),
    ],
)
def test_import_fails(httpd, name, source, exception):
    """A script that does not import gives 500 and a traceback at each attempt; once mended it runs."""
    httpd.write(f"scripts/{name}.wsgi", source)
    for attempt in (1, 2):
        assert httpd.get(f"/scripts/{name}.wsgi").status == 500
        httpd.log.expect_traceback(exception, attempt)
    httpd.log.allow(rf"scripts/{name}\.wsgi")
    httpd.write(f"scripts/{name}.wsgi", script("mended"))
    assert httpd.get(f"/scripts/{name}.wsgi").body == b"mended"


def test_failed_import_leaves_nothing(httpd):
    """A module that failed to import is not taken for loaded, though its callable was already there."""
    httpd.write("scripts/half.wsgi", script("half") + "raise LookupError('too late')\n")
    with httpd.connect() as connection:
        assert connection.get("/scripts/half.wsgi").status == 500
    for _ in range(2):
        assert httpd.get("/scripts/half.wsgi").status == 500
    httpd.log.expect_traceback("LookupError: too late", 3)
    httpd.log.allow(r"scripts/half\.wsgi")


def test_source_encoding(httpd):
    """UTF-8 by default; a coding cookie is honoured; so is a byte order mark."""
    source = script("caf").replace("b'caf'", "'caf\xe9 \u2603'.encode('utf-8')")
    httpd.write("scripts/utf8.wsgi", source)
    assert httpd.get("/scripts/utf8.wsgi").text == "caf\xe9 \u2603"
    (httpd.root / "scripts/bom.wsgi").write_bytes(b"\xef\xbb\xbf" + source.encode())
    assert httpd.get("/scripts/bom.wsgi").text == "caf\xe9 \u2603"
    latin = "# -*- coding: latin-1 -*-\n" + source.replace(" \u2603", "")
    (httpd.root / "scripts/latin.wsgi").write_bytes(latin.encode("latin-1"))
    assert httpd.get("/scripts/latin.wsgi").text == "caf\xe9"


def test_line_ends(httpd):
    """Scripts written on Windows run."""
    (httpd.root / "scripts/dos.wsgi").write_bytes(script("dos").replace("\n", "\r\n").encode())
    assert httpd.get("/scripts/dos.wsgi").body == b"dos"


def test_same_name(httpd):
    """Two files of one name are two modules."""
    httpd.write("scripts/a/same.wsgi", script("of a"))
    httpd.write("scripts/b/same.wsgi", script("of b"))
    with httpd.connect() as connection:
        assert connection.get("/scripts/a/same.wsgi").body == b"of a"
        assert connection.get("/scripts/b/same.wsgi").body == b"of b"
        assert connection.get("/scripts/a/same.wsgi").body == b"of a"


def test_odd_name(httpd):
    """Blanks, quotes, percent signs and letters beyond ASCII in a path do no harm."""
    for name, target in [("a b.wsgi", "a%20b.wsgi"), ("100%s'\".wsgi", "100%25s'%22.wsgi"), ("é.wsgi", "%C3%A9.wsgi")]:
        httpd.write(f"scripts/{name}", script("odd"))
        assert httpd.get(f"/scripts/{target}").body == b"odd"


def test_no_bytecode(httpd):
    """Scripts leave no compiled files behind."""
    folder = httpd.folder("compiled")
    httpd.write("scripts/link.wsgi", script("x"))
    assert httpd.get("/scripts/link.wsgi").status == 200
    assert not list(folder.iterdir())
    assert not (httpd.root / "scripts/__pycache__").exists()


# --- loading anew


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
@pytest.mark.short
def test_reload(httpd):
    """A changed script is loaded anew at the next request, in the same process."""
    httpd.write("scripts/changing.wsgi", script("one"))
    with httpd.connect() as connection:
        assert connection.get("/scripts/changing.wsgi").body == b"one"
        for text in ("two", "three"):
            httpd.write("scripts/changing.wsgi", script(text))
            assert connection.get("/scripts/changing.wsgi").body == text.encode()


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
def test_reload_older(httpd):
    """A script whose time went backwards counts as changed."""
    httpd.write("scripts/older.wsgi", script("new"))
    with httpd.connect() as connection:
        assert connection.get("/scripts/older.wsgi").body == b"new"
        path = httpd.write("scripts/older.wsgi", script("restored"))
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert connection.get("/scripts/older.wsgi").body == b"restored"


def test_reload_off(httpd):
    """With WSGIScriptReloading Off a changed script is not noticed."""
    httpd.write("scripts/fixed.wsgi", script("one"))
    with httpd.connect() as connection:
        assert connection.get("/fixed/fixed.wsgi").body == b"one"
        httpd.write("scripts/fixed.wsgi", script("two"))
        assert connection.get("/fixed/fixed.wsgi").body == b"one"


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
def test_reload_broken(httpd):
    """A change that breaks the script gives 500 until it is mended; the old code is not run."""
    httpd.write("scripts/broken.wsgi", script("fine"))
    assert httpd.get("/scripts/broken.wsgi").body == b"fine"
    httpd.write("scripts/broken.wsgi", "raise LookupError('changed')\n")
    assert httpd.get("/scripts/broken.wsgi").status == 500
    httpd.log.expect_traceback("LookupError: changed")
    httpd.log.allow(r"scripts/broken\.wsgi")
    httpd.write("scripts/broken.wsgi", script("mended"))
    assert httpd.get("/scripts/broken.wsgi").body == b"mended"


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
def test_deleted(httpd):
    """A deleted script is 404, and back when it is there again."""
    path = httpd.write("scripts/deleted.wsgi", script("there"))
    assert httpd.get("/scripts/deleted.wsgi").body == b"there"
    path.unlink()
    assert httpd.get("/scripts/deleted.wsgi").status == 404
    httpd.log.expect(r"scripts/deleted\.wsgi")
    httpd.write("scripts/deleted.wsgi", script("again"))
    assert httpd.get("/scripts/deleted.wsgi").body == b"again"


RELOAD_REQUIRED = """
import os, time
loaded = str(time.monotonic_ns())

def reload_required(path):
    assert path == __file__, path
    {body}

def application(environ, start_response):
    start_response("200 OK", [])
    return [loaded.encode()]
"""


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
def test_reload_required(httpd):
    """The module's own reload_required() decides too; one that raises is logged and changes nothing."""
    flag = httpd.folder("flags") / "flag"
    take = (
        f"try:\n        os.unlink({str(flag)!r})\n    except FileNotFoundError:\n        return False\n    return True"
    )
    httpd.write("scripts/required.wsgi", RELOAD_REQUIRED.format(body=take))
    with httpd.connect() as connection:
        first = connection.get("/scripts/required.wsgi").text
        assert connection.get("/scripts/required.wsgi").text == first
        flag.touch()
        second = connection.get("/scripts/required.wsgi").text
        assert second != first
        assert connection.get("/scripts/required.wsgi").text == second
    httpd.write("scripts/raising.wsgi", RELOAD_REQUIRED.format(body="raise LookupError('in reload_required')"))
    with httpd.connect() as connection:
        first = connection.get("/scripts/raising.wsgi").text
        assert connection.get("/scripts/raising.wsgi").text == first
    httpd.log.expect_traceback("LookupError: in reload_required")


@pytest.mark.modes("embedded")  # daemons are replaced: test_daemon_reload.py
def test_own_mtime(httpd):
    """A module that has deleted its own __mtime__ is loaded anew."""
    source = (
        script("")
        .replace("b''", "loaded.encode()")
        .replace("environ, start_response):", "environ, start_response):\n    del globals()['__mtime__']")
    )
    httpd.write("scripts/always.wsgi", "import time\nloaded = str(time.monotonic_ns())\n" + source)
    with httpd.connect() as connection:
        texts = {connection.get("/scripts/always.wsgi").text for _ in range(3)}
    assert len(texts) == 3


@pytest.mark.mpms("event", "worker")
def test_load_once_under_load(httpd):
    """Requests that arrive while the script is being imported wait and share it."""
    source = "import time, sys\nsys.shared = getattr(sys, 'shared', 0) + 1\ntime.sleep(0.2)\n"
    source += script("").replace("b''", "str(sys.shared).encode()")
    httpd.write("scripts/shared.wsgi", source)
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(httpd.get("/scripts/shared.wsgi").text)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["1"] * 6
