//! Where a configuration comes from, as `--config` says it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The place of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A ConfigMap, watched through the API.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A file or directory, watched with notify.
    Path(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap { namespace, name } => write!(f, "configmap:{namespace}/{name}"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// What `--config` takes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither configmap:NAMESPACE/NAME nor a path")]
pub struct BadOrigin(String);

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        let Some(object) = text.strip_prefix("configmap:") else {
            return if text.is_empty() { Err(bad()) } else { Ok(Self::Path(text.into())) };
        };
        let (namespace, name) = object.split_once('/').ok_or_else(bad)?;
        if namespace.is_empty() || name.is_empty() || name.contains('/') {
            return Err(bad());
        }
        Ok(Self::ConfigMap { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_print_what_they_parse_and_mistakes_say_what_was_expected() {
        for text in ["configmap:lanlord/lanlord", "/etc/lanlord", "lanlord.yaml"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        let error = "configmap:lanlord".parse::<Origin>().unwrap_err().to_string();
        assert_eq!(error, "\"configmap:lanlord\" is neither configmap:NAMESPACE/NAME nor a path");
    }
}
