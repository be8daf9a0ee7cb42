"""The Python host when it panics: the request is answered 500, the log says where, and the process lives.

tests/module: script/test builds a host that panics while there is a file `panic` beside it.
"""

import shutil
from pathlib import Path

import pytest

from httpd import Httpd, running

HOST = Path(__file__).parent.parent / "target/test/panicking_host.so"

pytestmark = [
    pytest.mark.differs("it has no such host"),
    pytest.mark.mpms("event"),  # one process has all requests
]

APPLICATION = """\
import os
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
def allow_access(environ, host):
    return True
"""

CONFIG = """
WSGIScriptAlias /one ${ROOT}/one.py application-group=first
WSGIScriptAlias /two ${ROOT}/two.py application-group=first
WSGIScriptAlias /three ${ROOT}/one.py application-group=other
<Location /asked>
    WSGIAccessScript ${ROOT}/one.py application-group=asked
</Location>
"""

PLACE = r"WSGI0390: internal error in the Python host at .*/panicking_host\.rs:[0-9]+:[0-9]+: as told"


@pytest.fixture
def httpd(setup):
    """A server with that host, which does not panic yet; its `panic` says whether it does."""
    server = Httpd(setup)
    folder = server.root / "modules/mod_wsgi"
    folder.mkdir(parents=True)
    shutil.copy(setup.module, folder.parent)
    shutil.copy(setup.module.parent / "mod_wsgi/wsgid", folder)
    shutil.copy(HOST, folder / "wsgi_host.abi3.so")
    server.setup = type(setup)(folder.parent / setup.module.name, setup.mpm, setup.python, mode=setup.mode)
    server.configure(CONFIG)
    for name in ("one.py", "two.py"):
        server.write(name, APPLICATION)
    server.panic = folder / "panic"
    with running(server) as httpd:
        yield httpd


@pytest.mark.parametrize("target", ["/two", "/three"])
def test_request(httpd, target):
    """While a script is loaded (`/two`), and while an interpreter is made (`/three`)."""
    pid = httpd.get("/one").body
    httpd.panic.touch()
    assert httpd.get(target).status == 500
    assert httpd.get("/one").body == pid, "what is there already goes on"
    assert httpd.get(target).status == 500
    httpd.panic.unlink()
    assert (httpd.get(target).status, httpd.get(target).body) == (200, pid)
    assert len(httpd.log.expect(PLACE, 2)) == 2
    httpd.log.allow("WSGI0410: .* internal error, see above")


@pytest.mark.modes("embedded")
def test_question(httpd):
    """While a script is asked about a request: who may come in is not known, so nobody may."""
    httpd.panic.touch()
    assert httpd.get("/asked").status == 403
    httpd.panic.unlink()
    assert httpd.get("/asked").status == 404
    httpd.log.expect(PLACE)
    httpd.log.expect('WSGI0410: .* application group "asked": internal error, see above')
