//! Label selectors as Kubernetes writes them (`metav1.LabelSelector`) → [`Selector`].

use super::fields::{Fields, text};
use super::problem::nearest;
use super::raw::{At, Reading};
use super::tree::{Node, Value, quoted};
use crate::facts::{Operator, Requirement, Selector};

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// The selectors of list `name`; the same one twice is told and kept once.
pub(crate) fn list(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Vec<At<Selector>> {
    let mut selectors: Vec<At<Selector>> = Vec::new();
    let (nodes, name) = (fields.list(name, reading), fields.name(name));
    for node in nodes {
        let Some(selector) = read(fields, node, name, reading) else { continue };
        match selectors.iter().find(|other| other.value == selector) {
            None => selectors.push(At { value: selector, place: node.place.clone() }),
            Some(first) => {
                let message = format!("the same selector stands twice in `{name}`, first in {}", node.place.mention(&first.place));
                reading.problem(&node.place, message, "remove one of the two");
            }
        }
    }
    selectors
}

/// [`list`] without the places.
pub(crate) fn plain_list(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Vec<Selector> {
    list(fields, name, reading).into_iter().map(|selector| selector.value).collect()
}

/// One selector, inside `outer`.
pub(crate) fn read(outer: &Fields<'_>, node: &Node, what: &str, reading: &mut Reading) -> Option<Selector> {
    let before = reading.problems.len();
    let mut fields = outer.inner(node, format!("a selector of `{what}`"), reading)?;
    let mut requirements = match_labels(&mut fields, reading);
    let mut expressions: Vec<Requirement> = Vec::new();
    for node in fields.list("matchExpressions", reading) {
        let Some(expression) = match_expression(&fields, node, reading) else { continue };
        if expressions.contains(&expression) {
            let message = format!("the same expression stands twice in `{}`", fields.name("matchExpressions"));
            reading.problem(&node.place, message, "remove one of the two");
        }
        expressions.push(expression);
    }
    fields.finish(reading);
    requirements.extend(expressions);
    requirements.sort();
    requirements.dedup();
    // Half a selector would match more than was meant.
    (reading.problems.len() == before).then_some(Selector { requirements })
}

fn match_labels(fields: &mut Fields<'_>, reading: &mut Reading) -> Vec<Requirement> {
    let labels = fields.placed_labels("matchLabels", reading);
    for (key, value) in &labels {
        for (place, wrong) in [(&key.place, wrong_key(&key.name)), (&value.place, wrong_value(&value.value))] {
            if let Some((message, help)) = wrong {
                reading.problem(place, message, help);
            }
        }
    }
    labels.into_iter().map(|(key, value)| Requirement { key: key.name.clone(), operator: Operator::In(vec![value.value]) }).collect()
}

fn match_expression(outer: &Fields<'_>, node: &Node, reading: &mut Reading) -> Option<Requirement> {
    let mut fields = outer.inner(node, format!("an entry of `{}`", outer.name("matchExpressions")), reading)?;
    let key = fields.text("key", reading);
    let operator = fields.text("operator", reading);
    let mut values: Vec<String> = Vec::new();
    for item in fields.list("values", reading) {
        // An empty value is a value.
        let value = if matches!(&item.value, Value::Scalar(scalar) if scalar.text.is_empty()) {
            Some(String::new())
        } else {
            text(item, "a value", reading).map(|at| at.value)
        };
        if let Some(value) = value.as_ref().filter(|value| values.contains(*value)) {
            reading.problem(&item.place, format!("{} stands twice in `values`", quoted(value)), "remove one of the two");
        }
        values.extend(value);
    }
    values.sort();
    values.dedup();
    fields.finish(reading);
    let (Some(key), Some(operator)) = (&key, &operator) else {
        for (name, present) in [("key", key.is_some()), ("operator", operator.is_some())] {
            if !present {
                reading.problem(&node.place, format!("this match expression has no `{name}`"), format!("add `{name}:`"));
            }
        }
        return None;
    };
    if let Some((message, help)) = wrong_key(&key.value) {
        reading.problem(&key.place, message, help);
    }
    for value in &values {
        if let Some((message, help)) = wrong_value(value) {
            reading.problem(&node.place, message, help);
        }
    }
    let operator = with_values(operator, values, reading)?;
    Some(Requirement { key: key.value.clone(), operator })
}

fn with_values(operator: &At<String>, values: Vec<String>, reading: &mut Reading) -> Option<Operator> {
    let name = operator.value.as_str();
    match (name, values.is_empty()) {
        ("In", false) => Some(Operator::In(values)),
        ("NotIn", false) => Some(Operator::NotIn(values)),
        ("Exists", true) => Some(Operator::Exists),
        ("DoesNotExist", true) => Some(Operator::DoesNotExist),
        ("In" | "NotIn", true) => {
            reading.problem(
                &operator.place,
                format!("operator `{name}` needs `values`"),
                "add a list `values:`, or use `Exists` or `DoesNotExist`",
            );
            None
        }
        ("Exists" | "DoesNotExist", false) => {
            reading.problem(&operator.place, format!("operator `{name}` takes no `values`"), "remove `values`, or use `In` or `NotIn`");
            None
        }
        _ => {
            let help = match nearest(name, OPERATORS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("use one of {}", OPERATORS.join(", ")),
            };
            reading.problem(&operator.place, format!("`{name}` is not an operator of a label selector"), help);
            None
        }
    }
}

fn is_label_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Kubernetes' rules for keys of labels: an optional DNS name and `/`, then up to 63 characters.
fn wrong_key(key: &str) -> Option<(String, String)> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| {
        !prefix.is_empty() && prefix.len() <= 253 && prefix.split('.').all(|part| is_label_name(part) && !part.contains('_'))
    });
    (!prefix_ok || !is_label_name(name)).then(|| {
        (format!("`{}` cannot be the key of a label", key.escape_debug()), "keys look like `zone` or `example.org/zone`".to_owned())
    })
}

/// Kubernetes' rules for values of labels: nothing, or up to 63 characters.
fn wrong_value(value: &str) -> Option<(String, String)> {
    (!value.is_empty() && !is_label_name(value)).then(|| {
        let message = format!("`{}` cannot be the value of a label", value.escape_debug());
        (message, "values are up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends".to_owned())
    })
}
