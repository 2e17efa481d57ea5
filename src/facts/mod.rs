//! What the world says, in our words: the slim types that cross module boundaries. No behaviour that needs another module, no
//! Kubernetes types, no configuration.

mod claim;
mod configmap;
mod event;
mod link;
mod living;
mod member;
mod messages;
mod node;
mod object;
mod question;
mod replace;
mod secret;
mod selector;
mod service;
mod snapshot;
mod version;

pub use claim::{Claim, Holder, Moved, Placement};
pub use configmap::{ConfigMapSeen, ConfigMapText};
pub use event::{Event, EventKind, PODS, Subject, reason};
pub use link::{Link, LinkName, Links, Medium, Role};
pub use living::{Evidence, Living, LivingMember};
pub use member::{FULL_MESH, Heirs, Member, MemberLink};
pub use messages::BgpMessages;
pub use node::{EXCLUDE_LABEL, Node, NodeName};
pub use object::{Counters, OBJECT_KINDS, Object, ObjectKey, Objects, ObjectsSeen};
pub use question::{Answer, Answers, Question, Questions};
pub use replace::replace;
pub use secret::{SecretKey, Secrets};
pub use selector::{Labels, Operator, Requirement, Selector};
pub use service::{
    AnnouncedCondition, Endpoints, FamilyPolicy, Protocol, Service, ServiceKey, ServicePort, Traces, TrafficPolicy, Uid, annotation,
};
pub use snapshot::{LeaderRecord, Snapshot};
pub use version::is_at_least;
