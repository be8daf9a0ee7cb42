"""An application that gets at the queue in its daemon and answers as no daemon would: it harms nobody but itself."""

import json
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from client import COMPLETE, wait_for
from httpd import child_user, descriptors
from shop import prepare, sockets

pytestmark = [pytest.mark.modes("daemon"), pytest.mark.differs("its daemons are others")]

CONFIG = """
SetEnvIf Request_URI . test.folder=${ROOT}/traces
WSGIDaemonProcess hostile threads=1 socket-timeout=60
WSGIScriptAlias /hostile ${APPS}/hostile.py process-group=hostile application-group=%{GLOBAL}
WSGIDaemonProcess silent threads=1 socket-timeout=1
WSGIScriptAlias /silent ${APPS}/hostile.py process-group=silent application-group=%{GLOBAL}
WSGIDaemonProcess honest threads=2
WSGIScriptAlias /honest ${APPS}/hostile.py process-group=honest application-group=%{GLOBAL}
"""


def victim(httpd, trick: str, group: str = "hostile", target: str = "", method: str = "GET"):
    """The reply to a request that the application of `group` took from the queue, to do `trick` to it."""
    with ExitStack() as stack:
        thief = stack.enter_context(httpd.connect())
        thief.send_head("GET", f"/{group}/{trick}")
        trace = httpd.root / f"traces/begun-{trick}"
        wait_for(trace.exists, "the thief")
        trace.unlink()
        reply = httpd.request(method, target or f"/{group}/pid", body=b"body" if method == "POST" else b"")
        assert thief.reply().status in (200, 504)
    return reply


@pytest.fixture
def unharmed(httpd):
    """httpd's children are the same afterwards, have no descriptors left over, and serve."""
    # A daemon may take longer than that to start, or to answer.
    httpd.log.allow("WSGI0141: process group silent: no answer within socket-timeout")
    for group in ("hostile", "silent", "honest"):
        wait_for(lambda group=group: httpd.get(f"/{group}/pid").status == 200, "service")
    before = {pid: descriptors(pid) for pid in httpd.children()}
    yield
    for group in ("hostile", "silent", "honest"):
        wait_for(lambda group=group: httpd.get(f"/{group}/pid").status == 200, "service")
    assert set(httpd.children()) >= set(before)
    for pid, files in before.items():
        # Reply pairs that are kept, and a connection that is being closed.
        wait_for(lambda pid=pid, files=files: len(descriptors(pid)) <= len(files) + 6, "descriptors to be closed")


LARGE = bytes(range(256)) * 4096
JUNK = "unknown kind of frame|unknown flags of a frame"
LENGTH = "length of a frame is out of bounds"
NONCE = "frame of another request"
HEADLESS = "reply without a head"
FILE = "sent a descriptor that is not the regular file it should be"
HEADER = "header that may not be sent"

# The trick, and what the log says of it: at once, and after a part of the reply (empty: it makes no sense then).
TRICKS = [
    ("close", "the daemon ended before it had answered", "ended"),
    ("zeros", JUNK, JUNK),
    ("ones", JUNK, JUNK),
    ("http", f"{JUNK}|{LENGTH}", f"{JUNK}|{LENGTH}"),
    ("half", "the daemon ended before it had answered", "ended"),
    ("wrong_nonce", NONCE, NONCE),
    ("no_nonce", NONCE, NONCE),
    ("huge", LENGTH, LENGTH),
    ("huge_head", LENGTH, LENGTH),
    ("huge_log", LENGTH, LENGTH),
    ("empty_head", LENGTH, LENGTH),
    ("empty_data", LENGTH, LENGTH),
    ("end_with_contents", LENGTH, LENGTH),
    ("end_first", HEADLESS, ""),
    ("data_first", HEADLESS, ""),
    ("truncated_first", HEADLESS, ""),
    ("started_twice", "started twice", "started twice"),
    ("retry_late", "retry of a request that has begun", "started twice"),
    ("want_body", "asks for a body that is not there", "asks for a body that is not there"),
    ("second_head", "a second head", "a second head"),
    ("refused_late", "refused after the head", "a second head"),
    ("refused_200", "refused with a status that is no error", "refused after the head"),
    ("refused_999", "refused with a status that is no error", "refused after the head"),
    ("head_99", "status out of bounds", "a second head"),
    ("head_100", "status out of bounds", ""),
    ("head_short", "message ends within a field", ""),
    ("head_long", "message goes on after its last field", ""),
    ("head_many", "", ""),
    ("head_lines", HEADER, ""),
    ("head_name", HEADER, ""),
    ("head_no_name", HEADER, ""),
    ("head_nul", HEADER, ""),
    ("head_chunked", HEADER, ""),
    ("head_upgrade", HEADER, ""),
    ("head_length", HEADER, ""),
    ("reason_lines", "reason that may not be sent", ""),
    ("excess", "sent more than its Content-Length", ""),
    ("surplus", "sent more descriptors than it may", "sent more descriptors than it may"),
    ("hundred", "sent more descriptors than it may", "sent more descriptors than it may"),
    ("file_missing", "named a file that did not come", "a second head"),
    ("file_pipe", FILE, ""),
    ("file_folder", FILE, ""),
    ("file_device", FILE, ""),
    ("file_socket", FILE, ""),
    ("file_beyond", FILE, ""),
    ("file_overflow", "part of a file out of bounds", ""),
    ("file_first", HEADLESS, ""),
]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(("trick", "reason"), [(name, reason) for name, reason, _ in TRICKS])
def test_before_head(httpd, trick, reason):
    """502 and an error; nothing of what the daemon said reaches the client."""
    reply = victim(httpd, trick)
    assert (reply.status, reply.end) == (502, COMPLETE)
    assert not reply.all("X-Hostile") + reply.all("A") + reply.all("Set-Cookie")
    (record,) = httpd.log.expect(f"WSGI0141: process group hostile: .*({reason})")
    assert (record.level, bool(record.client)) == ("error", True)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(("trick", "reason"), [(name, reason) for name, _, reason in TRICKS if reason])
