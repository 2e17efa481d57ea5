//! Placeholder of the leader task.
