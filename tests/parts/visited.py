"""Parts for tests of pages: a server with streams that the browser is on, with a cookie."""


def visiting(serve_app, redis_url, page, value):
    """``start(cookie=…, **env)``: a server, and the browser on its page; ``value`` is the usual cookie's."""

    def start(cookie=value, host="127.0.0.1", **env):
        process = serve_app("apps.edge:edge", env={"BACKEND": redis_url, "RETRY": "0.2", **env})
        process.url = f"http://{host}:{process.port}"
        page.get(process.url)
        if cookie is not None:
            page.add_cookie({"name": "session", "value": cookie})
        return process

    return start