def test_after_head(httpd, trick, reason):
    """The client's connection is cut, and an error says why."""
    reply = victim(httpd, f"late_{trick}")
    assert (reply.status, reply.body) == (200, b"begun")
    assert reply.end != COMPLETE
    (record,) = httpd.log.expect(f"WSGI0143: process group hostile: the reply is cut short: .*({reason})")
    assert record.level == "error"


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("trick", ["foreign_end", "two_ends", "kept_end", "after_end"])
def test_after_end(httpd, trick):
    """Whatever comes after a whole reply does no harm to it, and not to requests of others."""
    reply = victim(httpd, trick)
    assert (reply.status, reply.body, reply.end) == (200, b"ok", COMPLETE)
    httpd.log.allow(f"WSGI014[13]: process group hostile: .*({NONCE}|went on after the end)")
    for _ in range(3):
        assert httpd.get("/honest/pid").status == 200


NOT_PUT = "has not put into the pipe what it said"


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        ("piped_nothing", NOT_PUT),
        ("late_piped_more", NOT_PUT),
        ("piped_less", NOT_PUT),
        ("piped_zero", "length of what is in the pipe is out of bounds"),
        ("piped_much", "length of what is in the pipe is out of bounds"),
        ("piped_first", HEADLESS),
    ],
)
def test_pipe(httpd, trick, reason):
    """What is said to be in the pipe and is not there is not waited for."""
    # After a long reply httpd gives pipes to daemons.
    assert httpd.get("/hostile/long").status == 200
    reply = victim(httpd, trick)
    assert reply.status == 502 or reply.end != COMPLETE
    httpd.log.expect(f"WSGI014[13]: process group hostile: .*({reason})")


@pytest.mark.usefixtures("unharmed")
def test_rest_in_pipe(httpd):
    """What is left in the pipe is nobody's."""
    for _ in range(3):
        long = httpd.get("/hostile/long").body
        assert victim(httpd, "piped_excess").status == 200
        assert httpd.get("/hostile/long").body == long
        assert httpd.get("/honest/pid").status == 200


@pytest.mark.usefixtures("unharmed")
def test_large_head(httpd):
    """A head as large as may be is passed on."""
    reply = victim(httpd, "large_head")
    assert (reply.status, len(reply.header("A119"))) == (200, 8000)


@pytest.mark.usefixtures("unharmed")
def test_descriptors_within_a_large_frame(httpd):
    """They are closed, and the reply is whole."""
    reply = victim(httpd, "large_files")
    assert (reply.status, reply.body, reply.end) == (200, LARGE, COMPLETE)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("trick", "reason"),
    [("large_half", "ended"), ("large_excess", "sent more than its Content-Length"), ("large_junk", JUNK)],
)
def test_large_frame(httpd, trick, reason):
    """What came of it before is the client's, and then its connection is cut."""
    reply = victim(httpd, trick)
    assert reply.status == 200
    assert LARGE.startswith(reply.body)
    assert reply.end != COMPLETE
    httpd.log.expect(f"WSGI0143: process group hostile: the reply is cut short: .*({reason})")


