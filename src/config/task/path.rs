//! A file or a directory as a source of configuration: reads it, and notices that it changes.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{Texts, whole};
use crate::config::tree::LARGEST;
use crate::config::{Problem, Source};

/// Quiet time after a change before it is read: an editor needs several steps to save.
const QUIET: Duration = Duration::from_millis(100);
/// A source that never gets quiet is read after this many waits.
const PATIENCE: u32 = 5;

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

/// The same, from a task.
pub(super) async fn read(path: PathBuf) -> Result<Texts, Problem> {
    let called = path.display().to_string();
    let texts = tokio::task::spawn_blocking(move || read_path(&path)).await;
    texts.unwrap_or_else(|_| Err(whole(&called, "reading it failed", "look at the log for the reason")))
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
pub(super) struct PathWatch {
    path: PathBuf,
    woken: Arc<Notify>,
    watcher: Option<notify::RecommendedWatcher>,
}

impl PathWatch {
    pub(super) fn new(path: &Path) -> Self {
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
    pub(super) fn open(&mut self) -> bool {
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
    pub(super) async fn changed(&self) {
        self.woken.notified().await;
        for _ in 0..PATIENCE {
            if tokio::time::timeout(QUIET, self.woken.notified()).await.is_err() {
                return;
            }
        }
    }
}
