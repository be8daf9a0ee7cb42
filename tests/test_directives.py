"""The directives: what configtest accepts and refuses, in which context; and which may stand in .htaccess."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

differs = pytest.mark.differs
pytestmark = pytest.mark.mpms("event")
PAGE = Path(__file__).parent.parent / "docs/directives.md"

CONTEXTS = {
    "main": "{}",
    "virtual host": "<VirtualHost *:${{PORT}}>\n{}\n</VirtualHost>",
    "directory": '<Directory "/">\n{}\n</Directory>',
    "location": "<Location />\n{}\n</Location>",
    "files": "<Files *.wsgi>\n{}\n</Files>",
}
DIRECTORY = ("directory", "location", "files")
MAIN = ("main",)
SERVER = ("main", "virtual host")
ANYWHERE = tuple(CONTEXTS)


@dataclass(frozen=True)
class Row:
    """A directive: where it may stand, and arguments that it takes and refuses; these with what is said about them."""

    contexts: tuple[str, ...]
    good: list[str]
    bad: dict[str, str] = field(default_factory=dict)
    override: str = ""
    """The word of AllowOverride that lets it into .htaccess."""
    ours: bool = False
    """mod_wsgi 6 has it not, or is not so strict about it."""
    idle: bool = False
    """It has no effect."""


FLAG = ["On", "off", "oN"]
NO_FLAG = {"": "missing", "yes": "On or Off", "1": "On or Off", "On Off": "too many", '""': "missing"}
NAME = ["name", "%{GLOBAL}", "%{SERVER}", "%{HOST}", "%{RESOURCE}", "%{ENV:NAME}", "%{OTHER}", '"a b"', "a\\\n  "]
NO_NAME = {"": "missing", '""': "missing", "a b": "too many"}
ONE_WORD = {"": "missing", "a b": "too many"}
ALIAS = [
    '"{0} y" "/y z.wsgi"',
    "'{0}' '/y.wsgi' application-group=a",
    '{0} /y.wsgi application-group="a b"',
    "{0} /y.wsgi application-group=%{{GLOBAL}} callable-object=app pass-authorization=On",
    "{0} /y.wsgi pass-authorization=oFf",
    "{0} \\\n    /y.wsgi",
]
NO_ALIAS = {
    "": "missing",
    "{0}": "missing",
    "{0} /y.wsgi /z": "/z",
    "{0} /y.wsgi unknown=1": "unknown",
    "{0} /y.wsgi Application-Group=a": "Application-Group",
    "{0} /y.wsgi application-group": "application-group",
    "{0} /y.wsgi application-group = a": "application-group",
    "{0} /y.wsgi callable-object=": "callable-object",
    "{0} /y.wsgi application-group=": "application-group",
    "{0} /y.wsgi pass-authorization=maybe": "pass-authorization",
    "{0} /y.wsgi pass-authorization=": "pass-authorization",
}


def flag(contexts=ANYWHERE, override="FileInfo", ours=False) -> Row:
    return Row(contexts, FLAG, NO_FLAG, override if contexts in (ANYWHERE, DIRECTORY) else "", ours)


def hook(contexts, override="") -> Row:
    good = ["/a.wsgi", "/a.wsgi application-group=a", '"/a b.wsgi" application-group=%{GLOBAL}']
    bad = {"": "missing", "/a.wsgi unknown=1": "unknown", "/a.wsgi application-group=": "application-group"}
    return Row(contexts, good, {**bad, "/a.wsgi /b": "/b"}, override)


def legacy(good: str, bad=None, contexts=MAIN, override="") -> Row:
    return Row(contexts, [good], ONE_WORD if bad is None else bad, override, ours=True, idle=True)


DIRECTIVES = {
    "WSGIAcceptMutex": Row(
        MAIN,
        ["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"],
        {**ONE_WORD, "spin": "flock"},
        ours=True,
        idle=True,
    ),
    "WSGIAccessScript": hook(DIRECTORY, "AuthConfig"),
    "WSGIApacheExtensions": legacy("On", NO_FLAG, ANYWHERE, "FileInfo"),
    "WSGIApplicationGroup": Row(ANYWHERE, NAME, NO_NAME),
    "WSGIAuthGroupScript": hook(DIRECTORY, "AuthConfig"),
    "WSGIAuthUserScript": hook(DIRECTORY, "AuthConfig"),
    "WSGICallableObject": Row(ANYWHERE, NAME, NO_NAME, "FileInfo"),
    "WSGICaseSensitivity": flag(MAIN),
    "WSGIChunkedRequest": flag(),
    "WSGIDaemonProcess": Row(SERVER, ["own threads=2"], {"": "missing", "own unknown=1": "unknown"}),
    "WSGIDestroyInterpreter": flag(MAIN),
    "WSGIDispatchScript": hook(ANYWHERE),
    "WSGIDontWriteBytecode": flag(MAIN),
    "WSGIEnableSendfile": flag(),
    "WSGIErrorOverride": flag(),
    "WSGIFreeThreading": flag(MAIN),
    "WSGIGracefulReload": flag(MAIN, ours=True),
    "WSGIGroupAuthoritative": legacy("Off", NO_FLAG, DIRECTORY, "AuthConfig"),
    "WSGIHandlerScript": Row(
        ANYWHERE,
        ["own /a.wsgi", "own '/a b.wsgi' process-group=%{GLOBAL} application-group=a pass-authorization=On"],
        {"": "missing", "own": "missing", "own /a.wsgi unknown=1": "unknown", "own /a callable-object=a": "callable"},
    ),
    "WSGIIgnoreActivity": flag(),
    "WSGIImportScript": Row(
        SERVER,
        ["/a.wsgi process-group=%{GLOBAL} application-group=a", "/a.wsgi application-group=a process-group=known"],
        {
            "": "missing",
            "/a.wsgi": "missing",
            "/a.wsgi process-group=%{GLOBAL}": "application-group",
            "/a.wsgi application-group=a": "process-group",
            "/a.wsgi process-group=%{GLOBAL} application-group=a unknown=1": "unknown",
        },
    ),
    "WSGIInterpreterLimit": Row(MAIN, ["0", "1", "50x"], {**ONE_WORD, "-1": "0 or greater", "x": "number"}, ours=True),
    "<WSGIInterpreterOptions": Row(
        MAIN,
        [">", "process-group=a>", "Application-Group=%{GLOBAL} PROCESS-GROUP='a b' >"],
        {
            "process-group=a": ">",
            "process-group=>": "no value",
            "process-group=a process-group=b>": "twice",
            "name=a>": "process-group and application-group",
            "process-group>": "name=value",
        },
        ours=True,
    ),
    "WSGILazyInitialization": legacy("On", NO_FLAG),
    "WSGIMapHEADToGET": Row(ANYWHERE, [*FLAG, "auto", "AUTO"], {**ONE_WORD, "maybe": "On, Off or Auto"}, "FileInfo"),
    "WSGINewRelicConfigFile": legacy("/a.ini"),
    "WSGINewRelicEnvironment": legacy("production"),
    "WSGIOutputBuffering": legacy("Off", NO_FLAG, ANYWHERE, "FileInfo"),
    "WSGIPassApacheRequest": flag(override=""),
    "WSGIPassAuthorization": flag(),
    "WSGIPerInterpreterGIL": Row(MAIN, ["Off"], NO_FLAG),
    "WSGIProcessGroup": Row(ANYWHERE, [*NAME, "known"], NO_NAME),
    "WSGIPy3kWarningFlag": legacy("On", NO_FLAG),
    "WSGIPython": Row(MAIN, ["/usr/bin/python3"], {**ONE_WORD, "python3": "absolute"}, ours=True),
    "WSGIPythonEggs": Row(MAIN, ["/eggs", "'/a b'"], ONE_WORD),
    "WSGIPythonExecutable": legacy("/usr/bin/python3"),
    "WSGIPythonHashSeed": Row(
        MAIN,
        ["random", "RANDOM", "0", "4294967295"],
        {**ONE_WORD, "4294967296": "4294967295", "-1": "random", "1x": "random", "+1": "random"},
    ),
    "WSGIPythonHome": Row(MAIN, ["/usr"], {**ONE_WORD, "usr": "absolute"}, ours=True),
    "WSGIPythonOptimize": Row(MAIN, ["0", "1", "2", "2x", "-1"], {**ONE_WORD, "x": "number"}, ours=True),
    "WSGIPythonPath": Row(MAIN, ["/a", "/a:/b", "'/a b'"], ONE_WORD),
    "WSGIPythonWarnings": Row(MAIN, ["default", "'error:a b:UserWarning'"], {**ONE_WORD, "a,b": "commas"}, ours=True),
    "WSGIReloadMechanism": legacy("Module", contexts=ANYWHERE, override="FileInfo"),
    "WSGIRestrictEmbedded": flag(MAIN),
    "WSGIRestrictProcess": Row(ANYWHERE, ["a", "%{GLOBAL}", "a 'b c' %{ENV:NAME}"], {"": "missing", '""': "missing"}),
    "WSGIRestrictSignal": flag(MAIN),
    "WSGIRestrictStdin": flag(MAIN),
    "WSGIRestrictStdout": flag(MAIN),
    "WSGIScriptAlias": Row(
        SERVER,
        [text.format("/x") for text in ALIAS],
        {text.format("/x"): says for text, says in NO_ALIAS.items()},
    ),
    "WSGIScriptAliasMatch": Row(
        SERVER,
        [*(text.format("^/x") for text in ALIAS), "^/x/(.*)$ /y/$1.wsgi application-group=a", "(?i)^/x /y.wsgi"],
        {**{text.format("^/x"): says for text, says in NO_ALIAS.items()}, "^/x( /y.wsgi": "regular expression"},
    ),
    "WSGIScriptReloading": flag(),
    "WSGIServerGroup": legacy("name", contexts=ANYWHERE),
    "WSGIServerMetrics": flag(MAIN),
    "WSGISlowRequests": Row(MAIN, ["0", "1", "1.5"], {**ONE_WORD, "-1": "0 or greater", "x": "seconds"}, ours=True),
    "WSGISocketPrefix": Row(MAIN, ["run/wsgi", "/run/wsgi"], ONE_WORD, ours=True, idle=True),
    "WSGISocketRotation": Row(MAIN, FLAG, NO_FLAG, ours=True, idle=True),
    "WSGISwitchInterval": Row(
        MAIN, ["0.001", "1"], {**ONE_WORD, "0": "greater than 0", "-1": "greater than 0", "1s": "greater than 0"}
    ),
    "WSGITelemetryOptions": Row(
        MAIN,
        ["None", "all", "CaptureUserAgent", "+captureuseragent", "-CaptureUserAgent"],
        {"": "missing", "Other": "CaptureUserAgent", "+None": "CaptureUserAgent", "CaptureUserAgent +All": "known"},
        ours=True,
        idle=True,
    ),
    "WSGITelemetryService": Row(
        MAIN,
        ["unix:/run/telemetry", "unix:/run/telemetry interval=0.5"],
        {"": "missing", "udp:localhost": "unix:", "unix:/x interval=0.1": "0.5", "unix:/x other=1": "interval"},
        ours=True,
        idle=True,
    ),
    "WSGITrustedProxies": Row(
        ANYWHERE,
        ["127.0.0.1", "10.0.0.0/8 192.168.0.0/255.255.0.0 10.1", "::1 2001:db8::/32"],
        {"": "missing", "localhost": "localhost", "10.0.0.0/99": "10.0.0.0/99"},
        "FileInfo",
    ),
    "WSGITrustedProxyHeaders": Row(
        ANYWHERE,
        ["X-Forwarded-For", "X-Forwarded-For X-Forwarded-Host x-forwarded-proto"],
        {"": "missing", "X-Forwarded-For: X": "X-Forwarded-For:"},
        "FileInfo",
        ours=True,
    ),
    "WSGIUserAuthoritative": legacy("Off", NO_FLAG, DIRECTORY, "AuthConfig"),
    "WSGIVerboseDebugging": Row(MAIN, FLAG, NO_FLAG, ours=True, idle=True),
}
"""All of them."""

NAMES = [
    pytest.param(name, marks=differs("has it not, or accepts more") if row.ours else (), id=name.lstrip("<"))
    for name, row in DIRECTIVES.items()
]


def line(name: str, arguments: str) -> str:
    """A directive, with the end of its section if it is one."""
    end = f"\n</{name[1:]}>" if name.startswith("<") else ""
    return f"{name} {arguments}{end}"


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


@pytest.mark.parametrize("name", NAMES)
def test_accepted(new_httpd, name):
    """Configtest takes all that is right, in every context where the directive may stand, its name in any case."""
    row = DIRECTIVES[name]
    lines = [line(name, arguments) for arguments in row.good]
    config = [CONTEXTS[context].format("\n".join(lines)) for context in row.contexts]
    if name in ("WSGIDaemonProcess", "WSGIImportScript"):  # groups are defined once, and before they are named
        config = config[:1]
    config.append(CONTEXTS[row.contexts[0]].format(lines[0].replace(name, name.lower())) if len(config) > 1 else "")
    accepts(new_httpd("WSGIDaemonProcess known\n" + "\n".join(config) + "\n"))


@pytest.mark.parametrize(
    ("name", "context"),
    [
        pytest.param(name, context, marks=differs("has it not") if row.ours else (), id=f"{name.lstrip('<')}-{context}")
        for name, row in DIRECTIVES.items()
        for context in CONTEXTS
        if context not in row.contexts and context not in ("location", "files")
    ],
)
def test_wrong_context(new_httpd, name, context):
    """Configtest refuses it where it may not stand."""
    refuses(new_httpd(CONTEXTS[context].format(line(name, DIRECTIVES[name].good[0]))), name)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param(name, arguments, marks=differs("is not so strict") if row.ours else ())
        for name, row in DIRECTIVES.items()
        for arguments in row.bad
    ],
)
def test_refused(new_httpd, name, arguments):
    """Configtest refuses what is wrong and says what it is."""
    row = DIRECTIVES[name]
    context = CONTEXTS[row.contexts[0]]
    refuses(new_httpd(context.format(line(name, arguments)) + "\n"), name.lstrip("<"), row.bad[arguments])


@pytest.mark.parametrize(
    "text",
    [
        "<IfModule mod_wsgi.c>\nWSGIApplicationGroup a\n</IfModule>",
        "<IfModule wsgi_module>\nWSGIApplicationGroup a\n</IfModule>",
        "<IfModule !mod_wsgi.c>\nWSGINothing\n</IfModule>",
        "LogLevel wsgi:debug",
        "SetHandler wsgi-script",
    ],
)
def test_accepted_around(new_httpd, text):
    """httpd's own directives know the module."""
    accepts(new_httpd(text))


