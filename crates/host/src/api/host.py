"""What the host does in Python: preparing an interpreter, loading scripts, formatting exceptions, ending."""

import _signal
import io
import os
import stat
import sys
import threading
from types import ModuleType

_INFO = 6  # httpd's APLOG_INFO
_HERE = sys._getframe().f_code.co_filename


def prepare(stdout, stderr, path, modules, server, main_thread):
    """Set up `sys` and the modules of a new interpreter, and return the number of the process's main thread."""
    sys.argv = ["mod_wsgi"]
    sys.stdout = text_stream(stdout)
    sys.stderr = text_stream(stderr)
    for module in modules:
        sys.modules[module.__name__] = module
    if path:
        import site

        before = list(sys.path)
        for directory in path:
            site.addsitedir(directory)
        added = [entry for entry in sys.path if entry not in before]
        given = [entry for entry in path if entry in before]
        sys.path[:] = added + given + [entry for entry in before if entry not in given]
    if main_thread:
        _set_main_thread(main_thread)
    return threading.get_ident()


def restrict(names, switch_interval, server):
    """Take from applications the use of what `names` lists, and set the switch interval if it is given."""
    if "stdin" in names:
        sys.stdin = _Restricted("stdin")
    if "stdout" in names:
        sys.stdout = _Restricted("stdout")
    if "signal" in names:
        _keep_signals(server)
    if switch_interval > 0:
        sys.setswitchinterval(switch_interval)


class _Restricted:
    """A stream that applications must not use."""

    def __init__(self, name):
        object.__setattr__(self, "_name", name)

    def __getattribute__(self, name):
        stream = object.__getattribute__(self, "_name")
        directive = "WSGIRestrictStdin" if stream == "stdin" else "WSGIRestrictStdout"
        raise OSError(f"sys.{stream} may not be used: {directive} is On")

    def __setattr__(self, name, value):
        getattr(self, name)

    def __iter__(self):
        return iter(self.readline, "")

    def __next__(self):
        return self.readline()


def _keep_signals(the_server):
    # Signals belong to httpd: a handler of an application's would keep it from stopping. Processes that the application
    # forks may have their own. What is replaced is the function that `signal.signal` calls: the module `signal` costs
    # 220 KB, and many applications never import it.
    server = os.getpid()
    register = _signal.signal

    def ignore(signalnum, handler, /):
        if os.getpid() != server:
            return register(signalnum, handler)
        import traceback

        caller = sys._getframe(1)
        if caller.f_globals.get("__name__") == "signal":
            caller = caller.f_back
        text = f"WSGI0413: signal.signal({signalnum}) does nothing in the server's processes; called from:"
        the_server.log(_INFO, "", 0, "\n".join([text, *"".join(traceback.format_stack(caller)).splitlines()]))
        return handler

    ignore.__doc__, ignore.__wrapped__ = register.__doc__, register
    _signal.signal = ignore


def watch_forks(fork):
    """Let the host know of forks by Python code."""
    os.register_at_fork(before=fork.before, after_in_parent=fork.after)


def _set_main_thread(number):
    # A sub-interpreter is made by the request thread that needs it first. Up to 3.12, `threading` takes that one for
    # the main thread, since it imports the module; but requests do not run in the main thread.
    main = threading.main_thread()
    if main.ident != number:
        threading._active.pop(main.ident, None)
        main._ident = number
        threading._active[number] = main


def correct_environment(name, value):
    """Put the value of a variable that was changed while Python started into `os.environ`; None: it is not set."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def text_stream(raw):
    """Return the text stream over a raw log object."""
    return io.TextIOWrapper(raw, "utf-8", "replace", None, True, True)


def load(path, mtime, key):
    """Execute the script file as a module named after `key`; return the module, or the error of opening the file."""
    try:
        with io.open_code(path) as file:
            source = file.read()
            if mtime < 0:
                mtime = os.fstat(file.fileno()).st_mtime_ns // 1000
    except OSError as error:
        return error.strerror, isinstance(error, PermissionError)
    name = "_mod_wsgi_" + _md5(os.fsencode(key))
    sys.modules.pop(name, None)
    module = ModuleType(name)
    module.__file__ = path
    module.__mtime__ = mtime
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _md5(data):
    try:
        from _md5 import md5
    except ImportError:
        from hashlib import md5
    return md5(data, usedforsecurity=False).hexdigest()


def format_exception(kind, value, trace):
    """Return the lines of the traceback, without the frames of this file."""
    import traceback

    while trace is not None and trace.tb_frame.f_code.co_filename == _HERE:
        trace = trace.tb_next
    return "".join(traceback.format_exception(kind, value, trace)).splitlines()


def rest_of_file(wrapper):
    """Return descriptor, position and length of what is left of a wrapped regular file, else None."""
    file = wrapper.filelike
    descriptor = file.fileno()
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    position = file.tell()
    if position < 0:
        return None
    return descriptor, position, max(status.st_size - position, 0)


def end():
    """Wait for the threads of this interpreter that want to be waited for, and return how many are left."""
    import _thread

    threading._shutdown()
    # Python calls it again when it ends the interpreter, and 3.12 does not bear that.
    threading._shutdown = lambda: None
    if type(sys.stdout) is _Restricted:
        sys.stdout = None  # Python flushes it when it ends the interpreter.
    return _thread._count()


def run_exit_handlers():
    """Run what `atexit` holds, for an interpreter that cannot be ended."""
    import atexit

    atexit._run_exitfuncs()
