"""Programs in any language that POST events: from ASGI to publish_gate and backend, and back."""
