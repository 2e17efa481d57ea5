//! The API server of the simulation: the small world of the other tests, asked by requests that may be lost.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lanlord::config::Config;
use lanlord::facts::{LeaderRecord, Member, ServiceKey, Snapshot};
use lanlord::leader::decide::Decision;
use lanlord::leader::election;
use lanlord::membership::machine::Event;
use lanlord::membership::{judge, own};

use super::agent::Input;
use crate::world::{World, key};

/// A write.
pub(super) enum Request {
    Own(Member),
    Suspect(Arc<Member>, String),
    Clear(Arc<Member>),
    Leader(LeaderRecord),
    Decision(Box<Decision>),
}

impl Request {
    /// How long the client waits for an answer.
    pub(super) fn deadline(&self) -> Duration {
        match self {
            Self::Suspect(..) | Self::Clear(_) => Duration::from_millis(500),
            Self::Own(_) | Self::Leader(_) | Self::Decision(_) => Duration::from_secs(5),
        }
    }

    /// What its client takes for the answer if none comes. `of` is the instance that asked.
    pub(super) fn failed(&self, of: Option<u32>) -> Input {
        let answer = match self {
            Self::Own(_) => Input::Membership(Event::Own(own::Event::Failed)),
            Self::Suspect(member, _) | Self::Clear(member) => Input::Membership(Event::Judge(judge::Event::Failed(member.node.clone()))),
            Self::Leader(_) => Input::Election(election::Event::Failed),
            Self::Decision(_) => Input::Decided,
        };
        Input::Answer(of, Box::new(answer))
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Own(member) => format!("its own Lease, generation {}, holder {:?}", member.generation, member.instance),
            Self::Suspect(member, _) => format!("a suspicion of {}", member.node),
            Self::Clear(member) => format!("the end of {} ({:?})", member.node, member.instance),
            Self::Leader(record) => format!("the leader's Lease: {:?}", record.holder),
            Self::Decision(decision) => format!("{} Services, {} claims", decision.work.len(), decision.tend.len()),
        }
    }
}

pub(super) struct Server {
    world: World,
    pub(super) up: bool,
    /// One in so many answers is lost; 0: none.
    pub(super) forgetful: u32,
    pub(super) violation: Option<String>,
}

impl Server {
    pub(super) fn new(nodes: u8, config: Config) -> Self {
        let mut world = World::new(nodes, config);
        world.snapshot.members = Arc::default();
        Self { world, up: true, forgetful: 0, violation: None }
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.world.snapshot.clone())
    }

    /// Grows with every write.
    pub(super) fn version(&self) -> u64 {
        self.world.version()
    }

    pub(super) fn create(&mut self, number: u32) {
        let name = format!("s{number}");
        if !self.world.snapshot.services.contains_key(&key(&name)) {
            self.world.create(&name, |_| ());
        }
    }

    pub(super) fn delete(&mut self, number: u32) {
        self.world.delete(&format!("s{number}"));
    }

    /// Whether the Lease is still held as `member` says.
    pub(super) fn holds(&self, member: &Member) -> bool {
        let current = self.world.snapshot.members.get(&member.node);
        current.is_some_and(|current| current.resource_version == member.resource_version && current.instance.is_some())
    }

    pub(super) fn serve(&mut self, request: &Request, of: Option<u32>) -> Input {
        let answer = match request {
            Request::Own(member) => {
                self.world.write_member(member.clone()).map(|member| Input::Membership(Event::Own(own::Event::Written(member))))
            }
            Request::Suspect(member, by) => {
                let member = Member { suspect: Some(by.clone()), ..Member::clone(member) };
                self.world.write_member(member).map(|member| Input::Membership(Event::Judge(judge::Event::Written(Box::new(member)))))
            }
            Request::Clear(member) => {
                let member = Member { instance: None, suspect: None, ..Member::clone(member) };
                self.world.write_member(member).map(|member| Input::Membership(Event::Judge(judge::Event::Written(Box::new(member)))))
            }
            Request::Leader(record) => {
                self.world.write_leader(record.clone()).map(|record| Input::Election(election::Event::Written(record)))
            }
            Request::Decision(decision) => {
                for work in decision.work.clone() {
                    self.world.carry_out(work);
                }
                for tend in decision.tend.clone() {
                    self.world.tend(tend);
                }
                Some(Input::Decided)
            }
        };
        answer.map_or_else(|| request.failed(of), |answer| Input::Answer(of, Box::new(answer)))
    }

    /// The addresses that Services have.
    pub(super) fn addresses(&self) -> BTreeMap<IpAddr, ServiceKey> {
        let services = self.world.snapshot.services.values();
        services.flat_map(|service| service.ingress.iter().map(|address| (*address, service.key.clone()))).collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        let shown: usize = self.world.snapshot.services.values().map(|service| service.ingress.len()).sum();
        if shown == self.addresses().len() { Ok(()) } else { Err("an address is on two Services".to_owned()) }
    }
}
