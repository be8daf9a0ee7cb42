BODY = b"Hello World!\n"
FIELDS = [(f"X-Header-{number:02}", f"value of field {number:02}") for number in range(20)]


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY))), *FIELDS])
    return [BODY]
