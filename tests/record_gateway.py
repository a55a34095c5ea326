"""What Envoy Gateway makes of deploy/kubernetes/gateway.yaml: ``make gateway`` writes servers/gateway.json.

Its own translator does it, egctl, built from its Go module: some minutes, and a Go of these days.
"""

import base64
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from parts.shipped import DEPLOY

VERSION = "v1.9.1"
MODULE = "github.com/envoyproxy/gateway"
RECORDED = Path(__file__).parent / "servers" / "gateway.json"
SOURCE = DEPLOY / "kubernetes" / "gateway.yaml"


def digest():
    """Tells one gateway.yaml from another, whatever its comments say."""
    said = json.dumps(list(yaml.safe_load_all(SOURCE.read_text())), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def build(directory):
    """The path of egctl."""
    got = ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    source = json.loads(subprocess.run(got, check=True, capture_output=True, cwd=directory).stdout)["Dir"]
    subprocess.run(
        ["go", "build", "-mod=mod", "-o", directory / "egctl", "./cmd/egctl"], check=True, cwd=source
    )
    return directory / "egctl"


def translate(egctl, directory):
    """What it makes of the file, with the Service of app.yaml, as xDS resources: kind → list."""
    manifests = [each for each in yaml.safe_load_all(SOURCE.read_text()) if each["kind"] != "NetworkPolicy"]
    app = yaml.safe_load_all((DEPLOY / "kubernetes" / "app.yaml").read_text())
    (service,) = (each for each in app if each["kind"] == "Service")
    service["spec"]["clusterIP"] = "192.0.2.1"
    keys = [directory / "tls.crt", directory / "tls.key"]
    kind = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=example.com"]
    subprocess.run(
        ["openssl", "req", *kind, "-out", keys[0], "-keyout", keys[1]], check=True, capture_output=True
    )
    manifests += [
        service,
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "eg"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "example-com-tls"},
            "type": "kubernetes.io/tls",
            "data": {each.name: base64.b64encode(each.read_bytes()).decode() for each in keys},
        },
    ]
    (directory / "all.yaml").write_text(yaml.safe_dump_all(manifests))
    told = [egctl, "x", "translate", "--from", "gateway-api", "--to", "xds", "-o", "json", "-f", "all.yaml"]
    said = subprocess.run(told, check=True, capture_output=True, cwd=directory).stdout
    (resources,) = json.loads(said)["xds"].values()
    return {each["@type"].rpartition(".")[2]: each for each in resources["configs"]}


def bare(value):
    """Without notes on where it came from."""
    if isinstance(value, dict):
        return {name: bare(each) for name, each in value.items() if name not in ("metadata", "accessLog")}
    return [bare(each) for each in value] if isinstance(value, list) else value


def static(resources):
    """A configuration that Envoy takes from a file: without TLS, its ports 0."""
    (listener,) = (
        each["activeState"]["listener"]
        for each in resources["ListenersConfigDump"]["dynamicListeners"]
        if each["activeState"]["listener"]["name"].endswith("/https")
    )
    (routes,) = (
        each["routeConfig"]
        for each in resources["RoutesConfigDump"]["dynamicRouteConfigs"]
        if each["routeConfig"]["name"].endswith("/https")
    )
    (chain,) = listener["filterChains"]
    (manager,) = chain["filters"]
    manager["typedConfig"]["routeConfig"] = {name: each for name, each in routes.items() if name != "@type"}
    del manager["typedConfig"]["rds"], listener["@type"]
    listener["filterChains"] = [{"filters": [manager]}]
    listener["address"] = {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}
    clusters = [each["cluster"] for each in resources["ClustersConfigDump"]["dynamicActiveClusters"]]
    for cluster in clusters:
        del cluster["@type"], cluster["edsClusterConfig"]
        app = {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}}
        cluster["type"] = "STATIC"
        cluster["loadAssignment"] = {
            "clusterName": cluster["name"], "endpoints": [{"lbEndpoints": [{"endpoint": app}]}],
        }  # fmt: skip
    return {"staticResources": {"listeners": [listener], "clusters": clusters}}


def main():
    """Record it; an egctl that is there already may be named."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        egctl = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else build(directory)
        envoy = bare(static(translate(egctl, directory)))
    told = {"gateway.yaml": digest(), "by": f"{MODULE} {VERSION}", "envoy": envoy}
    RECORDED.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
