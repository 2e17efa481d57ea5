"""Takes things away from a running cluster and prints what a client on its LAN lost. Started by scripts/bench-failover.sh.

Everything is done by scripts/cluster.sh and measured by the program `meter` on the client, which says what an outage is.
Asserts nothing but what would make a figure meaningless.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICKS = os.sysconf("SC_CLK_TCK")
ADDRESS = "10.77.0.240"
HEALTH = ("--config", "configmap:lanlord/lanlord", "--health-socket", "/run/lanlord/health.sock")
SETTINGS = {}


# ---------------------------------------------------------------------------------------------------- the cluster


def cluster(*action, where=()):
    """One action of scripts/cluster.sh; the directory goes behind the verb."""
    command = [f"{HERE}/cluster.sh", *action, ARGS.dir, *where]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cluster.sh {' '.join([*action, *where])}: {done.stderr.strip()}")
    return done.stdout


def kubectl(*arguments):
    return cluster("kubectl", where=arguments)


def inside(place, *command):
    """What a command prints in a namespace of the cluster."""
    return subprocess.run(["ip", "netns", "exec", f"{ARGS.prefix}-{place}", *command], capture_output=True, text=True).stdout


def nodes():
    return SETTINGS["NODES"].split()


def agent_start(node, verb="start"):
    cluster("agent", verb, where=(node, "--", ARGS.binary, "run", *HEALTH))


def wait(seconds, what, holds):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain: {what}; see {ARGS.dir}/log")
        time.sleep(0.1)


def figures(node):
    """An agent's metrics: name with labels → value."""
    text = inside(node, "curl", "-s", "--max-time", "2", "http://127.0.0.1:7475/metrics")
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def total(name):
    """One metric of all agents, all labels."""
    return sum(value for node in nodes() for key, value in figures(node).items() if key.split("{")[0] == name)


def mesh_is_up():
    return all(hears(node, other) for node in nodes() for other in nodes() if node != other)


def hears(node, other):
    """Whether the agent that was started last on a node hears that of another one, by the last that it says of it."""
    with open(f"{ARGS.dir}/log/agent-{node}.log", encoding="utf-8") as log:
        lines = log.read().rsplit('"lanlord starts"', 1)[-1].splitlines()
    said = [line for line in lines if re.search('msg="?member', line) and f" node={other} " in line]
    return bool(said) and " to=Up " in said[-1]


def all_are_members():
    leases = json.loads(kubectl("get", "leases", "-n", "lanlord", "-o", "json"))["items"]
    holders = {lease["metadata"]["name"]: lease["spec"].get("holderIdentity") for lease in leases}
    members = [holders.get(f"node.{node}") for node in nodes()]
    return all(members) and holders.get("leader") in members


def owner():
    """The one node that answers for the address; none while several do, or nobody."""
    meter = Meter(connections=0)
    time.sleep(0.3)
    macs = {answerer["mac"] for answerer in meter.stop()["who"]}
    return f"n{int(macs.pop().rsplit(':', 1)[1], 16) - 10}" if len(macs) == 1 else None


def settled():
    """Waits until nothing is left of what was done to the cluster. Returns the owner."""
    found = []
    wait(60, "all are members and one of them leads", all_are_members)
    wait(60, "every agent hears every other one", mesh_is_up)
    wait(60, "one node answers", lambda: found.append(owner()) or found[-1])
    return found[-1]


