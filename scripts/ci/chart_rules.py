"""Our own rules for rendered charts: chart_rules.py REPOSITORY RENDERED_FOLDER.

Every document is valid for Kubernetes (schemas inside the package kubernetes-validate); the
resources of operators, which have no schema there, are counted by kind. Then: pods are restricted,
pods stay in the region, every workload has probes, a budget and a policy, and the network edges are
the call graph that the access rules of the contract allow. Files and folders that a configuration names,
itself or by its defaults, are mounted, and engines that it finds by a name may be reached. Folders of the
repository that become ConfigMaps fit into one. Each alert asks metrics that the code has and has its heading
in the runbook; all go to rules.yaml, for promtool.
"""

import pathlib
import re
import sys
import tomllib

import kubernetes_validate
import yaml

VERSION = "1.36"
OPERATOR_KINDS = {"Certificate", "PodMonitor", "PrometheusRule"}
# What the runbook makes ConfigMaps of, and what one holds at most.
CONFIG_MAPS = ("services/billing/price-lists", "services/billing/products", "services/privacy/agreements")
CONFIG_MAP_BYTES = 1 << 20
repository, rendered = map(pathlib.Path, sys.argv[1:])
proto = repository / "proto"
problems = []


def check(condition, where, what):
    if not condition:
        problems.append(f"{where}: {what}")


def call_graph():
    """Who may call whom, from the access rules: named services, and the edge for everything public."""
    package_owner = {"inference": "inference-routing", "device": "device-registry"}
    edges = set()
    for file in proto.glob("wanwu/*/v1/*_service.proto"):
        package = file.parts[-3]
        if package == "operations":
            continue
        owner = package_owner.get(package, package)
        text = file.read_text()
        for names in re.findall(r"services:\s*\[([^\]]*)\]", text):
            edges |= {(name, owner) for name in re.findall(r'"([a-z-]+)"', names)}
        if re.search(r"anonymous: true|account: true|app_key: true|operator_roles", text):
            edges.add(("edge", owner))
    return edges


def check_pod(where, spec):
    pod = spec["securityContext"]
    check(pod.get("runAsNonRoot") is True, where, "may run as root")
    check(pod.get("seccompProfile", {}).get("type") == "RuntimeDefault", where, "no seccomp profile")
    check(spec.get("automountServiceAccountToken") is False, where, "mounts a token")
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    expression = terms["nodeSelectorTerms"][0]["matchExpressions"][0]
    check(expression["key"] == "topology.kubernetes.io/region", where, "may leave the region")
    check(all(v.startswith("cn-") for v in expression["values"]), where, "may leave the mainland")
    for container in spec["containers"]:
        security = container["securityContext"]
        check(security.get("allowPrivilegeEscalation") is False, where, "may escalate")
        check(security.get("readOnlyRootFilesystem") is True, where, "may write its root")
        check(security.get("capabilities", {}).get("drop") == ["ALL"], where, "keeps capabilities")
        check("memory" in container["resources"].get("limits", {}), where, "no memory limit")


def over_defaults(service, config):
    """A configuration as the service has it: over its own defaults."""

    def over(below, above):
        if isinstance(below, dict) and isinstance(above, dict):
            return below | {key: over(below.get(key), value) for key, value in above.items()}
        return above

    defaults = (repository / "services" / service / "config.default.toml").read_text()
    return over(tomllib.loads(defaults), config)


