//! YAML (and so JSON) → a tree in which everything knows its place.
//!
//! The readers walk this tree instead of deriving serde's traits on their types, because serde stops at the first mistake and a
//! person wants to see all of them. A syntax error costs one document; the others are still read. Resources are bounded: size,
//! depth, nodes, aliases.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Location, Options, Spanned, UserMessageFormatter};

use super::problem::{Place, Problem, Problems, Source};

/// Larger texts are refused: a ConfigMap holds 1 MiB at most.
pub(crate) const LARGEST: usize = 2 << 20;
/// Nodes of one document, aliases expanded.
const NODES: usize = 50_000;

/// Where the characters of a text stand in the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// Of the text's first character.
    line: u32,
    /// Of the text's first character.
    column: u32,
    /// Characters in front of every later line.
    indent: u32,
    /// Whether each line of the text is a line of the source. Otherwise only the start is known.
    exact: bool,
}

impl Origin {
    /// The text is the whole source.
    pub(crate) const START: Self = Self { line: 1, column: 1, indent: 0, exact: true };

    /// The position in the source of a position in the text.
    fn at(self, line: u32, column: u32) -> (u32, u32) {
        match (self.exact, line) {
            (false, _) => (self.line, self.column),
            (true, 1) => (self.line, self.column + column - 1),
            (true, _) => (self.line + line - 1, self.indent + column),
        }
    }
}

/// A text inside a source: all of it, one document, or the value of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'t> {
    /// The source.
    pub(crate) source: &'t Arc<Source>,
    /// Where the text stands in it.
    pub(crate) origin: Origin,
    /// The text.
    pub(crate) text: &'t str,
}

impl<'t> Text<'t> {
    /// The whole source.
    pub(crate) fn whole(source: &'t Arc<Source>) -> Self {
        Self { source, origin: Origin::START, text: &source.text }
    }

    /// The place of a line and a column of the text, both from 1.
    pub(crate) fn place(&self, line: u32, column: u32) -> Place {
        let (line, column) = self.origin.at(line, column);
        Place { source: Arc::clone(self.source), line, column }
    }