@pytest.mark.parametrize("name", ["WSGILazyInitialization2", "WSGINoSuchDirective"])
def test_unknown(new_httpd, name):
    """A directive that nobody knows."""
    refuses(new_httpd(f"{name} On"), name)


@differs("takes anything inside")
@pytest.mark.parametrize("name", ["WSGIRestrictEmbedded", "WSGIPythonHome", "ServerName", "<Directory /x>"])
def test_section_holds_its_own_only(new_httpd, name):
    """<WSGIInterpreterOptions> refuses all directives but those that it is for, and says which those are."""
    end = f"\n</{name[1:].split()[0]}>" if name.startswith("<") else " On"
    config = f"<WSGIInterpreterOptions>\n{name}{end}\n</WSGIInterpreterOptions>\n"
    refuses(new_httpd(config), name.split()[0], "WSGIPerInterpreterGIL")
    scoped = "WSGIPythonPath /x\nwsgiswitchinterval 1\nWSGIRestrictStdin On\nWSGIRestrictStdout On\n"
    scoped += "WSGIRestrictSignal Off\nWSGIPerInterpreterGIL Off\nWSGIFreeThreading Off\n"
    accepts(new_httpd(f"<WSGIInterpreterOptions>\n{scoped}</WSGIInterpreterOptions>\n"))
    refuses(new_httpd("<WSGIInterpreterOptions>\nWSGIRestrictStdin maybe\n</WSGIInterpreterOptions>\n"), "On or Off")


