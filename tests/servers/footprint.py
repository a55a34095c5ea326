"""What an idle stream takes of a front's memory: PYTHONPATH=.:tests python -m servers.footprint [KIND …]

Of each front with its shipped file, over TLS and HTTP/1.1: how much more its processes hold together (PSS,
which counts what they share once) with 600 streams than with 100, divided by 500.
"""

import asyncio
import contextlib
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from .fronts import FRONTS
from .processes import Processes, command, descendants
from .proxies import COOKIES, PATIENCE, NewCaddy, Nginx, Site, streams, until
from .sse import StreamClient

FEW, MANY = 100, 600


def held(process):
    """KiB that a process and all that it has started hold."""
    total = 0
    for pid, _ in descendants(process.pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(text.partition("\nPss:")[2].split()[0])
    return total


async def opened(site, count, clients):
    """Open streams until there are so many, and give the front a moment to be done with them."""
    while len(clients) < count:
        options = {"source": f"127.0.0.{10 + len(clients) // 50}", "cookies": COOKIES, "timeout": PATIENCE}
        clients.append(await StreamClient.connect(f"{site.url}/events/me", ssl=site.ssl, **options))

    async def there():
        return await streams(site) == count

    await until(there)
    await asyncio.sleep(2)
    return held(site.proxy.process)


async def measure(kind, processes, directory, certificate):
    """KiB for a stream."""
    app = processes.serve_app("apps.edge:edge", env={"TRUSTED": "127.0.0.1/32", "STATUS": "/status"})
    if kind in FRONTS:
        front = FRONTS[kind](directory, app, certificate=certificate)
    else:
        front = {"nginx": Nginx, "caddy": NewCaddy}[kind](
            directory, certificate, [f"127.0.0.1:{app.port}"], {}
        )
    front.start(processes.serve)
    clients = []
    site = Site(front, [app])
    try:
        few = await opened(site, FEW, clients)
        return (await opened(site, MANY, clients) - few) / (MANY - FEW)
    finally:
        for client in clients:
            client.abort()


def main(kinds):
    """Print a line for each."""
    for kind in kinds or ["nginx", "caddy", *FRONTS]:
        processes = Processes()
        with tempfile.TemporaryDirectory() as directory:
            certificate, key = Path(directory) / "cert.pem", Path(directory) / "key.pem"
            names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
            curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            made = [command("openssl"), "req", "-x509", *curve, "-keyout", key, "-out", certificate, *names]
            subprocess.run(made, check=True, capture_output=True)
            try:
                found = asyncio.run(measure(kind, processes, Path(directory), (certificate, key)))
            finally:
                with contextlib.redirect_stdout(io.StringIO()):  # the logs
                    processes.close()
        print(f"| {kind} | {found:.0f} KiB |")


if __name__ == "__main__":
    main(sys.argv[1:])
