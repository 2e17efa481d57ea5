//! `lanlord router-config`: the other half of a BGP session, ready to paste, in the language of the router at hand.
//!
//! [`router`] finds out what the router has to know, from the same configuration and by the same rules as the agents; the files beside it
//! write that down, one for each language. A password is printed only when asked for.

mod bird;
mod frr;
mod ios;
mod junos;
mod kind;
mod opnsense;
mod router;
mod routeros;
mod text;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::Args;

use self::kind::Kind;
use self::router::{Question, Router, list};
use self::text::Text;
use super::answer::{UNASKED, WELL, exit};
use super::cluster::Origins;
use crate::addr::Family;
use crate::config::asn;

/// Print the router's side of BGP, ready to paste: for FRR, BIRD, RouterOS, OPNsense, pfSense, UniFi, OpenWrt, IOS-XE, Junos
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The nodes dial and announce the addresses of the pools; what is printed lets the router take exactly these, from exactly these nodes, and \
spread traffic over all of them. Comments in it say what each part is for, and where to paste it.

KIND is one of frr, bird, bird3, routeros, opnsense, pfsense, unifi, openwrt, ios-xe, junos.

Without --cluster it asks the Kubernetes API. Of the files, Nodes are enough; with the Leases of the agents it knows of several \
addresses of a node which one its session comes from.

Exit codes: 0 printed, 2 the question could not be asked.

Examples:
  lanlord router-config frr
  lanlord router-config routeros --peer router
  kubectl get nodes -o json > nodes.json && lanlord router-config unifi --config lanlord.yaml --cluster nodes.json")]
pub struct RouterConfig {
    /// The kind of router; any other word lists all kinds
    kind: String,

    #[command(flatten)]
    origins: Origins,

    /// The peer that is this router; repeat it for a router that is several peers [default: all, if they have one address]
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,

    /// The router's AS number, where the configuration leaves it open (dynamicASN: external)
    #[arg(long, value_name = "ASN", value_parser = asn)]
    asn: Option<u32>,

    /// Print passwords that stand in the configuration, instead of saying where they are
    #[arg(long)]
    show_passwords: bool,
}

/// As in the configuration.
fn asn(text: &str) -> Result<u32, String> {
    asn::parse(text).ok_or_else(|| "write AS and a number from 1 to 4294967295, such as AS64512".to_owned())
}

impl RouterConfig {
    /// Runs on the process's own streams.
    pub fn run(self) -> ExitCode {
        exit(self.run_on(&mut io::stdin(), &mut io::stdout().lock(), &mut io::stderr().lock()))
    }

    /// Runs on the streams given and returns the exit code.
    ///
    /// # Errors
    /// When a stream cannot be written.
    pub fn run_on(&self, input: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
        match self.ask(input) {
            Ok(text) => {
                out.write_all(text.as_bytes())?;
                Ok(WELL)
            }
            Err(why) => {
                writeln!(err, "lanlord: {why:#}")?;
                Ok(UNASKED)
            }
        }
    }

    fn ask(&self, input: &mut dyn Read) -> anyhow::Result<String> {
        // First, for it may have been asked only to list the kinds.
        let kind = Kind::named(&self.kind)?;
        let cluster = self.origins.read(input)?;
        let question = Question {
            peers: &self.peer,
            asn: self.asn,
            show_passwords: self.show_passwords,
            namespace: self.origins.namespace(),
            assumed: cluster.assumed,
        };
        let router = Router::new(&cluster.config, &cluster.snapshot, &question)?;
        let mut text = Text::new(kind.mark);
        heading(kind, &router, &mut text);
        (kind.write)(&router, &mut text);
        Ok(text.into_string())
    }
}

fn heading(kind: &Kind, router: &Router, text: &mut Text) {
    text.say(format!("The router's side of BGP with Lanlord, made by: lanlord router-config {}", kind.name));
    for group in &router.groups {
        let nodes = list(group.nodes.iter().map(|(node, _)| node));
        text.say(format!("Here AS {} at {}; there AS {}: {nodes}.", router.asn, group.address, group.asn));
    }
    text.say("Make it anew when nodes come or go, and when pools, advertisements or peers change.");
    for (node, peer) in &router.unknown {
        text.say(format!("NOT HERE: node {node}, for no address of it is known that it could speak with peer {peer} from."));
    }
    if router.assumed {
        text.say(
            "The nodes' addresses are those of their Node objects, for no agent left a Lease that tells of its links. If a session comes",
        );
        text.say("from another one, write that here, or let sourceAddress of the peer choose.");
    }
    text.line(kind.mark);
    for line in kind.paste {
        text.say(line);
    }
    let bfd = if router.has_bfd() { format!(" and UDP {} (BFD)", list(router.bfd_ports())) } else { String::new() };
    text.say(format!("Let TCP {} (BGP){bfd} {}.", list(router.ports()), kind.firewall));
    for port in router.ports().filter(|port| *port != 179) {
        match kind.port {
            Some("") => {}
            Some(how) => text.say(format!("The nodes dial port {port}: {}.", how.replace("PORT", &port.to_string()))),
            None => text.say(format!("The nodes dial port {port}, and this router listens on 179 only: remove peerPort of the peer.")),
        }
    }
    text.say(format!("Look at it: {}.", kind.look));
    text.say("You should see a route for each address of a Service, with as many next hops as nodes announce it.");
    if kind.is_linux {
        text.line(kind.mark);
        text.say(
            "Linux chooses among next hops by addresses alone unless it is told to look at ports, too. In /etc/sysctl.d/90-lanlord.conf:",
        );
        for family in router.accepted.keys() {
            let digit = if *family == Family::V4 { "4" } else { "6" };
            text.say(format!("  net.ipv{digit}.fib_multipath_hash_policy=1"));
        }
    }
}
