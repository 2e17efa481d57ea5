//! Writes YAML that every reader takes for the same: `kubectl` follows YAML 1.1, where a plain `yes` is true and `64512:1` may be a
//! number. What is not plainly a text stands in quotes, as in JSON.

use std::fmt::Write as _;

use serde_yaml::{Mapping, Value};

/// One document; empty if there is nothing in it.
pub(super) fn yaml(mapping: &Mapping) -> String {
    let mut out = String::new();
    entries(mapping, 0, &mut out);
    out
}

fn entries(mapping: &Mapping, indent: usize, out: &mut String) {
    for (number, (key, value)) in mapping.iter().enumerate() {
        // The first entry of a mapping in a list stands beside its dash.
        if number > 0 || !out.ends_with("- ") {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(&scalar(key));
        out.push(':');
        match value {
            Value::Mapping(inner) if !inner.is_empty() => {
                out.push('\n');
                entries(inner, indent + 2, out);
            }
            Value::Sequence(items) if !items.is_empty() => {
                out.push('\n');
                list(items, indent, out);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Mapping(_)
            | Value::Tagged(_) => {
                // Writing to a text cannot fail.
                let _ = writeln!(out, " {}", scalar(value));
            }
        }
    }
}

fn list(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str("- ");
        match item {
            Value::Mapping(inner) if !inner.is_empty() => entries(inner, indent + 2, out),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Mapping(_)
            | Value::Tagged(_) => {
                let _ = writeln!(out, "{}", scalar(item));
            }
        }
    }
}

/// In one line; a collection here is an empty one, or a list in a list, which JSON writes as well.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
            serde_json::to_string(value).expect("texts, numbers, lists and mappings with texts for keys are JSON")
        }
    }
}

/// Whether no reader takes it for anything but this text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let only = |more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    match text.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => {
            only("-_./:") && !text.ends_with(':') && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        }
        // Addresses, ranges and prefixes have two dots and more, times have a unit; numbers have neither.
        Some(first) if first.is_ascii_digit() => {
            let address = text.chars().all(|c| c.is_ascii_digit() || ".-/".contains(c)) && text.matches('.').count() > 2;
            address || text.trim_end_matches(['m', 's']).bytes().all(|c| c.is_ascii_digit()) && text.ends_with('s')
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_might_be_something_else_stands_in_quotes() {
        for plain in ["default", "192.168.1.240-192.168.1.250", "10.0.0.0/8", "30s", "50ms", "fd00::1-fd00::9", "metallb.io/v1beta1"] {
            assert_eq!(scalar(&plain.into()), plain);
        }
        for text in [
            "yes",
            "No",
            "on",
            "true",
            "null",
            "y",
            "12",
            "1.5",
            "64512:1",
            "1e3",
            "0x1f",
            "2026-01-01",
            "",
            "a b",
            "- x",
            "*",
            "a:",
            "a\nb",
            "ä",
            "~",
        ] {
            assert_eq!(scalar(&text.into()), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "a:\n- b: 1\n  c: {d: 'yes', e: []}\n- [1, [2]]\n- {}\n- x\nf: {}\n'on': null\n";
        let Value::Mapping(mapping) = serde_yaml::from_str(text).unwrap() else { panic!("a mapping") };
        assert_eq!(serde_yaml::from_str::<Value>(&yaml(&mapping)).unwrap(), Value::Mapping(mapping));
    }
}
