"""Small applications under the checks of wsgiref.validate; a broken rule is an AssertionError or a warning."""

import json
import warnings
from wsgiref.validate import WSGIWarning, validator

warnings.simplefilter("error", WSGIWarning)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    return applications[name](environ, start_response)


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def generator(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one "
    yield b"two"


def writer(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"one ")
    write(b"two")
    return []


def echo(environ, start_response):
    stream = environ["wsgi.input"]
    parts = [stream.read(3), stream.readline(), stream.readline(), *stream.readlines(), stream.read(10)]
    body = json.dumps([part.decode() for part in parts]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def iterated(environ, start_response):
    body = json.dumps([line.decode() for line in environ["wsgi.input"]]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def errors(environ, start_response):
    environ["wsgi.errors"].write("from a valid application\n")
    environ["wsgi.errors"].writelines(["and another line\n"])
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"logged"]


def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


applications = {one.__name__: validator(one) for one in (hello, generator, writer, echo, iterated, errors, no_content)}
