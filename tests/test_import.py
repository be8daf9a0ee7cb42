"""Scripts that are loaded before the first request: WSGIImportScript, and aliases that name both groups."""

import re

import pytest

pytestmark = pytest.mark.differs("says other things in its log")

NOTE = """\
import mod_wsgi, os
print("NOTE {name}", os.getpid(), mod_wsgi.process_group or "-", mod_wsgi.application_group or "-")
"""
APPLICATION = """\
import os
requests = 0
def application(environ, start_response):
    global requests
    requests += 1
    start_response("200 OK", [])
    return [f"{requests} {__name__} {os.getpid()}".encode()]
"""
CONFIG = """
WSGIDaemonProcess blue
WSGIImportScript ${ROOT}/a.py process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIScriptAlias /aliased ${ROOT}/b.py process-group=%{GLOBAL} application-group=second
WSGIImportScript ${ROOT}/c.py process-group=%{GLOBAL} application-group=second
WSGIImportScript ${ROOT}/d.py process-group=blue application-group=%{GLOBAL}
WSGIScriptAlias /folder ${ROOT}/folder process-group=%{GLOBAL} application-group=second
WSGIScriptAlias /open ${ROOT}/e.py process-group=%{GLOBAL}
WSGIScriptAlias /a ${ROOT}/a.py process-group=%{GLOBAL}
<Location /a>
    WSGIApplicationGroup %{GLOBAL}
</Location>
<VirtualHost *:${PORT}>
    ServerName other
    WSGIImportScript ${ROOT}/f.py process-group=%{GLOBAL} application-group=third
</VirtualHost>
"""


def prepare(httpd):
    for name in "abcdef":
        httpd.write(f"{name}.py", NOTE.format(name=name) + APPLICATION)
    httpd.write("folder/x.py", NOTE.format(name="x") + APPLICATION)


def notes(httpd, count: int) -> list[list[str]]:
    """What the scripts noted when they were loaded: name, process, process group, interpreter."""
    records = httpd.log.expect(r"^(\[script [^\]]*\] )?NOTE ", count)
    return [re.sub(r".*NOTE ", "", record.text).split() for record in records]


@pytest.mark.short
@pytest.mark.modes("embedded")
def test_order(start_httpd):
    """Each child loads them before any request, in order of the configuration; a folder is none of them."""
    # One thread: another process of prefork would load them too.
    server = start_httpd(CONFIG, prepare, threads=1)
    seen = notes(server, 5)
    (child,) = {pid for name, pid, group, _ in seen if group == "-"}
    assert int(child) in server.children()
    assert [(name, interpreter) for name, pid, _, interpreter in seen if pid == child] == [
        ("a", "-"),
        ("b", "second"),
        ("c", "second"),
        ("f", "third"),
    ]
    assert [(name, group) for name, _, group, _ in seen if group != "-"] == [("d", "blue")]
    # A request finds the same module.
    requests, name, pid = server.get("/aliased").text.split()
    assert (requests, pid) == ("1", child)
    assert name.startswith("_mod_wsgi_")
    assert server.get("/a").text.split()[2] == child
    assert len(notes(server, 5)) == 5
    assert server.get("/open").text.split()[0] == "1"
    assert len(notes(server, 6)) == 6


@pytest.mark.mpms("event")
@pytest.mark.modes("embedded")
def test_order_of_hosts(start_httpd):
    """The main server's come first, then those of virtual hosts in order, in httpd's processes and in daemons."""
    lines = "".join(
        f"WSGIImportScript ${{ROOT}}/NAME.py process-group={group} application-group=%{{GLOBAL}}\n"
        for group in ("%{GLOBAL}", "blue")
    )
    host = f"<VirtualHost *:${{PORT}}>\nServerName NAME\n{lines}</VirtualHost>\n"
    hosts = "".join(host.replace("NAME", name) for name in "bca")
    server = start_httpd("WSGIDaemonProcess blue\n" + hosts + lines.replace("NAME", "d"), prepare)
    seen = notes(server, 8)
    for group in ("-", "blue"):
        assert [name for name, _, process_group, _ in seen if process_group == group] == ["d", "b", "c", "a"]


@pytest.mark.modes("embedded")
@pytest.mark.mpms("event")
def test_names_are_not_expanded(start_httpd):
    """There is no request to expand them by: one is a name like any other, and an alias with one is not loaded."""
    config = """
        WSGIImportScript ${ROOT}/a.py process-group=%{GLOBAL} application-group=%{SERVER}
        WSGIImportScript ${ROOT}/b.py process-group=%{GLOBAL} application-group=%{ENV:PATH}
        WSGIScriptAlias /c ${ROOT}/c.py process-group=%{GLOBAL} application-group=%{OTHER}
        WSGIScriptAlias /d ${ROOT}/d.py process-group=%{GLOBAL} application-group=%{SERVER}
        WSGIImportScript ${ROOT}/e.py process-group=%{GLOBAL} application-group=last
        """
    server = start_httpd(config, prepare)
    seen = notes(server, 3)
    assert [(name, interpreter) for name, _, _, interpreter in seen] == [
        ("a", "%{SERVER}"),
        ("b", "%{ENV:PATH}"),
        ("e", "last"),
    ]
    assert len(server.log.expect("WSGI0197: ", 2)) == 2


