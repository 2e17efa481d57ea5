//! What an agent remembers over a restart: the last Snapshot and the configuration, in a directory in memory that outlives the
//! container. It is used when the API server cannot be reached at the start, so that what was announced is announced again. Beside
//! that the last good configuration is in it, for a start that finds it broken.
//!
//! Each file is replaced as a whole, readable by its owner alone, and says which format it has and whose it is: one that is of
//! another format, of another node or broken counts for nothing. It holds what the watches see; Secrets are not among that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::state::ApiState;
use crate::facts::{Claim, Endpoints, Labels, LeaderRecord, Member, Node, NodeName, Service, ServiceKey, Snapshot};

/// Grows whenever a file of before would be misread.
const FORMAT: u32 = 2;

/// The largest file: some ten thousand Services. The volume holds it twice while it is replaced.
const LARGEST: usize = 12 << 20;

/// A Snapshot is written at most this often.
const PERIOD: Duration = Duration::from_secs(2);

/// So long the first lists may take before the memory is used in their place.
const GRACE: Duration = Duration::from_secs(1);

const SNAPSHOT: &str = "snapshot.json";

/// The directory of one node's memory.
#[derive(Clone, Debug)]
pub struct Memory {
    directory: PathBuf,
    node: NodeName,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    node: NodeName,
    saved: Timestamp,
    content: T,
}

/// A [`Snapshot`] as it is written: JSON has no keys but texts. Nothing is copied for it: that would be the most memory an agent ever
/// takes.
#[derive(Serialize)]
struct Written<'a> {
    services: Vec<&'a Service>,
    endpoints: Vec<(&'a ServiceKey, &'a Endpoints)>,
    nodes: Vec<&'a Node>,
    namespaces: BTreeMap<&'a str, &'a Labels>,
    members: Vec<&'a Member>,
    claims: Vec<&'a Claim>,
    leader: Option<&'a LeaderRecord>,
}

impl<'a> Written<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        // Most Services with endpoints are no LoadBalancer.
        let endpoints = snapshot.endpoints.iter().filter(|(service, _)| snapshot.services.contains_key(*service));
        Self {
            services: snapshot.services.values().map(AsRef::as_ref).collect(),
            endpoints: endpoints.map(|(service, endpoints)| (service, endpoints.as_ref())).collect(),
            nodes: snapshot.nodes.values().map(AsRef::as_ref).collect(),
            namespaces: snapshot.namespaces.iter().map(|(name, labels)| (&**name, labels)).collect(),
            members: snapshot.members.values().map(AsRef::as_ref).collect(),
            claims: snapshot.claims.values().map(AsRef::as_ref).collect(),
            leader: snapshot.leader.as_ref(),
        }
    }
}

/// The same as it is read.
#[derive(Deserialize)]
struct Content {
    services: Vec<Service>,
    endpoints: Vec<(ServiceKey, Endpoints)>,
    nodes: Vec<Node>,
    namespaces: BTreeMap<String, Labels>,
    members: Vec<Member>,
    claims: Vec<Claim>,
    leader: Option<LeaderRecord>,
}

impl Content {
    fn snapshot(self) -> Snapshot {
        fn keyed<K: Ord, V>(values: Vec<V>, key: impl Fn(&V) -> K) -> Arc<BTreeMap<K, Arc<V>>> {
            Arc::new(values.into_iter().map(|value| (key(&value), Arc::new(value))).collect())
        }
        Snapshot {
            services: keyed(self.services, |service| service.key.clone()),
            endpoints: Arc::new(self.endpoints.into_iter().map(|(service, endpoints)| (service, Arc::new(endpoints))).collect()),
            nodes: keyed(self.nodes, |node| node.name.clone()),
            namespaces: Arc::new(self.namespaces.into_iter().map(|(name, labels)| (name.into(), labels)).collect()),
            members: keyed(self.members, |member| member.node.clone()),
            claims: keyed(self.claims, |claim| claim.address),
            leader: self.leader,
            remembered: true,
        }
    }
}