def paths_named(value, key=""):
    """Files and folders in a configuration: by their keys, behind `file:`, and whatever else begins like a path."""
    if isinstance(value, dict):
        for inner, item in value.items():
            yield from paths_named(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from paths_named(item, key)
    elif isinstance(value, str) and value.startswith("file:"):
        yield value.removeprefix("file:")
    # The path in an engine's URL is none of ours.
    elif value and key != "health_path":
        by_key = re.search("(^|_)(file|folder)$", key)
        if by_key or (isinstance(value, str) and value.startswith("/")):
            yield value


def check_mounts(where, config, pod):
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in pod["containers"]:
        mounts = container["volumeMounts"]
        check({mount["name"] for mount in mounts} <= volumes, where, "mounts what is no volume of it")
        for mount in mounts:
            check(mount.get("readOnly") is True, where, f"may write {mount['mountPath']}")
        for path in paths_named(config):
            mounted = any(f"{path}/".startswith(f"{mount['mountPath']}/") for mount in mounts)
            check(mounted, where, f"does not mount {path}, which its configuration names")


def check_config_map(folder):
    """What `kubectl create configmap --from-file=FOLDER` leaves out or refuses."""
    files = list((repository / folder).iterdir())
    check(all(file.is_file() for file in files), folder, "has a folder, which a ConfigMap leaves out")
    named = all(re.fullmatch("[-._a-zA-Z0-9]+", file.name) for file in files)
    check(named, folder, "has a file whose name is no key of a ConfigMap")
    size = sum(file.stat().st_size for file in files if file.is_file())
    check(files and size < CONFIG_MAP_BYTES, folder, f"has {size} bytes, which are no ConfigMap")


def check_engines(where, config, policy):
    """A name of the cluster is SERVICE.NAMESPACE.svc; the policy names the namespace and the pods' port."""
    reached = set()
    for rule in policy["egress"]:
        for peer in rule["to"]:
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            reached |= {(labels.get("kubernetes.io/metadata.name"), port["port"]) for port in rule["ports"]}
    urls = [engine["url"] for model in config.get("models", []) for engine in model["engines"]]
    for name in (url.removeprefix("dns:") for url in urls if url.startswith("dns:")):
        place = re.fullmatch(r"[^.:]+\.([^.:]+)[^:]*:(\d+)", name)
        may = place and (place[1], int(place[2])) in reached
        check(may, where, f"does not let it reach the engines at {name}")


def policy_edges(service, policy):
    def peers(rules, side):
        for rule in rules:
            for peer in rule.get(side, []):
                labels = peer.get("podSelector", {}).get("matchLabels", {})
                if labels.get("app.kubernetes.io/part-of") == "wanwu":
                    yield labels["app.kubernetes.io/name"]

    check(policy["policyTypes"] == ["Ingress", "Egress"], service, "does not deny by default")
    inward = {(peer, service) for peer in peers(policy["ingress"], "from")}
    outward = {(service, peer) for peer in peers(policy["egress"], "to")}
    return inward, outward


def metrics_of_the_code():
    """Every metric that some service can show, with what Prometheus adds to histograms."""
    names = {"up"}
    for folder in ("libs", "services"):
        for file in (repository / folder).glob("*/src/**/*.rs"):
            names |= set(re.findall(r'"((?:wanwu|edge|inference_routing|gen_ai)_[a-z_]+)"', file.read_text()))
    return names | {f"{name}_{part}" for name in names for part in ("bucket", "sum", "count")}


def check_alerts(where, groups):
    for rule in (rule for group in groups for rule in group["rules"]):
        name = rule["alert"]
        asked = set(re.findall(r"\b(?:wanwu|edge|inference_routing|gen_ai)_[a-z_]+|\bup\b", rule["expr"]))
        check(asked, where, f"{name} asks no metric")
        check(asked <= metrics, where, f"{name} asks {asked - metrics}, which nothing shows")
        check(f"\n### {name}\n" in runbook, where, f"{name} has no heading in docs/RUNBOOK.md")


documents = 0
alerts = []
metrics = metrics_of_the_code()
runbook = (repository / "docs/RUNBOOK.md").read_text()
described = (repository / "docs/METRICS.md").read_text()
for name in sorted(metrics):
    shown = name != "up" and not name.startswith("wanwu_test_") and not re.search("_(bucket|sum|count)$", name)
    check(not shown or f"`{name}`" in described, "docs/METRICS.md", f"does not describe {name}")
for folder in CONFIG_MAPS:
    check_config_map(folder)
graph = call_graph()
for variant in ("default", "production"):
    inward, outward = set(), set()
    for file in sorted(rendered.glob(f"*-{variant}.yaml")):
        service = file.name.removesuffix(f"-{variant}.yaml")
        kinds = {}
        for document in filter(None, yaml.safe_load_all(file.read_text())):
            documents += 1
            kind = document["kind"]
            where = f"{file.name} {kind}"
            kinds.setdefault(kind, document)
            if kind in OPERATOR_KINDS:
                check(variant == "production", where, "an operator's resource by default")
                if kind == "PrometheusRule":
                    check_alerts(where, document["spec"]["groups"])
                    alerts += document["spec"]["groups"]
                continue
            try:
                kubernetes_validate.validate(document, VERSION, strict=True)
            except Exception as error:  # the library has several classes of it
                problems.append(f"{where}: {error}")
            if kind in ("Deployment", "Job"):
                check_pod(where, document["spec"]["template"]["spec"])
            if kind == "Deployment":
                for container in document["spec"]["template"]["spec"]["containers"]:
                    probes = {"startupProbe", "livenessProbe", "readinessProbe"}
                    check(probes <= container.keys(), where, "lacks a probe")
            if kind == "Service" and service != "edge":
                check(document["spec"].get("clusterIP") == "None", where, "is not headless")
            if kind == "NetworkPolicy":
                into, out = policy_edges(service, document["spec"])
                inward |= into
                outward |= out
        config = tomllib.loads(kinds["ConfigMap"]["data"]["config.toml"])
        whole = over_defaults(service, config)
        for kind in kinds.keys() & {"Deployment", "Job"}:
            check_mounts(f"{file.name} {kind}", whole, kinds[kind]["spec"]["template"]["spec"])
        check_engines(f"{file.name} NetworkPolicy", config, kinds["NetworkPolicy"]["spec"])
        if service == "inference-routing" and variant == "production":
            check(config.get("models"), file.name, "serves no model")
        wanted = {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"}
        wanted |= set() if service == "edge" else {"Job"}
        wanted |= OPERATOR_KINDS if variant == "production" else set()
        check(wanted <= kinds.keys(), file.name, f"lacks {wanted - kinds.keys()}")
    for side, edges in (("ingress", inward), ("egress", outward)):
        check(edges == graph, f"{variant} {side}", f"edges differ from the contract: {edges ^ graph}")

(rendered / "rules.yaml").write_text(yaml.safe_dump({"groups": alerts}))
for problem in problems:
    print(problem)
print(f"charts: {documents} documents, {len(graph)} network edges, {len(problems)} problems")
sys.exit(bool(problems))
