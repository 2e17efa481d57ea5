//! Why a Service gets no address, and why it loses one: types, told in one place.

use std::fmt;
use std::net::IpAddr;

use super::reserve::Reserved;
use super::share::Conflict;
use super::suggest::Advice;
use crate::addr::Family;
use crate::config::PoolName;
use crate::facts::ServiceKey;

/// Why a Service gets no (further) address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No pool is configured at all. What could be is known later, see [`super::suggest`].
    NoPools(Advice),
    /// Pools exist, but none may be used unasked.
    NoAutoPool {
        /// Pools that have to be asked for by name.
        named: Vec<PoolName>,
    },
    /// Pools exist, but `serviceAllocation` keeps all of them for others.
    NoPoolForService {
        /// All pools.
        pools: Vec<PoolName>,
    },
    /// No pool has addresses of that family.
    NoFamily {
        /// The missing family.
        family: Family,
        /// The pools that it may use, where those are not all.
        tried: Vec<PoolName>,
    },
    /// All addresses are taken.
    Full {
        /// The family.
        family: Family,
        /// The pools that were tried.
        pools: Vec<PoolName>,
    },
    /// The Service has no cluster IP, so nothing would forward to its pods.
    Headless,
    /// An address that is none.
    BadRequest {
        /// Where it was written.
        spelling: String,
        /// What was written.
        text: String,
    },
    /// The unspecified address, by which kube-vip is asked for DHCP.
    Dhcp {
        /// Where it was written.
        spelling: String,
        /// What was written.
        text: String,
    },
    /// Two spellings ask for different addresses.
    ContradictoryRequest {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// The address is of a family the Service does not have.
    WrongFamily {
        /// The address.
        address: IpAddr,
    },
    /// `RequireDualStack` with cluster IPs of one family only.
    OneFamily {
        /// The family it has.
        family: Family,
    },
    /// `RequireDualStack` with addresses of one family only.
    NotBothFamilies,
    /// The pool asked for does not exist.
    UnknownPool {
        /// The name asked for.
        pool: String,
        /// The pools there are.
        known: Vec<PoolName>,
    },
    /// The address asked for is in no pool.
    NotInPool {
        /// The address.
        address: IpAddr,
    },
    /// The address asked for is in another pool than the one asked for.
    InOtherPool {
        /// The address.
        address: IpAddr,
        /// Where it is.
        pool: PoolName,
        /// What was asked for.
        asked: String,
    },
    /// `serviceAllocation` keeps the pool for others.
    PoolNotForService {
        /// The pool.
        pool: PoolName,
    },
    /// Another Service has the address.
    InUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        by: ServiceKey,
    },
    /// Another Service has the address, and the two may not share it.
    NotShared {
        /// The address.
        address: IpAddr,
        /// Who has it.
        with: ServiceKey,
        /// Why they may not.
        why: Conflict,
    },
    /// The address cannot be assigned.
    Reserved {
        /// The address.
        address: IpAddr,
        /// Why.
        why: Reserved,
    },
    /// Ends in .0 or .255, and the pool avoids those.
    Buggy {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: PoolName,
    },
}

