"""What a client can see: the connection, the answer, the stream, and who is let in."""

# ruff: noqa: E501 - a table of sentences

from __future__ import annotations

from ..fault import Fault, Level

_FAIL, _WARN = Level.FAILURE, Level.WARNING

FRONT = {
    "The certificate": (
        Fault(
            "certificate-expired", _FAIL,
            "The certificate is out of date: no browser goes on.",
            "Renew it, and have the proxy read it again.",
            "certbot renew, and nginx -s reload", "see its log for why the renewal failed: ports 80 and 443, DNS",
        ),
        Fault(
            "certificate-early", _FAIL,
            "The certificate is not valid yet, by this machine's clock.",
            "Compare the clocks of this machine and of the one that made the certificate.",
        ),
        Fault(
            "certificate-name", _FAIL,
            "The certificate is for other names than the one that was asked for.",
            "Get one for this name; or it is another site's, because no site here has the name: ask for the right one "
            "with --host.",
            "server_name and ssl_certificate of the same server", "the site's address",
        ),
        Fault(
            "certificate-unknown", _FAIL,
            "Nobody who is trusted here has signed the certificate: it is self-signed, of a private authority, or the "
            "certificate between it and a known one is not sent.",
            "Name a private authority with --cacert; else send the whole chain.",
            "ssl_certificate fullchain.pem; not cert.pem", "no tls internal for names of the public Internet",
        ),
        Fault(
            "certificate-ends", _WARN,
            "Less than a tenth of the certificate's life is left, so nobody seems to renew it.",
            "Renew it, and look why that did not happen by itself.",
            "certbot renew, and nginx -s reload", "see its log for why the renewal failed: ports 80 and 443, DNS",
        ),
    ),
    "The answer": (
        Fault(
            "not-an-edge", _FAIL,
            "What answers sends an event stream, but none of SSEMiddleware's: it does not begin as those do.",
            "The URL must lead to one of SSEMiddleware's paths. Nothing more can be said about this one.",
            "proxy_pass to the app that has SSEMiddleware", "reverse_proxy to the app that has SSEMiddleware",
        ),
        Fault(
            "no-stream", _FAIL,
            "The status is neither 200 nor one of the others here: mostly 404.",
            "The path must be one of SSEMiddleware's channels, and the proxy must pass it on unchanged.",
            "proxy_pass without a path after the upstream's name", "handle, not handle_path",
        ),
        Fault(
            "endless", _FAIL,
            "More than 4 MiB have come, and it is neither a stream that has begun nor at an end.",
            "Nothing of ours answers like that, refuses like that or greets like that: see what it is that answers. Nothing "
            "more can be said about it.",
        ),
        Fault(
            "redirected", _FAIL,
            "The answer is a redirect.",
            "Examine, and use in pages, the URL that the redirect leads to.",
        ),
        Fault(
            "host-refused", _FAIL,
            "The app or the proxy does not answer to the name that was asked for.",
            "SSEMiddleware(hosts=[...]) must list the name that browsers ask for, and Host must reach the app as it "
            "came. To ask for another name at this address: --host.",
            "server_name; proxy_set_header Host $http_host;", "the site's address; remove header_up Host",
        ),
        Fault(
            "name-refused", _FAIL,
            "TLS is refused for the name that was asked for: no site there has it.",
            "Ask for a name that the proxy serves, with --host or in the URL; or have the proxy serve this one.",
            "server_name, where listen says ssl", "the site's address",
        ),
        Fault(
            "unauthenticated", _FAIL,
            "The app does not know who asks.",
            "Give the secret and cookie name (--name) that the app's SignedCookie has. If they are right, the "
            "proxy takes the Cookie header away.",
            'remove proxy_set_header Cookie "..."', "remove header_up -Cookie",
        ),
        Fault(
            "cookie-from-future", _FAIL,
            "The app does not know who asks, and the server's clock is more than a minute behind this machine's, where "
            "the cookie was signed.",
            "Have chrony or systemd-timesyncd set the clocks of both machines.",
            needs="--secret",
        ),
        Fault(
            "forbidden", _FAIL,
            "The app knows the user, and this user may not read the channel.",
            "Name the channel that URL carries with --channel: the doctor's cookie may then read it. Or give the "
            "--cookie of somebody who may; if that is what is refused, see its patterns, or authorize.",
        ),
        Fault(
            "refused", _FAIL,
            "Status 429 or 503 of the app, or a stream that says no more than that.",
            "A limit is reached, the app is about to stop, or it does not hear Redis. Try again in a minute; see Limits.",
        ),
        Fault(
            "refused-in-front", _FAIL,
            "Status 401, 403, 429 or 503 of something in front, not of the app: of this request, or of a second one.",
            "It has a limit, a login or a maintenance page of its own, or puts its page in place of the app's. An "
            "EventSource is closed for good by any status but 200: leave limits and logins to the app on this path.",
            "no limit_conn, limit_req, auth_request and proxy_intercept_errors here", "no forward_auth and respond here",
        ),
        Fault(
            "fails", _FAIL,
            "Status 500 or above, but none of those that say that the app is away or busy.",
            "The app, or something in front, fails: see their logs for this request.",
        ),
        Fault(
            "wants-https", _FAIL,
            "Status 400, since plain HTTP was spoken to a port of HTTPS.",
            "Begin the URL with https://.",
        ),
        Fault(
            "app-away", _FAIL,
            "Status 502 or 504, a 503 that says so, an empty stream, a connection that is closed, or no answer at all.",
            "The proxy cannot reach the app: is it running, on the address that the proxy was told, and may the "
            "proxy open its unix socket (sse-edge serve --uds-group)?",
            "server 127.0.0.1:8001 in upstream", "to 127.0.0.1:8001 in reverse_proxy",
        ),
        Fault(
            "www-authenticate", _FAIL,
            "Something asks for a name and a password, by WWW-Authenticate.",
            "An EventSource hangs on a 401 that has WWW-Authenticate. Keep basic authentication off this path.",
            "auth_basic off", "no basicauth for this path",
        ),
        Fault(
            "wrong-type", _FAIL,
            "Status 200, and another Content-Type.",
            "An EventSource takes nothing but text/event-stream. Does the URL lead to SSEMiddleware's path?",
        ),
        Fault(
            "cacheable", _FAIL,
            "Cache-Control is not the app's.",
            "The app sends Cache-Control: no-store, no-transform; something in front replaces it.",
            "remove add_header Cache-Control, expires and proxy_hide_header Cache-Control here",
            "remove header Cache-Control and header_down Cache-Control here",
        ),
        Fault(
            "cached", _FAIL,
            "A header says that a cache has answered; or two requests got the very same answer.",
            "A cache answers for the app: its users get each other's events. Exclude this path from it.",
            "proxy_cache off; remove proxy_ignore_headers Cache-Control", "no cache handler for this path",
        ),
    ),
    "The stream": (
        Fault(
            "slow-first-byte", _WARN,
            "The first byte takes more than two seconds.",
            "The app answers at once with headers and a comment. Look for a busy app, or a proxy that waits.",
        ),
        Fault(
            "buffered", _FAIL,
            "The stream, or events on it, come late, together or not at all.",
            "Something in front collects the answer before it passes it on.",
            "proxy_buffering off; in this location (and no proxy_ignore_headers X-Accel-Buffering)",
            "remove buffer_responses, response_buffers and a positive flush_interval here",
            needs="--redis, for events",
        ),
        Fault(
            "events-missing", _FAIL,
            "None of the events that were published arrives.",
            "Name the channel that this URL carries with --channel, and the app's --redis, --prefix and "
            "--partitions. If they are right, the app does not hear Redis: see its log.",
            needs="--redis",
        ),
        Fault(
            "compressed", _FAIL,
            "Content-Encoding, and not by the edge itself.",
            "A compressor holds events back and costs memory for each stream. Keep it off this path; in the "
            "app, put SSEMiddleware outside GZipMiddleware.",
            "gzip off; in this location, and no text/event-stream in gzip_types",
            "encode with types named one by one, text/event-stream not among them",
        ),
        Fault(
            "no-keep-alive", _FAIL,
            "More than a minute of silence.",
            "Set SSEMiddleware(keep_alive=15.0): what is silent is cut by most proxies within a minute.",
            needs="--long",
        ),
        Fault(
            "rare-keep-alive", _WARN,
            "Silences that are too long for a proxy or a CDN that is often in the way.",
            "Set SSEMiddleware(keep_alive=15.0), or know that none of these is in the way.",
            needs="--long",
        ),
        Fault(
            "idle-timeout", _FAIL,
            "The stream is cut after some seconds of silence.",
            "Something in front cuts streams that are silent: it must wait five times the app's keep_alive.",
            "proxy_read_timeout 75s; (and send_timeout 60s;)",
            "read_timeout 75s in transport http, and no write in the servers' timeouts",
            needs="--long",
        ),
        Fault(
            "cut-short", _FAIL,
            "The stream is cut while it speaks.",
            "Something ended the stream, well before the app's max_duration.",
            "proxy_read_timeout 75s; and no restarts meanwhile", "no write in the servers' timeouts",
            needs="--long",
        ),
        Fault(
            "client-stays", _FAIL,
            "A client has left, and two keep-alives later the app still has its stream.",
            "Something in front keeps the app's side open when a client leaves: caps fill up, until nobody gets in.",
            "no proxy_cache and proxy_store here", "remove flush_interval -1 (Caddy 2.6 to 2.8)",
            needs="--secret",
        ),
        Fault(
            "leaves-late", _WARN,
            "A client has left, and the app has its stream until the next keep-alive, or the one after that.",
            "Something in front notices that a client has left when it writes to it, as Apache does: caps count such a "
            "client up to twice keep_alive (15 s) longer. Leave room in per_user and per_ip for that, or lower keep_alive.",
            "remove proxy_ignore_client_abort on",
            needs="--secret",
        ),
        Fault(
            "http1", _WARN,
            "HTTP/2 is not offered.",
            "Browsers open six connections per host over HTTP/1.1, over all tabs: the seventh tab waits. "
            "Serve HTTP/2, which needs TLS.",
            "listen 443 ssl http2; (from 1.25.1: http2 on;)", "protocols h1 h2 in servers, and a site with TLS",
        ),
        Fault(
            "http10", _WARN,
            "Requests reach the app in HTTP/1.0.",
            "A stream that ends cannot be told from one that is cut, and each costs the app some times as much.",
            'proxy_http_version 1.1; proxy_set_header Connection "";', "remove versions from transport http",
            needs="--secret",
        ),
    ),
    "Who is let in": (
        Fault(
            "proxy-not-trusted", _FAIL,
            "The app counts the address of a proxy, although that says who the client is.",
            "For the app all clients are one, which soon has as many streams as it may: name the proxies' own addresses in "
            'SSEMiddleware(trusted_proxies=["127.0.0.1/32"]), "unix" for unix sockets, and those of a CDN.',
            "for a CDN before it: set_real_ip_from its networks; real_ip_header", "for a CDN before it: trusted_proxies with its networks",
            needs="--secret",
        ),
        Fault(
            "address-hidden", _FAIL,
            "The app counts the address of a proxy, and is not told another.",
            "For the app all clients are one, which soon has as many streams as it may: the proxy must say who the client "
            "is, in X-Forwarded-For.",
            "proxy_set_header X-Forwarded-For $remote_addr;", "remove header_up X-Forwarded-For",
            needs="--secret",
        ),
        Fault(
            "spoofable", _FAIL,
            "A client that is refused is served as soon as it claims another address.",
            "Clients choose the address that limits count. Overwrite X-Forwarded-For in the outermost proxy; name "
            "only your own proxies in trusted_proxies.",
            "proxy_set_header X-Forwarded-For $remote_addr; (not $proxy_add_x_forwarded_for)",
            "trusted_proxies with your CDN's networks only, no header_up X-Forwarded-For",
            needs="--flood",
        ),
        Fault(
            "origin-accepted", _FAIL,
            "A page of another site is served.",
            "Any page can read a visitor's events. The app must see the Origin that the browser sent, and list "
            "only known ones in origins.",
            "remove proxy_set_header Origin", "remove header_up Origin and header_up -Origin",
        ),
        Fault(
            "cross-site-accepted", _FAIL,
            "A request that comes from another site's page, and says so, is served.",
            "Any page can open streams with a visitor's cookies. The app must see Sec-Fetch-Site.",
            "remove proxy_set_header Sec-Fetch-Site", "remove header_up -Sec-Fetch-Site",
        ),
        Fault(
            "cors-replaced", _FAIL,
            "Access-Control-Allow-Origin, where the app says none.",
            "Something in front says which pages may read answers: pages that may are shut out by a second header, and "
            "others may read what is not theirs. The app says it itself, for its origins.",
            "remove add_header Access-Control-...", "remove header Access-Control-...",
        ),
        Fault(
            "own-origin-refused", _FAIL,
            "A page of the URL's own origin is refused.",
            "The app does not know its own name: it needs the browser's Host and, from a trusted proxy, "
            'X-Forwarded-Proto. SSEMiddleware(trusted_proxies=["127.0.0.1/32"]).',
            "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
            "remove header_up Host",
        ),
        Fault(
            "page-refused", _FAIL,
            "A page that should be served is not, or may not read the answer.",
            "Pages of that origin get nothing: list it in SSEMiddleware(origins=[...]), and leave the app's "
            "Access-Control headers as they are.",
            "remove add_header and proxy_hide_header Access-Control-...", "remove header Access-Control-...",
            needs="--origin",
        ),
        Fault(
            "cookie-injected", _FAIL,
            "A request without a cookie is served as a user.",
            "Something in front adds a session of its own, so everybody reads that user's events: it must pass on the "
            "Cookie that came, and none where none came.",
            'remove proxy_set_header Cookie "..."', "remove header_up Cookie",
        ),
        Fault(
            "upgrade-passed", _FAIL,
            "The app's server is asked to switch to HTTP/2, and does, or offers it.",
            "The app's server goes on in HTTP/2 with the client, past everything that the proxy says, and takes it "
            "for the proxy: its caps, its X-Forwarded-For and closed paths are walked around. Pass no Upgrade on but "
            "websocket.",
            'map $http_upgrade $upgrade {"~*^websocket$" websocket; default "";} proxy_set_header Upgrade $upgrade;',
            "request_header @other_upgrade -Upgrade; see Caddyfile",
        ),
        Fault(
            "cookie-attributes", _WARN,
            "The session cookie lacks HttpOnly, Secure or SameSite, or its Path does not cover the stream.",
            "Set it with SignedCookie.set_cookie(): HttpOnly; Secure; SameSite=Lax, and a Path that covers the "
            "streams.",
            "remove proxy_cookie_flags and proxy_cookie_path", "remove header_down Set-Cookie",
            needs="--page, --name",
        ),
    ),
    "Coming back": (
        Fault(
            "cursor-stripped", _FAIL,
            "A Last-Event-ID that nobody gave out is not answered by a reset.",
            "Clients that come back lose what they missed: the app must see Last-Event-ID.",
            "remove proxy_set_header Last-Event-ID; proxy_pass_request_headers on;",
            "remove header_up -Last-Event-ID",
        ),
        Fault(
            "resume-incomplete", _FAIL,
            "Events are missing after a client has come back, or come in another order.",
            "A client that came back was not given what it missed: see history and history_ttl of RedisBackend, "
            "and deploy/GUARANTEES.md.",
            needs="--redis",
        ),
        Fault(
            "no-retry", _WARN,
            "The stream does not say when to come back.",
            "Without a retry: of its own each browser comes back after its default, all at the same time.",
        ),
        Fault(
            "unclean-end", _FAIL,
            "A stream that the app ends has no goodbye, or no end, or is cut.",
            "The stream was cut when the app ended it; some clients lose events that had already arrived.",
            'proxy_http_version 1.1; proxy_set_header Connection "";', "leave transport http as it is",
            needs="--redis and --secret",
        ),
        Fault(
            "strands-browsers", _FAIL,
            "While the app is away an EventSource gets another status than 200, or no retry:.",
            "An EventSource is closed for good by any status but 200. While the app is away answer it with 200, "
            "text/event-stream and a retry:.",
            "error_page 502 503 504 = @away; see nginx.conf", "handle_errors with @event_source; see Caddyfile",
            needs="--down",
        ),
        Fault("app-up", _FAIL, "The app is not away.", "Stop the app before you ask with --down.", needs="--down"),
        Fault(
            "hides-failure", _WARN,
            "While the app is away others than an EventSource get no 5xx.",
            "Monitoring and other clients need the real status when the app is away.",
            "return 200 only if $http_accept has text/event-stream",
            "respond 200 only for header Accept *text/event-stream*",
            needs="--down",
        ),
        Fault(
            "herd", _WARN,
            "While the app is away all are told the same time.",
            "Everybody is told to come back at the same moment. Vary retry:.",
            "split_clients $request_id $seconds {...}", "map {http.request.uuid} {seconds} {...}",
            needs="--down",
        ),
    ),
}  # fmt: skip
