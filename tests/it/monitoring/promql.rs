//! As much of PromQL as our rules and dashboard use, to know which metrics and labels an expression names. Whether it is PromQL at all is
//! for promtool to say.

use std::collections::{BTreeMap, BTreeSet};

/// A metric with the labels that stand in its braces.
type Selector = (String, BTreeSet<String>);

/// What an expression names.
#[derive(Debug, Default)]
pub(crate) struct Query {
    selectors: Vec<Selector>,
    /// Labels in `by`, `on` and the like.
    lists: BTreeSet<String>,
    /// The labels of the result, if the expression as a whole is an aggregation `by` them.
    by: Option<BTreeSet<String>>,
    /// Labels that `label_replace` makes.
    made: BTreeSet<String>,
}

const LISTS: [&str; 5] = ["by", "without", "on", "ignoring", "group_left"];
const WORDS: [&str; 4] = ["and", "or", "unless", "bool"];

impl Query {
    pub(crate) fn read(expr: &str) -> Self {
        let tokens = tokens(expr);
        let mut query = Self::default();
        let mut at = 0;
        while at < tokens.len() {
            let next = tokens.get(at + 1).map_or("", String::as_str);
            match &*tokens[at] {
                "label_replace" => query.made.extend(made(&tokens[at..])),
                list if LISTS.contains(&list) && next == "(" => {
                    let end = at + tokens[at..].iter().position(|token| token == ")").expect("a closed list");
                    let labels: BTreeSet<String> = tokens[at + 2..end].iter().filter(|token| *token != ",").cloned().collect();
                    if at == 1 && list == "by" {
                        query.by = Some(labels.clone());
                    }
                    query.lists.extend(labels);
                    at = end;
                }
                "[" => at += tokens[at..].iter().position(|token| token == "]").expect("a closed range"),
                name if is_name(name) && !["(", "by", "without"].contains(&next) && !WORDS.contains(&name) && !LISTS.contains(&name) => {
                    let mut labels = BTreeSet::new();
                    if next == "{" {
                        let end = at + tokens[at..].iter().position(|token| token == "}").expect("closed braces");
                        labels.extend(tokens[at + 2..end].iter().filter(|token| is_name(token)).cloned());
                        at = end;
                    }
                    query.selectors.push((name.to_owned(), labels));
                }
                _ => {}
            }
            at += 1;
        }
        query
    }

    /// The labels that the result may have, where `known` are all metrics with their labels; or what is wrong.
    pub(crate) fn result(&self, known: &BTreeMap<String, BTreeSet<String>>) -> Result<BTreeSet<String>, String> {
        let mut all = self.made.clone();
        if self.selectors.is_empty() {
            return Err("it names no metric".to_owned());
        }
        for (name, labels) in &self.selectors {
            let has = known.get(name).ok_or_else(|| format!("no metric {name}"))?;
            if let Some(label) = labels.difference(has).next() {
                return Err(format!("no label {label} of {name}"));
            }
            all.extend(has.iter().cloned());
        }
        if let Some(label) = self.lists.difference(&all).next() {
            return Err(format!("no label {label}"));
        }
        Ok(self.by.clone().unwrap_or(all))
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The label that a `label_replace` at the start of `tokens` makes: its first text.
fn made(tokens: &[String]) -> Option<String> {
    let mut depth = 0;
    for token in tokens {
        match &**token {
            "{" => depth += 1,
            "}" => depth -= 1,
            // Texts of matchers come earlier, in braces.
            token if depth == 0 && token.starts_with('"') => return Some(token.trim_matches('"').to_owned()),
            _ => {}
        }
    }
    None
}

/// Names, texts, numbers (with their unit) and single signs.
fn tokens(expr: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = expr.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '$');
        let length = match first {
            '"' => rest[1..].find('"').expect("a closed text") + 2,
            c if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}
