//! Passwords that the configuration keeps in Secrets.

use std::collections::BTreeMap;

/// A key of a Secret in our own namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretKey {
    /// `metadata.name`.
    pub name: String,
    /// The key in `data`.
    pub key: String,
}

/// What was found where; an error says what is wrong, and what to do. A key that is not among them was not read yet.
pub type Secrets = BTreeMap<SecretKey, Result<String, String>>;
