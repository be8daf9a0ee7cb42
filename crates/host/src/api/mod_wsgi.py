"""Module that the mod_wsgi server puts into each of its Python interpreters."""


class RequestTimeout(BaseException):
    """Raised in a request that took too long. Clean up, then let it pass."""


class FileWrapper:
    """Iterable over a file for the application to return; a regular file is sent by the server itself."""

    def __init__(self, filelike, blksize=8192, /):
        if blksize < 0:
            raise ValueError("blksize must not be negative")
        self.filelike = filelike
        self.blksize = blksize
        self._closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._closed:
            raise ValueError("the file wrapper has been closed")
        block = self.filelike.read(self.blksize)
        if not block:
            raise StopIteration
        return block

    def close(self):
        """Close the file, if it can be closed."""
        self._closed = True
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


def __getattr__(name):
    # The package of this name from PyPI, if it is installed, gives its folder: its other modules can be imported.
    if name == "__path__":
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec("mod_wsgi")
        if spec is not None and spec.submodule_search_locations is not None:
            globals()["__path__"] = list(spec.submodule_search_locations)
            return globals()["__path__"]
    raise AttributeError(f"module 'mod_wsgi' has no attribute {name!r}")
