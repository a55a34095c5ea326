"""Apps of frameworks with logins of their own, whose sessions streams are let in by; one attribute for each.

``BACKEND`` is the backend's URL.  ``/login/<user>`` and ``/logout`` are what they say; ``/visit`` changes
what else is in the session, so that its cookie is another.
"""

import os
from secrets import token_urlsafe

import flask
import quart
from asgiref.wsgi import WsgiToAsgi
from fastapi import FastAPI, Request
from starlette.middleware.sessions import SessionMiddleware

from sse_edge import Publisher, SSEMiddleware, SyncPublisher
from sse_edge.cookies import FlaskSession, StarletteSession

BACKEND = os.environ["BACKEND"]
SECRET = "8d0f4c of the tests"


def edge(app, auth):
    """Each user's own stream, around an app."""
    return SSEMiddleware(app, backend=BACKEND, auth=auth, channels={"/events/me": "user:{user}"})


def visited(session):
    session["visits"] = session.get("visits", 0) + 1
    return {"visits": session["visits"]}


# ---- FastAPI, and so Starlette

api = FastAPI()
api.add_middleware(SessionMiddleware, secret_key=SECRET)
of_starlette = StarletteSession(SECRET)


@api.get("/login/{user}")
async def login(user: str, request: Request):
    request.session.update(user_id=user, sid=token_urlsafe(16))
    return {"user": user}


@api.get("/visit")
async def visit(request: Request):
    return {**visited(request.session), "user": of_starlette.identify_scope(request.scope).user}


@api.get("/logout")
async def logout(request: Request):
    async with Publisher(BACKEND) as events:
        await events.revoke(of_starlette.identify_scope(request.scope).session)
    request.session.clear()
    return {}


starlette = edge(api, of_starlette)

# ---- Flask

flasks = flask.Flask(__name__)
flasks.secret_key = SECRET


@flasks.get("/login/<user>")
def flask_login(user):
    flask.session.permanent = True
    flask.session.update(user_id=user, sid=token_urlsafe(16))
    return {"user": user}


@flasks.get("/visit")
def flask_visit():
    return visited(flask.session)


@flasks.get("/logout")
def flask_logout():
    with SyncPublisher(BACKEND) as events:
        events.revoke(flask.session["sid"])
    flask.session.clear()
    return {}


flask_app = edge(WsgiToAsgi(flasks), FlaskSession(SECRET))

# ---- Quart

quarts = quart.Quart(__name__)
quarts.secret_key = SECRET


@quarts.get("/login/<user>")
async def quart_login(user):
    quart.session.update(user_id=user, sid=token_urlsafe(16))
    return {"user": user}


@quarts.get("/visit")
async def quart_visit():
    return visited(quart.session)


@quarts.get("/logout")
async def quart_logout():
    async with Publisher(BACKEND) as events:
        await events.revoke(quart.session["sid"])
    quart.session.clear()
    return {}


quart_app = edge(quarts, FlaskSession(SECRET))
