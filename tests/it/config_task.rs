//! Following a file, a directory and a ConfigMap: every way people and programs save, and what stays in force when they err.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanlord::config::Config;
use lanlord::config::task::{Outlet, Report, run_configmap, run_file};
use lanlord::facts::{ConfigMapSeen, ConfigMapText, Subject, Uid};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine; a test waits this long only when it fails.
const DEADLINE: Duration = Duration::from_secs(20);

struct Followed {
    config: watch::Receiver<Option<Arc<Config>>>,
    reports: mpsc::UnboundedReceiver<Report>,
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn outlet() -> (Outlet, watch::Receiver<Option<Arc<Config>>>, mpsc::UnboundedReceiver<Report>) {
    let (config, seen) = watch::channel(None);
    let (reports, reported) = mpsc::unbounded_channel();
    (Outlet { config, reports, memory: None }, seen, reported)
}

fn follow(path: &Path) -> Followed {
    let (outlet, config, reports) = outlet();
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run_file(path.to_owned(), None, outlet, cancel.clone()));
    Followed { config, reports, cancel, task }
}

impl Followed {
    async fn report(&mut self) -> Report {
        timeout(DEADLINE, self.reports.recv()).await.expect("a report in time").unwrap()
    }

    /// Waits for the configuration whose only pool is of this size; 0: no pools.
    async fn addresses(&mut self, wanted: u128) {
        let size = |config: &Option<Arc<Config>>| config.as_ref().map(|config| config.pools.iter().map(|pool| pool.addresses.len()).sum());
        let waited = timeout(DEADLINE, self.config.wait_for(|config| size(config) == Some(wanted))).await;
        waited.expect("the configuration in time").unwrap();
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(DEADLINE, self.task).await.expect("the task ends when cancelled").unwrap().unwrap();
    }
}

fn line(n: u8) -> String {
    format!("addresses: 10.0.0.1-{n}\n")
}

#[tokio::test]
async fn a_file_is_followed_through_every_way_of_saving() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lanlord.yaml");
    let mut followed = follow(&path);
    followed.addresses(0).await;
    assert!(followed.report().await.outcome.is_ok(), "no file yet is healthy");

    fs::write(&path, line(1)).unwrap();
    followed.addresses(1).await;
    assert_eq!(followed.report().await.outcome.unwrap().summary, "1 pool, 1 address: default 10.0.0.1 (1)");

    fs::write(dir.path().join(".lanlord.yaml.swp"), line(2)).unwrap();
    fs::rename(dir.path().join(".lanlord.yaml.swp"), &path).unwrap();
    followed.addresses(2).await;

    fs::write(&path, line(3)).unwrap();
    followed.addresses(3).await;

    fs::rename(&path, dir.path().join("lanlord.yaml~")).unwrap();
    fs::write(&path, line(4)).unwrap();
    followed.addresses(4).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_bad_edit_is_reported_and_the_last_good_one_stays_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lanlord.yaml");
    fs::write(&path, line(5)).unwrap();
    let mut followed = follow(&path);
    followed.addresses(5).await;
    followed.report().await;

    fs::write(&path, "addresses: 10.0.0.9-1\nadress: 1\n").unwrap();
    let report = followed.report().await;
    assert_eq!(report.source, path.display().to_string());
    assert_eq!(report.outcome.unwrap_err().len(), 2);
    followed.addresses(5).await;

    fs::remove_file(&path).unwrap();
    let report = followed.report().await.outcome.unwrap_err().to_string();
    assert!(report.contains("lanlord.yaml: it is gone, and the last configuration stays in force: apply it again"), "{report}");
    followed.addresses(5).await;

    fs::write(&path, line(6)).unwrap();
    followed.addresses(6).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_file_that_is_emptied_and_written_later_is_never_seen_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lanlord.yaml");
    fs::write(&path, line(7)).unwrap();
    let mut followed = follow(&path);
    followed.addresses(7).await;
    followed.report().await;

    fs::write(&path, "").unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    fs::write(&path, line(8)).unwrap();
    assert_eq!(followed.report().await.outcome.unwrap().config.pools[0].addresses.len(), 8);

    fs::write(&path, "").unwrap();
    followed.addresses(0).await;
    followed.stop().await;
}

