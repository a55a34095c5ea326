"""Django in one file: its own sessions, the ORM says who may hear of an order, and a sync view publishes.

pip install 'sse_edge[server]' django
export REDIS=redis://127.0.0.1:6379/0 SECRET=$(openssl rand -hex 32)
python examples/django_asgi.py && sse-edge serve django_asgi:app --app-dir examples --workers 2
curl -c jar --json '{"user": "ann"}' http://127.0.0.1:8000/login
curl -b jar -X POST http://127.0.0.1:8000/orders      # its NUMBER
curl -b jar -N http://127.0.0.1:8000/events/orders/NUMBER      # and in another terminal
curl -b jar -X POST http://127.0.0.1:8000/orders/NUMBER/ship

Not by `manage.py runserver`, which serves no ASGI unless daphne is installed: each stream would be a 404.
"""

from __future__ import annotations  # a field's type has no value

import json
import os
import secrets
from pathlib import Path

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.views.decorators.http import require_POST

from sse_edge import Identity, SSEMiddleware, SyncPublisher
from sse_edge.cookies import DjangoSession
from sse_edge.django import on_commit

BACKEND = os.environ.get("REDIS", "memory://")
SECRET = os.environ["SECRET"]  # of all workers
DATABASE = os.environ.get("DATABASE", "orders.sqlite3")

settings.configure(
    SECRET_KEY=SECRET,
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    INSTALLED_APPS=["django.contrib.sessions"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
)
django.setup()


class Order(models.Model):
    """What somebody has ordered."""

    number: models.CharField[str, str] = models.CharField(max_length=16, primary_key=True)
    owner: models.CharField[str, str] = models.CharField(max_length=32)
    state: models.CharField[str, str] = models.CharField(max_length=32, default="received")

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"{self.number} of {self.owner}: {self.state}"


def may_read(identity: Identity, channel: str) -> bool:
    """Whether an order is the user's own; sync, because the ORM is."""
    return Order.objects.filter(number=channel.removeprefix("order:"), owner=identity.user).exists()


auth = DjangoSession(user="user_id")
events = SyncPublisher(BACKEND)
publish_on_commit = on_commit(events.publish)


@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """Begin a session; a real application asks for a password first, and its forms have a CSRF token."""
    user = json.loads(request.body)["user"]
    if not user.isalnum():
        return HttpResponse("letters and digits", status=422)
    request.session.cycle_key()
    request.session["user_id"] = user
    return HttpResponse(status=204)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    """End the session's streams, in every tab and worker, and let its cookie open no more."""
    if "user_id" in request.session:
        events.revoke(auth.session_name(request.session))
    request.session.flush()
    return HttpResponse(status=204)


@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """Tell everyone, or one user, as any sync view, signal handler or task can."""
    user, message = request.session.get("user_id"), json.loads(request.body)
    if user is None:
        return HttpResponse("sign in first", status=401)
    channel = f"user:{message['to']}" if "to" in message else "news"
    return JsonResponse({"id": events.publish(channel, json={"from": user, "text": message["text"]})})


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Order something."""
    made = Order.objects.create(number=secrets.token_hex(4), owner=request.session.get("user_id", ""))
    return JsonResponse({"order": made.number})


@require_POST
@transaction.atomic
def ship(request: HttpRequest, number: str) -> HttpResponse:
    """Change an order, and tell who looks at it, but not before all others see it in the database too."""
    found = get_object_or_404(Order, number=number, owner=request.session.get("user_id"))
    found.state = "shipped"
    found.save()
    publish_on_commit(f"order:{number}", json={"order": number, "state": found.state}, event="state")
    return JsonResponse({"state": found.state})


def page(request: HttpRequest) -> HttpResponse:
    """The whole page."""
    return HttpResponse(Path(__file__).with_name("messages.html").read_bytes())


urlpatterns = [
    path("", page),
    path("login", login),
    path("logout", logout),
    path("publish", publish),
    path("orders", order),
    path("orders/<slug:number>/ship", ship),
]

app = SSEMiddleware(
    get_asgi_application(),
    backend=BACKEND,
    auth=auth,
    authorize=may_read,
    channels={"/events/me": ["user:{user}", "news"], "/events/orders/{order}": "order:{order}"},
)

if __name__ == "__main__":  # what a project has manage.py and migrations for
    call_command("migrate", verbosity=0)
    if Order._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)
