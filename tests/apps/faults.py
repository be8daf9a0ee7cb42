"""Replies that go on until the client has gone, and say in the error log how they ended."""

import itertools
import time
from pathlib import Path

BLOCK = b"x" * 65536


class Watched:
    """Says when it is closed; gives blocks for ever."""

    def __init__(self, errors, blocks):
        self.errors = errors
        self.blocks = iter(blocks)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.blocks)

    def close(self):
        self.closed += 1
        print("closed", self.closed, file=self.errors)


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def endless(environ, start_response):
    start_response("200 OK", [])
    return Watched(environ["wsgi.errors"], itertools.repeat(BLOCK))


def endless_with_length(environ, start_response):
    start_response("200 OK", [("Content-Length", str(1 << 40))])
    return Watched(environ["wsgi.errors"], itertools.repeat(BLOCK))


def endless_generator(environ, start_response):
    start_response("200 OK", [])
    try:
        while True:
            yield BLOCK
    finally:
        print("closed 1", file=environ["wsgi.errors"])


def endless_write(environ, start_response):
    write = start_response("200 OK", [])
    try:
        while True:
            write(BLOCK)
    except OSError as error:
        print("write raised OSError:", error, file=environ["wsgi.errors"])
    return Watched(environ["wsgi.errors"], [])


def endless_file(environ, start_response):
    start_response("200 OK", [])
    file = Path("/dev/zero").open("rb")

    class File:
        read = file.read

        def close(self):
            file.close()
            print("closed 1", file=environ["wsgi.errors"])

    return environ["wsgi.file_wrapper"](File(), 65536)


def big_file(environ, start_response):
    start_response("200 OK", [])
    file = Path(environ["QUERY_STRING"]).open("rb")

    class File:
        fileno, tell, read = file.fileno, file.tell, file.read

        def close(self):
            file.close()
            print("closed 1", file=environ["wsgi.errors"])

    return environ["wsgi.file_wrapper"](File())


def slow(environ, start_response):
    """Small blocks with a pause: the client is gone before most of them."""
    start_response("200 OK", [])

    def blocks():
        while True:
            yield b"tick\n"
            time.sleep(0.01)

    return Watched(environ["wsgi.errors"], blocks())


def fine(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
