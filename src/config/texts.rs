//! What one place holds that is not a custom resource: nothing, files, or the keys of a ConfigMap.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::raw::Reading;
use super::tree::{Node, Text};
use super::{Accepted, Problems, Source, accept, configmap, document};

/// What a path or a ConfigMap holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Texts {
    /// Nothing is there.
    Absent,
    /// A file, or the files of a directory by name.
    Files(Vec<Source>),
    /// A ConfigMap, or a directory with a file for each of its keys: what it is called, and the keys.
    Keys(String, BTreeMap<String, String>),
}

impl Texts {
    /// All of it as one configuration. Nothing, and what is empty, is a configuration without pools.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(&self) -> Result<Accepted, Problems> {
        let mut reading = Reading::default();
        let sources = self.read(&mut reading);
        accept(reading, &sources)
    }

    /// Reads it in; returns the sources in their order.
    pub(crate) fn read(&self, reading: &mut Reading) -> Vec<Arc<Source>> {
        match self {
            Self::Absent => Vec::new(),
            Self::Files(files) => {
                let sources: Vec<Arc<Source>> = files.iter().cloned().map(Arc::new).collect();
                for source in &sources {
                    document::read(Text::whole(source), reading);
                }
                sources
            }
            Self::Keys(called, data) => {
                let sources: Vec<Arc<Source>> = data.iter().map(|(key, text)| Arc::new(Source::key(called, key, text))).collect();
                let whole = Arc::new(Source::file(called, ""));
                configmap::read(&Node::of_keys(&whole, &sources), called, reading);
                sources
            }
        }
    }

    /// Whether there is something that says nothing.
    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Files(sources) => sources.iter().all(|source| source.text.trim().is_empty()),
            Self::Keys(_, data) => data.values().all(|text| text.trim().is_empty()),
        }
    }
}
