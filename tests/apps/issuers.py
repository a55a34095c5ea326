"""The frameworks themselves, to make cookies: each takes a session and a secret, and gives the value."""

import asyncio
from http.cookies import SimpleCookie

import flask
import httpx
import quart
from django.core import signing
from django.http import HttpResponse
from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response
from starlette.routing import Route

SALT = "django.contrib.sessions.backends.signed_cookies"


def value(headers, name="session"):
    """That cookie, of what a response sets."""
    for header in headers:
        cookie = SimpleCookie(header).get(name)
        if cookie is not None:
            return header.partition(";")[0].partition("=")[2]
    raise AssertionError(f"no {name} in {headers}")


def starlette(session, secret, **settings):
    """What Starlette's SessionMiddleware sets around a view of Starlette's or FastAPI's."""

    async def view(request):
        request.session.update(session)
        return Response()

    app = Starlette(routes=[Route("/", view)])
    app.add_middleware(SessionMiddleware, secret_key=secret, **settings)

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get("/")).headers.get_list("set-cookie")

    return value(asyncio.run(ask()), settings.get("session_cookie", "session"))


def flask_app(module, secret, permanent, **config):
    """An application of Flask's or Quart's kind."""
    app = module(__name__)
    app.secret_key = secret
    app.config.update(config)
    app.config["PERMANENT"] = permanent
    return app


def flask_session(session, secret, *, permanent=False, **config):
    """What Flask sets."""
    app = flask_app(flask.Flask, secret, permanent, **config)

    @app.get("/")
    def view():
        flask.session.update(session)
        flask.session.permanent = permanent
        return ""

    return value(app.test_client().get("/").headers.getlist("set-cookie"), app.config["SESSION_COOKIE_NAME"])


def quart_session(session, secret, *, permanent=False, **config):
    """What Quart sets."""
    app = flask_app(quart.Quart, secret, permanent, **config)

    @app.get("/")
    async def view():
        quart.session.update(session)
        quart.session.permanent = permanent
        return ""

    async def ask():
        return (await app.test_client().get("/")).headers.getlist("set-cookie")

    return value(asyncio.run(ask()), app.config["SESSION_COOKIE_NAME"])


def django(session, secret, *, salt=SALT):
    """What Django's engine signed_cookies makes: its ``signing.dumps``, without a project's settings."""
    signer = signing.TimestampSigner(key=secret, salt=salt, fallback_keys=())
    return signer.sign_object(session, compress=True)


def django_cookie(name, text, secret, *, salt="", legacy=False):
    """What Django's ``set_signed_cookie`` sets, since 5.2.19 or before, without a project's settings."""
    signed = name + salt if legacy else f"django.http.cookies.v2:{len(salt)}:{salt}{name}"
    signer = signing.TimestampSigner(
        key=b"django.http.cookies" + secret.encode(), salt=signed, fallback_keys=()
    )
    response = HttpResponse(charset="utf-8")
    response.set_cookie(name, signer.sign(text))
    return value([response.cookies[name].OutputString()], name)
