//! Communities: `65535:65281` (RFC 1997), `large:1:2:3` (RFC 8092), the well-known names of IANA's registry, and the aliases of
//! `Community` documents, which go before the well-known names.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::fields::{self, Fields};
use crate::config::problem::Place;
use crate::config::raw::{At, Reading};
use crate::config::tree::{Node, quoted};

/// A mark on a route that other routers act upon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Community {
    /// RFC 1997.
    Standard(u16, u16),
    /// RFC 8092.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

impl From<u32> for Community {
    fn from(octets: u32) -> Self {
        let [a, b, c, d] = octets.to_be_bytes();
        Self::Standard(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }
}

impl Community {
    /// From a value, an alias or a well-known name.
    pub fn parse(text: &str, aliases: &BTreeMap<String, Self>) -> Option<Self> {
        let well_known = || WELL_KNOWN.iter().find(|(name, _)| *name == text).map(|(_, low)| Self::Standard(0xffff, *low));
        value(text).or_else(|| aliases.get(text).copied()).or_else(well_known)
    }
}

/// Names everybody knows (IANA, "BGP Well-known Communities").
const WELL_KNOWN: [(&str, u16); 7] = [
    ("graceful-shutdown", 0),
    ("accept-own", 1),
    ("blackhole", 666),
    ("no-export", 65281),
    ("no-advertise", 65282),
    ("no-export-subconfed", 65283),
    ("no-peer", 65284),
];

/// An alias as written. One with a value that cannot be read is there too, so that nobody is told that it is missing.
#[derive(Debug)]
pub(crate) struct RawAlias {
    pub(crate) name: At<String>,
    pub(crate) value: Option<Community>,
}

/// The `communities` of a document.
pub(crate) fn aliases(fields: &mut Fields<'_>, reading: &mut Reading) {
    for node in fields.list("communities", reading) {
        let Some(mut entry) = fields.inner(node, "an entry of `communities`", reading) else { continue };
        let name = entry.text("name", reading);
        alias(name, &node.place, &mut entry, reading);
        entry.finish(reading);
    }
}

/// `name` and `value`.
pub(crate) fn alias(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    let given = fields.take("value");
    for (field, present) in [("name", name.is_some()), ("value", given.is_some())] {
        if !present {
            reading.problem(place, format!("this community has no `{field}`"), format!("add `{field}:`"));
        }
    }
    if let (Some(name), Some(node)) = (name, given) {
        named(name, node, reading);
    }
}

/// An alias and the node of its value.
pub(crate) fn named(name: At<String>, node: &Node, reading: &mut Reading) {
    if name.value.contains(':') {
        let message = format!("{} cannot be the name of a community", quoted(&name.value));
        reading.problem(&name.place, message, "write a name without colons, or the value itself where it is used");
        return;
    }
    let value = fields::text(node, "`value`", reading).and_then(|text| {
        let literal = literal(&text, reading);
        if literal == Literal::Name {
            let message = format!("{} is not the value of a community", quoted(&text.value));
            reading.problem(&text.place, message, "write two numbers, such as 65535:65281, or three, such as large:64512:1:2");
        }
        match literal {
            Literal::Value(value) => Some(value),
            Literal::Name | Literal::Wrong => None,
        }
    });
    reading.raw.aliases.push(RawAlias { name, value });
}

/// The values of an advertisement's `communities`.
pub(crate) fn resolve(texts: &[At<String>], aliases: &[RawAlias], reading: &mut Reading) -> Vec<Community> {
    texts.iter().filter_map(|text| one(text, aliases, reading)).collect()
}

fn one(text: &At<String>, aliases: &[RawAlias], reading: &mut Reading) -> Option<Community> {
    match literal(text, reading) {
        Literal::Value(value) => return Some(value),
        Literal::Wrong => return None,
        Literal::Name => {}
    }
    if let Some(alias) = aliases.iter().find(|alias| alias.name.value == text.value) {
        return alias.value;
    }
    let well_known = WELL_KNOWN.iter().find(|(name, _)| *name == text.value);
    if well_known.is_none() {
        let names = aliases.iter().map(|alias| alias.name.value.as_str()).chain(WELL_KNOWN.iter().map(|(name, _)| *name));
        let help = reading.guess(&text.value, names).map_or_else(
            || "add a Community that names it, or write its value, such as 65535:65281".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        reading.problem(&text.place, format!("there is no community {}", quoted(&text.value)), help);
    }
    well_known.map(|(_, low)| Community::Standard(0xffff, *low))
}

#[derive(PartialEq, Eq)]
enum Literal {
    Value(Community),
    /// No colon: an alias.
    Name,
    /// Told.
    Wrong,
}

fn number(part: &str) -> Option<u32> {
    part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten()
}

fn value(written: &str) -> Option<Community> {
    let small = |part: &str| number(part).and_then(|n| u16::try_from(n).ok());
    match written.split(':').collect::<Vec<_>>()[..] {
        [a, b] => small(a).zip(small(b)).map(|(a, b)| Community::Standard(a, b)),
        ["large", a, b, c] => number(a).zip(number(b)).zip(number(c)).map(|((a, b), c)| Community::Large(a, b, c)),
        _ => None,
    }
}

/// What has a colon is a value.
fn literal(text: &At<String>, reading: &mut Reading) -> Literal {
    let written = text.value.trim();
    if !written.contains(':') {
        return Literal::Name;
    }
    if let Some(value) = value(written) {
        return Literal::Value(value);
    }
    let parts: Vec<&str> = written.split(':').collect();
    let help = match parts[..] {
        [a, b, c] if [a, b, c].into_iter().all(|part| number(part).is_some()) => format!("write `large:{written}`"),
        [_, _] => {
            "write two numbers from 0 to 65535, such as 65535:65281; larger ones need a large community, such as large:4200000000:1:2"
                .to_owned()
        }
        _ => "write two numbers from 0 to 65535, such as 65535:65281, or `large:` and three from 0 to 4294967295, such as large:64512:1:2"
            .to_owned(),
    };
    reading.problem(&text.place, format!("{} is not a community", quoted(written)), help);
    Literal::Wrong
}
