"""Raises in the way that PATH_INFO names."""

import sys


class Broken(Exception):  # noqa: N818, a name of its own in the log
    pass


class Bottom(BaseException):
    pass


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](start_response)


def before(start_response):
    raise Broken("the message")


def nested(start_response):
    try:
        before(start_response)
    except Broken as error:
        raise ValueError("the outer one") from error


def multiline(start_response):
    raise Broken("first line\nsecond line\r\n[core:emerg] third line")


def unprintable(start_response):
    class Unprintable(Exception):  # noqa: N818
        def __str__(self):
            raise Broken("in __str__")

    raise Unprintable


def latin(start_response):
    raise Broken("caf\xe9 \u2603 \udc80")


def after_start(start_response):
    start_response("200 OK", [("X-Never", "sent")])
    raise Broken("after start_response")


def exits(start_response):
    sys.exit("the exit's message")


def interrupted(start_response):
    raise KeyboardInterrupt("from the application")


def bottom(start_response):
    raise Bottom("of all exceptions")


def recursion(start_response):
    return recursion(start_response)


def memory(start_response):
    raise MemoryError


def in_iteration(start_response):
    start_response("200 OK", [])
    raise Broken("before the first block")
    yield b""


def late(start_response):
    start_response("200 OK", [])
    yield b"first block"
    raise Broken("after the first block")


def late_with_length(start_response):
    start_response("200 OK", [("Content-Length", "100")])
    yield b"first block"
    raise Broken("after the first block")


def late_exit(start_response):
    start_response("200 OK", [])
    yield b"first block"
    sys.exit("late")


def after_write(start_response):
    start_response("200 OK", [])(b"written")
    raise Broken("after write()")


def fine(start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
