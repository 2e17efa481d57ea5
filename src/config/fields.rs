//! The fields of a mapping, taken by name; a field nobody took is unknown.
//!
//! Types are strict where a mistake could change the meaning (numbers, flags) and lenient where the characters say it all: a text
//! may look like a number or a boolean (`zone: 12`, `worker: true`), as people write them.
//!
//! Readers name fields as MetalLB's documents do. A form with other names for the same (`my-asn`) has a [`Spelling`].

use super::problem::{Place, nearest};
use super::raw::{At, Reading};
use super::tree::{Key, Kind, Node, Scalar, Value};
use crate::facts::Labels;

/// How a form spells the name of a field.
pub(crate) type Spelling = fn(&'static str) -> &'static str;

/// The fields of one mapping.
pub(crate) struct Fields<'n> {
    /// What the mapping is, for messages.
    what: String,
    entries: Vec<(&'n Key, &'n Node)>,
    known: Vec<&'static str>,
    spelling: Spelling,
}

impl<'n> Fields<'n> {
    /// Nothing is an empty mapping; anything but a mapping is a problem.
    pub(crate) fn of(node: &'n Node, what: impl Into<String>, reading: &mut Reading) -> Option<Self> {
        Self::spelt(node, what, |name| name, reading)
    }

    /// A mapping inside this one, spelt alike.
    pub(crate) fn inner<'i>(&self, node: &'i Node, what: impl Into<String>, reading: &mut Reading) -> Option<Fields<'i>> {
        Fields::spelt(node, what, self.spelling, reading)
    }

    /// [`of`](Self::of), in another spelling.
    pub(crate) fn spelt(node: &'n Node, what: impl Into<String>, spelling: Spelling, reading: &mut Reading) -> Option<Self> {
        let what = what.into();
        let mut entries: Vec<(&Key, &Node)> = Vec::new();
        match &node.value {
            Value::Null => {}
            Value::Map(map) => {
                let mut seen = std::collections::BTreeMap::new();
                for (key, value) in map {
                    match seen.insert(key.name.as_str(), &key.place) {
                        None => entries.push((key, value)),
                        Some(first) => {
                            let message = format!("`{}` is written twice in {what}, first in {}", key.name, key.place.mention(first));
                            reading.problem(&key.place, message, "keep one of the two");
                        }
                    }
                }
            }
            Value::Scalar(_) | Value::List(_) => {
                let message = format!("{what} has to be a mapping, not {}", node.description());
                reading.problem(&node.place, message, "write `field: value` lines here");
                return None;
            }
        }
        Some(Self { what, entries, known: Vec::new(), spelling })
    }

    /// Field `name` as it is spelt here.
    pub(crate) fn name(&self, name: &'static str) -> &'static str {
        (self.spelling)(name)
    }

    /// In the order of the names, as the API server keeps the keys of a ConfigMap.
    pub(crate) fn sorted(mut self) -> Self {
        self.entries.sort_by_key(|(key, _)| &key.name);
        self
    }

    /// Where the name of an untaken field stands.
    pub(crate) fn key_place(&self, name: &'static str) -> Option<Place> {
        let name = self.name(name);
        self.entries.iter().find(|(key, _)| key.name == name).map(|(key, _)| key.place.clone())
    }

    /// The value of `name`; nothing and `null` are the same.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        let name = self.name(name);
        self.known.push(name);
        let index = self.entries.iter().position(|(key, _)| key.name == name)?;
        let (_, node) = self.entries.remove(index);
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The fields whose names `choose` something of, with what it chose.
    pub(crate) fn take_where(&mut self, choose: impl Fn(&'n str) -> Option<&'n str>) -> Vec<(&'n Key, &'n str, &'n Node)> {
        let mut taken = Vec::new();
        self.entries.retain(|&(key, node)| {
            let chosen = choose(&key.name);
            taken.extend(chosen.map(|chosen| (key, chosen, node)));
            chosen.is_none()
        });
        taken
    }

    /// The values that are texts with Kubernetes objects in them.
    pub(crate) fn take_objects(&mut self) -> Vec<&'n Node> {
        let has = |node: &Node| matches!(&node.value, Value::Scalar(scalar) if scalar.text.contains("apiVersion") && scalar.text.contains("kind"));
        let (taken, left) = self.entries.drain(..).partition(|(_, node)| has(node));
        self.entries = left;
        let taken: Vec<(&Key, &Node)> = taken;
        taken.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether an untaken field looks like a misspelt `name`.
    pub(crate) fn resembles(&self, name: &'static str) -> bool {
        let name = self.name(name);
        self.entries.iter().any(|(key, _)| nearest(&key.name, [name]).is_some())
    }

    /// Fields that are known and mean nothing here.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        for name in names {
            self.take(name);
        }
    }

    /// The text of `name`.
    pub(crate) fn text(&mut self, name: &'static str, reading: &mut Reading) -> Option<At<String>> {
        let node = self.take(name)?;
        let name = self.name(name);
        text(node, &format!("`{name}`"), reading)
    }

    /// The boolean `name`.
    pub(crate) fn flag(&mut self, name: &'static str, reading: &mut Reading) -> Option<bool> {
        let node = self.take(name)?;
        let name = self.name(name);
        if let Value::Scalar(Scalar { kind: Kind::Bool(flag), .. }) = node.value {
            return Some(flag);
        }
        let message = format!("`{name}` has to be true or false, not {}", node.description());
        reading.problem(&node.place, message, format!("write `{name}: true` or `{name}: false`, without quotes"));
        None
    }

    /// The whole number `name`, from `least` to `most`.
    pub(crate) fn number(&mut self, name: &'static str, least: u64, most: u64, reading: &mut Reading) -> Option<At<u64>> {
        let node = self.take(name)?;
        let name = self.name(name);
        number(node, name, least, most, reading)
    }

    /// The items of list `name`.
    pub(crate) fn list(&mut self, name: &'static str, reading: &mut Reading) -> &'n [Node] {
        let Some(node) = self.take(name) else { return &[] };
        let name = self.name(name);
        if let Value::List(items) = &node.value {
            return items;
        }
        let message = format!("`{name}` has to be a list, not {}", node.description());
        reading.problem(&node.place, message, format!("put each entry on a line of its own below `{name}:`, starting with `- `"));
        &[]
    }

    /// The texts of list `name`, each told when it repeats.
    pub(crate) fn texts(&mut self, name: &'static str, reading: &mut Reading) -> Vec<At<String>> {
        let mut texts: Vec<At<String>> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let items = self.list(name, reading);
        let name = self.name(name);
        for item in items {
            let Some(text) = text(item, &format!("an entry of `{name}`"), reading) else { continue };
            if seen.insert(text.value.clone()) {
                texts.push(text);
            } else {
                reading.problem(&text.place, format!("`{}` stands twice in `{name}`", text.value), "remove one of the two");
            }
        }
        texts
    }

    /// The labels `name`, each value with its place. An empty value is a value here.
    pub(crate) fn placed_labels(&mut self, name: &'static str, reading: &mut Reading) -> Vec<(&'n Key, At<String>)> {
        let Some(fields) = self.take(name).and_then(|node| Self::of(node, format!("`{name}`"), reading)) else { return Vec::new() };
        let entries = fields.entries.into_iter();
        entries.filter_map(|(key, node)| Some((key, text_or_empty(node, &format!("label `{}`", key.name), reading)?))).collect()
    }

    /// The labels `name`.
    pub(crate) fn labels(&mut self, name: &'static str, reading: &mut Reading) -> Labels {
        self.placed_labels(name, reading).into_iter().map(|(key, value)| (key.name.clone(), value.value)).collect()
    }

    /// Every field, whatever its name.
    pub(crate) fn each(self, mut read: impl FnMut(&'n Key, &'n Node)) {
        self.entries.into_iter().for_each(|(key, node)| read(key, node));
    }

    /// Tells what is left over.
    pub(crate) fn finish(self, reading: &mut Reading) {
        for (key, _) in &self.entries {
            let help = match nearest(&key.name, self.known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            reading.problem(&key.place, format!("unknown field `{}` in {}", key.name, self.what), help);
        }
    }
}

/// The text of a scalar, whatever YAML takes it for, and not empty.
pub(crate) fn text(node: &Node, what: &str, reading: &mut Reading) -> Option<At<String>> {
    let text = text_or_empty(node, what, reading)?;
    if text.value.trim().is_empty() {
        reading.problem(&node.place, format!("{what} is empty"), "write a value, or remove it");
        return None;
    }
    Some(text)
}

fn text_or_empty(node: &Node, what: &str, reading: &mut Reading) -> Option<At<String>> {
    match &node.value {
        Value::Scalar(scalar) => Some(At { value: scalar.text.clone(), place: node.place.clone() }),
        Value::Null => Some(At { value: String::new(), place: node.place.clone() }),
        Value::List(_) | Value::Map(_) => {
            reading.problem(&node.place, format!("{what} has to be a text, not {}", node.description()), "write one value");
            None
        }
    }
}

/// A whole number from `least` to `most`.
pub(crate) fn number(node: &Node, name: &str, least: u64, most: u64, reading: &mut Reading) -> Option<At<u64>> {
    let (text, plain) = match &node.value {
        Value::Scalar(scalar) => (scalar.text.as_str(), scalar.kind == Kind::Number),
        Value::Null | Value::List(_) | Value::Map(_) => ("", false),
    };
    let valid = |text: &str| text.parse().ok().filter(|value| (least..=most).contains(value));
    if let (true, Some(value)) = (plain, valid(text)) {
        return Some(At { value, place: node.place.clone() });
    }
    let message = format!("`{name}` has to be a whole number from {least} to {most}, not {}", node.description());
    let written = text.trim();
    let digits = written.strip_suffix("ms").unwrap_or_else(|| written.trim_start_matches(char::is_alphabetic));
    let help = match valid(digits) {
        Some(meant) => format!("write `{name}: {meant}`, digits only and without quotes"),
        None if plain && text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => format!("write a number from {least} to {most}"),
        None => "write digits only, without quotes".to_owned(),
    };
    reading.problem(&node.place, message, help);
    None
}
