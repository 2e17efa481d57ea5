//! Poll Sequences (RFC 5880 §6.5): packets carry P until one with F comes back; then the neighbour knows our intervals.

/// Where the exchange stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// Our periodic packets carry P.
    Polling,
    /// F came. Another sequence waits for a packet without F, so that its own F cannot be mistaken (§6.8.3, the third choice).
    Ended,
}

/// The Poll Sequence of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Poll {
    step: Step,
    /// An interval changed after the sequence began: its F may answer a packet from before the change, so another has to follow.
    again: bool,
}

impl Poll {
    /// An interval changed.
    pub(super) fn request(&mut self) {
        match self.step {
            Step::Idle => self.step = Step::Polling,
            Step::Polling | Step::Ended => self.again = true,
        }
    }

    /// The neighbour's packet came. Returns whether it now knows the intervals we advertise.
    pub(super) fn received(&mut self, final_: bool) -> bool {
        match (self.step, final_) {
            (Step::Polling, true) => {
                self.step = Step::Ended;
                !self.again
            }
            (Step::Ended, false) => {
                self.step = if std::mem::take(&mut self.again) { Step::Polling } else { Step::Idle };
                false
            }
            (Step::Idle, _) | (Step::Polling, false) | (Step::Ended, true) => false,
        }
    }

    /// Whether periodic packets carry P.
    pub(super) fn polling(self) -> bool {
        self.step == Step::Polling
    }
}
