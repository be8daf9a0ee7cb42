"""Events: who has subscribed to them in this interpreter, and what he is told."""

import sys

_ERROR = 3  # httpd's APLOG_ERR
_INFO = 6


def connect(mod_wsgi, the_server, format_exception):
    """Say whose lists count, who knows the requests and the log, and how an exception is told."""
    global callbacks, shutdown_callbacks, signal_callbacks, server, timeout, lines_of
    callbacks = mod_wsgi.event_callbacks
    shutdown_callbacks = mod_wsgi.shutdown_callbacks
    signal_callbacks = mod_wsgi.signal_callbacks
    timeout = mod_wsgi.RequestTimeout
    server = the_server
    lines_of = format_exception


def request_started(facts, environ, application, data):
    """Return the application to call, and the thread's time on the processor so far."""
    payload = _payload(facts)
    payload["application_object"] = application
    payload["request_environ"] = environ
    payload["request_data"] = data
    _publish(callbacks, "request_started", payload)
    return payload["application_object"], _cpu()


def response_started(request_id, status, headers, exc_info, data):
    """Tell of a call of start_response."""
    payload = {"response_status": status, "response_headers": headers, "exception_info": exc_info}
    payload["request_data"] = data
    _publish(callbacks, "response_started", _with_id(payload, request_id))


def request_finished(facts, numbers, before, data):
    """Tell of the end of a request that had used `before` of the processor when it began; None: nobody asked then."""
    payload = _payload(facts)
    for name in ("daemon_connects", "daemon_restarts", "application_start", "callable_object"):
        del payload[name]
    payload.update(zip(_NUMBERS, numbers, strict=True))
    if before is not None:
        user, system = (now - then for now, then in zip(_cpu(), before, strict=True))
        payload.update(cpu_user_time=user, cpu_system_time=system, cpu_time=user + system)
    payload["request_data"] = data
    _publish(callbacks, "request_finished", payload)


def request_exception(request_id, exc_info, data):
    """Tell of an exception that is about to be logged; without a request both others are None."""
    payload = {"exception_info": exc_info}
    if data is not None:
        payload["request_data"] = data
    _publish(callbacks, "request_exception", _with_id(payload, request_id))


def process_stopping(reason):
    """Tell that the process is about to end."""
    _publish([*callbacks, *shutdown_callbacks], "process_stopping", {"shutdown_reason": reason})


def process_signal(name, number):
    """Tell of a signal that is left to the application."""
    _publish([*callbacks, *signal_callbacks], "process_signal", {"signame": name, "signum": number})


_FACTS = (
    "request_id",
    "thread_id",
    "daemon_connects",
    "daemon_restarts",
    "request_start",
    "queue_start",
    "daemon_start",
    "application_start",
    "callable_object",
    "server_pid",
)
_NUMBERS = (
    "application_finish",
    "application_time",
    "input_reads",
    "input_length",
    "input_time",
    "output_writes",
    "output_length",
    "output_time",
    "gil_wait_time",
    "gil_wait_count",
    "status",
)


def _payload(facts):
    payload = dict(zip(_FACTS, facts, strict=True))
    return _with_id(payload, payload.pop("request_id"))


def _with_id(payload, request_id):
    if request_id is not None:
        payload["request_id"] = request_id
    return payload


def _cpu():
    import resource

    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_utime, usage.ru_stime


def _publish(to, name, payload):
    for callback in tuple(to):
        try:
            answer = callback(name, **payload)
            if isinstance(answer, dict):
                payload.update(answer)
        except timeout:
            raise
        except BaseException:
            text = f"WSGI0440: the callback {_name(callback)} for {name} failed; it is ignored"
            server.log(_ERROR, "", 0, "\n".join([text, *lines_of(*sys.exc_info())]))


def _name(callback):
    try:
        return f"{callback.__module__}.{callback.__qualname__}"
    except Exception:
        return f"of type {type(callback).__name__}"


def refuse_signals(caller):
    """Tell that signals are no event here; `caller` is the frame that asked for them."""
    import traceback

    text = "WSGI0441: subscribe_signals() does nothing in httpd's own processes; called from:"
    stack = "".join(traceback.format_stack(caller)).splitlines()
    server.log(_INFO, "", 0, "\n".join([text, *stack]))
