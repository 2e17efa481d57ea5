//! Follows the configuration where it lives and keeps the last good one in force.
//!
//! ```text
//!  api::watch ──ConfigMapSeen──► run_configmap ─┐
//!                                               ├─► Keeper ──Option<Arc<Config>>──► everybody (watch)
//!  inotify ──wake-up──► run_file ──reads────────┘      └─────Report──► log, Event, metric (mpsc)
//! ```
//!
//! What cannot be read or accepted never replaces what is in force; neither does a source that vanishes, because a configuration
//! is re-applied or moved more often than it is meant to go away. While nothing was ever in force, an absent source is a
//! configuration without pools.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::tree::LARGEST;
use super::{Accepted, Config, Place, Problem, Problems, Source, from_configmap, from_keys, parse};
use crate::facts::{ConfigMapSeen, Uid};

/// Quiet time after a change before it is read: an editor needs several steps to save.
const QUIET: Duration = Duration::from_millis(100);
/// A source that never gets quiet is read after this many waits.
const PATIENCE: u32 = 5;
/// An emptied file is believed after this time: some programs empty a file long before they write it.
const EMPTIED: Duration = Duration::from_secs(1);
/// How often a watched path is looked at anyway, for file systems that tell nothing.
const POLL: Duration = Duration::from_secs(30);
/// How often a path is looked at that cannot be watched, such as one in a directory that does not exist yet.
const POLL_UNWATCHED: Duration = Duration::from_secs(2);

/// What became of an edit.
#[derive(Clone, Debug)]
pub struct Report {
    /// A path, or `ConfigMap namespace/name`.
    pub source: String,
    /// Of the ConfigMap, if it is one that exists: an Event can be about it.
    pub uid: Option<Uid>,
    /// The configuration put in force with its summary and notes; or why the one before stays.
    pub outcome: Result<Arc<Accepted>, Problems>,
}

/// Where the outcome goes.
#[derive(Debug)]
pub struct Outlet {
    /// The configuration in force; `None` until there is one.
    pub config: watch::Sender<Option<Arc<Config>>>,
    /// A report of every edit. A queue, because no report may be lost; people edit slowly.
    pub reports: mpsc::UnboundedSender<Report>,
}

/// Follows the ConfigMap `namespace/name`. Ends when `cancel` does.
///
/// # Errors
/// When whoever watches the API server is gone.
pub async fn run_configmap(
    namespace: &str,
    name: &str,
    mut seen: watch::Receiver<ConfigMapSeen>,
    outlet: Outlet,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut keeper = Keeper { source: format!("ConfigMap {namespace}/{name}"), outlet };
    let mut last = ConfigMapSeen::NotYet;
    seen.mark_changed();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            changed = seen.changed() => changed.context("the watch of the ConfigMap ended")?,
        }
        let current = seen.borrow_and_update().clone();
        if current == last {
            continue;
        }
        match &current {
            ConfigMapSeen::NotYet => {}
            ConfigMapSeen::Absent => keeper.absent(),
            ConfigMapSeen::Present(text) => keeper.outcome(Some(text.uid.clone()), from_configmap(namespace, name, &text.data)),
        }
        last = current;
    }
}

/// Follows a file or a directory. Ends when `cancel` does.
///
/// # Errors
/// None so far: what can come back is waited for.
pub async fn run_file(path: PathBuf, outlet: Outlet, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut keeper = Keeper { source: path.display().to_string(), outlet };
    let mut eyes = Eyes::new(&path);
    let mut last: Option<Result<Texts, Problem>> = None;
    loop {
        // Watch first, read then: a change in between is not missed.
        let poll = if eyes.open() { POLL } else { POLL_UNWATCHED };
        let mut current = read(path.clone()).await;
        if emptied(last.as_ref(), &current) {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(EMPTIED) => current = read(path.clone()).await,
            }
        }
        if last.as_ref() != Some(&current) {
            match &current {
                Ok(Texts::Absent) => keeper.absent(),
                Ok(texts) => keeper.outcome(None, texts.parse()),
                Err(problem) => keeper.outcome(None, Err(Problems::from(problem.clone()))),
            }
            last = Some(current);
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(poll) => {}
            () = eyes.changed() => {}
        }
    }
}

/// Publishes what is accepted and reports everything.
struct Keeper {
    source: String,
    outlet: Outlet,
}

impl Keeper {
    fn outcome(&mut self, uid: Option<Uid>, outcome: Result<Accepted, Problems>) {
        let outcome = outcome.map(Arc::new);
        if let Ok(accepted) = &outcome {
            self.outlet.config.send_if_modified(|config| {
                let changed = config.as_deref() != Some(&accepted.config);
                if changed {
                    *config = Some(Arc::new(accepted.config.clone()));
                }
                changed
            });
        }
        // Nobody listens while shutting down.
        let _ = self.outlet.reports.send(Report { source: self.source.clone(), uid, outcome });
    }

    fn absent(&mut self) {
        let in_force = self.outlet.config.borrow().is_some();
        let outcome = if in_force {
            let help = "apply it again; to stop serving, apply one without addresses";
            Err(Problems::from(whole(&self.source, "it is gone, and the last configuration stays in force", help)))
        } else {
            parse(&[])
        };
        self.outcome(None, outcome);
    }
}