fn names(pools: &[PoolName]) -> String {
    pools.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What is wrong and what to do.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPools(advice) => write!(f, "no addresses are configured; {advice}"),
            Self::NoAutoPool { named } => write!(
                f,
                "no pool is used unasked for this Service; ask for one with the annotation lanlord.dev/address-pool: NAME (there is {})",
                names(named)
            ),
            Self::NoPoolForService { pools } => write!(
                f,
                "no pool is for this Service (serviceAllocation of {}); change its namespace or labels, or serviceAllocation",
                names(pools)
            ),
            Self::NoFamily { family, tried } if !tried.is_empty() => write!(
                f,
                "no {family} addresses are in {}, and this Service may use no other pool; add some, or change the Service's ipFamilies",
                names(tried)
            ),
            Self::NoFamily { family, .. } => {
                write!(f, "no pool has {family} addresses; add some to the configuration, or change the Service's ipFamilies")
            }
            Self::Full { family, pools } => {
                write!(f, "all {family} addresses of {} are taken; add addresses to the configuration or delete a Service", names(pools))
            }
            Self::Headless => {
                f.write_str("the Service has no cluster IP (clusterIP: None), so no node would forward to its pods; remove clusterIP")
            }
            Self::BadRequest { spelling, text } => write!(f, "{text:?} in {spelling} is not an IP address; correct or remove it"),
            Self::Dhcp { spelling, text } => {
                write!(f, "{text} in {spelling} asks for an address from DHCP, which Lanlord does not use; remove it, and a pool gives one")
            }
            Self::ContradictoryRequest { first, second } => {
                write!(f, "{first} and {second} ask for different addresses; remove one of them")
            }
            Self::WrongFamily { address } => {
                write!(
                    f,
                    "{address} was asked for, but the Service has no {} cluster IP; change ipFamilies or the address",
                    Family::of(*address)
                )
            }
            Self::OneFamily { family } => write!(
                f,
                "the Service requires dual stack, but has an {family} cluster IP only; change its ipFamilyPolicy, or give the cluster both families"
            ),
            Self::NotBothFamilies => {
                f.write_str("the Service requires dual stack, but an address of only one family was asked for; name one of each")
            }
            Self::UnknownPool { pool, known } if known.is_empty() => write!(f, "pool {pool} was asked for, but no pool is configured"),
            Self::UnknownPool { pool, known } => write!(f, "pool {pool} was asked for, but there is only {}", names(known)),
            Self::NotInPool { address } => {
                write!(f, "{address} was asked for, but is in no pool; add it to one, or ask for another address")
            }
            Self::InOtherPool { address, pool, asked } => {
                write!(f, "{address} was asked for from pool {asked}, but is in pool {pool}; change one of the two")
            }
            Self::PoolNotForService { pool } => {
                write!(f, "pool {pool} is not for this Service (its serviceAllocation); use another pool or change serviceAllocation")
            }
            Self::InUse { address, by } => write!(
                f,
                "{address} was asked for, but belongs to Service {by}; ask for another address, or share it: give both Services the same annotation lanlord.dev/allow-shared-ip"
            ),
            Self::NotShared { address, with, why } => write!(f, "{address} was asked for, but cannot be shared with Service {with}: {why}"),
            Self::Reserved { address, why } => write!(f, "{address} was asked for, but {why}; ask for another address"),
            Self::Buggy { address, pool } => {
                write!(f, "{address} was asked for, but pool {pool} avoids addresses that end in .0 or .255; ask for another address")
            }
        }
    }
}

/// Why a Service loses an address it had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// No pool holds it any more.
    LeftPool,
    /// The pool is not for this Service (any more).
    PoolNotForService(PoolName),
    /// The Service dropped the family.
    FamilyDropped(Family),
    /// The Service asks for something else.
    OtherRequested,
    /// It cannot be assigned (any more).
    Reserved(Reserved),
    /// Ends in .0 or .255, and the pool avoids those now.
    Buggy(PoolName),
    /// It cannot be shared any more.
    NotShared {
        /// Who keeps it.
        with: ServiceKey,
        /// Why.
        why: Conflict,
    },
    /// The Service has another address of the family already.
    Surplus,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftPool => f.write_str("is in no pool any more"),
            Self::PoolNotForService(pool) => write!(f, "is in pool {pool}, which is not for this Service any more"),
            Self::FamilyDropped(family) => write!(f, "is {family}, and the Service has no {family} cluster IP any more"),
            Self::OtherRequested => f.write_str("is not what the Service asks for now"),
            Self::Reserved(why) => why.fmt(f),
            Self::Buggy(pool) => write!(f, "ends in .0 or .255, which pool {pool} avoids now"),
            Self::NotShared { with, why } => write!(f, "cannot be shared with Service {with}: {why}"),
            Self::Surplus => f.write_str("was a second one of its family"),
        }
    }
}
