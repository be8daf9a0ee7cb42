"""Writes to the error log in the way that PATH_INFO names."""

import logging
import sys
import threading

kept = []


def application(environ, start_response):
    errors = environ["wsgi.errors"]
    globals()[environ["PATH_INFO"].strip("/")](errors)
    if environ["PATH_INFO"] not in ("/kept", "/changed"):
        kept[:] = [errors]
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def print_errors(errors):
    print("to wsgi.errors", file=errors)


def print_stdout(errors):
    print("to stdout")


def print_stderr(errors):
    print("to stderr", file=sys.stderr)


def changed(errors):
    print("found", errors.encoding, errors.errors, errors.write_through, sorted(vars(errors)), file=errors)
    errors.flush()
    errors.secret = "of this request"
    errors.reconfigure(encoding="ascii", errors="strict", line_buffering=False, write_through=False)


def three(errors):
    print_errors(errors)
    print_stdout(errors)
    print_stderr(errors)


def lines(errors):
    errors.write("line one\nline two\n\nline four\n")


def pieces(errors):
    for piece in ("a ", "line ", "in ", "pieces\nand ", "another\n"):
        errors.write(piece)


def unfinished(errors):
    errors.write("no newline")


def flushed(errors):
    errors.write("flushed\n")
    errors.flush()


def writelines(errors):
    errors.writelines(["first of lines\n", "second of lines\n"])


def buffer(errors):
    errors.buffer.write(b"as bytes\n")
    errors.buffer.write(bytearray(b"as bytearray\n"))
    errors.buffer.write(memoryview(b"as memoryview\n"))
    errors.buffer.writelines([b"bytes of lines\n", bytearray(b"bytearray of lines\n"), memoryview(b"view of lines\n")])


def text(errors):
    errors.write('snowman \u2603, percent %s %n %d, quote ", lone \udc80\n')


def long(errors):
    errors.write("start " + "x" * 30000 + " end\n")


def nul(errors):
    errors.write("before\0after\n")


def forged(errors):
    errors.write("one\r\n[core:emerg] [pid 1] forged\n")


def properties(errors):
    print("name", errors.name, file=errors)
    print("isatty", errors.isatty(), file=errors)
    print("encoding", errors.encoding, file=errors)
    try:
        errors.fileno()
    except OSError:
        print("fileno OSError", file=errors)


def library(errors):
    handler = logging.StreamHandler(errors)
    logger = logging.getLogger("of.app")
    logger.addHandler(handler)
    logger.warning("by logging")
    logger.removeHandler(handler)


def thread(errors):
    worker = threading.Thread(target=lambda: print("from another thread", file=sys.stderr))
    worker.start()
    worker.join()


def thread_raises(errors):
    worker = threading.Thread(target=lambda: 1 / 0)
    worker.start()
    worker.join()


def keep(errors):
    pass


def kept_write(errors):
    try:
        kept[-1].write("of an earlier request\n")
    except RuntimeError:
        errors.write("kept raised RuntimeError\n")
    kept[-1].flush()
