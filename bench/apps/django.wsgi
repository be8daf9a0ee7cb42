from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path


def hello(request):
    body = b"Hello World!\n"
    return HttpResponse(body, content_type="text/plain", headers={"Content-Length": str(len(body))})


class Urls:
    urlpatterns = (path("", hello),)


settings.configure(ALLOWED_HOSTS=["localhost"], SECRET_KEY="of no use", ROOT_URLCONF=Urls)
application = get_wsgi_application()
