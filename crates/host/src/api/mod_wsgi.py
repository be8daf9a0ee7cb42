"""Module that the mod_wsgi server puts into each of its Python interpreters."""

event_callbacks = []
shutdown_callbacks = []
signal_callbacks = []


def subscribe_events(callback, /):
    """Have `callback(name, **payload)` called for each event; return it, so that this is a decorator as well."""
    event_callbacks.append(callback)
    return callback


def subscribe_shutdown(callback, /):
    """Have `callback("process_stopping", shutdown_reason=...)` called when the process is about to end."""
    shutdown_callbacks.append(callback)
    return callback


def subscribe_signals(callback, /):
    """Have `callback("process_signal", signame=..., signum=...)` called for SIGHUP and SIGUSR2 to a daemon."""
    if process_group:
        signal_callbacks.append(callback)
    else:
        import sys

        _refuse_signals(sys._getframe(1))
    return callback


def request_data():
    """Return the dict of the request that this thread runs, for whatever the application wants to keep with it."""
    return _server.request_data()


def start_recording_metrics():
    """Let request_metrics() and process_metrics() tell what this process counts, in all of its interpreters."""
    _server.record()


def request_metrics():
    """Return what requests did since the last call, or since the process began; None before recording was started."""
    global _window
    if not _server.recording():
        return None
    metrics, _window = _metrics.request_metrics(_server.window(), _window, threads_per_process, not process_group)
    return metrics


def process_metrics():
    """Return what the process did since it began; None before recording was started."""
    return _metrics.process_metrics(_server.counted()) if _server.recording() else None


def server_metrics():
    """Return what the threads of httpd do, where WSGIServerMetrics or server-metrics= allows it; otherwise None."""
    return _metrics.server_metrics(_server.scoreboard())


_window = None


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


def _log_handler():
    import logging

    # httpd's levels for Python's, from the top.
    levels = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    class LogHandler(logging.Handler):
        """Handler that logs to httpd's error log: with the request that the thread runs, at the record's level."""

        def emit(self, record):
            try:
                level = next((level for least, level in levels if record.levelno >= least), 7)
                if level <= _server.log_level():
                    _server.log(level, record.pathname, record.lineno, self.format(record))
            except RecursionError:
                raise
            except Exception:
                self.handleError(record)

    LogHandler.__module__ = __name__
    LogHandler.__qualname__ = "LogHandler"
    return LogHandler


def __getattr__(name):
    # Made when somebody wants them: most applications can do without the list, and without importing logging.
    if name == "active_requests":
        globals()[name] = _server.active_requests()
        return globals()[name]
    if name == "LogHandler":
        globals()[name] = _log_handler()
        return globals()[name]
    # The package of this name from PyPI, if it is installed, gives its folder: its other modules can be imported.
    if name == "__path__":
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec("mod_wsgi")
        if spec is not None and spec.submodule_search_locations is not None:
            globals()["__path__"] = list(spec.submodule_search_locations)
            return globals()["__path__"]
    raise AttributeError(f"module 'mod_wsgi' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), "active_requests", "LogHandler"})
