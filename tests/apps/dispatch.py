"""A dispatch script: answers come from the query, `g` for the process group, `a` for the application group, `c` for the
callable; and an application whose callables say which of them ran."""

import json
import os
from urllib.parse import parse_qs

import mod_wsgi

ODD = {"number": 1, "list": ["x"], "true": True, "nul": "a\0b", "snake": "\U0001f40d", "bytes": b"by-bytes"}


def choose(environ, name):
    values = parse_qs(environ["QUERY_STRING"], keep_blank_values=True).get(name)
    if not values:
        return None
    if values[0] == "error":
        raise ValueError("on purpose")
    return ODD.get(values[0], values[0])


def process_group(environ):
    if environ["QUERY_STRING"] == "report":
        seen = {key: value if isinstance(value, str) else type(value).__name__ for key, value in environ.items()}
        print(f"REPORT {json.dumps(seen)}", file=environ["wsgi.errors"])
    return choose(environ, "g")


def application_group(environ):
    return choose(environ, "a")


def callable_object(environ):
    return choose(environ, "c")


def answer(environ, start_response, name):
    seen = {
        "callable": name,
        "said": environ["mod_wsgi.callable_object"],
        "process_group": mod_wsgi.process_group,
        "application_group": mod_wsgi.application_group,
        "pid": os.getpid(),
    }
    start_response("200 OK", [])
    return [json.dumps(seen).encode()]


def application(environ, start_response):
    return answer(environ, start_response, "application")


def second(environ, start_response):
    return answer(environ, start_response, "second")
