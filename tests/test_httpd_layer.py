"""src/httpd with another module on it than mod_wsgi.so: one that panics. (tests/module; script/test builds it)"""

import re
from pathlib import Path

import pytest

from client import wait_for

MODULE = Path(__file__).parent.parent / "target/test/mod_panicking.so"

pytestmark = [
    pytest.mark.modes("embedded"),
    pytest.mark.differs("it has no such layer"),
]


def config(phase: str = "nowhere") -> str:
    return f"""
    LoadModule panicking_module ${{ROOT}}/mod_panicking.so
    LoadModule authn_core_module ${{MODULES}}/mod_authn_core.so
    LoadModule authz_user_module ${{MODULES}}/mod_authz_user.so
    LoadModule auth_basic_module ${{MODULES}}/mod_auth_basic.so
    LoadModule auth_digest_module ${{MODULES}}/mod_auth_digest.so
    TestPanic {phase}
    <LocationMatch "^/(check_password|check_groups)$">
        AuthType Basic
        AuthName tests
        AuthBasicProvider panicking
        Require panicking-group any
    </LocationMatch>
    <Location /realm_hash>
        AuthType Digest
        AuthName tests
        AuthDigestProvider panicking
        Require valid-user
    </Location>
    """


def prepare(httpd) -> None:
    # httpd's children may not be able to read the folder that it was built in.
    copy = httpd.root / "mod_panicking.so"
    copy.write_bytes(MODULE.read_bytes())
    copy.chmod(0o755)
    page = httpd.root / "htdocs/index.html"
    page.write_text("a page")
    page.chmod(0o644)


BASIC = {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}
DIGEST = (
    'Digest username="user", realm="tests", nonce="{nonce}", uri="/realm_hash", response="{response}", '
    'algorithm=MD5, qop=auth, nc=00000001, cnonce="0"'
)


def digest(httpd) -> dict[str, str]:
    """An answer to the challenge of Digest authentication."""
    challenge = httpd.get("/realm_hash").header("WWW-Authenticate")
    nonce = re.search(r'nonce="([^"]+)"', challenge)[1]
    return {"Authorization": DIGEST.format(nonce=nonce, response="0" * 32)}


@pytest.mark.mpms("event", "prefork")
@pytest.mark.parametrize(
    ("phase", "headers", "status", "code"),
    [
        ("translate_name", {}, 500, "WSGI0102"),
        ("check_access", {}, 500, "WSGI0199"),
        ("check_password", BASIC, 500, "WSGI0199"),
        ("check_groups", BASIC, 401, "WSGI0199"),
        ("realm_hash", None, 500, "WSGI0199"),
        ("handler", {}, 500, "WSGI0102"),
    ],
)
def test_request(start_httpd, phase, headers, status, code):
    """A panic costs its request, says where it was, lets nobody in, and the child lives."""
    httpd = start_httpd(config(), prepare)
    children = set(httpd.children())
    for _ in range(3):
        assert httpd.get(f"/{phase}", digest(httpd) if headers is None else headers).status == status
    for record in httpd.log.expect(f"{code}: .*panicked at .*panicking.rs:[0-9]+:[0-9]+: as told in {phase}", 3):
        assert (record.level, bool(record.client)) == ("error", True)
    assert httpd.get("/index.html").body == b"a page"
    assert children <= set(httpd.children())
    httpd.log.allow("AH0")  # what httpd makes of the answer


def test_cleanup(start_httpd):
    """A value that panics when its pool drops it does no harm."""
    httpd = start_httpd(config(), prepare)
    children = set(httpd.children())
    for _ in range(3):
        assert httpd.get("/cleanup").status == 404
        assert httpd.get("/index.html").body == b"a page"
    assert children <= set(httpd.children())
    httpd.log.allow("panicked at .*as told in a cleanup")


@pytest.mark.parametrize("phase", ["directive", "check_config", "post_config"])
def test_configuration(new_httpd, phase):
    """A panic over the configuration is a refusal with a reason."""
    httpd = new_httpd(config(phase))
    prepare(httpd)
    with pytest.raises(AssertionError, match=f"(?s)did not start.*as told in {phase}"):
        httpd.start()
    wait_for(lambda: not httpd.pids(), "nothing to be left")


def test_child_init(start_httpd):
    """A child that could not be set up serves what needs nothing of it."""
    httpd = start_httpd(config("child_init"), prepare)
    httpd.log.expect("WSGI0101: .*as told in child_init")
    assert httpd.get("/index.html").body == b"a page"


def test_monitor(start_httpd):
    """The parent lives on."""
    httpd = start_httpd(config("monitor"), prepare)
    httpd.log.expect("WSGI0105: .*as told in monitor")
    assert httpd.get("/index.html").body == b"a page"
    httpd.log.allow("panicked at|as told in|RUST_BACKTRACE")
