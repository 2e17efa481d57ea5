//! What a question about this host rests on: its links, the cluster as far as the API server tells, and what the LAN answers.
//!
//! The questions go out through sockets of their own: what the kernel knows of its neighbours is no evidence here, for it may be old, and
//! for addresses that kube-proxy has bound on this host it asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::eyes::Eyes;
use crate::addr::{Family, MacAddr};
use crate::config::Config;
use crate::config::origin::{Origin, Origins};
use crate::facts::{Link, LinkName, Links, NodeName, Role, Snapshot};
use crate::l2::Protocol;
use crate::l2::arp::Arp;
use crate::l2::ndp::Ndp;
use crate::net::packet::{self, PacketSocket};
use crate::net::{capability, clock, link};

/// How often each question is sent, …
const ROUNDS: u32 = 3;
/// … how far apart, …
const STEP: Duration = Duration::from_millis(200);
/// … and how long answers to the last are waited for: a telephone that sleeps hears a question every third of a second or so.
const LAST: Duration = Duration::from_millis(800);
/// The kernel tells its links at once.
const LINKS_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the cluster's part of an answer comes from.
#[derive(Args, Clone, Debug)]
pub(super) struct Place {
    /// The agents' configuration, as their own --config: configmap:NAMESPACE/NAME, or a file or directory; and crds:NAMESPACE,…
    #[arg(long, value_name = "SOURCE", default_value = "configmap:lanlord/lanlord")]
    pub(super) config: Vec<Origin>,

    /// Namespace of the agents' Leases
    #[arg(long, value_name = "NAMESPACE", default_value = "lanlord")]
    pub(super) lease_namespace: String,
}

/// This host and its cluster.
pub(super) struct Host {
    pub(super) links: Links,
    /// Empty if the API server does not answer.
    pub(super) snapshot: Snapshot,
    /// Where the agents' configuration comes from.
    pub(super) origins: Origins,
    /// Their ConfigMap, file or directory is there, whatever stands in it.
    pub(super) exists: bool,
    /// `None`: there is none, or it cannot be read.
    pub(super) config: Option<Config>,
    /// What has to be known of the answer.
    pub(super) notes: Vec<String>,
}

impl Place {
    /// Reads both. Without an API server there is less to say, and that is said.
    pub(super) async fn read(&self) -> anyhow::Result<Host> {
        let links = links().await?;
        let origins = Origins::try_from(self.config.clone())?;
        let mut host = Host { links, snapshot: Snapshot::default(), origins, exists: false, config: None, notes: Vec::new() };
        if let Err(error) = self.look(&mut host).await {
            host.notes.push(format!("of the cluster nothing is known: {error}"));
        }
        Ok(host)
    }

    async fn look(&self, host: &mut Host) -> anyhow::Result<()> {
        let eyes = Eyes::open(&self.lease_namespace).await?;
        let snapshot = eyes.snapshot().await;
        if let Ok(snapshot) = &snapshot {
            host.snapshot = Snapshot::clone(snapshot);
            let found = eyes.look_for_config(&host.origins).await;
            host.exists = found.as_ref().is_ok_and(|found| found.exists);
            match found.and_then(|found| found.config) {
                Ok(config) => host.config = config,
                Err(error) => host.notes.push(format!("{error:#}")),
            }
        }
        eyes.close();
        snapshot.map(drop)
    }
}

impl Host {
    /// The node that a link-layer address belongs to, as the agents' Leases tell.
    pub(super) fn node_of(&self, mac: MacAddr) -> Option<&NodeName> {
        let has = |member: &&_| member_macs(member).any(|its| its == mac);
        self.snapshot.members.values().map(AsRef::as_ref).find(has).map(|member| &member.node)
    }

    /// The node that this host is.
    pub(super) fn node(&self) -> Option<&NodeName> {
        self.links.links.values().filter(|link| link.role != Role::NoArp).find_map(|link| self.node_of(link.mac))
    }
}

fn member_macs(member: &crate::facts::Member) -> impl Iterator<Item = MacAddr> {
    member.links.iter().map(|link| link.mac)
}

