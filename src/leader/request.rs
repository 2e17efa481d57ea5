//! What a Service asks for: addresses, or a pool, in all the spellings people use.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::refusal::Refusal;
use crate::addr::Family;
use crate::facts::{FamilyPolicy, Service, annotation};

/// The wishes of one Service.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// Addresses asked for by name, in the order written; empty: any.
    pub addresses: Vec<IpAddr>,
    /// The pool asked for.
    pub pool: Option<String>,
}

impl Request {
    /// Reads `spec.loadBalancerIP` and the annotations.
    ///
    /// # Errors
    /// An address that does not parse, or two spellings that contradict each other.
    pub fn of(service: &Service) -> Result<Self, Refusal> {
        let spellings = [
            ("annotation loadBalancerIPs", service.annotation(annotation::ADDRESSES)),
            ("annotation kube-vip.io/loadbalancerIPs", service.annotations.get(annotation::KUBE_VIP_ADDRESSES).map(String::as_str)),
            ("spec.loadBalancerIP", service.load_balancer_ip.as_deref()),
        ];
        let mut addresses: Option<(&str, Vec<IpAddr>)> = None;
        for (spelling, text) in
            spellings.into_iter().filter_map(|(spelling, text)| Some((spelling, text?.trim()))).filter(|(_, text)| !text.is_empty())
        {
            let parsed = parse(spelling, text)?;
            match &addresses {
                Some((first, wanted)) if wanted.iter().collect::<BTreeSet<_>>() != parsed.iter().collect() => {
                    return Err(Refusal::ContradictoryRequest { first: (*first).to_owned(), second: spelling.to_owned() });
                }
                Some(_) => {}
                None => addresses = Some((spelling, parsed)),
            }
        }
        let pool = service.annotation(annotation::ADDRESS_POOL).map(str::trim).filter(|pool| !pool.is_empty()).map(ToOwned::to_owned);
        Ok(Self { addresses: addresses.map(|(_, addresses)| addresses).unwrap_or_default(), pool })
    }

    /// Checks that the addresses fit the Service's families. There may be several of one family.
    ///
    /// # Errors
    /// Names the address that does not fit, or the family that is missing.
    pub fn check_families(&self, service: &Service) -> Result<(), Refusal> {
        let mut seen = BTreeSet::new();
        for address in &self.addresses {
            let family = Family::of(*address);
            if !service.families.contains(&family) {
                return Err(Refusal::WrongFamily { address: *address });
            }
            seen.insert(family);
        }
        if let ([family], FamilyPolicy::RequireDualStack) = (&*service.families, service.family_policy) {
            return Err(Refusal::OneFamily { family: *family });
        }
        if service.family_policy == FamilyPolicy::RequireDualStack && !self.addresses.is_empty() && seen.len() < service.families.len() {
            return Err(Refusal::NotBothFamilies);
        }
        Ok(())
    }
}

fn parse(spelling: &str, text: &str) -> Result<Vec<IpAddr>, Refusal> {
    let parts = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty());
    let mut addresses = Vec::new();
    for part in parts {
        let address: IpAddr = part.parse().map_err(|_| Refusal::BadRequest { spelling: spelling.to_owned(), text: part.to_owned() })?;
        if address.is_unspecified() {
            return Err(Refusal::Dhcp { spelling: spelling.to_owned(), text: part.to_owned() });
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
