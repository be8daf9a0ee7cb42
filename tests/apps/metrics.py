"""Requests that differ in what is counted of them, by path; the query string is the argument."""

import ctypes
import os
import time
from pathlib import Path


def application(environ, start_response):
    action = environ["PATH_INFO"].strip("/").partition("/")[0] or "hello"
    return globals()[f"do_{action}"](environ, start_response, environ["QUERY_STRING"])


def answer(start_response, body=b"Hello", status="200 OK"):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def do_hello(environ, start_response, _):
    return answer(start_response)


def do_status(environ, start_response, status):
    return answer(start_response, status=f"{status} Some")


def do_pid(environ, start_response, _):
    return answer(start_response, str(os.getpid()).encode())


def do_read(environ, start_response, _):
    return answer(start_response, str(len(environ["wsgi.input"].read())).encode())


def do_short(environ, start_response, _):
    start_response("200 OK", [("Content-Length", "10")])
    return [b"short"]


def do_wait(environ, start_response, path):
    wait_for_the_file(path)
    return answer(start_response)


def wait_for_the_file(path):
    while not Path(path).exists():
        time.sleep(0.01)


def do_hold(environ, start_response, path):
    """Keeps Python's lock until somebody opens the other end of a named pipe."""
    library = ctypes.PyDLL(None)
    while (descriptor := library.open(os.fsencode(path), os.O_RDONLY)) < 0:
        pass  # A signal came.
    os.close(descriptor)
    return answer(start_response)
