"""Answers with where it runs: interpreter, process, thread and module, as JSON."""

import json
import os
import sys
import threading

import mod_wsgi

loads = getattr(sys, "test_loads", 0) + 1
sys.test_loads = loads
requests = 0
local = threading.local()
marks: list = []


def application(environ, start_response):
    global requests
    requests += 1
    local.count = getattr(local, "count", 0) + 1
    body = json.dumps(
        {
            "process_group": environ["mod_wsgi.process_group"],
            "application_group": environ["mod_wsgi.application_group"],
            "module_group": mod_wsgi.application_group,
            "callable": environ["mod_wsgi.callable_object"],
            "script_name": environ["SCRIPT_NAME"],
            "path_info": environ["PATH_INFO"],
            "script": environ["SCRIPT_FILENAME"],
            "loads": loads,
            "requests": requests,
            "thread_requests": local.count,
            "thread": threading.get_ident(),
            "thread_id": environ["mod_wsgi.thread_id"],
            "pid": os.getpid(),
            "interpreter": id(sys.modules),
            "main": threading.main_thread() is threading.current_thread(),
            "name": __name__,
            "file": __file__,
            "path": sys.path,
            "argv": sys.argv,
            "prefix": sys.prefix,
            "base_prefix": sys.base_prefix,
            "executable": sys.executable,
            "version": list(sys.version_info[:3]),
            "flags": {"utf8": sys.flags.utf8_mode, "filesystem": sys.getfilesystemencoding()},
            "authorization": environ.get("HTTP_AUTHORIZATION"),
        }
    ).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def other(environ, start_response):
    return application(environ, start_response)


class Application:
    def __call__(self, environ, start_response):
        return application(environ, start_response)


instance = Application()
not_callable = "text"
