"""Sends a reply piece by piece: each line arrives as soon as it is yielded (try it with 'curl --no-buffer')."""

import time


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return count(10)


def count(last):
    for number in range(1, last + 1):
        yield b"%d\n" % number
        time.sleep(0.5)
