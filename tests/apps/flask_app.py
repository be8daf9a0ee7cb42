"""A Flask application: forms, JSON, sessions, streams, files, errors."""

import io

from flask import Flask, Response, abort, jsonify, request, send_file, session, stream_with_context, url_for

application = Flask(__name__)
application.secret_key = "for tests only"


@application.get("/")
def index():
    return f"hello at {url_for('index')}"


@application.route("/echo", methods=["GET", "POST", "PUT", "DELETE"])
def echo():
    return jsonify(
        method=request.method,
        query=request.args,
        form=request.form,
        json=request.get_json(silent=True),
        url=request.url,
    )


@application.post("/upload")
def upload():
    file = request.files["file"]
    return jsonify(name=file.filename, size=len(file.read()))


@application.get("/stream")
def stream():
    return Response(stream_with_context(f"{number}\n" for number in range(100)), mimetype="text/plain")


@application.get("/file")
def file():
    return send_file(__file__, mimetype="text/x-python")


@application.get("/memory")
def memory():
    return send_file(io.BytesIO(b"in memory"), mimetype="application/octet-stream")


@application.get("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@application.get("/abort/<int:status>")
def abort_with(status):
    abort(status)


@application.get("/fails")
def fails():
    raise LookupError("in a view")
