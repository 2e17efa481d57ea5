//! Who may see the status: whoever asks from this host, unless the agent was told that everyone may.
//!
//! A browser on this host asks from this host whatever page it shows, so two things more are looked at. The name in `Host`: a page of
//! some.example whose name suddenly resolves to 127.0.0.1 (DNS rebinding) would count as the same origin as the agent, but it asks for
//! some.example, which nobody calls this host. And `Sec-Fetch-Site`: what another site embeds has no business here, even unread.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// Who may see the status page, `/status` and `/events`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Audience {
    /// Who asks over loopback or a unix socket, as `kubectl port-forward` does in the end.
    #[default]
    ThisHost,
    /// Everyone who reaches the port.
    Everyone,
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// A process that can open our unix socket; no browser can.
    Socket,
    /// A process of this host, maybe a browser.
    Loopback,
    /// Anybody else.
    Remote(IpAddr),
}

const STRANGE: &str = "not under this name: use localhost or an address of this host\n";

/// Why `peer` does not get an answer about the cluster, and what to do.
pub(super) fn refusal(audience: Audience, peer: Peer, headers: &HeaderMap) -> Option<&'static str> {
    match (peer, audience) {
        (Peer::Socket, _) => return None,
        (Peer::Remote(_), Audience::ThisHost) => {
            return Some(
                "only from this host\nkubectl port-forward -n lanlord ds/lanlord 7475, then http://localhost:7475/; or lanlord run --page-for everyone\n",
            );
        }
        (Peer::Loopback, _) | (Peer::Remote(_), Audience::Everyone) => {}
    }
    // Programs may leave it out; browsers never do.
    if is_strange(headers, audience) {
        return Some(STRANGE);
    }
    let of_another_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    let followed = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    (of_another_site && !followed).then_some("not for pages of another site\n")
}

/// Why a browser does not get `/metrics`, which is there for every program on the LAN: a page of a rebound name would carry them out of it.
pub(super) fn refusal_of_metrics(headers: &HeaderMap) -> Option<&'static str> {
    let browser = headers.contains_key("sec-fetch-site");
    (browser && is_strange(headers, Audience::Everyone)).then_some(STRANGE)
}

/// Whether it is asked for under a name that is none of this host's.
fn is_strange(headers: &HeaderMap, audience: Audience) -> bool {
    headers.get_all(HOST).iter().any(|host| !host.to_str().is_ok_and(|host| is_ours(host, audience)))
}

/// Whether a person calls this host so: an address, localhost, or, where the LAN may look, a name that nobody can own on the internet.
fn is_ours(host: &str, audience: Audience) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let is_local = name == "localhost" || name.ends_with(".localhost");
    let of_the_lan = || !name.contains('.') || [".local", ".lan", ".internal", ".home.arpa"].iter().any(|end| name.ends_with(end));
    is_address || is_local || (audience == Audience::Everyone && of_the_lan())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: Peer = Peer::Remote(IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 100)));

    fn asked(audience: Audience, peer: Peer, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        refusal(audience, peer, &map).is_none()
    }

    #[test]
    fn only_this_host_may_look_unless_it_is_opened() {
        assert!(asked(Audience::ThisHost, Peer::Loopback, &[]));
        assert!(asked(Audience::ThisHost, Peer::Socket, &[("host", "evil.example")]));
        assert!(!asked(Audience::ThisHost, REMOTE, &[("host", "192.168.1.11:7475")]));
        assert!(asked(Audience::Everyone, REMOTE, &[("host", "192.168.1.11:7475")]));
    }

    #[test]
    fn a_name_that_is_not_this_hosts_is_a_rebound_one() {
        for host in ["localhost:7475", "LOCALHOST", "lanlord.localhost", "127.0.0.1:7475", "[::1]:7475", "10.0.0.1"] {
            assert!(asked(Audience::ThisHost, Peer::Loopback, &[("host", host)]), "{host}");
        }
        for host in
            ["evil.example:7475", "localhost.evil.example", "127.0.0.1.evil.example", "pi1", "pi1.local", "", "[::1", "a@localhost.evil"]
        {
            assert!(!asked(Audience::ThisHost, Peer::Loopback, &[("host", host)]), "{host}");
        }
        assert!(!asked(Audience::ThisHost, Peer::Loopback, &[("host", "localhost"), ("host", "evil.example")]));
        for (host, ours) in [("pi1:7475", true), ("pi1.local", true), ("pi1.lan.", true), ("pi1.evil.example", false)] {
            assert_eq!(asked(Audience::Everyone, REMOTE, &[("host", host)]), ours, "{host}");
        }
    }

    #[test]
    fn metrics_are_for_programs_by_any_name_and_for_browsers_by_ours() {
        let refused = |headers: &[(&'static str, &str)]| {
            let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            refusal_of_metrics(&map).is_some()
        };
        assert!(!refused(&[("host", "node-7.example.com:7475")]), "as Prometheus asks");
        assert!(refused(&[("host", "evil.example:7475"), ("sec-fetch-site", "same-origin")]));
        assert!(!refused(&[("host", "pi1.local:7475"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn other_sites_may_link_but_not_embed() {
        let host = ("host", "localhost:7475");
        for (site, mode, allowed) in [
            ("none", "navigate", true),
            ("same-origin", "cors", true),
            ("cross-site", "navigate", true),
            ("cross-site", "no-cors", false),
            ("same-site", "cors", false),
        ] {
            assert_eq!(
                asked(Audience::ThisHost, Peer::Loopback, &[host, ("sec-fetch-site", site), ("sec-fetch-mode", mode)]),
                allowed,
                "{site}"
            );
        }
    }
}
