"""Hooks whose answers the request chooses, and that report what they got."""

import hashlib
import json
import os
import sys

kept: list = []
loads = getattr(sys, "test_access_loads", 0) + 1
sys.test_access_loads = loads


class Truthy:
    def __bool__(self):
        return True


def fail():
    raise ValueError("on purpose")


def leave():
    sys.exit(3)


def generate():
    yield "staff"
    yield b"caf\xc3\xa9"


def broken():
    yield "staff"
    raise ValueError("on purpose")


ANSWERS = {
    "true": lambda: True,
    "false": lambda: False,
    "none": lambda: None,
    "one": lambda: 1,
    "zero": lambda: 0,
    "truthy": lambda: Truthy(),
    "empty": lambda: "",
    "name": lambda: "renamed",
    "latin": lambda: "caf\xe9",
    "snake": lambda: "\U0001f40d",
    "surrogate": lambda: "\udc80",
    "nul": lambda: "root\0x",
    "bytes": lambda: b"renamed",
    "list": lambda: ["staff"],
    "error": fail,
    "exit": leave,
}
GROUPS = {
    "list": lambda: ["Staff", "other"],
    "bytes": lambda: [b"staff"],
    "generator": generate,
    "empty": lambda: [],
    "none": lambda: None,
    "text": lambda: "staff",
    "single": lambda: b"staff",
    "number": lambda: [1, "staff"],
    "broken": broken,
    "banned": lambda: ["banned"],
    "error": fail,
}


def allow_access(environ, host):
    if environ["QUERY_STRING"] == "report":
        report(environ, host)
        return True
    if environ["QUERY_STRING"] == "ssl":
        return ssl(environ)
    if environ["QUERY_STRING"] == "expired":
        return expired(environ)
    return ANSWERS[environ["QUERY_STRING"]]()


def check_password(environ, user, password):
    if password == "report":
        report(environ, user)
        return True
    if password != "right":
        return ANSWERS[password]()
    return True


def get_realm_hash(environ, user, realm):
    answers = {
        "ann": lambda: hashlib.md5(f"ann:{realm}:secret".encode()).hexdigest(),
        "bob": lambda: hashlib.md5(f"bob:{realm}:secret".encode()).hexdigest().encode(),
        "nobody": lambda: None,
        "empty": lambda: "",
        "short": lambda: "abc",
        "true": lambda: True,
        "error": fail,
    }
    return answers[user]()


def groups_for_user(environ, user):
    return GROUPS.get(user, lambda: ["staff"])()


def report(environ, argument):
    shown = {key: value if isinstance(value, str) else type(value).__name__ for key, value in environ.items()}
    shown["versions"] = [environ["mod_wsgi.version"], environ["apache.version"]]
    shown["argument"] = argument
    shown["name"] = __name__
    shown["pid"] = os.getpid()
    print(f"REPORT {json.dumps(shown)}", file=environ["wsgi.errors"])
    print("printed")


def ssl(environ):
    assert environ["mod_ssl.is_https"]() in (0, 1)
    assert environ["mod_ssl.is_https"]() is not False
    lookup = environ["mod_ssl.var_lookup"]
    values = [environ["mod_ssl.is_https"](), lookup("SSL_PROTOCOL"), lookup(b"SSL_PROTOCOL"), lookup("NO_SUCH")]
    print(f"SSL {json.dumps(values)}", file=environ["wsgi.errors"])
    for wrong in ((), (1,), (None,), ("a", "b")):
        try:
            lookup(*wrong)
        except TypeError:
            continue
        return False
    kept.append((environ["mod_ssl.is_https"], lookup, environ["wsgi.errors"]))
    return True


def expired(_environ):
    is_https, lookup, errors = kept.pop()
    for work in (is_https, lambda: lookup("SSL_PROTOCOL"), lambda: errors.write("late\n")):
        try:
            work()
        except RuntimeError:
            continue
        return False
    return True
