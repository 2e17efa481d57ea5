//! `BFDProfile`: how the session with a router is watched (RFC 5880). MetalLB's fields, ranges and effective defaults.
//!
//! Echo (RFC 5880 §6.4) is refused: control packets every 10 ms notice a loss as soon, and echo asks the router to forward packets
//! from itself to itself.

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::problem::Place;
use crate::config::raw::{At, Reading};
use crate::config::spec::check_name;

/// How a session is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BfdProfile {
    /// `receiveInterval`: Required Min RX Interval, 10 ms to 60 s. Default 300 ms.
    pub receive_interval: Duration,
    /// `transmitInterval`: Desired Min TX Interval, 10 ms to 60 s. Default 300 ms.
    pub transmit_interval: Duration,
    /// `detectMultiplier`: Detect Mult, 2 to 255. Default 3.
    pub detect_multiplier: u8,
    /// `passiveMode`: wait for the router's first packet. Default false.
    pub passive_mode: bool,
    /// `minimumTtl`: packets that came further are dropped, 1 to 254; over several hops only. Default 254.
    pub minimum_ttl: u8,
}

impl Default for BfdProfile {
    fn default() -> Self {
        Self {
            receive_interval: Duration::from_millis(300),
            transmit_interval: Duration::from_millis(300),
            detect_multiplier: 3,
            passive_mode: false,
            minimum_ttl: 254,
        }
    }
}

/// A profile as written. One with mistakes is there too, so that a peer that names it is not told that there is none.
#[derive(Debug)]
pub(crate) struct RawProfile {
    pub(crate) name: At<String>,
    pub(crate) profile: BfdProfile,
}

/// One profile.
pub(crate) fn read(name: Option<At<String>>, place: &Place, fields: &mut Fields<'_>, reading: &mut Reading) {
    match &name {
        Some(name) => check_name(name, "a BFD profile", reading),
        None => reading.problem(place, "this BFD profile has no `name`", "add `name:`, the one the peers it is for refer to"),
    }
    let default = BfdProfile::default();
    let octet = |at: At<u64>| u8::try_from(at.value).expect("the range was checked");
    let profile = BfdProfile {
        receive_interval: interval(fields, "receiveInterval", reading).unwrap_or(default.receive_interval),
        transmit_interval: interval(fields, "transmitInterval", reading).unwrap_or(default.transmit_interval),
        detect_multiplier: fields.number("detectMultiplier", 2, 255, reading).map_or(default.detect_multiplier, octet),
        passive_mode: fields.flag("passiveMode", reading).unwrap_or(default.passive_mode),
        minimum_ttl: fields.number("minimumTtl", 1, 254, reading).map_or(default.minimum_ttl, octet),
    };
    // Means something with echo only.
    interval(fields, "echoInterval", reading);
    let place = fields.key_place("echoMode");
    if let (Some(true), Some(place)) = (fields.flag("echoMode", reading), place) {
        let (transmit, receive) = (fields.name("transmitInterval"), fields.name("receiveInterval"));
        let help = format!("remove it, and shorten `{transmit}` and `{receive}` if a loss has to be noticed sooner (10 at least)");
        reading.problem(&place, format!("`{}` is not supported: Lanlord speaks BFD without echo", fields.name("echoMode")), help);
    }
    reading.raw.bfd_profiles.extend(name.map(|name| RawProfile { name, profile }));
}

/// Milliseconds.
fn interval(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Option<Duration> {
    fields.number(name, 10, 60_000, reading).map(|at| Duration::from_millis(at.value))
}
