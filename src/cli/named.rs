//! The Service a question is about, as kubectl names one.

use clap::Args;

use crate::facts::ServiceKey;

/// A Service on the command line.
#[derive(Args, Clone, Debug)]
pub(super) struct Named {
    /// The Service: NAME or NAMESPACE/NAME
    service: String,

    /// Its namespace, if SERVICE does not say it [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl Named {
    /// Its key.
    pub(super) fn key(&self) -> anyhow::Result<ServiceKey> {
        let text = if self.service.contains('/') {
            anyhow::ensure!(
                self.namespace.as_ref().is_none_or(|namespace| self.service.starts_with(&format!("{namespace}/"))),
                "{} names a namespace, and --namespace another one; leave one of the two out",
                self.service
            );
            self.service.clone()
        } else {
            format!("{}/{}", self.namespace.as_deref().unwrap_or("default"), self.service)
        };
        ServiceKey::parse(&text).ok_or_else(|| anyhow::anyhow!("{:?} is neither NAME nor NAMESPACE/NAME", self.service))
    }
}
