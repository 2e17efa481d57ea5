//! Label selectors, with Kubernetes' meaning (`metav1.LabelSelector`): all requirements of one selector must hold.

use std::collections::BTreeMap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The operator of a match expression.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operator {
    /// The label is there and has one of the values.
    In(Vec<String>),
    /// The label is not there or has none of the values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// One condition on one label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold.
    pub operator: Operator,
}

/// All requirements must hold; an empty selector matches everything.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Selector {
    /// The requirements, sorted, so that equal selectors compare equal.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// Whether every requirement holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.failing(labels).is_none()
    }

    /// The first requirement that does not hold, to tell a person which label is missing.
    pub fn failing(&self, labels: &Labels) -> Option<&Requirement> {
        self.requirements.iter().find(|requirement| {
            let value = labels.get(&requirement.key);
            !match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{}={}", self.key, values[0]),
            Operator::In(values) => write!(f, "{} in ({})", self.key, values.join(", ")),
            Operator::NotIn(values) => write!(f, "{} not in ({})", self.key, values.join(", ")),
            Operator::Exists => f.write_str(&self.key),
            Operator::DoesNotExist => write!(f, "!{}", self.key),
        }
    }
}

/// As `kubectl get -l` takes it.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(key: &str, operator: Operator) -> Selector {
        Selector { requirements: vec![Requirement { key: key.to_owned(), operator }] }
    }

    #[test]
    fn operators_mean_what_kubernetes_says() {
        let labels = Labels::from([("zone".to_owned(), "a".to_owned())]);
        let values = || vec!["a".to_owned(), "b".to_owned()];
        assert!(Selector::default().matches(&labels));
        assert!(selector("zone", Operator::In(values())).matches(&labels));
        assert!(!selector("zone", Operator::NotIn(values())).matches(&labels));
        assert!(selector("rack", Operator::NotIn(values())).matches(&labels), "a missing label is not in any list");
        assert!(selector("zone", Operator::Exists).matches(&labels));
        assert!(selector("rack", Operator::DoesNotExist).matches(&labels));
        assert!(!selector("rack", Operator::In(values())).matches(&labels));
    }
}
