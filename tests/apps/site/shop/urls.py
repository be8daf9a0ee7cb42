"""The views of the project."""

import hashlib

from django.conf import settings
from django.contrib import admin
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def upload(request):
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse(
        {"name": file.name, "size": file.size, "sha256": digest.hexdigest(), "note": request.POST["note"]}
    )


def stream(request):
    return StreamingHttpResponse((f"line {number}\n" for number in range(1000)), content_type="text/plain")


def file(request):
    return FileResponse((settings.DATA / "file").open("rb"), as_attachment=True, filename="file.bin")


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


def echo(request):
    return JsonResponse({"method": request.method, "path": request.path, "host": request.get_host(), "q": request.GET})


def fails(request):
    raise LookupError("in a view")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("upload", upload),
    path("stream", stream),
    path("file", file),
    path("count", count),
    path("echo/é/", echo),
    path("fails", fails),
]
