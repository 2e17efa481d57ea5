//! Pools: how many addresses they have, and how many of those are in use.

use std::fmt;

use super::Figures;
use super::rows::Rows;

/// Addresses of a pool, or those in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// IPv4.
    pub v4: u128,
    /// IPv6.
    pub v6: u128,
}

/// One pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolFigures {
    /// Addresses that can be assigned.
    pub usable: Count,
    /// Addresses that are.
    pub in_use: Count,
}

impl Figures {
    pub(super) fn pools(&self, rows: &mut Rows<'_, '_>) -> fmt::Result {
        let both = |count: Count| count.v4.saturating_add(count.v6);
        let pools = |figure: fn(&PoolFigures) -> Count, part: fn(Count) -> u128| {
            self.pools.iter().map(move |(pool, figures)| ([("pool", pool.clone())], part(figure(figures)) as f64))
        };
        rows.gauges("metallb_allocator_addresses_total", "Addresses that can be assigned (leader only)", pools(|p| p.usable, both))?;
        rows.gauges(
            "metallb_allocator_ipv4_addresses_total",
            "IPv4 addresses that can be assigned (leader only)",
            pools(|p| p.usable, |c| c.v4),
        )?;
        rows.gauges(
            "metallb_allocator_ipv6_addresses_total",
            "IPv6 addresses that can be assigned (leader only)",
            pools(|p| p.usable, |c| c.v6),
        )?;
        rows.gauges("metallb_allocator_addresses_in_use_total", "Addresses in use (leader only)", pools(|p| p.in_use, both))?;
        rows.gauges("metallb_allocator_ipv4_addresses_in_use_total", "IPv4 addresses in use (leader only)", pools(|p| p.in_use, |c| c.v4))?;
        rows.gauges("metallb_allocator_ipv6_addresses_in_use_total", "IPv6 addresses in use (leader only)", pools(|p| p.in_use, |c| c.v6))
    }
}
