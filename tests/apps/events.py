"""Subscribes to every event and shows what came; PATH_INFO says what a request does."""

import json
import logging
import sys
import time

import mod_wsgi

logger = logging.getLogger("events")
logger.setLevel(logging.INFO)
logger.addHandler(mod_wsgi.LogHandler())
seen = []
order = []


def plain(value):
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return type(value).__name__


@mod_wsgi.subscribe_events
def note(name, **payload):
    order.append("note")
    shown = {key: plain(value) for key, value in payload.items()}
    if name == "request_started":
        environ = payload["request_environ"]
        payload["request_data"]["mark"] = environ["QUERY_STRING"] if environ["PATH_INFO"] != "/events" else None
        shown["is_own"] = payload["application_object"] is application
    elif name.startswith("request") or name == "response_started":
        shown["mark"] = payload.get("request_data", {}).get("mark")
    if payload.get("exception_info"):
        shown["exception_info"] = [payload["exception_info"][0].__name__, str(payload["exception_info"][1])]
    seen.append((name, shown))
    return {"added": "by note"} if name == "request_started" else None


@mod_wsgi.subscribe_events
def second(name, added=None, **payload):
    order.append("second")
    if name == "request_started":
        seen.append(("added", {"request_id": payload["request_id"], "value": added}))
        if payload["request_environ"]["PATH_INFO"] == "/replaced":
            return {"application_object": other}
        if payload["request_environ"]["PATH_INFO"] == "/bad-callback":
            raise ValueError("bad callback")
    return "not a dict"


@mod_wsgi.subscribe_shutdown
def stopping(name, **payload):
    write(f"shutdown {name} {payload}")


@mod_wsgi.subscribe_events
def stopping_too(name, **payload):
    if name.startswith("process_"):
        write(f"event {name} {payload}")


signals = mod_wsgi.subscribe_signals(lambda name, **payload: write(f"signal {name} {payload}"))


def write(text):
    logger.info("%s: %s", mod_wsgi.application_group, text)


def other(environ, start_response):
    start_response("203 Other", [("Content-Type", "text/plain")])
    return [b"other"]


class Body:
    def __init__(self, *blocks):
        self.blocks = blocks

    def __iter__(self):
        yield from self.blocks

    def close(self):
        seen.append(("close", None))


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").replace("-", "_")
    return globals()[f"do_{name}"](environ, start_response)


def reply(start_response, body, status="200 OK"):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def do_events(environ, start_response):
    mark = environ["QUERY_STRING"]
    of = {shown.get("request_id") for name, shown in seen if isinstance(shown, dict) and shown.get("mark") == mark}
    events = [event for event in seen if not isinstance(event[1], dict) or event[1].get("request_id") in of]
    return reply(start_response, json.dumps(events).encode())


def do_clear(environ, start_response):
    del seen[:], order[:]
    return reply(start_response, b"ok")


def do_order(environ, start_response):
    return reply(start_response, json.dumps(order).encode())


def do_hello(environ, start_response):
    return reply(start_response, b"hello")


do_bad_callback = do_hello


def do_echo(environ, start_response):
    return reply(start_response, environ["wsgi.input"].read())


def do_stream(environ, start_response):
    start_response("201 Created", [("Content-Type", "text/plain")])
    return Body(b"one", b"two")


def do_fails(environ, start_response):
    raise KeyError("no such thing")


def do_bad_status(environ, start_response):
    start_response("nonsense", [])


def do_error_page(environ, start_response):
    start_response("200 OK", [])
    try:
        raise RuntimeError("inner")
    except RuntimeError:
        start_response("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"oops"]


def do_burn(environ, start_response):
    before = time.thread_time()
    while time.thread_time() - before < 0.1:
        sum(range(10000))
    return reply(start_response, b"burnt")
