"""A Django project in one file, with a database, wrapped from outside; ``DATABASE`` is the file's path."""

import os

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection, models
from django.http import JsonResponse
from django.urls import path

from sse_edge import SSEMiddleware

from .edge import AUTH, BACKEND

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
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


with connection.schema_editor() as editor:
    editor.create_model(Order)
Order.objects.create(number="7", owner="u42")


def orders(request):
    """How many orders there are."""
    return JsonResponse({"orders": Order.objects.count()})


urlpatterns = [path("orders", orders)]


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
