"""Answers in the way that PATH_INFO names."""

import itertools
import time
from pathlib import Path
from urllib.parse import unquote


class Blocks:
    """An iterable that says in the error log when it is closed, and how often."""

    def __init__(self, environ, blocks, error=None):
        self.errors = environ["wsgi.errors"]
        self.blocks = iter(blocks)
        self.error = error
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        block = next(self.blocks)
        if isinstance(block, Exception):
            raise block
        return block

    def close(self):
        self.closed += 1
        print("closed", self.closed, file=self.errors)
        if self.error:
            raise self.error


class Length:
    """A sequence of one block that is no list."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return [b"one block"][index]


class Block(bytes):
    pass


def application(environ, start_response):
    return globals()[environ["PATH_INFO"].strip("/")](environ, start_response)


def ok(start_response, *headers):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])


def as_list(environ, start_response):
    ok(start_response)
    return [b"one ", b"two ", b"three"]


def as_tuple(environ, start_response):
    ok(start_response)
    return (b"one ", b"two ", b"three")


def as_single(environ, start_response):
    ok(start_response)
    return [b"one two three"]


def as_generator(environ, start_response):
    ok(start_response)
    yield b"one "
    yield b""
    yield b"two "
    yield b"three"


def as_iterator(environ, start_response):
    ok(start_response)
    return iter([b"one ", b"two ", b"three"])


def as_subclass(environ, start_response):
    ok(start_response)
    return [Block(b"one two three")]


def as_set(environ, start_response):
    ok(start_response)
    return {b"one two three"}


def as_bytes(environ, start_response):
    """Iterating bytes gives numbers, which are no blocks."""
    ok(start_response)
    return b"bytes"


def as_str(environ, start_response):
    ok(start_response)
    return "str"


def as_none(environ, start_response):
    ok(start_response)


def as_number(environ, start_response):
    ok(start_response)
    return 5


def sequence(environ, start_response):
    ok(start_response)
    return Length()


def hundred(environ, start_response):
    ok(start_response)
    return (b"%d," % number for number in range(100))


def empty_list(environ, start_response):
    ok(start_response)
    return []


def empty_generator(environ, start_response):
    ok(start_response)
    yield from ()


def empty_blocks(environ, start_response):
    ok(start_response)
    return [b"", b"", b""]


def big(environ, start_response):
    """QUERY_STRING megabytes."""
    ok(start_response)
    block = bytes(range(256)) * 256
    return itertools.repeat(block, 16 * int(environ["QUERY_STRING"]))


def big_list(environ, start_response):
    ok(start_response)
    return [bytes(range(256)) * 4096 * int(environ["QUERY_STRING"])]


def closed(environ, start_response):
    ok(start_response)
    return Blocks(environ, [b"one ", b"two"])


def closed_empty(environ, start_response):
    ok(start_response)
    return Blocks(environ, [])


def closed_failing(environ, start_response):
    ok(start_response)
    return Blocks(environ, [b"one ", b"two"], OSError("in close"))


def closed_raising_first(environ, start_response):
    ok(start_response)
    return Blocks(environ, [ArithmeticError("at once")])


def closed_raising_late(environ, start_response):
    ok(start_response)
    return Blocks(environ, [b"one", ArithmeticError("late")])


def closed_bad_item(environ, start_response):
    ok(start_response)
    return Blocks(environ, ["str"])


def closed_bad_later(environ, start_response):
    ok(start_response)
    return Blocks(environ, [b"one", "str"])


def closed_no_start(environ, start_response):
    return Blocks(environ, [b"one"])


def closed_bad_length(environ, start_response):
    ok(start_response, ("Content-Length", "ten"))
    return Blocks(environ, [b"one"])


def closed_head(environ, start_response):
    ok(start_response, ("Content-Length", "7"))
    return Blocks(environ, [b"one ", b"two"])


def finally_generator(environ, start_response):
    ok(start_response)
    try:
        yield b"one"
        yield "str"
    finally:
        print("finally ran", file=environ["wsgi.errors"])


def item(environ, start_response):
    ok(start_response)
    kinds = {"str": "x", "bytearray": bytearray(b"x"), "memoryview": memoryview(b"x"), "none": None, "int": 1}
    return [kinds[environ["QUERY_STRING"]]]


def length(environ, start_response):
    """Content-Length QUERY_STRING before ten bytes in two blocks."""
    ok(start_response, ("Content-Length", unquote(environ["QUERY_STRING"])))

    def blocks():
        yield b"01234"
        yield b"56789"
        print("ran to its end", file=environ["wsgi.errors"])

    return blocks()


def length_of_list(environ, start_response):
    ok(start_response, ("Content-Length", environ["QUERY_STRING"]))
    return [b"01234", b"56789"]


def length_of_write(environ, start_response):
    start_response("200 OK", [("Content-Length", environ["QUERY_STRING"])])(b"0123456789")
    return []


def status(environ, start_response):
    """Status QUERY_STRING with a body."""
    start_response(f"{environ['QUERY_STRING']} Some", [("Content-Type", "text/plain"), ("ETag", '"a"')])
    return [b"a body"]


def header(environ, start_response):
    """One header of the client's choice, as name=value."""
    name, _, value = unquote(environ["QUERY_STRING"]).partition("=")
    ok(start_response, (name, value))
    return [b"one ", b"two"]


def cookies(environ, start_response):
    ok(start_response, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Same", "first"), ("X-Same", "second"))
    return [b"ok"]


def many(environ, start_response):
    ok(start_response, *((f"X-Header-{number}", f"value {number}") for number in range(25)))
    return [b"ok"]


def long_header(environ, start_response):
    ok(start_response, ("X-Long", "x" * 60000))
    return [b"ok"]


def plain(environ, start_response):
    start_response("200 OK", [])
    return [b"no type"]


def login(environ, start_response):
    start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="r"'), ("Content-Type", "text/plain")])
    return [b"login"]


def method(environ, start_response):
    body = environ["REQUEST_METHOD"].encode()
    ok(start_response, ("X-Method", environ["REQUEST_METHOD"]), ("Content-Length", str(len(body))))
    return [body] if environ["REQUEST_METHOD"] != "HEAD" else []


def stepwise(environ, start_response):
    """Gives a block, then waits for the file that QUERY_STRING names, then gives another."""
    ok(start_response)
    yield b"first "
    wait(environ["QUERY_STRING"])
    yield b"second"


def stepwise_write(environ, start_response):
    write = start_response("200 OK", [])
    write(b"first ")
    wait(environ["QUERY_STRING"])
    write(b"second")
    return []


def rush(environ, start_response):
    """Gives many blocks one upon the other, then waits, then gives another."""
    ok(start_response)
    yield from (b"%d," % number for number in range(2000))
    wait(environ["QUERY_STRING"])
    yield b"second"


def rush_write(environ, start_response):
    write = start_response("200 OK", [])
    for number in range(2000):
        write(b"%d," % number)
    wait(environ["QUERY_STRING"])
    write(b"second")
    return []


def wait(path):
    deadline = time.monotonic() + 60
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.01)
