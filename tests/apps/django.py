"""A Django project in one file, with a database, wrapped from outside; ``DATABASE`` is the file's path."""

import contextlib
import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connections, models, transaction
from django.http import JsonResponse
from django.urls import path

from sse_edge import EventError, SSEMiddleware, SyncPublisher
from sse_edge.django import on_commit

from .edge import AUTH, BACKEND

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"] + suffix}
        for alias, suffix in (("default", ""), ("archive", ".archive"))
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the tests",
    USE_TZ=True,
)
django.setup()


class Order(models.Model):
    number = models.CharField(max_length=20, primary_key=True)
    owner = models.CharField(max_length=20)

    class Meta:
        app_label = "shop"

    def __str__(self):
        return self.number


for connection in connections.all():
    with connection.schema_editor() as editor:
        editor.create_model(Order)
Order.objects.create(number="7", owner="u42")


def orders(request):
    """How many orders there are."""
    return JsonResponse({"orders": Order.objects.count()})


events = SyncPublisher(BACKEND)
publish_later = {
    "default": on_commit(events.publish),
    "archive": on_commit(events.publish, using="archive"),
}


BAD = {
    "name": {"data": "x", "event": "a\nb"},
    "payload": {"json": object()},
    "misspelt": {"jason": 1},
    "nothing": {},
}


def change(request, database, outcome):
    """Make an order in a transaction, which is committed or not, and tell of it; what was out before its end.

    ``outcome`` is ``commit``, ``rollback``, ``alone``, without a transaction, ``changed``, whose data is so
    before the commit, or one of BAD.  Within it is another one, which is rolled back.
    """
    publish, before = publish_later[database], len(events.recent("order:7", 1000))
    with contextlib.ExitStack() as stack:
        if outcome == "alone":
            publish("order:7", outcome, event=database)
        else:
            stack.enter_context(contextlib.suppress(LookupError))
            stack.enter_context(transaction.atomic(using=database))
            Order.objects.using(database).create(number=f"{database} {outcome}", owner="u42")
            payload = {"state": "as it was"}
            if outcome in BAD:
                try:
                    publish("order:7", **BAD[outcome])
                except (EventError, TypeError) as error:
                    return JsonResponse({"error": str(error)})
            elif outcome == "changed":
                publish("order:7", json=payload, event=database)
            else:
                publish("order:7", outcome, event=database)
            payload["state"] = "changed"
            with contextlib.suppress(LookupError), transaction.atomic(using=database):
                publish("order:7", "inner", event=database)
                raise LookupError
        early = len(events.recent("order:7", 1000)) - before
        if outcome == "rollback":
            raise LookupError
    orders = Order.objects.using(database).filter(number=f"{database} {outcome}").count()
    return JsonResponse({"early": early, "orders": orders})


urlpatterns = [path("orders", orders), path("<slug:database>/<slug:outcome>", change)]


def may_read(identity, channel):
    """Whether the order is the user's own; sync, because the ORM is."""
    return Order.objects.filter(number=channel.removeprefix("order:"), owner=identity.user).exists()


app = SSEMiddleware(
    get_asgi_application(),
    backend=BACKEND,
    auth=AUTH,
    channels={"/events/orders/{order}": "order:{order}"},
    authorize=may_read,
)