impl Memory {
    /// The memory of `node` in `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// It is not there and cannot be made.
    pub fn open(directory: &Path, node: &NodeName) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self { directory: directory.to_owned(), node: node.clone() })
    }

    /// Forgets the Snapshot: after an orderly leave nothing here is ours any more.
    pub fn forget(&self) {
        self.remove(SNAPSHOT);
    }

    pub(super) fn remove(&self, name: &str) {
        if let Err(error) = std::fs::remove_file(self.directory.join(name))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.directory.join(name).display(), %error, "the memory of this agent cannot be removed");
        }
    }

    /// What file `name` holds; nothing if it cannot be used.
    pub fn recollect<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.open_envelope(&self.directory.join(name)).ok().flatten().map(|envelope| envelope.content)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let path = self.directory.join(name);
        match self.open_envelope(&path) {
            Ok(envelope) => {
                let Envelope { saved, content, .. } = envelope?;
                tracing::warn!(path = %path.display(), %saved, "going on with what an earlier life of this agent saw");
                Some(content)
            }
            Err(problem) => {
                tracing::warn!(path = %path.display(), problem, "the memory of this agent cannot be used");
                None
            }
        }
    }

    fn open_envelope<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<Envelope<T>>, String> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| error.to_string())?,
        };
        let broken = |error: serde_json::Error| format!("broken: {error}");
        let Envelope { format, node, .. } = serde_json::from_slice::<Envelope<IgnoredAny>>(&text).map_err(broken)?;
        if format != FORMAT {
            return Err(format!("it has format {format}, not {FORMAT}"));
        }
        if node != self.node {
            return Err(format!("it is of node {node}, not {}", self.node));
        }
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    /// Writes `content` to `name`; a failure is logged.
    pub fn write<T: Serialize>(&self, name: &str, content: T) {
        let path = self.directory.join(name);
        let envelope = Envelope { format: FORMAT, node: self.node.clone(), saved: Timestamp::now(), content };
        if let Err(error) = replace(&path, &envelope) {
            tracing::warn!(path = %path.display(), %error, "the memory of this agent cannot be written");
            // What is there is older than what is announced.
            self.remove(name);
        }
    }
}

/// Nobody ever reads half a file, and two instances that run side by side do not write into one.
fn replace(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension(std::process::id().to_string());
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut file = BufWriter::new(Bounded { file, left: LARGEST });
    let written = serde_json::to_writer(&mut file, content).map_err(io::Error::from).and_then(|()| file.flush());
    written.and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

/// A file that does not grow above [`LARGEST`].
struct Bounded {
    file: File,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, format!("it is more than {LARGEST} bytes")))?;
        self.file.write(bytes).inspect(|written| self.left += bytes.len() - written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What file `name` of the memory holds, once the API server turns out to be unreachable; never returns if that is nothing.
pub(super) async fn recall<T: DeserializeOwned>(memory: Option<&Memory>, name: &str, mut state: watch::Receiver<ApiState>) -> T {
    tokio::time::sleep(GRACE).await;
    let detached = state.wait_for(|state| state.contact.is_unreachable()).await.is_ok();
    match memory.filter(|_| detached).and_then(|memory| memory.read(name)) {
        Some(content) => content,
        None => std::future::pending().await,
    }
}

/// The Snapshot of before.
pub(super) async fn recall_snapshot(memory: Option<Memory>, state: watch::Receiver<ApiState>) -> Snapshot {
    recall::<Content>(memory.as_ref(), SNAPSHOT, state).await.snapshot()
}

/// Remembers each Snapshot that is seen until `shutdown`.
///
/// # Errors
/// Nobody watches the API server any more.
pub async fn keep(memory: Memory, mut seen: watch::Receiver<Option<Arc<Snapshot>>>, shutdown: CancellationToken) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = seen.changed() => changed?,
        }
        let snapshot = seen.borrow_and_update().clone();
        if let Some(snapshot) = snapshot.filter(|snapshot| !snapshot.remembered) {
            let memory = memory.clone();
            tokio::task::spawn_blocking(move || memory.write(SNAPSHOT, Written::of(&snapshot))).await?;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }
}
