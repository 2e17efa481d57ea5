//! Where a configuration comes from, as `--config` says it: one text, custom resources, or both. Together they are read as if all
//! stood in one file.

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
    /// Custom resources of group `metallb.io` in these namespaces, watched through the API.
    Crds(Vec<String>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap { namespace, name } => write!(f, "configmap:{namespace}/{name}"),
            Self::Path(path) => path.display().fmt(f),
            Self::Crds(namespaces) => write!(f, "crds:{}", namespaces.join(",")),
        }
    }
}

/// What `--config` takes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither configmap:NAMESPACE/NAME nor crds:NAMESPACE,… nor a path")]
pub struct BadOrigin(String);

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(text.to_owned());
        if let Some(namespaces) = text.strip_prefix("crds:") {
            let namespaces: Vec<String> = namespaces.split(',').map(str::to_owned).collect();
            let plain = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            return if namespaces.iter().all(plain) { Ok(Self::Crds(namespaces)) } else { Err(bad()) };
        }
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

/// All that one agent reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    /// A ConfigMap, a file or a directory.
    pub text: Option<Origin>,
    /// The namespaces of custom resources; empty: they are no source.
    pub namespaces: Vec<String>,
}

/// What cannot be read together.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("--config names both {0} and {1}: beside crds:… there can be one ConfigMap, file or directory")]
pub struct TwoTexts(Origin, Origin);

impl TryFrom<Vec<Origin>> for Origins {
    type Error = TwoTexts;

    fn try_from(all: Vec<Origin>) -> Result<Self, TwoTexts> {
        let mut origins = Self::default();
        for origin in all {
            match (origin, origins.text.take()) {
                (Origin::Crds(more), text) => {
                    let new: Vec<String> = more.into_iter().filter(|name| !origins.namespaces.contains(name)).collect();
                    origins.namespaces.extend(new);
                    origins.text = text;
                }
                (origin, None) => origins.text = Some(origin),
                (origin, Some(text)) => return Err(TwoTexts(text, origin)),
            }
        }
        Ok(origins)
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crds = (!self.namespaces.is_empty()).then(|| Origin::Crds(self.namespaces.clone()));
        let all: Vec<String> = self.text.iter().chain(&crds).map(ToString::to_string).collect();
        f.write_str(&all.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_print_what_they_parse_and_mistakes_say_what_was_expected() {
        for text in ["configmap:lanlord/lanlord", "crds:lanlord,metallb-system", "/etc/lanlord", "lanlord.yaml"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        let error = "configmap:lanlord".parse::<Origin>().unwrap_err().to_string();
        assert_eq!(error, "\"configmap:lanlord\" is neither configmap:NAMESPACE/NAME nor crds:NAMESPACE,… nor a path");
    }

    #[test]
    fn one_text_and_custom_resources_go_together_and_two_texts_do_not() {
        let origins = |all: &[&str]| Origins::try_from(all.iter().map(|text| text.parse().unwrap()).collect::<Vec<Origin>>());
        let both = origins(&["crds:a,b", "configmap:lanlord/lanlord", "crds:b,c"]).unwrap();
        assert_eq!(both.to_string(), "configmap:lanlord/lanlord and crds:a,b,c");
        assert_eq!(origins(&["crds:a"]).unwrap(), Origins { text: None, namespaces: vec!["a".to_owned()] });
        assert!(origins(&["/a", "/b"]).unwrap_err().to_string().contains("both /a and /b"));
        assert!("crds:".parse::<Origin>().is_err() && "crds:a,,b".parse::<Origin>().is_err() && "crds:a/b".parse::<Origin>().is_err());
    }
}