LEGACY = [name for name, row in DIRECTIVES.items() if row.idle]


@differs("has some of them, and refuses the others")
@pytest.mark.parametrize("name", LEGACY)
def test_without_effect(new_httpd, name):
    """What does nothing here is accepted, and said once, under httpd's own LogLevel too."""
    row = DIRECTIVES[name]
    text = CONTEXTS[row.contexts[-1]].format(f"{name} {row.good[0]}")
    host = "<VirtualHost *:${PORT}>\nServerName other\n</VirtualHost>\n"
    run = new_httpd(f"LogLevel warn\n{text}\n{text}\n{host}").check()
    assert run.returncode == 0, run.stderr
    assert run.stderr.count(f"WSGI0163: {name} has no effect") == 1


@differs("has no such page")
def test_page(new_httpd):
    """docs/directives.md holds what the module says of its directives, and these tests have a row for each."""
    httpd = new_httpd("")
    command = [*httpd.command("-t"), "-D", "DUMP_WSGI_DIRECTIVES"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == PAGE.read_text(), "run script/docs"
    names = re.findall(r"^\| `(<?WSGI\w+)>?` \|", run.stdout, re.MULTILINE)
    assert sorted(names) == sorted(DIRECTIVES)
    for row in re.findall(r"^\| `(<?WSGI\w+)>?` \|.*? \|.*? \| ([^|]*) \| (\w*) \| \S", run.stdout, re.MULTILINE):
        name, contexts, override = row
        expected = [context for context in DIRECTIVES[name].contexts if context not in ("location", "files")]
        expected += [".htaccess"] if DIRECTIVES[name].override else []
        assert (contexts, override.strip()) == (", ".join(expected), DIRECTIVES[name].override), name


def test_restart_refuses(start_httpd):
    """A configuration that became wrong is seen by configtest while the server runs on."""
    httpd = start_httpd("WSGIScriptAlias / ${APPS}/hello.py\n")
    httpd.configure("WSGIPassAuthorization perhaps\n")
    refuses(httpd, "WSGIPassAuthorization")
    assert httpd.get("/").status == 200


OVERRIDES = """
Alias /FileInfo ${ROOT}/FileInfo
Alias /AuthConfig ${ROOT}/AuthConfig
<Directory ${ROOT}/FileInfo>
    AllowOverride FileInfo
</Directory>
<Directory ${ROOT}/AuthConfig>
    AllowOverride AuthConfig
</Directory>
"""


@differs("has not all of them")
def test_htaccess(start_httpd):
    """Each directive may stand in .htaccess under its own word of AllowOverride, if it has one, and nowhere else."""
    httpd = start_httpd(OVERRIDES)
    for name, row in DIRECTIVES.items():
        for word in ("FileInfo", "AuthConfig"):
            httpd.write(f"{word}/page.html", "page")
            httpd.write(f"{word}/.htaccess", line(name, row.good[0]) + "\n")
            reply = httpd.get(f"/{word}/page.html")
            if name == "WSGIAccessScript" and word == row.override:
                assert reply.status == 403  # it is asked, and there is no such file
                httpd.log.expect("WSGI0191")
            elif word == row.override:
                assert reply.body == b"page", (name, reply)
            else:
                assert reply.status == 500, name
                httpd.log.expect(f"{re.escape(name)} not allowed here")
