"""Tells which process runs the application, and lets a client command callgrind there."""

import ctypes
import os


def application(environ, start_response):
    library = environ["QUERY_STRING"]
    if library:
        ctypes.CDLL(library).dump()
    body = b"%d\n" % os.getpid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
