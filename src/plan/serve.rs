//! Which Services are ours.

use crate::config::{Classes, Config};
use crate::facts::{NodeName, Service, Snapshot, annotation};

/// Our `spec.loadBalancerClass`.
pub const OWN_CLASS: &str = "lanlord.dev/lb";

/// What a Service of `type: LoadBalancer` is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// Gets an address.
    Ours,
    /// Left alone: another class, or `lanlord.dev/ignore: "true"`.
    Foreign,
    /// Left alone: it has no class, and k3s' own load balancer is on, which serves those. Two that write one status undo each other.
    LeftToServiceLb,
    /// Being deleted: withdrawn at once, even if a foreign finalizer lingers.
    Deleting,
}

impl Serving {
    /// Somebody else's to serve.
    pub fn is_left_alone(self) -> bool {
        match self {
            Self::Foreign | Self::LeftToServiceLb => true,
            Self::Ours | Self::Deleting => false,
        }
    }
}

/// Classifies `service`.
pub fn is_served(config: &Config, snapshot: &Snapshot, service: &Service) -> Serving {
    let ignored = service.annotations.get(annotation::IGNORE).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let class_matches = match (config.settings.classes, service.class.as_deref()) {
        (Classes::Both | Classes::Classless, None) => true,
        (Classes::Both | Classes::Own, Some(class)) => class == OWN_CLASS,
        (Classes::Own, None) | (Classes::Classless, Some(_)) => false,
    };
    if ignored || !class_matches {
        Serving::Foreign
    } else if service.deleting {
        Serving::Deleting
    } else if service.class.is_none() && snapshot.nodes.values().any(|node| node.servicelb) {
        Serving::LeftToServiceLb
    } else {
        Serving::Ours
    }
}

/// The k3s servers whose ServiceLB is on.
pub fn servicelb(snapshot: &Snapshot) -> Vec<NodeName> {
    snapshot.nodes.values().filter(|node| node.servicelb).map(|node| node.name.clone()).collect()
}
