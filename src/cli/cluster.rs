//! What a question is asked about: a configuration and a cluster, from files or live.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;

use super::answer::wait_for;
use super::eyes::Eyes;
use super::files::{read_configuration, read_text};
use crate::api::objects::Objects;
use crate::config::origin::{self, Origin};
use crate::config::{Config, Problems};
use crate::facts::{Living, Snapshot};
use crate::leader::paper::assume_members;
use crate::membership::living::{Senses, living};

/// Where configuration and cluster come from.
#[derive(Args, Clone, Debug)]
pub(super) struct Origins {
    /// The configuration: files and directories, which are one together (`-`: standard input), or what an agent
    /// takes: configmap:NAMESPACE/NAME, crds:NAMESPACE,…
    #[arg(long, value_name = "FILE", num_args = 1..)]
    config: Vec<Origin>,

    /// The cluster: what `kubectl get svc,endpointslices,nodes,namespaces,leases -A -o json` printed (`-`: standard input; also YAML)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    cluster: Vec<PathBuf>,

    /// Namespace of the agents' Leases
    #[arg(long, value_name = "NAMESPACE", default_value = "lanlord")]
    lease_namespace: String,
}

/// A configuration and a cluster.
pub(super) struct Cluster {
    pub(super) config: Config,
    pub(super) snapshot: Snapshot,
    /// What has to be known of the answer.
    pub(super) notes: Vec<String>,
    /// There is no member Lease: members and their links are assumed.
    pub(super) assumed: bool,
}

impl Cluster {
    /// Who may own addresses, as far as the API server tells.
    pub(super) fn living(&self) -> Living {
        living(&self.snapshot, &Senses::default())
    }
}

/// Where the agents' configuration is unless told otherwise.
const USUAL: &str = "configmap:lanlord/lanlord";
/// What makes the files.
const KUBECTL: &str = "kubectl get svc,endpointslices,nodes,namespaces,leases -A -o json";

impl Origins {
    /// The namespace the agents run in.
    pub(super) fn namespace(&self) -> &str {
        &self.lease_namespace
    }

    /// Reads both.
    ///
    /// # Errors
    /// Why they cannot be read, and what to do.
    pub(super) fn read(&self, input: &mut dyn Read) -> anyhow::Result<Cluster> {
        let mut cluster = if self.cluster.is_empty() { self.live(input)? } else { self.on_paper(input)? };
        if cluster.snapshot.members.is_empty() {
            assume_members(&cluster.config, &mut cluster.snapshot);
            cluster.assumed = true;
            cluster.notes.push(format!(
                "no agent has left a Lease in namespace {}: every Ready node is taken for a member, and its links are not known; each is \
                 assumed to have all interfaces that are named, and a link for every address",
                self.lease_namespace
            ));
        }
        Ok(cluster)
    }

    fn on_paper(&self, input: &mut dyn Read) -> anyhow::Result<Cluster> {
        if self.config.is_empty() {
            anyhow::bail!("say with --config which file holds the configuration: with --cluster nothing is asked of the API server");
        }
        let paths = self.paths().ok_or_else(|| {
            anyhow::anyhow!(
                "--cluster asks nothing of the API server: save the ConfigMap (kubectl get configmap … -o yaml) and give --config the file"
            )
        })?;
        let config = configuration(&paths, input)?;
        let mut objects = Objects::new(&self.lease_namespace);
        for path in &self.cluster {
            let (name, text) = read_text(path, input).map_err(anyhow::Error::msg)?;
            objects.read(&name, &text)?;
        }
        let mut notes: Vec<String> = objects.problems().to_vec();
        let missing = objects.missing();
        if !missing.is_empty() {
            notes.push(format!("the files of the cluster hold no {}; all that is read comes with: {KUBECTL}", missing.join(", no ")));
        }
        let unread: Vec<&str> = objects.unread().collect();
        if !unread.is_empty() {
            notes.push(format!("objects of kind {} are not read", unread.join(", ")));
        }
        Ok(Cluster { config, snapshot: objects.snapshot(), notes, assumed: false })
    }

    fn live(&self, input: &mut dyn Read) -> anyhow::Result<Cluster> {
        let at_hand = match self.paths() {
            Some(paths) if !paths.is_empty() => Ok(configuration(&paths, input)?),
            Some(_) => Err(origin::Origins::try_from(vec![USUAL.parse()?])?),
            None => Err(origin::Origins::try_from(self.config.clone())?),
        };
        wait_for(async {
            let eyes = Eyes::open(&self.lease_namespace).await?;
            let seen = see(&eyes, at_hand).await;
            eyes.close();
            seen
        })
    }

    /// The configuration's files; `None` if it is elsewhere.
    fn paths(&self) -> Option<Vec<PathBuf>> {
        let path = |origin: &Origin| if let Origin::Path(path) = origin { Some(path.clone()) } else { None };
        self.config.iter().map(path).collect()
    }
}

async fn see(eyes: &Eyes, config: Result<Config, origin::Origins>) -> anyhow::Result<Cluster> {
    let config = match config {
        Ok(config) => config,
        Err(origins) => eyes.config(&origins).await?,
    };
    Ok(Cluster { config, snapshot: (*eyes.snapshot().await?).clone(), notes: Vec::new(), assumed: false })
}

/// A configuration that has to be right.
///
/// # Errors
/// What is wrong with it.
pub(super) fn configuration(paths: &[PathBuf], input: &mut dyn Read) -> anyhow::Result<Config> {
    let wrong = |problems: Problems| anyhow::anyhow!("the configuration is wrong; correct it first:\n{}", problems.rendered());
    read_configuration(paths, input).map_err(anyhow::Error::msg)?.map(|accepted| accepted.config).map_err(wrong)
}
