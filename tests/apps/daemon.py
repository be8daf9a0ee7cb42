"""Runs in daemons: says how its process is, and misbehaves as PATH_INFO names."""

import array
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import mod_wsgi


def application(environ, start_response):
    name, _, argument = environ["PATH_INFO"].strip("/").partition("/")
    return globals()[name](environ, start_response, argument)


def answer(start_response, body, headers=()):
    data = body if isinstance(body, bytes) else str(body).encode()
    start_response("200 OK", [("Content-Length", str(len(data))), *headers])
    return [data]


def pid(environ, start_response, _):
    return answer(start_response, os.getpid())


def descriptors() -> dict:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:
            continue  # the one that the folder was read by
    return found


def about(environ, start_response, _):
    """The process, as JSON."""
    mask = os.umask(0)
    os.umask(mask)
    told = {
        "pid": os.getpid(),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": os.getgroups(),
        "environ": dict(os.environ),
        "cwd": str(Path.cwd()),
        "umask": mask,
        "version": sys.version_info[:3],
        "prefix": sys.prefix,
        "path": sys.path,
        "descriptors": descriptors(),
        "process_group": mod_wsgi.process_group,
        "environ_group": environ["mod_wsgi.process_group"],
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
        "status": Path("/proc/self/status").read_text(),
    }
    return answer(start_response, json.dumps(told))


def long(environ, start_response, argument):
    """SIZE/SEED: bytes that are different everywhere, and for each seed."""
    size, seed = map(int, argument.removeprefix("gzip/").split("/"))
    return answer(start_response, array.array("I", range(seed, seed + size // 4)).tobytes())


def kill(environ, start_response, name):
    """Dies before it has answered."""
    os.kill(os.getpid(), signal.Signals[name])
    time.sleep(20)


def leave(environ, start_response, code):
    os._exit(int(code))


def kill_late(environ, start_response, how):
    """Dies in mid-reply."""
    start_response("200 OK", [("Content-Length", "1000000")] if how == "length" else [])
    yield b"first block"
    time.sleep(0.05)  # so that httpd has passed it on
    os.kill(os.getpid(), signal.SIGKILL)


def trace(environ, name):
    (Path(environ["test.folder"]) / f"{name}.{os.getpid()}.{threading.get_ident()}.{time.monotonic_ns()}").touch()


def wait(environ, start_response, name):
    """Waits until the file of that name is there."""
    trace(environ, f"begun-{name}")
    while not (Path(environ["test.folder"]) / name).exists():
        time.sleep(0.005)
    return answer(start_response, os.getpid())


def ran(environ, start_response, name):
    """Leaves a trace that it was run."""
    trace(environ, f"ran-{name}")
    return answer(start_response, os.getpid())


def sleep(environ, start_response, seconds):
    """A block at once, the other after that time."""
    start_response("200 OK", [])
    yield b"first "
    time.sleep(float(seconds))
    yield b"last"


def stuck(environ, start_response, _):
    trace(environ, "begun-stuck")
    while True:
        time.sleep(1)


def spinning(environ, start_response, _):
    trace(environ, "begun-spinning")
    while True:
        pass


def spin_late(environ, start_response, _):
    """The same in mid-reply."""
    start_response("200 OK", [])
    yield b"first "
    while True:
        pass


def patient(environ, start_response, _):
    """Catches what ends it."""
    try:
        while True:
            pass
    except mod_wsgi.RequestTimeout as error:
        return answer(start_response, f"caught {type(error).__name__}")


def asleep(environ, start_response, _):
    """Waits in one piece, outside Python."""
    time.sleep(60)


def holding(environ, start_response, _):
    """Holds the GIL for good."""
    trace(environ, "begun-holding")
    ctypes.PyDLL(None).sleep(1000)


def length(environ, start_response, _):
    return answer(start_response, len(environ["wsgi.input"].read()))


def buffers(environ, start_response, _):
    """Sizes of the send buffers of the sockets that replies go to."""
    sizes = []
    for name, target in descriptors().items():
        if target.startswith("socket:") and int(name) > 2:
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.type == socket.SOCK_STREAM:
                    sizes.append(one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
    return answer(start_response, json.dumps(sizes))


def header(environ, start_response, size):
    """A header of that many bytes."""
    return answer(start_response, "ok", [("X-Long", "x" * int(size))])


def flood(environ, start_response, _):
    """More than any buffers hold."""
    start_response("200 OK", [])
    for _ in range(1000):
        yield bytes(100_000)


def fork(environ, start_response, how):
    """Forks; the child comes back into the server."""
    start_response("200 OK", [])
    yield b"one "
    if os.fork() == 0:
        if how == "raises":
            raise RuntimeError("in the child")
        if how == "yields":
            yield b"of the child "
        return
    time.sleep(0.1)
    yield b"two"


def junk(environ, start_response, how):
    """Writes to the socket that the server's thread answers by."""
    sockets = [int(name) for name, target in descriptors().items() if target.startswith("socket:") and int(name) > 2]
    data = {"zeros": bytes(4096), "ones": b"\xff" * 4096, "text": b"HTTP/1.1 200 OK\r\n\r\n" * 100}[how]
    for fd in sockets:
        with socket.socket(fileno=os.dup(fd)) as one:
            if one.type == socket.SOCK_STREAM:
                one.send(data)
    return answer(start_response, "ok")
