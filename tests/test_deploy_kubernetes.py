"""The manifests for Kubernetes: they pass its checker, fit together, and open no more than is needed."""

import ipaddress

from servers.processes import BIN
from shipped import DEPLOY, manifests, pod, policies, run


def kubernetes_check(path):
    return run(BIN / "kubernetes-validate", "--strict", path)


def test_kubernetes(broken):
    """The manifests fit Kubernetes's schemas, strictly, and a misspelt key does not."""
    code, said = kubernetes_check(DEPLOY / "kubernetes/app.yaml")
    assert code == 0, said
    assert set(manifests()) == {"Deployment", "PodDisruptionBudget", "Service", "Ingress"}
    assert set(policies()) == {"sse-edge", "redis"}
    code, said = kubernetes_check(
        broken("kubernetes/app.yaml", "terminationGracePeriodSeconds", "terminationGraceSeconds")
    )
    assert code != 0
    assert "terminationGraceSeconds" in said


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
    assert container["ports"][0]["name"] == parts["Service"]["spec"]["ports"][0]["targetPort"]
    backend = parts["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == parts["Service"]["metadata"]["name"]
    assert backend["port"]["name"] == parts["Service"]["spec"]["ports"][0]["name"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/status/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/status/live"


def test_who_may_talk_to_whom_in_kubernetes():
    """The app hears the ingress and Prometheus, and reaches names and Redis; Redis hears the app alone.  All
    else is closed, in both directions.
    """
    parts, rules = manifests(), policies()
    labels = parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
    app, store = rules["sse-edge"], rules["redis"]
    for policy in (app, store):
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        # An empty selector, or a rule without one, would be everybody.
        for rule in [*policy["ingress"], *policy.get("egress", [])]:
            peers = rule.get("from") or rule["to"]
            assert rule["ports"]
            assert all(peer["podSelector"]["matchLabels"] for peer in peers)
    assert app["podSelector"]["matchLabels"].items() <= labels.items()
    (inward,) = app["ingress"]
    spaces = [peer["namespaceSelector"]["matchLabels"] for peer in inward["from"]]
    assert spaces == [{"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")]
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