async fn links() -> anyhow::Result<Links> {
    let (told, mut read) = watch::channel(std::sync::Arc::default());
    let shutdown = CancellationToken::new();
    let following = tokio::spawn(link::run(told, shutdown.clone()));
    // Every host has a loopback link.
    let first = tokio::time::timeout(LINKS_TIMEOUT, read.wait_for(|links: &std::sync::Arc<Links>| !links.links.is_empty())).await;
    let links = first.context("the kernel does not tell its links")?.map(|links| Links::clone(&links));
    shutdown.cancel();
    match links {
        Ok(links) => Ok(links),
        Err(_) => following.await?.and_then(|()| anyhow::bail!("the kernel does not tell its links")),
    }
}

/// In whose name the LAN is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sender {
    /// In this host's, as its clients ask.
    Host,
    /// In nobody's: a probe (RFC 5227 §1.1), which enters no cache.
    Nobody,
}

/// Who answered for each address, on which link.
pub(super) type Heard = BTreeMap<(LinkName, IpAddr), BTreeSet<MacAddr>>;

/// Makes raw sockets possible. Before anything else of this process runs.
///
/// # Errors
/// What is missing.
pub(super) fn may_ask() -> anyhow::Result<()> {
    let raised = capability::raise_net_raw().context("raising CAP_NET_RAW")?;
    anyhow::ensure!(
        raised,
        "CAP_NET_RAW is missing, without which nobody can be asked: run this in the agent's pod (kubectl exec -n lanlord POD -- /lanlord …), or as root"
    );
    Ok(())
}

/// Asks for all addresses at once, and listens for a little over a second.
///
/// # Errors
/// When a link cannot be asked on.
pub(super) async fn ask(links: &Links, questions: &BTreeSet<(LinkName, IpAddr)>, sender: Sender) -> anyhow::Result<Heard> {
    let mut ports: BTreeMap<(&LinkName, Family), BTreeSet<IpAddr>> = BTreeMap::new();
    for (link, address) in questions {
        ports.entry((link, Family::of(*address))).or_default().insert(*address);
    }
    let asked = ports.into_iter().map(|((name, family), addresses)| async move {
        let link = links.links.get(name).with_context(|| format!("there is no link {name}"))?;
        let heard = match family {
            Family::V4 => ask_on::<Arp>(link, packet::Protocol::Arp, &addresses, sender).await,
            Family::V6 => ask_on::<Ndp>(link, packet::Protocol::Ndp, &addresses, sender).await,
        };
        let heard = heard.with_context(|| format!("nobody can be asked on {name}"))?;
        Ok(heard.into_iter().map(|(address, macs)| ((name.clone(), address), macs)).collect::<Heard>())
    });
    let heard: Vec<anyhow::Result<Heard>> = futures::future::join_all(asked).await;
    Ok(heard.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

async fn ask_on<P: Protocol>(
    link: &Link,
    protocol: packet::Protocol,
    addresses: &BTreeSet<IpAddr>,
    sender: Sender,
) -> io::Result<BTreeMap<IpAddr, BTreeSet<MacAddr>>> {
    // A solicitation from nobody could keep a host that is just starting from its address (RFC 4862 §5.4.3), so IPv6 never sends one.
    let own: BTreeSet<IpNet> = match (P::FAMILY, sender) {
        (Family::V4, Sender::Nobody) => BTreeSet::new(),
        (Family::V4, Sender::Host) | (Family::V6, Sender::Host | Sender::Nobody) => link.addresses.clone(),
    };
    let mut socket = PacketSocket::open(link.index, protocol)?;
    let (mut heard, mut frame) = (BTreeMap::new(), Vec::with_capacity(128));
    for round in 1..=ROUNDS {
        for (to, packet) in addresses.iter().filter_map(|address| P::question(link.mac, &own, *address, None)) {
            frame.clear();
            P::encode(&packet, link.mac, to, &mut frame);
            socket.send(&frame)?;
        }
        let end = clock::now() + if round < ROUNDS { STEP } else { LAST };
        loop {
            tokio::select! {
                () = clock::sleep_until(Some(end)) => break,
                ready = socket.readable() => ready?,
            }
            while let Some(event) = socket.receive(P::decode) {
                if let Some((address, mac)) = event.as_ref().and_then(P::speaker).filter(|(address, _)| addresses.contains(address)) {
                    heard.entry(address).or_insert_with(BTreeSet::new).insert(mac);
                }
            }
        }
    }
    Ok(heard)
}
