"""Shows the modules `mod_wsgi` and `apache`; PATH_INFO names a function of this file, whose result is the reply."""

import _signal
import errno
import inspect
import json
import os
import signal
import sys
import threading
from pathlib import Path

import apache
import mod_wsgi

try:
    mod_wsgi.request_data()
    AT_IMPORT = "returned"
except RuntimeError as error:
    AT_IMPORT = str(error)

arrived = threading.Barrier(2)
leaving = threading.Event()


def application(environ, start_response):
    body = json.dumps(globals()[environ["PATH_INFO"].strip("/")](environ)).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def kind(value):
    if isinstance(value, type):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if callable(value) else type(value).__name__


def names(environ):
    shown = [name for name in dir(mod_wsgi) if not name.startswith("_")]
    return {name: kind(getattr(mod_wsgi, name)) for name in shown}


def values(environ):
    plain = ("version", "process_group", "application_group", "maximum_processes", "threads_per_process")
    return {
        **{name: getattr(mod_wsgi, name) for name in plain},
        "file_wrapper": environ["wsgi.file_wrapper"] is mod_wsgi.FileWrapper,
        "timeout": [base.__name__ for base in mod_wsgi.RequestTimeout.__bases__],
        "handler": [base.__module__ for base in mod_wsgi.LogHandler.__bases__],
        "modules": [sys.modules["mod_wsgi"] is mod_wsgi, sys.modules["apache"] is apache],
        "argv": sys.argv,
    }


def of_apache(environ):
    shown = [name for name in vars(apache) if not name.startswith("_")]
    return {name: getattr(apache, name) for name in shown}


def signatures(environ):
    functions = {name: getattr(mod_wsgi, name) for name in dir(mod_wsgi) if not name.startswith("_")}
    functions = {name: value for name, value in functions.items() if kind(value) == "function"}
    return {name: list(inspect.signature(value).parameters) for name, value in functions.items()}


def decorators(environ):
    def callback(name, **payload):
        pass

    lists = (mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks)
    functions = (mod_wsgi.subscribe_events, mod_wsgi.subscribe_shutdown, mod_wsgi.subscribe_signals)
    try:
        return [
            [function(callback) is callback, callback in known]
            for function, known in zip(functions, lists, strict=True)
        ]
    finally:
        for known in lists:
            if callback in known:
                known.remove(callback)


def data(environ):
    mine = mod_wsgi.request_data()
    mine["seen"] = "yes"
    found = []

    def elsewhere():
        try:
            found.append(mod_wsgi.request_data())
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    return {
        "at_import": AT_IMPORT,
        "same": mod_wsgi.request_data() is mine,
        "active": mod_wsgi.active_requests[environ["mod_wsgi.request_id"]] is mine,
        "elsewhere": found,
        "keys": list(mod_wsgi.active_requests) == [environ["mod_wsgi.request_id"]],
    }


def wait(environ):
    mod_wsgi.request_data()["name"] = environ["QUERY_STRING"]
    arrived.wait(60)
    leaving.wait(60)
    return sorted(data["name"] for data in mod_wsgi.active_requests.values() if "name" in data)


def look(environ):
    mod_wsgi.request_data()["name"] = "look"
    arrived.wait(60)
    seen = sorted(data["name"] for data in mod_wsgi.active_requests.values() if "name" in data)
    leaving.set()
    return seen


def signals(environ):
    before = signal.getsignal(signal.SIGTERM)
    returned = [signal.signal(signal.SIGTERM, signals), _signal.signal(signal.SIGTERM, signals)]
    return [returned == [signals] * 2, signal.getsignal(signal.SIGTERM) == before]


def forked(environ):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.signal(signal.SIGUSR2, lambda *_: os.write(writer, b"handled"))
            # Threads of servers get no signals, and what they fork neither, until it says so.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
            os.kill(os.getpid(), signal.SIGUSR2)
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return file.read()


def metrics(environ):
    return [mod_wsgi.request_metrics(), mod_wsgi.process_metrics(), mod_wsgi.server_metrics()]


def record(environ):
    return [mod_wsgi.start_recording_metrics(), mod_wsgi.start_recording_metrics()]


def scoreboard(environ):
    """What becomes of attempts to write to the descriptors through which the scoreboard is seen."""
    files = [
        file for file in Path("/proc/self/fd").iterdir() if file.is_symlink() and "scoreboard" in file.readlink().name
    ]
    writes = (lambda file: os.write(int(file.name), b"x"), lambda file: os.open(file, os.O_RDWR))
    return [[failure(write, file) for write in writes] for file in files]


def failure(function, argument):
    try:
        function(argument)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None
