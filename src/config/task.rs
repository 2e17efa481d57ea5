//! Follows the configuration where it lives and keeps the last good one in force.
//!
//! ```text
//!  api::configmap ──ConfigMapSeen──► run_configmap ─┐
//!  inotify ──wake-up──► run_file ──reads────────────┼─► Keeper ──Option<Arc<Config>>──► everybody (watch)
//!                                     run_objects ──┤      └─────Report──► log, Event, metric (mpsc)
//!  api::crds ──ObjectsSeen──────────────────────────┘
//! ```
//!
//! What cannot be read or accepted never replaces what is in force; neither does a ConfigMap or a file that vanishes, because a
//! configuration is re-applied or moved more often than it is meant to go away. It is remembered over a restart of the container, for an
//! agent that starts anew beside a mistake must not take away what the others announce. While nothing was ever in force, an absent
//! source is a configuration without pools. Custom resources are added to the one text there is, each judged by itself (see `objects`);
//! one that is deleted is meant to go.

pub mod path;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use path::{PathWatch, read};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::objects::{Gathered, gather};
pub use super::texts::Texts;
use super::{Accepted, Config, Place, Problem, Problems};
use crate::api::memory::Memory;
use crate::facts::{ConfigMapSeen, ConfigMapText, Object, ObjectKey, Objects, ObjectsSeen, Subject, replace};

/// An emptied file is believed after this time: some programs empty a file long before they write it.
const EMPTIED: Duration = Duration::from_secs(1);
/// How often a watched path is looked at anyway, for file systems that tell nothing.
const POLL: Duration = Duration::from_secs(30);
/// How often a path is looked at that cannot be watched, such as one in a directory that does not exist yet.
const POLL_UNWATCHED: Duration = Duration::from_secs(2);

/// What became of an edit.
#[derive(Clone, Debug)]
pub struct Report {
    /// A path, `ConfigMap namespace/name`, or kind, namespace and name of a custom resource.
    pub source: String,
    /// What an Event can be about.
    pub subject: Option<Subject>,
    /// The source is not there any more.
    pub gone: bool,
    /// The configuration put in force with its summary and notes; or why the source is not in it as it is now.
    pub outcome: Result<Arc<Accepted>, Problems>,
    /// Whether an earlier version of this source stays in force instead of one that is rejected.
    pub kept: bool,
    /// Problems of all sources together, as of now.
    pub problems: usize,
    /// The first of those.
    pub first: Option<String>,
}

/// Where the outcome goes.
#[derive(Debug)]
pub struct Outlet {
    /// The configuration in force; `None` until there is one.
    pub config: watch::Sender<Option<Arc<Config>>>,
    /// A report of every edit. A queue, because no report may be lost; people edit slowly.
    pub reports: mpsc::UnboundedSender<Report>,
    /// Where it is remembered what is in force.
    pub memory: Option<Memory>,
}

/// Where the last good version of everything is remembered.
const GOOD: &str = "good.json";

/// The last good version of everything: what an agent that is started again keeps in force where it finds it broken.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Good {
    /// Of a ConfigMap: what it is called, and its keys. A file has no last good version but in a running agent.
    keys: Option<(String, BTreeMap<String, String>)>,
    objects: Vec<(ObjectKey, Object)>,
}

/// Follows the ConfigMap `namespace/name`, and `objects` if they are a source too. Ends when `cancel` does.
///
/// # Errors
/// When whoever watches the API server is gone.
pub async fn run_configmap(
    namespace: &str,
    name: &str,
    mut seen: watch::Receiver<ConfigMapSeen>,
    objects: Option<watch::Receiver<ObjectsSeen>>,
    outlet: Outlet,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let called = format!("ConfigMap {namespace}/{name}");
    let mut keeper = Keeper::new(called.clone(), objects, outlet);
    let mut last = ConfigMapSeen::NotYet;
    seen.mark_changed();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            changed = keeper.objects_changed() => {
                changed?;
                keeper.settle();
                continue;
            }
            changed = seen.changed() => changed.context("the watch of the ConfigMap ended")?,
        }
        let current = seen.borrow_and_update().clone();
        if current == last {
            continue;
        }
        let subject = |text: &ConfigMapText| Subject::ConfigMap(namespace.to_owned(), name.to_owned(), text.uid.clone());
        match (&current, &last) {
            (ConfigMapSeen::NotYet, _) => {}
            // Events can be about what is gone.
            (ConfigMapSeen::Absent, ConfigMapSeen::Present(before)) => keeper.edited(Some(subject(before)), Ok(Texts::Absent)),
            (ConfigMapSeen::Absent, _) => keeper.edited(None, Ok(Texts::Absent)),
            (ConfigMapSeen::Present(text), _) => keeper.edited(Some(subject(text)), Ok(Texts::Keys(called.clone(), text.data.clone()))),
        }
        last = current;
    }
}

