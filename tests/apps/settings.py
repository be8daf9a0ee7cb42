"""Answers with how its interpreter is set up, as JSON; the query names what else to try."""

import json
import os
import signal
import sys


def attempt(work):
    """What comes of it: the result, or the exception."""
    try:
        return repr(work())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


TRIALS = {
    "stdin": lambda: sys.stdin.read(),
    "stdin-line": lambda: next(sys.stdin),
    "stdout": lambda: print("to the log"),
    "stdout-attribute": lambda: sys.stdout.name,
    "signal": lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN).__class__.__name__,
}


def request_rec(environ):
    import ctypes

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return bool(pointer(environ["apache.request_rec"], None))


def application(environ, start_response):
    trial = environ["QUERY_STRING"]
    body = json.dumps(
        {
            "pid": os.getpid(),
            "optimize": sys.flags.optimize,
            "debug": __debug__,
            "random": bool(sys.flags.hash_randomization),
            "hash": hash("some text"),
            "dont_write_bytecode": sys.dont_write_bytecode,
            "warnings": sys.warnoptions,
            "interval": sys.getswitchinterval(),
            "path": sys.path,
            "environment": {name: value for name, value in os.environ.items() if name.startswith("PYTHON")},
            "trial": attempt(TRIALS[trial]) if trial in TRIALS else None,
            "request_rec": request_rec(environ) if "apache.request_rec" in environ else None,
            "application_group": environ["mod_wsgi.application_group"],
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
