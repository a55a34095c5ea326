"""The Flask app: it signs in, and publishes.  Run by run.py."""

import os
import secrets
from pathlib import Path

from flask import Flask, Response, abort, request, session

from sse_edge import SyncPublisher

events = SyncPublisher(os.environ["REDIS"])
app = Flask(__name__)
app.secret_key = os.environ["SECRET"]
app.config.update(
    SESSION_COOKIE_NAME="__Host-session", SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax"
)


@app.post("/login")
def login() -> Response:
    """Begin a session; a real application asks for a password first."""
    user = request.get_json()["user"]
    if not user.isalnum():
        abort(422)
    session.update(user_id=user, sid=secrets.token_urlsafe(16))
    return Response(status=204)


@app.post("/logout")
def logout() -> Response:
    """End the session's streams, in every tab and on every worker, and let its cookie open no more."""
    if "sid" in session:
        events.revoke(session["sid"])
    session.clear()
    return Response(status=204)


@app.post("/publish")
def publish() -> dict[str, str]:
    """Tell everyone, or one user."""
    if "user_id" not in session:
        abort(401)
    message = request.get_json()
    channel = f"user:{message['to']}" if "to" in message else "news"
    return {"id": events.publish(channel, json={"from": session["user_id"], "text": message["text"]})}


@app.get("/")
def page() -> str:
    """The whole page."""
    return (Path(__file__).parents[1] / "messages.html").read_text()
