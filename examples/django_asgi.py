"""Django in one file: a view signs in, a sync view publishes, and streams are private to a user.

pip install 'sse_edge[server]' django
export REDIS=redis://127.0.0.1:6379/0 SECRET=$(openssl rand -hex 32)
sse-edge serve django_asgi:app --app-dir examples --workers 2
curl -c jar 'http://127.0.0.1:8000/login/u42' && curl -N -b jar http://127.0.0.1:8000/events/me
curl http://127.0.0.1:8000/ship/u42   # in another terminal
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from sse_edge import SignedCookie, SSEMiddleware, SyncPublisher

BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ["SECRET"]  # of all workers

settings.configure(SECRET_KEY=SECRET, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])

auth = SignedCookie(SECRET, name="__Host-session")
events = SyncPublisher(BACKEND)


def login(request: HttpRequest, user: str) -> HttpResponse:
    """Set the cookie that the streams ask for; a real application asks for a password first."""
    return HttpResponse("signed in\n", headers={"Set-Cookie": auth.set_cookie(user)})


def ship(request: HttpRequest, user: str) -> HttpResponse:
    """Tell a user that something was shipped, as any view, signal handler or Celery task can."""
    return JsonResponse({"id": events.publish(f"user:{user}", json={"status": "shipped"}, event="status")})


urlpatterns = [path("login/<slug:user>", login), path("ship/<slug:user>", ship)]

app = SSEMiddleware(
    get_asgi_application(),
    backend=BACKEND,
    auth=auth,
    channels={"/events/me": ["user:{user}", "news"]},
)
