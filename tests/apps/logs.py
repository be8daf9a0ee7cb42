"""Logs in the way that PATH_INFO names."""

import json
import logging
import sys
import threading
import traceback

import mod_wsgi

LEVEL = {name: getattr(logging, name.upper()) for name in ("critical", "error", "warning", "info", "debug")}

logger = logging.getLogger("logs")
logger.setLevel(logging.DEBUG)
logger.propagate = False
handler = mod_wsgi.LogHandler()
logger.addHandler(handler)


def application(environ, start_response):
    body = globals()[environ["PATH_INFO"].strip("/")](environ) or b"ok"
    missing = 100 if environ["PATH_INFO"] == "/short" else 0
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body) + missing))])
    return [body]


def log(environ):
    name = environ["QUERY_STRING"]
    logger.log(LEVEL[name], "by %s", name)


def between(environ):
    for level in (5, 35, 45):
        logger.log(level, "level %d", level)


def exception(environ):
    try:
        raise RuntimeError("logged")
    except RuntimeError:
        logger.exception("it went wrong")


def bad_format(environ):
    logger.warning("%d", "no number")


def thread(environ):
    worker = threading.Thread(target=lambda: logger.warning("from a thread"))
    worker.start()
    worker.join()


class Formatted:
    def __init__(self, name):
        self.name = name
        self.done = False

    def __str__(self):
        self.done = True
        return f"formatted {self.name}"


def formatted(environ):
    texts = {name: Formatted(name) for name in ("info", "warning")}
    for name, text in texts.items():
        logger.log(LEVEL[name], "%s", text)
    return json.dumps({name: text.done for name, text in texts.items()}).encode()


def print_to(environ):
    where = environ["QUERY_STRING"]
    stream = environ["wsgi.errors"] if where == "errors" else getattr(sys, where)
    print(f"to {where}", file=stream)


def fails(environ):
    raise KeyError("lost")


def print_traceback(environ):
    try:
        raise ValueError("printed")
    except ValueError:
        traceback.print_exc()


def many_lines(environ):
    sys.stderr.write("".join(f"line {number} of {environ['QUERY_STRING']}\n" for number in range(20)))


def threads(environ):
    turns = [threading.Barrier(4) for _ in range(2)]

    def work(number):
        print(f"thread {number} begins ", end="")
        turns[0].wait(60)
        print(f"thread {number} ends")
        turns[1].wait(60)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def short(environ):
    """Its reply is shorter than it says."""
