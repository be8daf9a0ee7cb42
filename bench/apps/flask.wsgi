from flask import Flask, Response

application = Flask("bench")


@application.get("/")
def hello():
    return Response(b"Hello World!\n", content_type="text/plain")
