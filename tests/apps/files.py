"""Answers with wsgi.file_wrapper in the way that PATH_INFO names; QUERY_STRING is the path of a file."""

import io
import itertools
import os
from pathlib import Path


class Watched:
    """A file that says in the error log when it is closed."""

    def __init__(self, file, errors):
        self.file = file
        self.errors = errors

    def __getattr__(self, name):
        return getattr(self.file, name)

    def close(self):
        self.file.close()
        print("file closed", file=self.errors)


class NoClose:
    def __init__(self, blocks):
        self.blocks = iter(blocks)

    def read(self, size=-1):
        return next(self.blocks, b"")


class NoMethods:
    pass


class Raising(NoClose):
    def read(self, size=-1):
        block = super().read(size)
        if not block:
            raise ArithmeticError("in read")
        return block


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    wrapper = environ["wsgi.file_wrapper"]
    return globals()[name](environ, start_response, wrapper)


def ok(start_response, *headers):
    return start_response("200 OK", [("Content-Type", "application/octet-stream"), *headers])


def opened(environ):
    return Path(environ["QUERY_STRING"]).open("rb")


def whole(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(opened(environ))


def with_size(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(opened(environ), 1000)


def with_length(environ, start_response, wrapper):
    ok(start_response, ("Content-Length", str(Path(environ["QUERY_STRING"]).stat().st_size)))
    return wrapper(opened(environ))


def part(environ, start_response, wrapper):
    """1000 bytes from offset 100."""
    ok(start_response, ("Content-Length", "1000"))
    file = opened(environ)
    file.seek(100)
    return wrapper(file)


def rest(environ, start_response, wrapper):
    """What follows the first line."""
    ok(start_response)
    file = opened(environ)
    file.readline()
    return wrapper(file)


def at_end(environ, start_response, wrapper):
    ok(start_response)
    file = opened(environ)
    file.seek(0, os.SEEK_END)
    return wrapper(file)


def beyond_end(environ, start_response, wrapper):
    ok(start_response)
    file = opened(environ)
    file.seek(100, os.SEEK_END)
    return wrapper(file)


def length_too_large(environ, start_response, wrapper):
    ok(start_response, ("Content-Length", str(Path(environ["QUERY_STRING"]).stat().st_size + 1000)))
    return wrapper(opened(environ))


def unbuffered(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(Path(environ["QUERY_STRING"]).open("rb", buffering=0))


def text_mode(environ, start_response, wrapper):
    """fileno() and tell() work on it, so it is sent as it is on disk."""
    ok(start_response)
    return wrapper(Path(environ["QUERY_STRING"]).open("r", encoding="latin-1"))


def watched(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(Watched(opened(environ), environ["wsgi.errors"]))


def position(environ, start_response, wrapper):
    """The position of the descriptor is as before afterwards: the log tells."""
    file = Path(environ["QUERY_STRING"]).open("rb", buffering=0)
    file.seek(100)

    class Closing(Watched):
        def close(self):
            print("position", os.lseek(self.file.fileno(), 0, os.SEEK_CUR), file=self.errors)
            self.file.close()

    ok(start_response)
    return wrapper(Closing(file, environ["wsgi.errors"]))


def memory(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(io.BytesIO(b"in memory" * 5000), 100)


def no_close(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(NoClose([b"one ", b"two ", b"three"]))


def no_methods(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(NoMethods())


def read_raises(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(Raising([b"one "]))


def read_str(environ, start_response, wrapper):
    ok(start_response)
    return wrapper(io.StringIO("text"))


def pipe(environ, start_response, wrapper):
    """A file descriptor that is no regular file."""
    ok(start_response)
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    return wrapper(os.fdopen(reading, "rb"))


def closed_file(environ, start_response, wrapper):
    ok(start_response)
    file = opened(environ)
    file.close()
    return wrapper(file)


def directory(environ, start_response, wrapper):
    class Folder(NoClose):
        def __init__(self):
            super().__init__([b"read by read()"])
            self.descriptor = os.open("/", os.O_RDONLY)

        def fileno(self):
            return self.descriptor

        def tell(self):
            return 0

        def close(self):
            os.close(self.descriptor)

    ok(start_response)
    return wrapper(Folder())


def odd_tell(environ, start_response, wrapper):
    class Odd(Watched):
        def tell(self):
            return "zero"

    ok(start_response)
    return wrapper(Odd(opened(environ), environ["wsgi.errors"]))


def negative_tell(environ, start_response, wrapper):
    class Negative(Watched):
        def tell(self):
            return -5

    ok(start_response)
    return wrapper(Negative(opened(environ), environ["wsgi.errors"]))


def wrapped(environ, start_response, wrapper):
    """Middleware that hands the blocks on."""
    ok(start_response)
    return itertools.chain([b"before "], wrapper(opened(environ)))


def after_write(environ, start_response, wrapper):
    ok(start_response)(b"before ")
    return wrapper(opened(environ))


def subclass(environ, start_response, wrapper):
    class Own(wrapper):
        pass

    ok(start_response)
    return Own(opened(environ))


def unused(environ, start_response, wrapper):
    """A wrapper that is not returned does nothing."""
    wrapper(opened(environ)).close()
    ok(start_response)
    return [b"unused"]


def properties(environ, start_response, wrapper):
    file = io.BytesIO(b"0123456789")
    instance = wrapper(file, 4)
    assert instance.filelike is file
    assert instance.blksize == 4
    assert list(instance) == [b"0123", b"4567", b"89"]
    assert wrapper(file).blksize == 8192
    names = []
    for call in (lambda: wrapper(file, -1), lambda: wrapper(), lambda: wrapper(file, "x")):
        try:
            call()
            names.append("accepted")
        except (ValueError, TypeError) as error:
            names.append(type(error).__name__)
    instance.close()
    assert file.closed
    try:
        next(iter(instance))
    except ValueError:
        names.append("closed")
    ok(start_response)
    return [",".join(names).encode()]


def no_start(environ, start_response, wrapper):
    return wrapper(Watched(opened(environ), environ["wsgi.errors"]))


def not_modified(environ, start_response, wrapper):
    start_response("304 Not Modified", [])
    return wrapper(opened(environ))


def growing(environ, start_response, wrapper):
    """The file is cut to half between tell() and sending."""
    path = Path(environ["QUERY_STRING"])

    class Shrinking(Watched):
        def tell(self):
            position = self.file.tell()
            os.truncate(path, path.stat().st_size // 2)
            return position

    ok(start_response, ("Content-Length", str(path.stat().st_size)))
    return wrapper(Shrinking(opened(environ), environ["wsgi.errors"]))