/// Follows custom resources where they are the only source. Ends when `cancel` does.
///
/// # Errors
/// When whoever watches the API server is gone.
pub async fn run_objects(
    source: String,
    objects: watch::Receiver<ObjectsSeen>,
    outlet: Outlet,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut keeper = Keeper::new(source, Some(objects), outlet);
    keeper.edited(None, Ok(Texts::Absent));
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            changed = keeper.objects_changed() => changed?,
        }
        keeper.settle();
    }
}

/// Follows a file or a directory, and `objects` if they are a source too. Ends when `cancel` does.
///
/// # Errors
/// When whoever watches the API server is gone; a path is waited for.
pub async fn run_file(
    path: PathBuf,
    objects: Option<watch::Receiver<ObjectsSeen>>,
    outlet: Outlet,
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut keeper = Keeper::new(path.display().to_string(), objects, outlet);
    let mut watch = PathWatch::new(&path);
    let mut last: Option<Result<Texts, Problem>> = None;
    loop {
        // Watch first, read then: a change in between is not missed.
        let poll = if watch.open() { POLL } else { POLL_UNWATCHED };
        let mut current = read(path.clone()).await;
        if emptied(last.as_ref(), &current) {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = tokio::time::sleep(EMPTIED) => current = read(path.clone()).await,
            }
        }
        if last.as_ref() != Some(&current) {
            keeper.edited(None, current.clone());
            last = Some(current);
        }
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = tokio::time::sleep(poll) => {}
            () = watch.changed() => {}
            changed = keeper.objects_changed() => {
                changed?;
                keeper.settle();
            }
        }
    }
}

/// Publishes what is accepted and reports everything.
struct Keeper {
    source: String,
    outlet: Outlet,
    objects: Option<watch::Receiver<ObjectsSeen>>,
    /// The text as it is now; `None` before it was looked at.
    texts: Option<Result<Texts, Problems>>,
    /// The text that is in force.
    good: Option<Texts>,
    /// An edit of the text that was not reported yet.
    edit: Option<Option<Subject>>,
    /// The text is not there (any more).
    gone: bool,
    /// The objects as they were judged last; `None` before the first time.
    judged: Option<Arc<Objects>>,
    /// What came of it.
    gathered: Option<Gathered>,
    /// What is remembered as good.
    remembered: Good,
}

impl Keeper {
    fn new(source: String, objects: Option<watch::Receiver<ObjectsSeen>>, outlet: Outlet) -> Self {
        let remembered: Good = outlet.memory.as_ref().and_then(|memory| memory.recollect(GOOD)).unwrap_or_default();
        let keys = remembered.keys.clone().filter(|(called, _)| *called == source);
        let good = keys.map(|(called, data)| Texts::Keys(called, data));
        Self { source, outlet, objects, texts: None, good, edit: None, gone: false, judged: None, gathered: None, remembered }
    }

    /// The objects of the configuration in force, or of that of an earlier life.
    fn used(&self) -> Objects {
        let remembered = || self.remembered.objects.iter().map(|(key, object)| (key.clone(), Arc::new(object.clone()))).collect();
        self.gathered.as_ref().map_or_else(remembered, |gathered| gathered.used.clone())
    }

    fn remember(&mut self, used: &Objects) {
        let Some(memory) = &self.outlet.memory else { return };
        let keys = if let Some(Texts::Keys(called, data)) = &self.good { Some((called.clone(), data.clone())) } else { None };
        let objects = used.iter().map(|(key, object)| (key.clone(), Object::clone(object))).collect();
        let good = Good { keys, objects };
        if self.remembered != good {
            memory.write(GOOD, &good);
            self.remembered = good;
        }
    }

    /// Waits for an edit of an object.
    async fn objects_changed(&mut self) -> anyhow::Result<()> {
        match &mut self.objects {
            Some(objects) => objects.changed().await.context("the watch of the custom resources ended"),
            None => std::future::pending().await,
        }
    }

    /// The text is another now.
    fn edited(&mut self, subject: Option<Subject>, texts: Result<Texts, Problem>) {
        self.gone = matches!(texts, Ok(Texts::Absent));
        let vanished = self.good.as_ref().is_some_and(|good| *good != Texts::Absent);
        self.texts = Some(match texts {
            Ok(Texts::Absent) if vanished => {
                let help = "apply it again; to stop serving, apply one without addresses";
                Err(Problems::from(whole(&self.source, "it is gone, and the last configuration stays in force", help)))
            }
            texts => texts.map_err(Problems::from),
        });
        self.edit = Some(subject);
        self.settle();
    }

