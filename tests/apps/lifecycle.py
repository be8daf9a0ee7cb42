"""Leaves traces in the folder that its environment variable names when it ends, and does what PATH_INFO names."""

import atexit
import os
import threading
import time
from pathlib import Path

import mod_wsgi

group = mod_wsgi.application_group or "main"
folder: Path | None = None


def trace(name):
    (folder / f"{name}.{group}.{os.getpid()}.{time.monotonic_ns()}").touch()


def application(environ, start_response):
    global folder
    folder = Path(environ["test.folder"])
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def answer(start_response, text="ok"):
    body = str(text).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def pid(environ, start_response):
    return answer(start_response, os.getpid())


def at_exit(environ, start_response):
    atexit.register(trace, "atexit")
    return answer(start_response, os.getpid())


def at_exit_raises(environ, start_response):
    atexit.register(trace, "atexit")
    atexit.register(lambda: 1 / 0)
    return answer(start_response)


def at_exit_prints(environ, start_response):
    atexit.register(lambda: print("printed at exit"))
    return answer(start_response)


def shutdown(environ, start_response):
    mod_wsgi.subscribe_shutdown(lambda name, **_: trace(name))
    return answer(start_response)


def daemon_thread(environ, start_response):
    threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
    atexit.register(trace, "atexit")
    return answer(start_response)


def busy_daemon_thread(environ, start_response):
    """A thread that is always inside Python."""

    def spin():
        while True:
            sum(range(1000))

    threading.Thread(target=spin, daemon=True).start()
    atexit.register(trace, "atexit")
    return answer(start_response, os.getpid())


def thread(environ, start_response):
    """A thread that takes a while to end; threads made in a request are daemons unless they say otherwise."""

    def work():
        time.sleep(0.7)
        trace("thread")

    threading.Thread(target=work, daemon=False).start()
    return answer(start_response)


def endless_thread(environ, start_response):
    """A thread that is no daemon and never ends."""
    threading.Thread(target=lambda: time.sleep(1000), daemon=False).start()
    return answer(start_response)


def stuck(environ, start_response):
    """A request that does not end by itself."""
    trace("begun")
    time.sleep(1000)


def spinning(environ, start_response):
    """A request that keeps Python busy for ever."""
    trace("begun")
    while True:
        sum(range(1000))


def waiting(environ, start_response):
    """A request that ends when the test says so, and is answered whole."""
    trace("begun")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first "
    while not (folder / "go").exists():
        time.sleep(0.01)
    yield b"last"


def fork(environ, start_response):
    """A child of the application that ends by itself must not disturb the server."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return answer(start_response)