    /// The documents, cut at the lines `---` and `...`, which YAML allows nowhere else (YAML 1.2.2 §9.1.2).
    pub(crate) fn documents(&self) -> Vec<Text<'t>> {
        let mut documents = Vec::new();
        let (mut start, mut first_line, mut offset) = (0, 1, 0);
        for (number, line) in (1..).zip(self.text.split_inclusive('\n')) {
            let marker = line.starts_with("---") || line.starts_with("...");
            if marker && line[3..].chars().next().is_none_or(char::is_whitespace) && offset > start {
                documents.push(self.part(start, offset, first_line));
                (start, first_line) = (offset, number);
            }
            offset += line.len();
        }
        documents.push(self.part(start, self.text.len(), first_line));
        documents.retain(|document| document.text.lines().any(says_something));
        documents
    }

    fn part(&self, start: usize, end: usize, first_line: u32) -> Text<'t> {
        let (line, column) = self.origin.at(first_line, 1);
        Text { source: self.source, origin: Origin { line, column, ..self.origin }, text: &self.text[start..end] }
    }

    /// The tree of this text, which is one document.
    pub(crate) fn parse(&self, problems: &mut Problems) -> Option<Node> {
        // JSON may be indented with tabs and cannot hold one elsewhere.
        let json = self.text.trim_start().starts_with(['{', '[']);
        let spaced = if json { std::borrow::Cow::Owned(self.text.replace('\t', " ")) } else { self.text.into() };
        match serde_saphyr::from_str_with_options::<Spanned<Any>>(&spaced, options()) {
            Ok(any) => Some(self.node(any)),
            Err(error) => {
                problems.push(self.syntax(&error));
                None
            }
        }
    }

    fn node(&self, any: Spanned<Any>) -> Node {
        let (referenced, defined) = (any.referenced, any.defined);
        let value = match any.value {
            Any::Null => Value::Null,
            Any::Bool(flag) => self.scalar(Kind::Bool(flag), None, referenced, defined),
            Any::Number => self.scalar(Kind::Number, None, referenced, defined),
            Any::Text(text) => self.scalar(Kind::Text, Some(text), referenced, defined),
            Any::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Any::Map(entries) => Value::Map(entries.into_iter().map(|(key, value)| (self.key(key), self.node(value))).collect()),
        };
        Node { place: self.locate(referenced), value }
    }

    fn key(&self, key: Spanned<String>) -> Key {
        Key { place: self.locate(key.referenced), name: key.value }
    }

    fn scalar(&self, kind: Kind, text: Option<String>, referenced: Location, defined: Location) -> Value {
        let text = text.unwrap_or_else(|| self.raw(defined).trim().to_owned());
        let origin = if referenced == defined { self.inner(&text, defined) } else { None };
        let (line, column) = self.origin.at(number(referenced.line()), number(referenced.column()));
        Value::Scalar(Scalar { kind, origin: origin.unwrap_or(Origin { line, column, indent: 0, exact: false }), text })
    }

    /// The characters of a node as they stand in the text.
    fn raw(&self, at: Location) -> &'t str {
        let span = at.span();
        let bounds = || {
            let start = usize::try_from(span.byte_offset()?).ok()?;
            Some(start..start + usize::try_from(span.byte_len()?).ok()?)
        };
        bounds().and_then(|bounds| self.text.get(bounds)).unwrap_or_default()
    }

    /// Where the lines of a scalar's value stand, if they stand in the text as they are.
    fn inner(&self, value: &str, at: Location) -> Option<Origin> {
        let (line, column) = (number(at.line()), number(at.column()));
        let raw = self.raw(at);
        if !value.contains('\n') {
            let quote = u32::from(raw.starts_with(['"', '\'']));
            let same = raw.get(quote as usize..).is_some_and(|raw| raw.starts_with(value));
            let (line, column) = self.origin.at(line, column + quote);
            return same.then_some(Origin { line, column, indent: 0, exact: self.origin.exact });
        }
        let blank = number(value.lines().take_while(|line| line.trim().is_empty()).count() as u64);
        let first = line.checked_sub(blank)?;
        let spaces = value.lines().nth(blank as usize)?.chars().take_while(|c| *c == ' ').count();
        let source: Vec<&str> = self.text.lines().skip(first as usize - 1).take(value.lines().count()).collect();
        let own = source.get(blank as usize)?.chars().take_while(|c| *c == ' ').count();
        let indent = own.checked_sub(spaces)?;
        let same = |(written, value): (&&str, &str)| {
            value.trim().is_empty() || written.get(indent..).is_some_and(|w| w.trim_end() == value.trim_end())
        };
        if !source.iter().zip(value.lines()).all(same) {
            return None;
        }
        let (line, column) = self.origin.at(first, number(indent as u64) + 1);
        Some(Origin { line, column, indent: column - 1, exact: self.origin.exact })
    }

    fn locate(&self, at: Location) -> Place {
        self.place(number(at.line()).max(1), number(at.column()).max(1))
    }

    fn syntax(&self, error: &serde_saphyr::Error) -> Problem {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        let place = self.locate(at);
        if let Some(place) = self.tab(number(at.line()).max(1)) {
            let message = "a tab in the indentation, which YAML does not allow".to_owned();
            return Problem { place, message, help: "replace the tab by spaces".to_owned() };
        }
        let (message, help) = wording(error.without_snippet());
        Problem { place, message, help }
    }

    /// The tab that indents line `line` or the next one: the parser may stumble one line early.
    fn tab(&self, line: u32) -> Option<Place> {
        let lines = (line..).zip(self.text.lines().skip(line as usize - 1)).take(2);
        let tab = |text: &str| text.chars().take_while(|c| c.is_whitespace()).position(|c| c == '\t');
        lines.filter_map(|(line, text)| tab(text).map(|column| self.place(line, number(column as u64) + 1))).next()
    }
}

