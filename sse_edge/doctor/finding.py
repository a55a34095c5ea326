"""The catalogue: everything the doctor may find, and what to do about it."""

# ruff: noqa: E501 - a table of sentences

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is; the worst decides the exit code."""

    OK = 0
    UNKNOWN = 1
    WARNING = 2
    FAILURE = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that can be wrong.

    ``code`` is stable and documented; ``remedy`` is what to do anywhere, ``nginx`` and ``caddy`` what
    to do there.
    """

    code: str
    level: Level
    remedy: str
    nginx: str = ""
    caddy: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the subject, how it is, and what was seen, with the figure."""

    check: str
    level: Level
    seen: str
    fault: Fault | None = None

    @property
    def code(self) -> str:
        """The fault's code, or "" when there is none."""
        return self.fault.code if self.fault else ""


def ok(check: str, seen: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(check, Level.OK, seen)


def unknown(check: str, how: str) -> Finding:
    """It was not checked; ``how`` it can be."""
    return Finding(check, Level.UNKNOWN, how)


def found(check: str, code: str, seen: str) -> Finding:
    """A fault of the catalogue."""
    fault = FAULTS[code]
    return Finding(check, fault.level, seen, fault)


def worst(findings: list[Finding]) -> Level:
    """The level that decides; what was not checked counts for nothing."""
    return max((each.level for each in findings if each.level is not Level.UNKNOWN), default=Level.OK)


_FAIL, _WARN = Level.FAILURE, Level.WARNING

FAULTS = {
    fault.code: fault
    for fault in (
        # The answer
        Fault(
            "no-stream", _FAIL,
            "The path must be one of SSEMiddleware's channels, and the proxy must pass it on unchanged.",
            "proxy_pass without a path after the upstream's name", "handle, not handle_path",
        ),
        Fault("redirected", _FAIL, "Examine, and use in pages, the URL that the redirect leads to."),
        Fault(
            "unauthenticated", _FAIL,
            "Give the secret and cookie name (--name) that the app's SignedCookie has. If they are right, the "
            "proxy takes the Cookie header away.",
            'remove proxy_set_header Cookie "..."', "remove header_up -Cookie",
        ),
        Fault(
            "refused", _FAIL,
            "A limit is reached, or the app is about to stop. Try again in a minute; see Limits.",
        ),
        Fault(
            "app-away", _FAIL,
            "The proxy cannot reach the app: is it running, on the address that the proxy was told, and may the "
            "proxy open its unix socket (sse-edge serve --uds-group)?",
            "server 127.0.0.1:8001 in upstream", "to 127.0.0.1:8001 in reverse_proxy",
        ),
        Fault(
            "www-authenticate", _FAIL,
            "An EventSource hangs on a 401 that has WWW-Authenticate. Keep basic authentication off this path.",
            "auth_basic off", "no basicauth for this path",
        ),
        Fault(
            "wrong-type", _FAIL,
            "An EventSource takes nothing but text/event-stream. Does the URL lead to SSEMiddleware's path?",
        ),
        Fault(
            "cacheable", _FAIL,
            "The app sends Cache-Control: no-store, no-transform; something in front replaces it.",
            "remove add_header Cache-Control, expires and proxy_hide_header Cache-Control here",
            "remove header Cache-Control and header_down Cache-Control here",
        ),
        Fault(
            "cached", _FAIL,
            "A cache answers for the app: its users get each other's events. Exclude this path from it.",
            "proxy_cache off; remove proxy_ignore_headers Cache-Control", "no cache handler for this path",
        ),
        # Delivery
        Fault(
            "slow-first-byte", _WARN,
            "The app answers at once with headers and a comment. Look for a busy app, or a proxy that waits.",
        ),
        Fault(
            "buffered", _FAIL,
            "Something in front collects the answer before it passes it on.",
            "proxy_buffering off; in this location (and no proxy_ignore_headers X-Accel-Buffering)",
            "remove buffer_responses, response_buffers and a positive flush_interval here",
        ),
        Fault(
            "events-missing", _FAIL,
            "Name the channel that this URL carries with --channel, and the app's --redis, --prefix and "
            "--partitions. If they are right, the app does not hear Redis: see its log.",
        ),
        Fault(
            "compressed", _FAIL,
            "A compressor holds events back and costs memory for each stream. Keep it off this path; in the "
            "app, put SSEMiddleware outside GZipMiddleware.",
            "gzip off; in this location, and no text/event-stream in gzip_types",
            "encode with types named one by one, text/event-stream not among them",
        ),
        Fault(
            "no-keep-alive", _FAIL,
            "Set SSEMiddleware(keep_alive=15.0): what is silent is cut by most proxies within a minute.",
        ),
        Fault(
            "rare-keep-alive", _WARN,
            "Set SSEMiddleware(keep_alive=15.0), or know that none of these is in the way.",
        ),
        Fault(
            "idle-timeout", _FAIL,
            "Something in front cuts streams that are silent: it must wait five times the app's keep_alive.",
            "proxy_read_timeout 75s; (and send_timeout 60s;)",
            "read_timeout 75s in transport http, and no write in the servers' timeouts",
        ),
        Fault(
            "cut-short", _FAIL,
            "Something ended the stream, well before the app's max_duration.",
            "proxy_read_timeout 75s; and no restarts meanwhile", "no write in the servers' timeouts",
        ),
        Fault(
            "http1", _WARN,
            "Browsers open six connections per host over HTTP/1.1, over all tabs: the seventh tab waits. "
            "Serve HTTP/2, which needs TLS.",
            "listen 443 ssl http2; (from 1.25.1: http2 on;)", "protocols h1 h2 in servers, and a site with TLS",
        ),
        # Admission
        Fault(
            "origin-accepted", _FAIL,
            "Any page can read a visitor's events. The app must see the Origin that the browser sent, and list "
            "only known ones in origins.",
            "remove proxy_set_header Origin", "remove header_up Origin and header_up -Origin",
        ),
        Fault(
            "cross-site-accepted", _FAIL,
            "Any page can open streams with a visitor's cookies. The app must see Sec-Fetch-Site.",
            "remove proxy_set_header Sec-Fetch-Site", "remove header_up -Sec-Fetch-Site",
        ),
        Fault(
            "upgrade-passed", _FAIL,
            "The app's server goes on in HTTP/2 with the client, past everything that the proxy says, and takes it "
            "for the proxy: its caps, its X-Forwarded-For and closed paths are walked around. Pass no Upgrade on but "
            "websocket.",
            'map $http_upgrade $upgrade {"~*^websocket$" websocket; default "";} proxy_set_header Upgrade $upgrade;',
            "request_header @other_upgrade -Upgrade; see Caddyfile",
        ),
        Fault(
            "own-origin-refused", _FAIL,
            "The app does not know its own name: it needs the browser's Host and, from a trusted proxy, "
            'X-Forwarded-Proto. SSEMiddleware(trusted_proxies=["127.0.0.1/32"]).',
            "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;",
            "remove header_up Host",
        ),
        Fault(
            "page-refused", _FAIL,
            "Pages of that origin get nothing: list it in SSEMiddleware(origins=[...]), and leave the app's "
            "Access-Control headers as they are.",
            "remove add_header and proxy_hide_header Access-Control-...", "remove header Access-Control-...",
        ),
        Fault(
            "cookie-attributes", _WARN,
            "Set it with SignedCookie.set_cookie(): HttpOnly; Secure; SameSite=Lax, and a Path that covers the "
            "streams.",
            "remove proxy_cookie_flags and proxy_cookie_path", "remove header_down Set-Cookie",
        ),
        Fault(
            "spoofable", _FAIL,
            "Clients choose the address that limits count. Overwrite X-Forwarded-For in the outermost proxy; name "
            "only your own proxies in trusted_proxies.",
            "proxy_set_header X-Forwarded-For $remote_addr; (not $proxy_add_x_forwarded_for)",
            "trusted_proxies with your CDN's networks only, no header_up X-Forwarded-For",
        ),
        # Coming back
        Fault(
            "cursor-stripped", _FAIL,
            "Clients that come back lose what they missed: the app must see Last-Event-ID.",
            "remove proxy_set_header Last-Event-ID; proxy_pass_request_headers on;",
            "remove header_up -Last-Event-ID",
        ),
        Fault(
            "resume-incomplete", _FAIL,
            "A client that came back was not given what it missed: see history and history_ttl of RedisBackend, "
            "and deploy/GUARANTEES.md.",
        ),
        Fault(
            "no-retry", _WARN,
            "Without a retry: of its own each browser comes back after its default, all at the same time.",
        ),
        Fault(
            "unclean-end", _FAIL,
            "The stream was cut when the app ended it; some clients lose events that had already arrived.",
            'proxy_http_version 1.1; proxy_set_header Connection "";', "leave transport http as it is",
        ),
        Fault(
            "strands-browsers", _FAIL,
            "An EventSource is closed for good by any status but 200. While the app is away answer it with 200, "
            "text/event-stream and a retry:.",
            "error_page 502 503 504 = @away; see nginx.conf", "handle_errors with @event_source; see Caddyfile",
        ),
        Fault("app-up", _FAIL, "Stop the app before you ask with --down."),
        Fault(
            "hides-failure", _WARN,
            "Monitoring and other clients need the real status when the app is away.",
            "return 200 only if $http_accept has text/event-stream",
            "respond 200 only for header Accept *text/event-stream*",
        ),
        Fault(
            "herd", _WARN,
            "Everybody is told to come back at the same moment. Vary retry:.",
            "split_clients $request_id $seconds {...}", "map {http.request.uuid} {seconds} {...}",
        ),
        # The machine
        Fault(
            "few-files", _WARN,
            "A proxy needs two open files for each stream. LimitNOFILE= in its systemd unit.",
            "worker_rlimit_nofile and worker_connections", "LimitNOFILE= in caddy.service",
        ),
        Fault(
            "few-ports", _WARN,
            "sysctl net.ipv4.ip_local_port_range='1024 65535', several ports for the app, or unix sockets.",
            "more server lines in upstream", "more to lines in reverse_proxy",
        ),
        Fault(
            "short-backlog", _WARN,
            "sysctl net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=4096; it caps every listener's backlog.",
            "listen 443 ssl http2 backlog=4096;",
        ),
        # Redis
        Fault("redis-away", _FAIL, "Is it running, and may this machine and user reach it?"),
        Fault("redis-old", _FAIL, "Redis 7 or later, or Valkey."),
        Fault("redis-denied", _FAIL, "ACL SETUSER … with these commands, keys and channels: README, \"Redis\"."),
        Fault(
            "redis-denied-limits", _WARN,
            "Without them caps count in each worker alone, and sessions cannot be revoked: README, \"Redis\".",
        ),
        Fault("redis-evicts", _FAIL, "maxmemory-policy noeviction: history and limits are not a cache."),
        Fault(
            "redis-buffer", _FAIL,
            "client-output-buffer-limit pubsub 32mb 8mb 60: below it a burst of events cuts the workers off.",
        ),
        Fault(
            "redis-not-durable", _FAIL,
            "RedisBackend(durable=True) promises what only appendonly yes and appendfsync always keep.",
        ),
        Fault("redis-not-writing", _FAIL, "Redis refuses writes while it cannot save: look for a full disk."),
    )
}  # fmt: skip
"""Code → fault."""
