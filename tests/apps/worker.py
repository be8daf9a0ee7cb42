"""What a daemon is asked to do, by query string."""

import array
import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

atexit.register(print, "exit handler")


def application(environ, start_response):
    action, _, argument = environ["QUERY_STRING"].partition("=")
    return globals()[f"do_{action or 'hello'}"](environ, start_response, argument)


def answer(start_response, body, *headers):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return [body]


def do_hello(environ, start_response, _):
    return answer(start_response, b"Hello")


def do_environ(environ, start_response, key):
    return answer(start_response, repr(environ.get(key)).encode())


def do_echo(environ, start_response, _):
    return answer(start_response, environ["wsgi.input"].read())


def do_large(environ, start_response, size):
    return answer(start_response, b"x" * int(size))


def pattern(size: int, start: int = 0) -> bytes:
    """Bytes that are different everywhere."""
    count = size // 4 + 1
    return array.array("I", range(start, start + count)).tobytes()[:size]


def do_pattern(environ, start_response, sizes):
    """Blocks of such sizes."""
    return answer_with(start_response, [pattern(int(size), 7 * int(size)) for size in sizes.split(",")])


def answer_with(start_response, blocks):
    start_response("200 OK", [("Content-Length", str(sum(map(len, blocks))))])
    return blocks


def do_generated_pattern(environ, start_response, sizes):
    """The same by a generator, without saying how much."""
    start_response("200 OK", [])
    for size in sizes.split(","):
        yield pattern(int(size), 7 * int(size))


def do_deadly(environ, start_response, size):
    """The same, where a broken pipe ends the process."""
    ctypes.CDLL(None).signal(signal.SIGPIPE, signal.SIG_DFL)
    return do_pattern(environ, start_response, size)


def do_half_read(environ, start_response, size):
    environ["wsgi.input"].read(1)
    return do_pattern(environ, start_response, size)


def do_file(environ, start_response, path):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return environ["wsgi.file_wrapper"](Path(path).open("rb"))


def do_generator(environ, start_response, _):
    start_response("200 OK", [("Content-Type", "text/plain")])

    def blocks():
        try:
            yield b"one "
            yield b"two"
        finally:
            print("closed")

    return blocks()


def do_rush(environ, start_response, argument):
    """Yield so many blocks as fast as possible, each another; COUNT,FILE waits then until the file is there."""
    count, _, file = argument.partition(",")
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(int(count)):
        yield f"{number} ".encode() * (number % 7)
    while file and not Path(file).exists():
        time.sleep(0.001)
    yield b"end"


def do_rush_and_read(environ, start_response, count):
    """The same, and then read the body, which the client sends when it has all of the blocks."""
    yield from do_rush(environ, start_response, count)
    yield environ["wsgi.input"].read()


def do_rush_and_fork(environ, start_response, count):
    """The same, with a process forked now and then that goes on as if it were this one; says how many do not end."""
    me, children = os.getpid(), []
    for number, block in enumerate(do_rush(environ, start_response, count)):
        yield block
        if number % 20 == 19 and os.getpid() == me:
            child = os.fork()
            if child:
                children.append(child)
    deadline = time.monotonic() + 10
    while children and time.monotonic() < deadline:
        children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
        time.sleep(0.001)
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    yield f" left {len(children)}".encode()


def do_thread(environ, start_response, _):
    return answer(start_response, str(threading.get_ident()).encode())


def do_compute(environ, start_response, milliseconds):
    """Compute for that long, in Python."""
    until = time.monotonic() + int(milliseconds) / 1000
    while time.monotonic() < until:
        pass
    return do_thread(environ, start_response, "")


def do_cut(environ, start_response, _):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one"
    raise ValueError("in the middle")


def do_raise(environ, start_response, _):
    raise ValueError("before the head")


def do_print(environ, start_response, text):
    print(text, file=sys.stderr)
    return answer(start_response, b"printed")


def do_touch(environ, start_response, path):
    Path(path).touch()
    return answer(start_response, b"touched")


def do_sleep(environ, start_response, argument):
    """Sleep so many seconds; SECONDS,FILE leaves a file when it begins."""
    seconds, _, file = argument.partition(",")
    if file:
        Path(file).touch()
    time.sleep(float(seconds))
    return answer(start_response, b"awake")


def do_spin(environ, start_response, _):
    while True:
        pass


def do_lock(environ, start_response, seconds):
    """Keep Python's lock, as a C extension can."""
    ctypes.PyDLL(None).sleep(int(seconds))
    return answer(start_response, b"released")


def do_run(environ, start_response, _):
    return answer(start_response, str(subprocess.run(["true"], check=False).returncode).encode())


def do_fork(environ, start_response, _):
    """Let the child come back into the server."""
    return answer(start_response, b"parent" if os.fork() else b"child")