/// A problem with a source as a whole.
fn whole(source: &str, message: impl Into<String>, help: &str) -> Problem {
    Problem { place: Place::whole(source), message: message.into(), help: help.to_owned() }
}

/// What a path holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Texts {
    /// Nothing is there.
    Absent,
    /// A file, or the files of a directory by name.
    Files(Vec<Source>),
    /// A mounted ConfigMap: a directory with a file for each key.
    Keys(String, BTreeMap<String, String>),
}

impl Texts {
    /// All of it as one configuration.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(&self) -> Result<Accepted, Problems> {
        match self {
            Self::Absent => parse(&[]),
            Self::Files(sources) => parse(sources),
            Self::Keys(called, data) => from_keys(called, data),
        }
    }

    fn is_blank(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Files(sources) => sources.iter().all(|source| source.text.trim().is_empty()),
            Self::Keys(_, data) => data.values().all(|text| text.trim().is_empty()),
        }
    }
}

/// Whether what said something says nothing now.
fn emptied(last: Option<&Result<Texts, Problem>>, current: &Result<Texts, Problem>) -> bool {
    let blank = |texts: &Result<Texts, Problem>| texts.as_ref().is_ok_and(Texts::is_blank);
    blank(current) && last.is_some_and(|last| !blank(last))
}

async fn read(path: PathBuf) -> Result<Texts, Problem> {
    let called = path.display().to_string();
    let texts = tokio::task::spawn_blocking(move || read_path(&path)).await;
    texts.unwrap_or_else(|_| Err(whole(&called, "reading it failed", "look at the log for the reason")))
}

/// Reads a file, or the `*.yaml`, `*.yml` and `*.json` files of a directory.
///
/// # Errors
/// What the operating system says, with the path.
pub fn read_path(path: &Path) -> Result<Texts, Problem> {
    let texts = match std::fs::metadata(path) {
        Err(error) => Err(error),
        Ok(metadata) if !metadata.is_dir() => read_text(path).map(|source| Texts::Files(vec![source])),
        Ok(_) if path.join("..data").exists() => read_keys(path),
        Ok(_) => read_directory(path),
    };
    match texts {
        Ok(texts) => Ok(texts),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Texts::Absent),
        Err(error) => {
            Err(whole(&path.display().to_string(), format!("cannot be read: {error}"), "see that it is a text (UTF-8) that may be read"))
        }
    }
}

fn read_text(path: &Path) -> io::Result<Source> {
    let mut text = String::new();
    // One byte more than allowed, so that the reader sees that it is too large.
    std::fs::File::open(path)?.take(LARGEST as u64 + 4).read_to_string(&mut text)?;
    Ok(Source::file(path.display().to_string(), text))
}

/// Plain files, hidden ones left out, by name.
fn visible_files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if !name(&file).starts_with('.') && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read_directory(path: &Path) -> io::Result<Texts> {
    let wanted = |file: &PathBuf| {
        let ending = file.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|wanted| ending == *wanted));
        // Says which files to apply, not what is in them.
        ending && !name(file).starts_with("kustomization.")
    };
    visible_files(path)?.iter().filter(|file| wanted(file)).map(|file| read_text(file)).collect::<io::Result<_>>().map(Texts::Files)
}

fn read_keys(path: &Path) -> io::Result<Texts> {
    let keys: io::Result<_> = visible_files(path)?.iter().map(|file| Ok((name(file), read_text(file)?.text))).collect();
    Ok(Texts::Keys(path.display().to_string(), keys?))
}

/// Notices changes of a path. The directories are watched, not the file: a rename onto the file would leave a watch on the file
/// looking at the old one, and a mounted ConfigMap changes by swapping the link `..data`.
struct Eyes {
    path: PathBuf,
    woken: Arc<Notify>,
    watcher: Option<notify::RecommendedWatcher>,
}

impl Eyes {
    fn new(path: &Path) -> Self {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the file is an access too, and would wake us for ever.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                wake.notify_one();
            }
        });
        Self { path: path.to_owned(), woken, watcher: watcher.ok() }
    }

    /// Watches the directories there are, again each time: one that was deleted and made anew is another. Whether any is watched.
    fn open(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let parent =
            |path: &Path| path.parent().map(|parent| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() });
        let mut directories = vec![parent(&self.path), self.path.is_dir().then(|| self.path.clone())];
        // What a link points to can change without the link.
        directories.push(std::fs::canonicalize(&self.path).ok().and_then(|path| if path.is_dir() { Some(path) } else { parent(&path) }));
        directories.dedup();
        directories.into_iter().flatten().filter(|directory| watcher.watch(directory, RecursiveMode::NonRecursive).is_ok()).count() > 0
    }

    /// Something changed, and then nothing for a while.
    async fn changed(&self) {
        self.woken.notified().await;
        for _ in 0..PATIENCE {
            if tokio::time::timeout(QUIET, self.woken.notified()).await.is_err() {
                return;
            }
        }
    }
}
