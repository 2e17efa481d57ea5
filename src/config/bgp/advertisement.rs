//! `BGPAdvertisement`: what it attaches to its routes. Which pools and Services it reaches is read in `spec`, as for layer 2.

use super::BgpAdvertisement;
use crate::config::fields::Fields;
use crate::config::problem::Place;
use crate::config::raw::{At, Reading};

/// The attributes as written.
#[derive(Debug, Default)]
pub(crate) struct RawRoutes {
    pub(crate) aggregation_length: Option<At<u8>>,
    pub(crate) aggregation_length_v6: Option<At<u8>>,
    pub(crate) local_pref: Option<At<u32>>,
    pub(crate) communities: Vec<At<String>>,
    pub(crate) as_path_prepend: Option<At<u8>>,
    pub(crate) peers: Vec<At<String>>,
}

/// Lengths of the routes of single addresses.
pub(crate) const WHOLE: (u8, u8) = (32, 128);

impl RawRoutes {
    /// `aggregationLength` and `aggregationLengthV6`.
    pub(crate) fn lengths(&self) -> (u8, u8) {
        let or = |at: &Option<At<u8>>, default| at.as_ref().map_or(default, |at| at.value);
        (or(&self.aggregation_length, WHOLE.0), or(&self.aggregation_length_v6, WHOLE.1))
    }
}

/// The attributes of one advertisement.
pub(crate) fn read(fields: &mut Fields<'_>, reading: &mut Reading) -> RawRoutes {
    let octet = |at: At<u64>| At { value: u8::try_from(at.value).expect("the range was checked"), place: at.place };
    RawRoutes {
        aggregation_length: fields.number("aggregationLength", 1, 32, reading).map(octet),
        aggregation_length_v6: fields.number("aggregationLengthV6", 1, 128, reading).map(octet),
        // 0 is MetalLB's word for none.
        local_pref: fields
            .number("localPref", 0, u64::from(u32::MAX), reading)
            .map(|at| At { value: u32::try_from(at.value).expect("the range was checked"), place: at.place })
            .filter(|at| at.value > 0),
        communities: fields.texts("communities", reading),
        as_path_prepend: fields.number("asPathPrepend", 0, 10, reading).map(octet),
        peers: fields.texts("peers", reading),
    }
}

/// MetalLB's rule: one prefix for many addresses cannot be announced for some of their Services.
pub(crate) fn check_services(routes: &RawRoutes, has_services: bool, name: &str, reading: &mut Reading) {
    let place = |at: &Option<At<u8>>, default| at.as_ref().filter(|at| at.value != default).map(|at| at.place.clone());
    let aggregated: Option<Place> = place(&routes.aggregation_length, WHOLE.0).or_else(|| place(&routes.aggregation_length_v6, WHOLE.1));
    if let (true, Some(place)) = (has_services, aggregated) {
        let message = "an advertisement for some Services (`serviceSelectors`) cannot aggregate their addresses with others'";
        reading.problem(&place, message, format!("remove `{name}` and `{name}V6`, or remove `serviceSelectors`"));
    }
}

impl BgpAdvertisement {
    /// What is left to say after the names are looked up.
    pub(crate) fn with(self, routes: &RawRoutes) -> Self {
        let (aggregation_length, aggregation_length_v6) = routes.lengths();
        Self {
            aggregation_length,
            aggregation_length_v6,
            local_pref: routes.local_pref.as_ref().map(|at| at.value),
            as_path_prepend: routes.as_path_prepend.as_ref().map_or(0, |at| at.value),
            peers: routes.peers.iter().map(|at| at.value.clone()).collect(),
            ..self
        }
    }
}
