//! Membership: this agent's own Lease, and who of the others lives.
//!
//! Each agent holds the Lease `node.<node>`, written on transitions only: join, leave, change of its links. `own` is the machine that
//! keeps it; `living` is the function that says who may own addresses, from Leases and evidence.

pub mod judge;
pub mod living;
pub mod machine;
pub mod mesh;
pub mod own;
pub mod task;