class Meter:
    """Measures at the client from its making to `stop`."""

    def __init__(self, connections=20):
        command = [f"{ARGS.kube}/meter", "--to", ADDRESS, "--who", "eth0", "--connections", str(connections)]
        command = ["ip", "netns", "exec", f"{ARGS.prefix}-cl", *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if "running" not in self.process.stdout.readline():
            raise RuntimeError("the meter does not start")

    def stop(self):
        return json.loads(self.process.communicate()[0])


def served():
    """Waits until a new connection of the client is answered. The client's kernel is not made to ask who has the address."""
    wait(60, "the client is served again", lambda: inside("cl", "curl", "-s", "--max-time", "1", f"http://{ADDRESS}/"))


# ---------------------------------------------------------------------------------------------------- the runs


def lose(before=(), together=(), after=()):
    """Cuts the owner off, with these actions around it, then connects it again. Both outages are the client's."""
    node = settled()
    for action, pause in before:
        cluster(*action)
        time.sleep(pause())
    meter = Meter()
    for port in together:
        cluster("link", "cut", where=(port,))
    cluster("link", "cut", where=(node,))
    served()
    # Held connections come back by their own timers.
    time.sleep(1.5)
    lost = meter.stop()
    meter = Meter()
    for port in (*together, node):
        cluster("link", "heal", where=(port,))
    for action in after:
        cluster(*action)
    time.sleep(5)
    healed = meter.stop()
    # A node that is lost again and again is kept out longer and longer; an agent that has just started knows nothing of that.
    cluster("agent", "kill", where=(node,))
    agent_start(node)
    return {**lost, "healed": healed}


def power():
    return lose()


def api():
    return lose(together=("cp",))


def stall():
    # Sometimes the agents have noticed before the owner is lost, sometimes not.
    return lose(before=[(("control-plane", "pause"), lambda: random.uniform(0, 6))], after=[("control-plane", "resume")])


def kill():
    node = settled()
    meter = Meter()
    cluster("agent", "kill", where=(node,))
    time.sleep(1)
    agent_start(node)
    time.sleep(2)
    return meter.stop()


def update():
    settled()
    meter = Meter()
    for node in nodes():
        agent_start(node, "beside")
        socket = f"{ARGS.dir}/agent/{node}/beside/run/lanlord/health.sock"
        ready = [ARGS.binary, "health", "ready", "--socket", socket]
        wait(20, f"the new agent on {node} is ready", lambda: subprocess.run(ready, capture_output=True).returncode == 0)
        cluster("agent", "succeed", where=(node,))
    time.sleep(1)
    return meter.stop()


def drain():
    node = settled()
    meter = Meter()
    kubectl("drain", node, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=30s")
    time.sleep(4)
    report = meter.stop()
    if owner() == node:
        raise RuntimeError(f"{node} was drained and the address did not move")
    kubectl("uncordon", node)
    return report


RUNS = {
    "power": (power, "owner lost, API healthy", "6.3 s (5.4–6.9)", (5.4, 6.3, 6.9)),
    "api": (api, "owner lost together with the API server", "5.3–7.7 s", (5.3, None, 7.7)),
    "stall": (stall, "owner lost while the API server hangs", "5.3–7.7 s", (5.3, None, 7.7)),
    "kill": (kill, "agent killed (-9), back after 1 s", "ARP unanswered for 5.3 s", None),
    "update": (update, "rolling update of all agents", "0 lost, each connection reset twice", None),
    "drain": (drain, "owner drained", "0 lost", None),
}


def rank(values, share):
    """The nearest rank: of fewer than a hundred runs p99 is the longest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def four(values):
    return " ".join(f"{value:8.0f}" for value in (min(values), rank(values, 0.5), rank(values, 0.99), max(values)))


def row(what, values, beside=""):
    print(f"{what:<52} {values:>35}   {beside}", flush=True)


def runs():
    measured = {}
    row("the client's outage in ms", "     min   median      p99      max", "MetalLB 0.16")
    for name in ARGS.only:
        act, what, metallb, _ = RUNS[name]
        reports = [act() for _ in range(ARGS.runs)]
        measured[name] = reports
        row(f"{what}, {len(reports)} runs", four([report["longest_ms"] for report in reports]), metallb)
        row("  datagrams lost of 1,000 a second", four([report["lost"] for report in reports]))
        row("  held TCP connections reset, of 20", four([report["tcp"]["resets"] for report in reports]))
        row("  longest wait on one of them, in ms", four([report["tcp"]["longest_ms"] for report in reports]))
        healed = [report["healed"] for report in reports if "healed" in report]
        if healed:
            row("  reconnected: two nodes answer, in ms", four([report["two_ms"] for report in healed]), "2–46 s")
            row("  reconnected: the client's outage, in ms", four([report["longest_ms"] for report in healed]))
        row("  the meter itself was late, in ms", four([report["late_ms"] for report in reports]))
    settled()
    if ARGS.svg:
        with open(ARGS.svg, "w", encoding="utf-8") as file:
            file.write(drawing(measured))


# ---------------------------------------------------------------------------------------------------- at rest


def cpu_seconds():
    used = 0
    for node in nodes():
        with open(f"{ARGS.dir}/run/agent-{node}.pid", encoding="ascii") as pid, open(f"/proc/{pid.read().strip()}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        used += (int(fields[11]) + int(fields[12])) / TICKS
    return used


def mesh_packets():
    """Liveness packets the switch has forwarded since it counts them."""
    counted = inside("sw", "nft", "list", "table", "bridge", "mesh")
    if not counted:
        rules = "add table bridge mesh; add chain bridge mesh c { type filter hook forward priority 0; }; add rule bridge mesh c udp dport 7474 counter"
        inside("sw", "nft", rules)
        return mesh_packets()
    return int(re.search(r"packets (\d+)", counted).group(1))


def rest():
    settled()
    seconds = 60
    before = mesh_packets(), cpu_seconds(), total("lanlord_api_writes_total")
    time.sleep(seconds)
    packets, cpu, writes = (after - begun for after, begun in zip((mesh_packets(), cpu_seconds(), total("lanlord_api_writes_total")), before))
    count = len(nodes())
    row(f"{count} nodes: liveness packets a second", f"{packets / seconds:.0f}, {packets / seconds / count:.0f} a node")
    row(f"{count} nodes: processor time of an agent", f"{100 * cpu / seconds / count:.2f} % of a core")
    row(f"{count} nodes: API writes in a minute", f"{writes:.0f}", "MetalLB 0.16: 0")


def busy():
    settled()
    logs = [f"{ARGS.dir}/log/agent-{node}.log" for node in nodes()]
    counted = {"suspected": 'msg="member suspected"', "lost": 'msg="member lost'}

    def count():
        text = "".join(open(log, encoding="utf-8").read() for log in logs)
        return {what: text.count(words) for what, words in counted.items()}

    before, meter = count(), Meter()
    time.sleep(60 * ARGS.minutes)
    report, after = meter.stop(), count()
    row(f"{ARGS.minutes:g} minutes with all cores busy: suspicions", f"{after['suspected'] - before['suspected']}")
    row("  members taken for lost", f"{after['lost'] - before['lost']}")
    row(f"  datagrams lost of {report['sent']}", f"{report['lost']}", f"longest outage {report['longest_ms']:.0f} ms")
    row("  held TCP connections reset, of 20", f"{report['tcp']['resets']}")
    row("  processes waiting for a core (load)", f"{os.getloadavg()[0]:.1f}", f"{os.cpu_count()} cores")


# ---------------------------------------------------------------------------------------------------- the picture

STYLE = """
  .ground { fill: #fff }
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .small { font-size: 11px; fill: #59636e }
  .axis { stroke: #d1d9e0; stroke-width: 1 }
  .out { fill: #1f6feb }
  .run { stroke: #0a3069; stroke-width: 1.5; opacity: .8 }
  .other { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } text { fill: #f0f6fc } .small { fill: #9198a1 } .axis { stroke: #3d444d }
    .out { fill: #4493f8 } .run { stroke: #cae8ff } .other { fill: #6e7681 }
  }
"""
LEFT, WIDTH, SECONDS, LANE = 290, 520, 8, 62


def x(seconds):
    return round(LEFT + WIDTH * min(seconds, SECONDS) / SECONDS, 1)


def said(ms):
    return "0" if ms == 0 else f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def lane(y, name, reports):
    _, what, metallb, bounds = RUNS[name]
    outages = [report["longest_ms"] for report in reports]
    median, longest = rank(outages, 0.5), max(outages)
    reset = any(report["tcp"]["resets"] for report in reports)
    words = "nothing lost" if longest == 0 else f"{said(median)}, at most {said(longest)}"
    words += ("; established connections reset" if longest == 0 else "") if reset else ", no connection reset"
    parts = [f'<text x="{LEFT - 12}" y="{y + 13}" text-anchor="end">{what}</text>']
    parts.append(f'<rect class="out" x="{x(0)}" y="{y}" width="{max(2, x(median / 1000) - x(0)):.1f}" height="16" rx="2"/>')
    parts += [f'<line class="run" x1="{x(ms / 1000)}" x2="{x(ms / 1000)}" y1="{y - 3}" y2="{y + 19}"/>' for ms in outages if ms]
    parts.append(f'<text x="{x(longest / 1000) + 8}" y="{y + 13}">{words}</text>')
    y += 22
    parts.append(f'<text class="small" x="{LEFT - 12}" y="{y + 11}" text-anchor="end">MetalLB 0.16</text>')
    if bounds:
        low, middle, high = bounds
        parts.append(f'<rect class="other" x="{x(0)}" y="{y + 2}" width="{x(middle or low) - x(0):.1f}" height="10" rx="2"/>')
        parts.append(f'<rect class="other" opacity=".5" x="{x(low)}" y="{y + 2}" width="{max(0, x(high) - x(low)):.1f}" height="10"/>')
        parts.append(f'<text class="small" x="{x(high) + 8}" y="{y + 11}">{metallb}</text>')
    else:
        parts.append(f'<text class="small" x="{x(0) + 10}" y="{y + 11}">{metallb}</text>')
    return "\n".join(parts)


def drawing(measured):
    """The outages on one axis of time. No script, no font, no dependency; readable on light and on dark."""
    bottom = 50 + LANE * len(measured)
    count = len(next(iter(measured.values())))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 180} {bottom + 40}" role="img" aria-labelledby="t">',
        '<title id="t">For how long a client is not served, Lanlord and MetalLB</title>',
        f"<style>{STYLE}</style>",
        # Its own ground: a page may be dark for a reader whose browser says light.
        '<rect class="ground" width="100%" height="100%" rx="6"/>',
        f'<text x="{LEFT}" y="20">For how long a client is not served</text>',
        f'<text class="small" x="{LEFT}" y="36">each line one of {count} runs, the bar their median</text>',
    ]
    for second in range(SECONDS + 1):
        parts.append(f'<line class="axis" x1="{x(second)}" x2="{x(second)}" y1="46" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{x(second)}" y="{bottom + 16}" text-anchor="middle">{second} s</text>')
    parts += [lane(56 + LANE * number, name, reports) for number, (name, reports) in enumerate(measured.items())]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main():
    with open(f"{ARGS.dir}/settings", encoding="utf-8") as file:
        SETTINGS.update(re.findall(r'^(\w+)="(.*)"$', file.read(), re.MULTILINE))
    ARGS.kube = SETTINGS["KUBE"]
    {"runs": runs, "rest": rest, "busy": busy}[ARGS.part]()


if __name__ == "__main__":
    PARSER = argparse.ArgumentParser(description=__doc__)
    PARSER.add_argument("part", choices=["runs", "rest", "busy"])
    PARSER.add_argument("--dir", required=True, help="of the cluster")
    PARSER.add_argument("--prefix", required=True, help="of its namespaces")
    PARSER.add_argument("--binary", required=True, help="lanlord")
    PARSER.add_argument("--runs", type=int, default=20)
    PARSER.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    PARSER.add_argument("--svg", help="where to draw the outages")
    PARSER.add_argument("--minutes", type=float, default=30)
    ARGS = PARSER.parse_args()
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"bench: {error}")
