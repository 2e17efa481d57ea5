//! What is wrong, or worth saying, about a configuration: where, what, and what to do about it.
//!
//! A [`Place`] is a position in the text as the person wrote it: in the file, or in the text of the ConfigMap's key. Problems are
//! gathered, never thrown: a person sees all of them at once.

use std::fmt;
use std::sync::Arc;

/// A text that was read, and what it is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// A path as the user gave it, or `ConfigMap namespace/name`, or kind, namespace and name of a custom resource.
    pub name: String,
    /// The key of the ConfigMap; `None` for files.
    pub key: Option<String>,
    /// The text.
    pub text: String,
    /// A custom resource: the text is the API server's, so its lines mean nothing to a person.
    pub is_object: bool,
}

impl Source {
    /// A file, or what came from standard input.
    pub fn file(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), key: None, text: text.into(), is_object: false }
    }

    /// One key of a ConfigMap.
    pub fn key(config_map: impl Into<String>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: config_map.into(), key: Some(key.into()), text: text.into(), is_object: false }
    }

    /// A custom resource.
    pub fn object(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { is_object: true, ..Self::file(name, text) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}, key {key}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A position in a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The source.
    pub source: Arc<Source>,
    /// From 1; 0: the source as a whole.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

impl Place {
    /// A source as a whole, of which no text is known.
    pub(crate) fn whole(name: &str) -> Self {
        Self { source: Arc::new(Source::file(name, "")), line: 0, column: 0 }
    }

    /// `other` as seen from here: only the line where the source is the same.
    pub(crate) fn mention(&self, other: &Self) -> String {
        let same = self.source.name == other.source.name && self.source.key == other.source.key;
        if same && self.source.is_object {
            "the same object".to_owned()
        } else if same {
            format!("line {}", other.line)
        } else {
            other.to_string()
        }
    }

    /// The line with a mark below the position, for people at a terminal, without passwords; empty if the line cannot be shown.
    pub fn snippet(&self) -> String {
        super::snippet::snippet(&self.source.text, self.line, self.column)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source.key {
            _ if self.line == 0 || self.source.is_object => write!(f, "{}", self.source),
            Some(_) => write!(f, "{}, line {}, column {}", self.source, self.line, self.column),
            None => write!(f, "{}:{}:{}", self.source, self.line, self.column),
        }
    }
}

/// One thing that is wrong. `Display` is one line, for logs and Events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it, one sentence without a full stop.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.message, self.help)
    }
}

/// Everything that is wrong, in the order of the text. `Display` is a line each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(Vec<Problem>);

/// More problems than this are not shown: nobody reads further before mending the first ones.
const MOST: usize = 100;

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.0.len() < MOST && !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Source by source in the order they were read, each from top to bottom.
    pub(crate) fn sort(&mut self, sources: &[Arc<Source>]) {
        let order = |place: &Place| sources.iter().position(|source| Arc::ptr_eq(source, &place.source));
        self.0.sort_by_key(|problem| (order(&problem.place), problem.place.line, problem.place.column));
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether all is well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Several lines each, with the text they speak of, for people at a terminal.
    pub fn rendered(&self) -> String {
        self.0
            .iter()
            .map(|problem| format!("{}: {}\n{}  → {}\n", problem.place, problem.message, problem.place.snippet(), problem.help))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Something that is not wrong but that the person should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// Where it comes from.
    pub place: Place,
    /// One sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The one of `known` that was most likely meant by `written`: the same letters, or few edits away.
pub(crate) fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    if written.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect::<Vec<_>>();
    let from = plain(written);
    known
        .into_iter()
        .map(|name| (edits(&from, &plain(name)), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1) && *distance < from.len())
        .map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b` (optimal string alignment).
pub(super) fn edits(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = ["addresses", "autoAssign", "avoidBuggyIPs"];
        assert_eq!(nearest("adresses", known), Some("addresses"));
        assert_eq!(nearest("addressse", known), Some("addresses"));
        assert_eq!(nearest("auto-assign", known), Some("autoAssign"));
        assert_eq!(nearest("protocol", known), None);
        assert_eq!(nearest("", known), None);
    }
}
