//! Addresses in one line: the same words as keys of the ConfigMap and as fields of native YAML.
//!
//! `addresses: 192.168.1.240-192.168.1.250, fd00::10-20` is the pool `default`, `addresses.media: …` the pool `media`. Entries are
//! separated by commas, spaces or new lines. `peers: 192.168.1.1 AS64512` and `asn: AS64513` are routers and our own AS.

use super::bgp::{asn, peer};
use super::fields::{self, Fields};
use super::problem::Place;
use super::raw::{At, Implied, RawPool, RawRange, Reading};
use super::tree::{Node, Text, Value, quoted};
use super::{settings, spec};
use crate::addr::{ParseError, Range};
use crate::facts::Labels;

/// The pool of a bare `addresses`.
const DEFAULT_POOL: &str = "default";

/// Pool `name` from the value of an `addresses` key: a text, or in YAML also a list.
fn pool(name: At<String>, node: &Node, reading: &mut Reading) {
    if !spec::is_name(&name.value) {
        let message = format!("{} cannot be the name of a pool", quoted(&name.value));
        reading.problem(&name.place, message, "write `addresses.NAME` with letters, digits, `-` and `.` in NAME");
        return;
    }
    let before = reading.problems.len();
    let ranges = spec::addresses(node, reading);
    let unreadable = reading.problems.len() > before;
    let (labels, implied) = (Labels::new(), Implied::Always);
    reading.raw.pools.push(RawPool {
        name,
        labels,
        ranges,
        unreadable,
        auto_assign: true,
        avoid_buggy_ips: false,
        share_across_namespaces: false,
        allocation: None,
        implied,
    });
}

/// The ranges of a text, each with its own place.
pub(crate) fn ranges(text: Text<'_>, reading: &mut Reading) -> Vec<At<RawRange>> {
    entries(text).into_iter().filter_map(|(entry, place)| range(&entry, &place, reading)).collect()
}

/// One range.
pub(crate) fn range(text: &str, place: &Place, reading: &mut Reading) -> Option<At<RawRange>> {
    match text.parse::<Range>() {
        Ok(range) => {
            host_bits(text, range, place, reading);
            Some(At { value: RawRange { range, text: text.trim().to_owned() }, place: place.clone() })
        }
        Err(error) => {
            let (message, help) = explain(text, &error);
            reading.problem(place, message, help);
            None
        }
    }
}

/// `192.168.1.240/24` is the whole network, which is seldom meant.
fn host_bits(text: &str, range: Range, place: &Place, reading: &mut Reading) {
    let Some((address, _)) = text.trim().split_once('/') else { return };
    if address.parse().is_ok_and(|address: std::net::IpAddr| address != range.first()) {
        reading.note(place, format!("{} is all of {range}", quoted(text.trim())));
    }
}

/// What is wrong with a range, and what to do.
fn explain(text: &str, error: &ParseError) -> (String, String) {
    match error {
        ParseError::Address(part) if part.is_empty() => {
            (format!("the range {} lacks one end", quoted(text)), "write both ends, such as 192.168.1.240-192.168.1.250".to_owned())
        }
        ParseError::Address(part) => (
            format!("{} is not an IP address", quoted(part)),
            "write a range such as 192.168.1.240-192.168.1.250, a prefix such as 192.168.1.240/28, or one address".to_owned(),
        ),
        ParseError::Prefix(text) => (
            format!("{} is not a prefix", quoted(text)),
            "write an address, a slash and the length (0 to 32 for IPv4, 0 to 128 for IPv6), such as 192.168.1.240/28".to_owned(),
        ),
        ParseError::Mixed(text) => (
            format!("the range {} mixes IPv4 and IPv6", quoted(text)),
            "both ends of a range have to be of one family: write an entry for each family".to_owned(),
        ),
        ParseError::Reversed { text, first, last } => {
            (format!("the range {} runs backwards", quoted(text)), format!("swap the two ends: {last}-{first}"))
        }
        ParseError::Mac(text) => (format!("{} is not an address", quoted(text)), "write an IP address".to_owned()),
    }
}

/// Entries with their places. Spaces around the hyphen of a range do not separate, a hyphen in front of a line is a list's, and
/// `#` starts a comment.
pub(crate) fn entries(text: Text<'_>) -> Vec<(String, Place)> {
    let mut entries: Vec<(String, Place)> = Vec::new();
    for (number, line) in (1..).zip(text.text.lines()) {
        // What word processors make of a hyphen.
        let line = line.split('#').next().unwrap_or_default().replace('–', "-");
        let mut column = 1;
        for part in line.split([',', ';']) {
            let mut open: Option<(String, u32)> = None;
            for word in part.split([' ', '\t']) {
                match &mut open {
                    Some((entry, _)) if !word.is_empty() && (word.starts_with('-') || entry.ends_with('-')) => entry.push_str(word),
                    _ if word.is_empty() || word == "-" => {}
                    _ => entries.extend(open.replace((word.to_owned(), column)).map(|(entry, column)| (entry, text.place(number, column)))),
                }
                column += u32::try_from(word.chars().count()).unwrap_or_default() + 1;
            }
            entries.extend(open.map(|(entry, column)| (entry, text.place(number, column))));
        }
    }
    entries
}

/// Everything that can be said in one line: `addresses`, `addresses.NAME`, `peers`, `asn`, and the settings.
pub(crate) fn read(fields: &mut Fields<'_>, reading: &mut Reading) {
    let place = fields.key_place("addresses");
    if let (Some(place), Some(node)) = (place, fields.take("addresses")) {
        pool(At { value: DEFAULT_POOL.to_owned(), place }, node, reading);
    }
    for (key, name, node) in fields.take_where(|key| key.strip_prefix("addresses.")) {
        pool(At { value: name.to_owned(), place: key.place.clone() }, node, reading);
    }
    if let Some(node) = fields.take("peers") {
        peers(node, reading);
    }
    if let Some(at) = fields.text("asn", reading).and_then(|text| asn::read(&text.value, &text.place, reading)) {
        let place = at.place.clone();
        if let Some(first) = reading.raw.asn.replace(at) {
            reading.problem(&place, format!("`asn` is set twice, first in {}", place.mention(&first.place)), "keep one of the two");
        }
    }
    settings::read(fields, reading);
}

/// `192.168.1.1 AS64512`, separated by commas or new lines; in YAML also a list.
fn peers(node: &Node, reading: &mut Reading) {
    if let Value::List(items) = &node.value {
        for item in items {
            if let Some(text) = fields::text(item, "an entry of `peers`", reading) {
                peer::one_line(text.value.trim(), &text.place, reading);
            }
        }
        return;
    }
    let Some(text) = node.as_text() else {
        let message = format!("`peers` has to be a text, not {}", node.description());
        reading.problem(&node.place, message, "write `peers: 192.168.1.1 AS64512`, or a list under `bgpPeers:` for more than that");
        return;
    };
    for (number, line) in (1..).zip(text.text.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let mut column = 1;
        for part in line.split([',', ';']) {
            let entry = part.trim_start_matches([' ', '\t', '-']);
            let indent = part.chars().count() - entry.chars().count();
            if !entry.trim().is_empty() {
                peer::one_line(entry.trim(), &text.place(number, column + u32::try_from(indent).unwrap_or_default()), reading);
            }
            column += u32::try_from(part.chars().count()).unwrap_or_default() + 1;
        }
    }
}

/// Whether the kernel would take `name` (`dev_valid_name`, IFNAMSIZ 16).
pub(crate) fn is_link_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 15
        && name != "."
        && name != ".."
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}
