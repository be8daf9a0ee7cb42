"""Shows what the server tells an application about a request."""


def application(environ, start_response):
    lines = [f"{name} = {value!r}\n" for name, value in sorted(environ.items())]
    body = "".join(lines).encode()
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