#[tokio::test]
async fn the_swap_of_a_configmap_volume_is_one_edit() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, n: u8| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("config.yaml"), line(n)).unwrap();
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    version("..2026_1", 1);
    symlink("..data/config.yaml", dir.path().join("config.yaml")).unwrap();
    let mut directory = follow(dir.path());
    let mut file = follow(&dir.path().join("config.yaml"));
    directory.addresses(1).await;
    file.addresses(1).await;
    for (n, name) in [(2, "..2026_2"), (3, "..2026_3"), (4, "..2026_4")] {
        version(name, n);
        directory.addresses(n.into()).await;
        file.addresses(n.into()).await;
    }
    let mut reports = 0;
    while directory.reports.try_recv().is_ok() {
        reports += 1;
    }
    assert_eq!(reports, 4, "one for each version");
    directory.stop().await;
    file.stop().await;
}

#[tokio::test]
async fn a_directory_is_followed_as_files_come_and_go_and_even_if_it_comes_later() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("later/conf.d");
    let mut followed = follow(&dir);
    followed.addresses(0).await;
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("a.yaml"), "addresses.a: 10.0.0.1\n").unwrap();
    followed.addresses(1).await;
    fs::write(dir.join("b.yaml"), "addresses.b: 10.0.0.2-3\n").unwrap();
    followed.addresses(3).await;
    fs::remove_file(dir.join("a.yaml")).unwrap();
    followed.addresses(2).await;
    followed.stop().await;
}

#[tokio::test]
async fn reading_the_file_does_not_wake_the_reader_and_a_touch_is_no_edit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lanlord.yaml");
    fs::write(&path, line(1)).unwrap();
    let mut followed = follow(&path);
    followed.addresses(1).await;
    followed.report().await;
    fs::write(&path, line(1)).unwrap();
    fs::write(dir.path().join("other.yaml"), line(9)).unwrap();
    let more = timeout(Duration::from_millis(700), followed.reports.recv()).await;
    assert!(more.is_err(), "{more:?}");
    followed.stop().await;
}

#[tokio::test]
async fn a_configmap_may_come_before_or_after_and_keeps_the_last_good_one() {
    let (outlet, config, reports) = outlet();
    let (seen, watched) = watch::channel(ConfigMapSeen::NotYet);
    let cancel = CancellationToken::new();
    let task = tokio::spawn({
        let cancel = cancel.clone();
        async move { run_configmap("lanlord", "lanlord", watched, None, outlet, cancel).await }
    });
    let mut followed = Followed { config, reports, cancel, task };
    let text = |text: &str| {
        let data = BTreeMap::from([("addresses".to_owned(), text.to_owned())]);
        ConfigMapSeen::Present(ConfigMapText { uid: Uid("u".into()), data })
    };
    seen.send(ConfigMapSeen::Absent).unwrap();
    followed.addresses(0).await;
    assert_eq!(followed.report().await.subject, None);

    seen.send(text("10.0.0.1-3")).unwrap();
    followed.addresses(3).await;
    let report = followed.report().await;
    let subject = Subject::ConfigMap("lanlord".to_owned(), "lanlord".to_owned(), Uid("u".into()));
    assert_eq!((report.source.as_str(), report.subject), ("ConfigMap lanlord/lanlord", Some(subject)));

    seen.send(text("10.0.0.3-1")).unwrap();
    let problems = followed.report().await.outcome.unwrap_err().to_string();
    assert!(problems.starts_with("ConfigMap lanlord/lanlord, key addresses, line 1, column 1: the range"), "{problems}");
    seen.send(ConfigMapSeen::Absent).unwrap();
    assert!(followed.report().await.outcome.is_err());
    followed.addresses(3).await;

    seen.send(text("10.0.0.1-4")).unwrap();
    followed.addresses(4).await;
    followed.stop().await;
}

#[tokio::test]
async fn a_configmap_without_a_watcher_ends_the_task_with_an_error() {
    let (outlet, _config, _reports) = outlet();
    let (seen, watched) = watch::channel(ConfigMapSeen::NotYet);
    drop(seen);
    let ended = timeout(DEADLINE, run_configmap("lanlord", "lanlord", watched, None, outlet, CancellationToken::new())).await;
    assert!(ended.unwrap().is_err());
}
