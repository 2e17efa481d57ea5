//! Services in front of the Pods labelled app=web: who announces them, and who answers for them on the LAN.

use std::fs;
use std::net::IpAddr;

use crate::support::cluster::Cluster;
use crate::support::place::run_in;
use crate::support::seen::ingress;

/// What the switch notes: on which port somebody answered for which address.
const WATCH: &str = "table bridge watch {
  set v4 { type ifname . ipv4_addr; flags dynamic; size 1000; }
  set v6 { type ifname . ipv6_addr; flags dynamic; size 1000; }
  chain seen {
    type filter hook prerouting priority 0;
    arp operation reply add @v4 { iifname . arp saddr ip }
    icmpv6 type nd-neighbor-advert add @v6 { iifname . ip6 saddr }
  }
}";

impl Cluster {
    /// A Service of type LoadBalancer for the Pods labelled app=web, with these fields more (as YAML in braces).
    #[track_caller]
    pub(crate) fn load_balancer(&self, name: &str, more: &str) {
        self.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, \
             spec: {{type: LoadBalancer, selector: {{app: web}}, ports: [{{port: 80}}], {more}}}}}"
        ));
    }

    /// Waits as a person does.
    #[track_caller]
    pub(crate) fn wait_announced(&self, service: &str) {
        let outcome = self.try_kubectl(&["wait", "--for=condition=lanlord.dev/Announced", &format!("svc/{service}"), "--timeout=10s"]);
        if let Err(complaint) = outcome {
            // Says the same, and what there is to be seen.
            self.wait_until(0, &complaint, || false);
        }
    }

    /// The addresses in the status of a Service, in its order.
    #[track_caller]
    pub(crate) fn addresses_of(&self, service: &str) -> Vec<IpAddr> {
        let addresses = ingress(&self.json(&["get", "service", service]));
        addresses.into_iter().map(|address| address.parse().expect("an address")).collect()
    }

    /// Status, reason and message of its condition `lanlord.dev/Announced`; empty before there is one.
    #[track_caller]
    pub(crate) fn condition(&self, service: &str) -> [String; 3] {
        let service = self.json(&["get", "service", service]);
        let conditions = service["status"]["conditions"].as_array();
        let ours = conditions.into_iter().flatten().find(|condition| condition["type"] == "lanlord.dev/Announced");
        ["status", "reason", "message"].map(|key| ours.and_then(|ours| ours[key].as_str()).unwrap_or_default().to_owned())
    }

    /// The node that the annotation `lanlord.dev/announced` names.
    #[track_caller]
    pub(crate) fn announcer(&self, service: &str) -> Option<String> {
        let service = self.json(&["get", "service", service]);
        let text = service["metadata"]["annotations"]["lanlord.dev/announced"].as_str()?;
        text.split_once(" by ")?.1.split(' ').next().map(str::to_owned)
    }

    /// Waits until the Service is announced by a node, and the LAN, asked anew, agrees with what is said. Returns the node.
    #[track_caller]
    pub(crate) fn wait_owner(&self, service: &str, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let mut owner = None;
        self.wait_until(10, what, || {
            owner = self.announcer(service).filter(|node| is_right(node));
            let addresses = self.addresses_of(service);
            owner.is_some() && !addresses.is_empty() && addresses.iter().all(|address| self.client.owner_of(*address) == owner)
        });
        owner.expect("it was awaited")
    }

    /// Waits until the client gets an answer from a Pod behind each address of the Service.
    #[track_caller]
    pub(crate) fn wait_reachable(&self, service: &str) {
        for address in self.addresses_of(service) {
            let reached = || self.client.http(&url(address)).is_ok_and(|body| body.starts_with("pod=web-"));
            self.wait_until(10, &format!("the client reaches {service} at {address}"), reached);
        }
    }

    /// The ports of the switch behind which somebody answers for this address, as `n1-eth0`: everyone who answers the first of three
    /// questions is heard before the last is answered.
    #[track_caller]
    pub(crate) fn answering_ports(&self, address: IpAddr) -> Vec<String> {
        let file = self.directory.join("watch.nft");
        fs::write(&file, format!("table bridge watch\ndelete table bridge watch\n{WATCH}\n")).expect("a file of ours");
        self.switch(&["nft", "-f", &file.to_string_lossy()]);
        for _ in 0..3 {
            self.client.mac_of(address);
        }
        let set = if address.is_ipv4() { "v4" } else { "v6" };
        let seen = self.switch(&["nft", "list", "set", "bridge", "watch", set]);
        let entries = seen.split(['{', '}', ',']).map(str::trim);
        let ports = entries.filter_map(|entry| entry.strip_suffix(&format!(" . {address}")));
        ports.map(|port| port.trim_matches('"').to_owned()).collect()
    }

    /// What a command prints on the switch.
    #[track_caller]
    pub(crate) fn switch(&self, command: &[&str]) -> String {
        run_in(&self.namespace("sw"), command).unwrap_or_else(|complaint| panic!("{} on the switch: {complaint}", command.join(" ")))
    }
}

/// Where a Service is asked.
pub(crate) fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]/"),
    }
}
