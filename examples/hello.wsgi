"""The smallest WSGI application: says hello, and to whom."""


def application(environ, start_response):
    body = f"Hello from {environ['SCRIPT_NAME']}{environ['PATH_INFO']}\n".encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain; charset=latin-1"), ("Content-Length", str(len(body)))])
    return [body]