    /// Puts in force what can be, and reports what is new.
    fn settle(&mut self) {
        let objects = match self.objects.as_mut().map(|objects| objects.borrow_and_update().clone()) {
            None => Arc::default(),
            Some(ObjectsSeen::Present(objects)) => objects,
            // A part of a configuration could take away what the other part gives.
            Some(ObjectsSeen::NotYet) => return,
        };
        let Some(texts) = &self.texts else { return };
        if self.edit.is_none() && self.judged.as_ref().is_some_and(|judged| same_texts(judged, &objects)) {
            return;
        }
        let used = self.used();
        let mut outcome = texts.as_ref().map_err(Clone::clone).and_then(|texts| gather(texts, &objects, &used));
        let wrong = match (&outcome, texts) {
            (Ok(_), Ok(texts)) => {
                self.good = Some(texts.clone());
                None
            }
            (Ok(_), Err(problems)) | (Err(problems), _) => Some(problems.clone()),
        };
        if let (Some(problems), Some(good)) = (&wrong, &self.good) {
            outcome = gather(good, &objects, &used).map_err(|_| problems.clone());
        }
        let gathered = outcome.ok();
        if let Some(gathered) = &gathered {
            self.publish(&gathered.accepted.config);
            self.remember(&gathered.used);
        }
        self.report(wrong, gathered, objects);
    }

    fn publish(&self, config: &Config) {
        self.outlet.config.send_if_modified(|known| replace(known, Some(Arc::new(config.clone()))));
    }

    fn report(&mut self, wrong: Option<Problems>, gathered: Option<Gathered>, objects: Arc<Objects>) {
        let rejected = gathered.iter().flat_map(|gathered| gathered.rejected.values()).map(Problems::len).sum::<usize>();
        let problems = wrong.as_ref().map_or(0, Problems::len) + rejected;
        let standing = wrong.iter().chain(gathered.iter().flat_map(|gathered| gathered.rejected.values())).flatten();
        let first = standing.map(ToString::to_string).next();
        let accepted = gathered.as_ref().map(|gathered| Arc::new(gathered.accepted.clone()));
        let mut reports = Vec::new();
        if let Some(subject) = self.edit.take()
            && let Some(outcome) = wrong.map(Err).or(accepted.clone().map(Ok))
        {
            let kept = self.good.is_some();
            reports.push(Report { source: self.source.clone(), subject, gone: self.gone, outcome, kept, problems, first: first.clone() });
        }
        if let (Some(now), Some(accepted)) = (gathered, accepted) {
            let before = self.gathered.as_ref();
            for (key, object) in &*objects {
                let why = now.rejected.get(key);
                let known = self.judged.as_ref().and_then(|judged| judged.get(key));
                let same_text = known.is_some_and(|known| known.text == object.text);
                let same = same_text && before.and_then(|before| before.rejected.get(key)) == why;
                // What was right at the start needs no words.
                if same || self.judged.is_none() && why.is_none() {
                    continue;
                }
                let subject = Some(Subject::Object(key.clone(), object.uid.clone()));
                let outcome = why.map_or_else(|| Ok(accepted.clone()), |why| Err(why.clone()));
                reports.push(Report {
                    source: key.to_string(),
                    subject,
                    gone: false,
                    outcome,
                    kept: now.used.contains_key(key),
                    problems,
                    first: first.clone(),
                });
            }
            let judged = self.judged.iter().flat_map(|judged| judged.keys());
            for key in judged.filter(|key| !objects.contains_key(*key)) {
                let source = format!("{key}, deleted");
                reports.push(Report {
                    source,
                    subject: None,
                    gone: true,
                    outcome: Ok(accepted.clone()),
                    kept: false,
                    problems,
                    first: first.clone(),
                });
            }
            self.gathered = Some(now);
            self.judged = Some(objects);
        }
        for report in reports {
            // Nobody listens while shutting down.
            let _ = self.outlet.reports.send(report);
        }
    }
}

/// Whether only counters differ.
fn same_texts(one: &Objects, other: &Objects) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.0 == other.0 && one.1.text == other.1.text && one.1.uid == other.1.uid)
}

/// A problem with a source as a whole.
fn whole(source: &str, message: impl Into<String>, help: &str) -> Problem {
    Problem { place: Place::whole(source), message: message.into(), help: help.to_owned() }
}

/// Whether what said something says nothing now.
fn emptied(last: Option<&Result<Texts, Problem>>, current: &Result<Texts, Problem>) -> bool {
    let blank = |texts: &Result<Texts, Problem>| texts.as_ref().is_ok_and(Texts::is_blank);
    blank(current) && last.is_some_and(|last| !blank(last))
}
