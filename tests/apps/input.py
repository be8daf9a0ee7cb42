"""Calls the methods of wsgi.input that the client names, and answers with what each gave, as JSON."""

import hashlib
import itertools
import json

kept = []


def application(environ, start_response):
    stream = environ["wsgi.input"]
    if environ["PATH_INFO"] == "/kept":
        stream = kept[-1]
    kept[:] = [stream]
    results = [call(stream, *operation) for operation in json.loads(environ["HTTP_X_CALLS"])]
    body = json.dumps(results).encode()
    if environ["PATH_INFO"] == "/logged":
        print("results:", body.decode(), file=environ["wsgi.errors"])
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def call(stream, name, *arguments):
    try:
        match name:
            case "next":
                result = next(stream)
            case "list":
                result = list(stream)
            case "loop":
                result = list(iter(lambda: stream.read(*arguments), b""))
            case "lines":
                result = list(itertools.islice(stream, *arguments))
            case "sha256":
                data = stream.read()
                result = [str(len(data)).encode(), hashlib.sha256(data).hexdigest().encode()]
            case "has":
                return hasattr(stream, *arguments)
            case "type":
                return f"{type(stream).__module__}.{type(stream).__qualname__}"
            case _:
                result = getattr(stream, name)(*arguments)
    except (Exception, StopIteration) as error:
        return {"error": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}
    return plain(result)


def plain(result):
    match result:
        case bytes():
            return result.decode("latin-1")
        case list():
            return [plain(item) for item in result]
    return result
