//! What a Service itself wants its routes to have, by annotation (any prefix that [`Service::annotation`] reads):
//!
//! ```yaml
//! lanlord.dev/bgp-communities: 64512:100, no-export, vpn    # added to those of the advertisements; aliases: those of Community documents
//! lanlord.dev/bgp-med: "50"                                 # MULTI_EXIT_DISC
//! lanlord.dev/bgp-prepend: "2"                              # instead of asPathPrepend
//! lanlord.dev/bgp-weight: endpoints                         # nodes get flows in proportion to their serving endpoints
//! ```
//!
//! A value that cannot be read counts as not written, and is told.

use std::collections::BTreeSet;

use crate::config::{Community, Config};
use crate::facts::{Service, annotation};

/// The most that `asPathPrepend` takes.
const MOST_PREPENDED: u8 = 10;

/// See above.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Communities, beside those of the advertisements.
    pub communities: BTreeSet<Community>,
    /// MULTI_EXIT_DISC; `None`: not sent.
    pub med: Option<u32>,
    /// How many times more our own AS stands in AS_PATH; `None`: as the advertisement says.
    pub prepend: Option<u8>,
    /// The Link Bandwidth community tells how many serving endpoints a node has.
    pub weight: bool,
}

impl Wishes {
    /// What `service` wants, as far as it can be read.
    pub fn of(config: &Config, service: &Service) -> Self {
        read(config, service, &mut Vec::new())
    }
}

/// What of the wishes of `service` cannot be read, a sentence each.
pub fn mistakes(config: &Config, service: &Service) -> Vec<String> {
    let mut mistakes = Vec::new();
    read(config, service, &mut mistakes);
    mistakes
}

fn read(config: &Config, service: &Service, mistakes: &mut Vec<String>) -> Wishes {
    let texts = |name: &str| service.annotation(name).map(str::trim);
    let mut wishes = Wishes::default();
    for text in texts(annotation::BGP_COMMUNITIES).into_iter().flat_map(|list| list.split(',')).map(str::trim) {
        match Community::parse(text, &config.bgp.communities) {
            Some(community) => drop(wishes.communities.insert(community)),
            None => mistakes.push(format!(
                "annotation bgp-communities: {text:?} is no community; write a value such as 64512:100 or large:64512:1:2, a well-known name, or a name from a Community"
            )),
        }
    }
    if let Some(text) = texts(annotation::BGP_MED) {
        wishes.med = text.parse().ok();
        mistakes.extend(wishes.med.is_none().then(|| format!("annotation bgp-med: {text:?} is no number from 0 to {}", u32::MAX)));
    }
    if let Some(text) = texts(annotation::BGP_PREPEND) {
        wishes.prepend = text.parse().ok().filter(|times| *times <= MOST_PREPENDED);
        let wrong = wishes.prepend.is_none();
        mistakes.extend(wrong.then(|| format!("annotation bgp-prepend: {text:?} is no number from 0 to {MOST_PREPENDED}")));
    }
    if let Some(text) = texts(annotation::BGP_WEIGHT) {
        wishes.weight = text == "endpoints";
        mistakes.extend((!wishes.weight).then(|| format!("annotation bgp-weight: {text:?} is no weight; write `endpoints`")));
    }
    wishes
}
