"""Measures Lanlord in a running cluster of scripts/cluster.sh. Started by scripts/bench.sh, inside the LAN client's namespace.

Talks to the API server as an administrator over plain HTTPS, and to the LAN over a raw socket. Prints one figure a line,
each beside a number to compare it with. Asserts nothing but what would make a figure meaningless.
"""

import argparse
import base64
import concurrent.futures
import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

SERVICES = "/api/v1/namespaces/default/services"
TICKS = os.sysconf("SC_CLK_TCK")


class Api:
    """The API server, by the credentials of a kubeconfig."""

    def __init__(self, config):
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.address = cluster["server"].removeprefix("https://")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pem:
            for part in ("client-certificate-data", "client-key-data"):
                pem.write(base64.b64decode(user[part]) + b"\n")
            pem.flush()
            self.tls.load_cert_chain(pem.name)
        self.local = threading.local()

    def connect(self):
        connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def call(self, verb, path, body=None, form="application/json"):
        """One request on this thread's own connection."""
        # The API server ends a connection that has been silent for a while.
        if not hasattr(self.local, "connection") or time.monotonic() - self.local.used > 30:
            self.local.connection = self.connect()
        self.local.connection.request(verb, path, body and json.dumps(body), {"Content-Type": form})
        answer = self.local.connection.getresponse()
        self.local.used = time.monotonic()
        text = answer.read()
        if answer.status >= 300 and not (verb == "DELETE" and answer.status == 404):
            raise RuntimeError(f"{verb} {path}: {answer.status} {text[:300]!r}")
        return text

    def writes(self):
        """Successful writes since the API server began, by verb and resource."""
        counts = {}
        for line in self.call("GET", "/metrics").decode().splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if labels["verb"] in ("POST", "PUT", "PATCH", "APPLY", "DELETE") and labels["code"].startswith("2"):
                    resource = labels["resource"] + ("/" + labels["subresource"] if labels["subresource"] else "")
                    key = (labels["verb"], resource)
                    counts[key] = counts.get(key, 0) + float(line.rsplit(" ", 1)[1])
        return counts


class Addresses:
    """Watches the Services and notes when each was first seen with an address."""

    def __init__(self, api):
        self.api, self.changed, self.seen = api, threading.Condition(), {}
        listed = json.loads(api.call("GET", SERVICES))
        threading.Thread(target=self.watch, args=(listed["metadata"]["resourceVersion"],), daemon=True).start()

    def watch(self, version):
        connection = self.api.connect()
        connection.request("GET", f"{SERVICES}?watch=1&resourceVersion={version}&timeoutSeconds=3000")
        connection.sock.settimeout(None)
        for line in connection.getresponse():
            service = json.loads(line)["object"]
            name, ingress = service["metadata"]["name"], service.get("status", {}).get("loadBalancer", {}).get("ingress")
            with self.changed:
                if ingress and name not in self.seen:
                    self.seen[name] = (time.perf_counter(), ingress[0]["ip"])
                    self.changed.notify_all()

    def wait(self, names, seconds):
        with self.changed:
            if not self.changed.wait_for(lambda: all(name in self.seen for name in names), seconds):
                missing = sum(name not in self.seen for name in names)
                raise RuntimeError(f"{missing} of {len(names)} Services have no address after {seconds} s")


class Lan:
    """Asks the LAN by ARP, as a client does that has never heard of the address."""

    def __init__(self, link):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        self.socket.bind((link, 0))
        self.mac = self.socket.getsockname()[4]
        shown = subprocess.run(["ip", "-4", "-j", "addr", "show", "dev", link], check=True, capture_output=True).stdout
        self.address = ipaddress.ip_address(json.loads(shown)[0]["addr_info"][-1]["local"]).packed

    def ask(self, address, seconds=10):
        """When the first answer for `address` came, asking every 2 ms."""
        target = ipaddress.ip_address(address).packed
        request = b"\xff" * 6 + self.mac + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + self.mac + self.address + bytes(6) + target
        self.socket.settimeout(0.002)
        end, due = time.perf_counter() + seconds, 0.0
        while time.perf_counter() < end:
            if time.perf_counter() >= due:
                self.socket.send(request)
                due = time.perf_counter() + 0.002
            try:
                frame = self.socket.recv(64)
            except TimeoutError:
                continue
            if frame[20:22] == b"\x00\x02" and frame[28:32] == target and frame[38:42] == self.address:
                return time.perf_counter()
        raise RuntimeError(f"nobody answers for {address} within {seconds} s")


