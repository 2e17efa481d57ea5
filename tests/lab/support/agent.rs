//! The real `l2::task` and `net::link` inside a namespace, with the smallest plan there is: given addresses on given links, as long as
//! the link is up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lanlord::addr::MacAddr;
use lanlord::facts::{Answer, Answers, Links, Question, Questions, Role};
use lanlord::l2::desired::{Desired, LinkDesired};
use lanlord::l2::status::{LinkStatus, Status};
use lanlord::l2::task;
use lanlord::net::link;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Namespace, eventually};

/// A link's name and what is wanted there, but for what the link itself says.
type Wanted = BTreeMap<String, LinkDesired>;

/// Runs until dropped.
pub(crate) struct Agent {
    wanted: watch::Sender<Wanted>,
    links: watch::Receiver<Arc<Links>>,
    status: watch::Receiver<Arc<Status>>,
    questions: watch::Sender<Arc<Questions>>,
    answers: watch::Receiver<Arc<Answers>>,
    shutdown: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let shutdown = CancellationToken::new();
        let (wanted, wanted_in) = watch::channel(Wanted::new());
        let (links_out, links) = watch::channel(Arc::default());
        let (status_out, status) = watch::channel(Arc::default());
        let (questions, questions_in) = watch::channel(Arc::default());
        let (answers_out, answers) = watch::channel(Arc::default());
        let (token, links_in, entrance) = (shutdown.clone(), links.clone(), namespace.entrance());
        let thread = std::thread::spawn(move || {
            entrance.enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (desired_out, desired) = watch::channel(Arc::default());
            let inputs = task::Inputs { desired, questions: questions_in, links: links_in.clone() };
            let outputs = task::Outputs { status: status_out, answers: answers_out };
            let all = async {
                tokio::try_join!(
                    link::run(links_out, token.clone()),
                    task::run(inputs, outputs, 7, token.clone()),
                    plan(links_in, wanted_in, desired_out, token.clone()),
                )
            };
            runtime.block_on(all).unwrap();
        });
        Self { wanted, links, status, questions, answers, shutdown, thread: Some(thread) }
    }

    /// Announces exactly these addresses on `link` (and nothing elsewhere), and waits until it is so.
    #[track_caller]
    pub(crate) fn announce(&self, link: &str, addresses: &[&str]) {
        self.want(link, addresses);
        eventually("the addresses are announced", || {
            addresses.iter().all(|address| self.status().of(address.parse().unwrap()).any(|(name, _)| name.as_str() == link))
                && self.status().links.values().map(|link| link.addresses.len()).sum::<usize>() == addresses.len()
        });
    }

    /// Waits until the announcements of the takeover are over, which could pass for what a test waits for.
    #[track_caller]
    pub(crate) fn at_rest(&self, address: &str) {
        let address: IpAddr = address.parse().unwrap();
        let packets = if address.is_ipv4() { 10 } else { 5 };
        eventually("the takeover is told", || self.status().of(address).any(|(_, status)| status.announced >= packets));
    }

    /// Like [`Agent::announce`] without waiting.
    pub(crate) fn want(&self, link: &str, addresses: &[&str]) {
        self.desire(link, wanted(addresses));
    }

    /// Wants exactly this of `link`, whose index, MAC and known MACs (beside those given) it finds out itself.
    pub(crate) fn desire(&self, link: &str, desired: LinkDesired) {
        self.wanted.send_replace([(link.to_owned(), desired)].into());
    }

    /// Asks for exactly these addresses on `eth0`, each of everyone or of the MAC given.
    pub(crate) fn ask(&self, asked: &[(&str, Option<MacAddr>)]) {
        let asked: BTreeSet<Question> = asked.iter().map(|(address, mac)| question(address, *mac)).collect();
        self.questions.send_replace(Arc::new(asked));
    }

    /// What came of a question; `None`: it is not asked.
    pub(crate) fn answer(&self, address: &str, mac: Option<MacAddr>) -> Option<Answer> {
        self.answers.borrow().get(&question(address, mac)).copied()
    }

    /// Whether any question stands.
    pub(crate) fn asks(&self) -> bool {
        !self.answers.borrow().is_empty()
    }

    pub(crate) fn links(&self) -> Arc<Links> {
        Arc::clone(&self.links.borrow())
    }

    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Whether `address` is answered for anywhere.
    pub(crate) fn announces(&self, address: &str) -> bool {
        self.status().of(address.parse().unwrap()).next().is_some()
    }

    /// The first port of `link`.
    pub(crate) fn port(&self, link: &str) -> Option<Arc<LinkStatus>> {
        self.status().links.iter().find(|((name, _), _)| name.as_str() == link).map(|(_, status)| Arc::clone(status))
    }
}

/// These addresses and nothing special.
pub(crate) fn wanted(addresses: &[&str]) -> LinkDesired {
    let addresses = addresses.iter().map(|address| (address.parse().unwrap(), "default/nginx".into())).collect();
    LinkDesired { addresses, announce_interval: Some(Duration::from_secs(60)), ..LinkDesired::default() }
}

fn question(address: &str, mac: Option<MacAddr>) -> Question {
    Question { link: "eth0".into(), address: address.parse().unwrap(), mac }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

async fn plan(
    mut links: watch::Receiver<Arc<Links>>,
    mut wanted: watch::Receiver<Wanted>,
    desired: watch::Sender<Arc<Desired>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let found = Arc::clone(&links.borrow_and_update());
        let mut by_link = BTreeMap::new();
        for (name, wanted) in &*wanted.borrow_and_update() {
            let Some(link) = found.links.get(name.as_str()).filter(|link| link.up && link.role == Role::Own) else { continue };
            let known_macs = found.links.values().map(|link| link.mac).chain(wanted.known_macs.iter().copied()).collect();
            by_link.insert(link.name.clone(), LinkDesired { index: link.index, mac: link.mac, known_macs, ..wanted.clone() });
        }
        desired.send_replace(Arc::new(Desired { links: by_link }));
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = links.changed() => {}
            changed = wanted.changed() => if changed.is_err() { shutdown.cancelled().await },
        }
    }
}