@pytest.mark.usefixtures("unharmed")
def test_silence(httpd):
    """A daemon that took a request and says nothing: 504 after socket-timeout."""
    assert victim(httpd, "silent", "silent").status == 504
    # The thief waits as well, and may be too late, too.
    httpd.log.expect("WSGI0141: process group silent: no answer within socket-timeout")


@pytest.mark.usefixtures("unharmed")
def test_retries(httpd):
    """A daemon that hands a request back again and again: 503 in the end."""
    reply = victim(httpd, "retries")
    assert (reply.status, reply.header("Retry-After") is not None) == (503, True)
    httpd.log.allow("WSGI0142: process group hostile")


@pytest.mark.usefixtures("unharmed")
def test_body_asked_twice(httpd):
    """A body that came with the request is not there to be asked for."""
    assert victim(httpd, "want_body", method="POST").status == 502
    httpd.log.expect("WSGI0141: .*asks for a body that is not there")


def test_junk_for_supervisor(httpd):
    """A daemon that sends junk to the supervisor is killed; the supervisor lives."""
    (supervisor,) = httpd.supervisors()
    assert httpd.get("/hostile/others").status == 502
    httpd.log.expect("WSGI0720: group 'hostile': daemon process .* sent a message that the supervisor does not know")
    httpd.log.expect("WSGI0141")
    httpd.log.allow("WSGI0524|WSGI071[035]|WSGI0142")
    assert httpd.get("/honest/pid").status == 200
    wait_for(lambda: httpd.get("/hostile/pid").status == 200, "service")
    assert httpd.supervisors() == [supervisor]


def test_false_numbers(httpd):
    """The page where a daemon counts its requests cannot be cut; what stands there is only shown."""
    (supervisor,) = httpd.supervisors()
    pid = int(httpd.get("/hostile/pid").text)
    assert httpd.get("/hostile/numbers").status == 502
    httpd.log.expect(f"WSGI0710: group 'hostile': daemon process {pid} ended by itself with exit code 1")
    httpd.log.expect("WSGI0141")
    httpd.log.allow("WSGI071[35]|WSGI0142")
    wait_for(lambda: httpd.get("/hostile/pid").status == 200, "service")
    assert httpd.supervisors() == [supervisor]


def test_queue_shut(start_httpd):
    """A daemon that shuts its group's queue: 503 for that group, until a graceful restart makes a new one."""
    httpd = start_httpd(CONFIG, prepare)
    (supervisor,) = httpd.supervisors()
    assert httpd.get("/hostile/queue").status == 200
    httpd.log.expect("WSGI0713: group 'hostile'")
    reply = httpd.get("/hostile/pid")
    assert (reply.status, reply.header("Retry-After") is not None) == (503, True)
    assert httpd.get("/honest/pid").status == 200
    httpd.log.allow("WSGI0504|WSGI0142|WSGI0522|WSGI071[035]")
    httpd.graceful()
    wait_for(lambda: httpd.get("/hostile/pid").status == 200, "service")
    assert httpd.supervisors() == [supervisor]


OTHERS = """
WSGIDaemonProcess one user=daemon
WSGIScriptAlias /one ${APPS}/hostile.py process-group=one application-group=%{GLOBAL}
WSGIDaemonProcess two user=nobody
WSGIScriptAlias /two ${APPS}/hostile.py process-group=two application-group=%{GLOBAL}
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root chooses users")
def test_other_users(start_httpd):
    """Groups of different users share no socket, and none can get at the other's, the supervisor's or httpd's."""
    httpd = start_httpd(OTHERS)
    pids = {name: int(httpd.get(f"/{name}/pid").text) for name in ("one", "two")}
    own = {name: set(sockets(pid)) for name, pid in pids.items()}
    assert min(map(len, own.values())) >= 2
    assert not own["one"] & own["two"]
    assert child_user() not in ("daemon", "nobody")
    others = {*httpd.pids(), pids["two"]} - {pids["one"]}
    told = json.loads(httpd.get(f"/one/reach?{','.join(map(str, [pids['one'], *others]))}").body)
    assert "copies" in told.pop(str(pids["one"]))  # of its own it can, so that the others are no accident
    assert len(told) >= 5
    assert set(map(tuple, told.values())) == {()}
    folder = f"/proc/{httpd.children()[0]}/fd"
    # A connection may be closed meanwhile; the page stays.
    (page, *_) = [entry for entry in Path(folder).iterdir() if "wsgi-status" in os.path.realpath(entry)]
    # For children to read, and not to open once more.
    assert (page.stat().st_uid, page.stat().st_mode & 0o777) == (0, 0o600)
    for path in httpd.root.rglob("*"):
        if path.is_socket():  # administrators' way to the supervisor
            assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (0, 0), path
