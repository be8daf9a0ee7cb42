"""Answers with the environ as JSON: each key with its type's name and its value, or the value's repr."""

import json


def application(environ, start_response):
    seen = {}
    for key, value in environ.items():
        plain = value if isinstance(value, str | int | float | tuple) else repr(value)
        seen[key] = [f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins."), plain]
    environ["test.mark"] = "left by an earlier request"
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