fn says_something(line: &str) -> bool {
    let line = line.trim().trim_start_matches('\u{feff}');
    let line = line.strip_prefix("---").or_else(|| line.strip_prefix("...")).unwrap_or(line).trim_start();
    !line.is_empty() && !line.starts_with(['#', '%'])
}

fn number(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: NODES, max_events: 3 * NODES, max_depth: 48 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: NODES },
        // Both entries reach the reader, which tells the person where.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

/// The parser's words, and what to do.
fn wording(error: &serde_saphyr::Error) -> (String, String) {
    let text = error.render_with_formatter(&UserMessageFormatter);
    let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if ["budget", "limit", "exceed", "too large", "too many", "depth"].iter().any(|word| text.contains(word)) {
        let message = "too large, too deeply nested, or too many aliases (`*name`) for a configuration";
        return (message.to_owned(), "write it out plainly, in smaller documents".to_owned());
    }
    let help = if text.contains("mapping values are not allowed") {
        "put the text in quotes if it holds a colon followed by a space, or start a new line for a new field"
    } else if text.contains("did not find expected") || text.contains("indentation") {
        "check the indentation: entries of one list or mapping start in the same column"
    } else if text.contains("quote") || text.contains("unexpected character") {
        "put the text in quotes, and close each quote on its own line"
    } else if text.contains("bracket") || text.contains("flow") || text.contains("illegal placement") {
        "check that each [ and { is closed"
    } else {
        "see that this is valid YAML; the mistake can also stand just before this place"
    };
    (format!("not valid YAML: {text}"), help.to_owned())
}

/// A value with its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping with its place.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) name: String,
}

/// A single value.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) kind: Kind,
    /// As written, without quotes: `012` stays `012`.
    pub(crate) text: String,
    origin: Origin,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Bool(bool),
    Number,
    Text,
}

impl Node {
    /// The keys of a ConfigMap, each a text of its own.
    pub(crate) fn of_keys(whole: &Arc<Source>, keys: &[Arc<Source>]) -> Self {
        let start = |source: &Arc<Source>| Place { source: Arc::clone(source), line: 1, column: 1 };
        let entries = keys.iter().map(|source| {
            let key = Key { place: start(source), name: source.key.clone().unwrap_or_default() };
            let scalar = Scalar { kind: Kind::Text, text: source.text.clone(), origin: Origin::START };
            (key, Self { place: start(source), value: Value::Scalar(scalar) })
        });
        Self { place: start(whole), value: Value::Map(entries.collect()) }
    }

    /// The value of field `name`, if this is a mapping that has one.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The text of field `name`, if there is one.
    pub(crate) fn get_text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it is, for messages.
    pub(crate) fn description(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(Scalar { kind: Kind::Bool(_), text, .. }) => format!("`{text}` (true or false)"),
            Value::Scalar(Scalar { kind: Kind::Number, text, .. }) => format!("the number `{text}`"),
            Value::Scalar(Scalar { kind: Kind::Text, text, .. }) => format!("the text {}", quoted(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The text of a scalar, to be read on its own.
    pub(crate) fn as_text(&self) -> Option<Text<'_>> {
        match &self.value {
            Value::Scalar(scalar) => Some(Text { source: &self.place.source, origin: scalar.origin, text: &scalar.text }),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

/// In quotes, and cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return format!("`{}`", text.escape_debug());
    }
    format!("`{}…`", text.chars().take(LONGEST).collect::<String>().escape_debug())
}

/// Anything, before its place in the source is known.
enum Any {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Any>>),
    Map(Vec<(Spanned<String>, Spanned<Any>)>),
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Any;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Any, E> {
        Ok(Any::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Any, E> {
        Ok(Any::Bool(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Any, E> {
        Ok(Any::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Any, E> {
        Ok(Any::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Any, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Any::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Any, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Any::Map(entries))
    }
}
