//! The routers whose language is spoken, and for each where to paste and how to look afterwards.

use super::router::Router;
use super::text::Text;
use super::{bird, frr, ios, junos, opnsense, routeros};

/// A kind of router.
pub(super) struct Kind {
    /// As it is asked for.
    pub(super) name: &'static str,
    /// Other words for it.
    also: &'static [&'static str],
    /// One line about it.
    pub(super) what: &'static str,
    /// Comments begin with it.
    pub(super) mark: &'static str,
    /// Where it goes.
    pub(super) paste: &'static [&'static str],
    /// What to do so that the firewall lets it in; the ports are said by the caller.
    pub(super) firewall: &'static str,
    /// What to ask afterwards.
    pub(super) look: &'static str,
    /// It is Linux that forwards, and hashes addresses only unless told otherwise.
    pub(super) is_linux: bool,
    /// The port that BGP listens on can be another.
    pub(super) port: Option<&'static str>,
    pub(super) write: fn(&Router, &mut Text),
}

const VTYSH: &str = "vtysh -c 'show bgp summary', 'show bgp ipv4 unicast', 'show ip route bgp', 'show bfd peers brief'";
const BGPD_PORT: &str = "add -p PORT to bgpd_options in /etc/frr/daemons";

const BIRD: Kind = Kind {
    name: "bird",
    also: &["bird2"],
    what: "BIRD 2, 2.0.8 and later: bird.conf",
    mark: "#",
    paste: &["Append this to /etc/bird/bird.conf, then birdc configure check, birdc configure."],
    firewall: "in from the nodes",
    look: "birdc show protocols, birdc show route, birdc show bfd sessions",
    is_linux: true,
    port: Some(""),
    write: bird::write,
};

/// All of them.
pub(super) const KINDS: &[Kind] = &[
    Kind {
        name: "frr",
        also: &["frrouting"],
        what: "FRR on Linux, 8.0 and later: frr.conf",
        mark: "!",
        paste: &[
            "In /etc/frr/daemons set bgpd=yes, and bfdd=yes if BFD is used. Append this to /etc/frr/frr.conf, then systemctl restart frr;",
            "or, where FRR runs already: vtysh, configure terminal, paste it, end, write memory.",
        ],
        firewall: "in from the nodes",
        look: VTYSH,
        is_linux: true,
        port: Some(BGPD_PORT),
        write: frr::write,
    },
    BIRD,
    Kind { name: "bird3", also: &[], what: "BIRD 3: bird.conf", ..BIRD },
    Kind {
        name: "routeros",
        also: &["mikrotik", "routeros7", "ros"],
        what: "MikroTik RouterOS 7: commands",
        mark: "#",
        paste: &["Paste this into a terminal (WinBox: New Terminal; or ssh)."],
        firewall: "in from the nodes, as the last lines say",
        look: "/routing/bgp/session/print, /routing/route/print where bgp, /routing/bfd/session/print",
        is_linux: false,
        port: Some(""),
        write: routeros::write,
    },
    Kind {
        name: "opnsense",
        also: &["os-frr"],
        what: "OPNsense with the plugin os-frr: what to enter, and what FRR makes of it",
        mark: "!",
        paste: &[
            "Install os-frr (System > Firmware > Plugins). It writes frr.conf from its own pages, and what is changed elsewhere is lost, so",
            "enter the following there. To try it first: in a shell vtysh, configure terminal, and paste what follows in FRR's words.",
        ],
        firewall: "in on the interface to the nodes, to This Firewall (Firewall > Rules)",
        look: "Routing > Diagnostics > BGP, or in a shell vtysh -c 'show bgp summary', vtysh -c 'show ip route bgp'",
        is_linux: false,
        port: None,
        write: |router, text| {
            opnsense::pages(router, text);
            frr::write(router, text);
        },
    },
    Kind {
        name: "pfsense",
        also: &[],
        what: "pfSense with the package frr: its raw configuration",
        mark: "!",
        paste: &[
            "Install frr (System > Package Manager). Services > FRR Global/Zebra: Enable, and set a Master Password, which has to be there.",
            "Services > FRR BGP: Enable, with the local AS below; Services > FRR BFD: Enable, if BFD is used. Then paste this under",
            "Services > FRR Global/Zebra > [Raw Config] into SAVED frr.conf and save: from then on that text counts, not the other pages.",
            "Passwords of TCP MD5 have to be entered on that page, too (Manual TCP MD5 Peers).",
        ],
        firewall: "in on the interface to the nodes, to This Firewall (Firewall > Rules)",
        look: "Status > FRR, or in a shell vtysh -c 'show bgp summary', vtysh -c 'show ip route bgp'",
        is_linux: false,
        port: None,
        write: frr::write,
    },
    Kind {
        name: "unifi",
        also: &["ubiquiti", "udm", "ucg"],
        what: "UniFi gateways (UDM, UCG, UXG; not the old USG): a file to upload",
        mark: "!",
        paste: &[
            "Save this to a file and upload it: Settings > Routing > BGP (later releases: Settings > Policy Table > Create New Policy > BGP).",
            "There is one file for a gateway, with all its neighbours: if there is one already, put this into it. Each upload restarts BGP.",
            "If it is refused with the lines of bfd, this release has no BFD: remove bfdProfile from the peer and upload it without them.",
        ],
        firewall: "from the nodes' network to the gateway",
        look: "over ssh vtysh -c 'show bgp summary', vtysh -c 'show ip route bgp'",
        is_linux: true,
        port: None,
        write: frr::write,
    },
    Kind {
        name: "openwrt",
        also: &["lede"],
        what: "OpenWrt with bird2: /etc/bird.conf",
        mark: "#",
        paste: &[
            "Install bird2 and bird2c (opkg install, or apk add in later releases). Append this to /etc/bird.conf, then",
            "birdc configure check, birdc configure.",
        ],
        firewall: "in from the zone of the nodes to this device (Network > Firewall > Traffic Rules)",
        look: BIRD.look,
        is_linux: true,
        port: Some(""),
        write: bird::write,
    },
    Kind {
        name: "ios-xe",
        also: &["ios", "iosxe", "cisco"],
        what: "Cisco IOS-XE: commands of its configuration mode",
        mark: "!",
        paste: &["Paste this after configure terminal; then end, and write memory."],
        firewall: "in from the nodes, where an access list or control-plane policy stands before BGP",
        look: "show bgp all summary, show ip route bgp, show ip bgp neighbors ADDRESS routes, show bfd neighbors",
        is_linux: false,
        port: None,
        write: ios::write,
    },
    Kind {
        name: "junos",
        also: &["juniper"],
        what: "Junos: set commands",
        mark: "#",
        paste: &["Paste this after configure, load set terminal (end with Ctrl-D); then commit check, commit confirmed 5, commit."],
        firewall: "in from the nodes (SRX: host-inbound-traffic protocols bgp and bfd in the zone; else the filter of lo0)",
        look: "show bgp summary, show route protocol bgp, show bfd session",
        is_linux: false,
        port: None,
        write: junos::write,
    },
];

impl Kind {
    /// The one of that name.
    ///
    /// # Errors
    /// All there are, one a line.
    pub(super) fn named(name: &str) -> anyhow::Result<&'static Self> {
        let wanted = name.to_ascii_lowercase();
        let found = KINDS.iter().find(|kind| kind.name == wanted || kind.also.contains(&wanted.as_str()));
        let all = || KINDS.iter().map(|kind| format!("\n  {:9} {}", kind.name, kind.what)).collect::<String>();
        found.ok_or_else(|| anyhow::anyhow!("{name:?} is no kind of router that is known here; there is{}", all()))
    }
}
