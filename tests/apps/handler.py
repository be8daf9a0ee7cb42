"""A handler script: answers with its environ as JSON."""

import json
import os

import mod_wsgi


def handle_request(environ, start_response):
    seen = {key: value for key, value in environ.items() if isinstance(value, str)}
    seen["read"] = len(environ["wsgi.input"].read())
    seen["pid"] = os.getpid()
    seen["interpreter"] = mod_wsgi.application_group
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