def service(name, **annotations):
    spec = {"type": "LoadBalancer", "selector": {"app": ARGS.app}, "ports": [{"port": 80, "targetPort": ARGS.port}]}
    spec["allocateLoadBalancerNodePorts"] = False
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations}, "spec": spec}


def ms(values, share):
    return 1000 * sorted(values)[min(len(values) - 1, int(len(values) * share))]


def row(what, value, beside=""):
    print(f"{what:<52} {value:>22}   {beside}", flush=True)


def processes():
    """pid → name of every process in the cluster's namespaces."""
    found = {}
    for namespace in ARGS.namespaces.split():
        pids = subprocess.run(["ip", "netns", "pids", namespace], check=True, capture_output=True, text=True).stdout
        for pid in pids.split():
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    found[int(pid)] = comm.read().strip()
            except FileNotFoundError:
                pass
    found.pop(os.getpid(), None)
    return found


def cpu_seconds():
    total = 0
    for pid in processes():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        except FileNotFoundError:
            pass
    return total


def memory():
    """VmRSS and VmHWM of the agents in MiB, the largest of each."""
    rss, peak = [], []
    for pid, name in processes().items():
        if name == "lanlord":
            with open(f"/proc/{pid}/status", encoding="ascii") as status:
                fields = dict(line.split(":", 1) for line in status)
            rss.append(int(fields["VmRSS"].split()[0]) / 1024)
            peak.append(int(fields["VmHWM"].split()[0]) / 1024)
    return f"{max(rss):.1f} MiB, peak {max(peak):.1f}"


def difference(before, after):
    return {key: after[key] - before.get(key, 0) for key in after if after[key] > before.get(key, 0)}


def listed(writes, per=1.0):
    return ", ".join(f"{verb} {resource} {count / per:.2g}" for (verb, resource), count in sorted(writes.items())) or "none"


def at_rest(api):
    """Writes in a minute of rest. Without agents, by the same program, there is a baseline to take off (heartbeats of nodes)."""
    before, cpu = api.writes(), cpu_seconds()
    time.sleep(60)
    return difference(before, api.writes()), cpu_seconds() - cpu


def one_by_one(api, addresses, lan, count):
    assigned, answered = [], []
    for number in range(count):
        name = f"one-{number}"
        begun = time.perf_counter()
        api.call("POST", SERVICES, service(name))
        addresses.wait([name], 30)
        when, address = addresses.seen[name]
        assigned.append(when - begun)
        answered.append(lan.ask(address) - begun)
        time.sleep(0.05)
    row(f"Service → address in its status, p50 and p99 of {count}", f"{ms(assigned, 0.5):.1f}, {ms(assigned, 0.99):.1f} ms", "MetalLB 0.16: 20, 50 ms")
    row(f"Service → first ARP answer, p50 and p99 of {count}", f"{ms(answered, 0.5):.1f}, {ms(answered, 0.99):.1f} ms", "MetalLB 0.16: 48, 80 ms")
    delete(api, [f"one-{number}" for number in range(count)])


def delete(api, names):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: api.call("DELETE", f"{SERVICES}/{name}"), names))


