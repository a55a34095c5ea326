"""A Django project with its own login, by whose sessions streams are let in; ``app``.

``BACKEND`` is the backend's URL, ``DATABASE`` the database's path, ``ENGINE`` the last word of
SESSION_ENGINE, ``OLD`` a secret that was rotated out.  ``/login/<user>`` makes the user, too; ``/visit``
changes what else is in the session, ``/expire/<seconds>`` sets its expiry, ``/password`` and ``/ban`` do to
the user what they say; ``/order/<name>`` writes in a transaction, and ``/orders/<name>`` looks at that.
"""

import os
from secrets import token_urlsafe

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import transaction
from django.http import JsonResponse
from django.urls import path

from sse_edge import SSEMiddleware, SyncPublisher

BACKEND = os.environ["BACKEND"]
SECRET = os.environ.get("SECRET", "4e7a1b of the tests")

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=SECRET,
    SECRET_KEY_FALLBACKS=[old for old in [os.environ.get("OLD")] if old],
    SESSION_ENGINE=f"django.contrib.sessions.backends.{os.environ['ENGINE']}",
    USE_TZ=True,
)
django.setup()
call_command("migrate", verbosity=0)

from django.contrib import auth  # noqa: E402 - there are no models before
from django.contrib.auth.models import User  # noqa: E402

from sse_edge.cookies import DjangoSession  # noqa: E402


def login(request, user):
    user, _ = User.objects.get_or_create(username=user, defaults={"password": "md5$x$x"})
    auth.login(request, user)
    if settings.SESSION_ENGINE.endswith("signed_cookies"):
        request.session["sid"] = token_urlsafe(16)
    return JsonResponse({"user": user.pk, "session": request.session.session_key})


def visit(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"], "known": request.user.is_authenticated})


def expire(request, seconds):
    request.session.set_expiry(seconds)
    return JsonResponse({})


def password(request):
    request.user.set_password("another")
    request.user.save()
    return JsonResponse({})


def ban(request):
    User.objects.filter(pk=request.user.pk).update(is_active=False)
    return JsonResponse({})


def logout(request):
    with SyncPublisher(BACKEND) as events:
        events.revoke(authenticator.session_name(request.session))
    auth.logout(request)
    return JsonResponse({})


def headers(request, user):
    """A new user, and the cookie that ``headers_for`` signs it in with."""
    user = str(User.objects.create_user(user).pk)
    ((_, cookie),) = authenticator.headers_for(user)
    return JsonResponse([user, cookie.decode()], safe=False)


def who(request):
    """What the authenticator says to the app's own views."""
    identity = authenticator.identify_scope(request.scope)
    return JsonResponse({"user": identity and identity.user, "session": identity and identity.session})


@transaction.atomic
def order(request, name):
    """Asks who it is within a transaction, after it has written something."""
    User.objects.create(username=name)
    identity = authenticator.identify_scope(request.scope)
    return JsonResponse({"user": identity.user, "written": User.objects.filter(username=name).count()})


def orders(request, name):
    return JsonResponse({"written": User.objects.filter(username=name).count()})


urlpatterns = [
    path("login/<user>", login),
    path("visit", visit),
    path("expire/<int:seconds>", expire),
    path("password", password),
    path("ban", ban),
    path("logout", logout),
    path("headers/<user>", headers),
    path("who", who),
    path("order/<name>", order),
    path("orders/<name>", orders),
]

authenticator = DjangoSession()
app = SSEMiddleware(
    get_asgi_application(), backend=BACKEND, auth=authenticator, channels={"/events/me": "user:{user}"}
)
