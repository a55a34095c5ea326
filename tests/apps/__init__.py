"""Small ASGI apps that tests start in real servers."""
