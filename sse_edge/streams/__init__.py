"""Answering a request for a stream: from ASGI to gate and hub, and back."""