@pytest.mark.modes("embedded")
def test_children(start_httpd):
    """Each further child does so too, and those after a restart."""
    server = start_httpd(CONFIG, prepare, processes=2, threads=2)
    before = {pid for _, pid, group, _ in notes(server, 5) if group == "-"}
    server.graceful()
    after = {pid for _, pid, group, _ in notes(server, 5 + 4) if group == "-"}
    assert after - before


FAILING = """
WSGIImportScript ${ROOT}/raises.py process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIImportScript ${ROOT}/exits.py process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIImportScript ${ROOT}/absent.py process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIImportScript ${ROOT}/late.py process-group=%{GLOBAL} application-group=%{GLOBAL}
WSGIProcessGroup %{GLOBAL}
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /raises ${ROOT}/raises.py
WSGIScriptAlias /late ${ROOT}/late.py
"""


@pytest.mark.modes("embedded")
def test_failures(start_httpd):
    """What cannot be loaded is logged, keeps nothing else from being loaded, and is tried again by a request for it."""

    def prepare(httpd):
        source = "import os, sys\nif not os.path.exists({!r}):\n    raise ValueError('on purpose')\n"
        source += "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'now']\n"
        httpd.write("raises.py", source.format(f"{httpd.root}/htdocs/repaired"))
        httpd.write("exits.py", "import sys\nsys.exit(3)\n")
        httpd.write("late.py", NOTE.format(name="late") + APPLICATION)

    # One thread: another process of prefork would fail too.
    server = start_httpd(FAILING, prepare, threads=1)
    assert notes(server, 1)[0][0] == "late"
    server.log.expect_traceback("ValueError: on purpose")
    server.log.expect(r"WSGI0196.*WSGIImportScript.*exits\.py")
    server.log.expect(r"WSGI0412.*absent\.py")
    assert server.get("/late").text.split()[0] == "1"
    assert server.get("/raises").status == 500
    server.log.expect_traceback("ValueError: on purpose", 2)
    server.write("htdocs/repaired", "")
    assert server.get("/raises").text == "now"


RESTRICTED = """
WSGIRestrictEmbedded On
WSGIScriptAlias /aliased ${ROOT}/b.py process-group=%{GLOBAL} application-group=second
"""


@pytest.mark.modes("embedded")
@pytest.mark.mpms("event")
@pytest.mark.parametrize("imports", [True, False])
def test_restricted(start_httpd, imports):
    """The directive brings Python into httpd's children under WSGIRestrictEmbedded On, an alias does not."""
    line = "WSGIImportScript ${ROOT}/a.py process-group=%{GLOBAL} application-group=%{GLOBAL}\n"
    server = start_httpd(RESTRICTED + line * imports, prepare)
    assert server.get("/aliased").status == 500
    server.log.expect("WSGI0117")
    seen = notes(server, 2 if imports else 0)
    assert [name for name, *_ in seen] == (["b", "a"] if imports else [])


@pytest.mark.mpms("event")
@pytest.mark.modes("embedded")
@pytest.mark.parametrize("directive", ["WSGIAccessScript", "WSGIDispatchScript"])
def test_hooks_share(start_httpd, directive):
    """An application's script that is also a hook's is loaded once."""
    source = APPLICATION
    source += "def allow_access(environ, host):\n    global requests\n    requests += 10\n    return True\n"
    source += "def callable_object(environ):\n    global requests\n    requests += 10\n"
    config = f"""
    WSGIApplicationGroup %{{GLOBAL}}
    WSGIScriptAlias /both ${{ROOT}}/both.py
    <Location /both>
        {directive} ${{ROOT}}/both.py
    </Location>
    """
    server = start_httpd(config, lambda httpd: httpd.write("both.py", source), threads=1)
    assert server.get("/both").text.split()[0] == "11"


@pytest.mark.mpms("event")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["script"]),
        ("/x.py", ["process-group"]),
        ("/x.py process-group=%{GLOBAL}", ["application-group"]),
        ("/x.py application-group=%{GLOBAL}", ["process-group"]),
        ("/x.py process-group= application-group=x", ["process-group"]),
        ("/x.py process-group=%{GLOBAL} application-group=x callable-object=y", ["callable-object", "known here"]),
        ("/x.py process-group=none application-group=x", ["none", "WSGIDaemonProcess"]),
    ],
)
def test_refused(new_httpd, arguments, words):
    """Both options are needed, and the group must be there."""
    run = new_httpd(f"WSGIImportScript {arguments}\n").check()
    assert run.returncode != 0
    for word in [*words, "WSGIImportScript"]:
        assert word in run.stderr
