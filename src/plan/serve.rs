//! Which Services are ours to serve.

use crate::config::{Classes, Config};
use crate::facts::Service;

/// Our own `spec.loadBalancerClass`.
pub const OWN_CLASS: &str = "lanlord.dev/lb";

/// Whether a Service is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// Assign and announce.
    Ours,
    /// Another class, or annotated `lanlord.dev/ignore: "true"`: never touched.
    Foreign,
    /// Being deleted: withdrawn at once, even if a foreign finalizer lingers.
    Deleting,
}

/// Classifies `service`.
pub fn is_served(config: &Config, service: &Service) -> Serving {
    let ignored = service.annotations.get("lanlord.dev/ignore").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let class_matches = match (config.settings.classes, service.class.as_deref()) {
        (Classes::Both | Classes::Classless, None) => true,
        (Classes::Both | Classes::Own, Some(class)) => class == OWN_CLASS,
        (Classes::Own, None) | (Classes::Classless, Some(_)) => false,
    };
    if ignored || !class_matches {
        Serving::Foreign
    } else if service.deleting {
        Serving::Deleting
    } else {
        Serving::Ours
    }
}
