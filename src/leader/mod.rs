//! What the leader does: gives addresses to Services and records who announces them.
//!
//! Safety does not rest on there being one leader: an address is one Lease object, taken by compare-and-swap. The leader is who does
//! the work. `assign` chooses addresses, `place` chooses nodes, `decide` compares with what the API server has and says what to
//! write; `task` writes it.

pub mod assign;
pub mod backoff;
pub mod blocked;
pub mod counters;
pub mod decide;
pub mod edits;
pub mod election;
pub mod excluded;
pub mod left;
pub mod moves;
pub mod news;
pub mod others;
pub mod paper;
pub mod place;
pub mod quiet;
pub mod refusal;
pub mod request;
pub mod reserve;
pub mod share;
pub mod suggest;
pub mod supply;
pub mod tally;
pub mod task;
pub mod tell;
pub mod told;
pub mod warnings;