def at_once(api, addresses, count):
    names = [f"many-{number}" for number in range(count)]
    before, cpu, begun = api.writes(), cpu_seconds(), time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: api.call("POST", SERVICES, service(name)), names))
    created = time.perf_counter() - begun
    addresses.wait(names, 900)
    last = max(addresses.seen[name][0] for name in names) - begun
    if len({addresses.seen[name][1] for name in names}) != count:
        raise RuntimeError("an address was assigned twice")
    time.sleep(5)
    used, writes = cpu_seconds() - cpu, difference(before, api.writes())
    ours = {key: n for key, n in writes.items() if key in (("PATCH", "services/status"), ("POST", "events"), ("PATCH", "events")) or key[1] == "leases"}
    row(f"{count} Services at once: until all have an address", f"{last:.1f} s", f"MetalLB 0.16: 32–57 s; creating them took {created:.1f} s")
    row("  processor time of everything, 5 s after included", f"{used:.0f} s", "MetalLB 0.16: about 70 s")
    row("  our API writes for each Service", f"{sum(ours.values()) / count:.1f}", f"MetalLB 0.16: 10. {listed(ours)}")
    row(f"Memory of an agent with {count} Services, the largest", memory(), "MetalLB 0.16: speaker 91 MiB, controller 86")
    edited(api, addresses, "at rest, %d Services" % count)


def edited(api, addresses, when, count=10):
    """How fast an edit of the ConfigMap serves a Service that waits for the pool it adds."""
    took = []
    for number in range(count):
        name, pool = f"edit-{number}", f"extra-{number}"
        api.call("POST", SERVICES, service(name, **{"lanlord.dev/address-pool": pool}))
        time.sleep(0.5)
        begun = time.perf_counter()
        data = {"data": {f"addresses.{pool}": f"10.78.64.{number + 1}"}}
        api.call("PATCH", "/api/v1/namespaces/lanlord/configmaps/lanlord", data, "application/merge-patch+json")
        addresses.wait([name], 60)
        took.append(addresses.seen[name][0] - begun)
    row(f"Edit of the ConfigMap → its effect, p50 and worst of {count}", f"{ms(took, 0.5):.0f}, {ms(took, 1):.0f} ms", f"{when}; goal < 1000 ms")


def restarted(api, lan, begun):
    """All agents were killed and started at `begun`: until every address answers again, one in a hundred asked for."""
    services = json.loads(api.call("GET", SERVICES))["items"]
    ingress = [item["status"].get("loadBalancer", {}).get("ingress") for item in services]
    known = [entry[0]["ip"] for entry in ingress if entry]
    for address in known[:: max(1, len(known) // 100)]:
        lan.ask(address, 120)
    row(f"All agents restarted, {len(known)} Services: until all answer", f"{time.time() - begun:.1f} s", "a container's own start included")
    time.sleep(10)
    row("  memory of an agent then, the largest", memory())


def main():
    api = Api(json.load(sys.stdin))
    if ARGS.part == "baseline":
        print(json.dumps([[*key, count] for key, count in at_rest(api)[0].items()]))
        return
    baseline = {(verb, resource): count for verb, resource, count in json.loads(ARGS.baseline)}
    if ARGS.part == "restarted":
        restarted(api, Lan("eth0"), ARGS.begun)
        return
    writes, cpu = at_rest(api)
    ours = {key: count - baseline.get(key, 0) for key, count in writes.items() if count > baseline.get(key, 0) + 1}
    row("API writes in a minute at rest, heartbeats taken off", f"{sum(ours.values()):.0f}", f"MetalLB 0.16: 0. {listed(ours)}")
    row("Memory of an idle agent, the largest", memory(), "MetalLB 0.16: speaker 63 MiB, controller 54")
    addresses, lan = Addresses(api), Lan("eth0")
    one_by_one(api, addresses, lan, 50)
    at_once(api, addresses, ARGS.count)


if __name__ == "__main__":
    PARSER = argparse.ArgumentParser(description=__doc__)
    PARSER.add_argument("part", choices=["baseline", "figures", "restarted"])
    PARSER.add_argument("--namespaces", required=True, help="network namespaces of the cluster, separated by spaces")
    PARSER.add_argument("--app", default="web", help="label app of the pods behind the Services")
    PARSER.add_argument("--port", type=int, default=8080, help="their port")
    PARSER.add_argument("--count", type=int, default=1000, help="Services at once")
    PARSER.add_argument("--begun", type=float, default=0, help="when the agents were started again, in seconds since 1970")
    PARSER.add_argument("--baseline", default="[]", help="what part baseline printed")
    ARGS = PARSER.parse_args()
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"bench: {error}")
