//! One session: the state variables of RFC 5880 §6.8.1 under their names, reception (§6.8.6), transmission (§6.8.7), timers (§6.8.2–6.8.4).
//!
//! The invariant: whatever happened, [`Session::settle`] runs at its end and makes timers and what the neighbour was told agree with
//! the variables.

use std::time::Duration;

use super::desired::{SessionDesired, SessionKey};
use super::lateness;
use super::poll::Poll;
use super::status::SessionStatus;
use crate::machine::{Instant, earliest};
use crate::wire::bfd::{Diagnostic, Packet, State};

/// bfd.DesiredMinTxInterval while not Up is at least this, in microseconds (§6.8.3).
const SLOW: u32 = 1_000_000;
/// A packet between the periodic ones (§6.8.7) is sent at once, this many in a row; after that one for each [`EXTRA_INTERVAL`], or for
/// each Desired Min TX Interval if that is shorter, as §6.8.7 demands of a limit. So forged packets cause no storm of ours.
const EXTRA_PACKETS: u64 = 8;
const EXTRA_INTERVAL: Duration = Duration::from_millis(100);
/// AdminDown is told for a Detection Time (§6.8.16), but never longer, however slow the neighbour.
const LONGEST_FAREWELL: Duration = Duration::from_secs(10);

/// What the owner has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send a packet to the neighbour, with TTL or hop limit 255.
    Send {
        /// Of which session.
        key: SessionKey,
        /// The packet.
        packet: Packet,
    },
    /// For the log, the metrics and the status.
    StateChanged {
        /// Of which session.
        key: SessionKey,
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// bfd.LocalDiag: why.
        diagnostic: Diagnostic,
        /// The diagnostic that the neighbour gave last.
        remote: Diagnostic,
    },
    /// The neighbour of a session that is Up says that something behind it is lost, or is well again (diagnostic 6).
    PathChanged {
        /// Of which session.
        key: SessionKey,
        /// Whether it is lost.
        down: bool,
    },
}

/// What a session needs of its owner for one step.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    /// How late the process runs.
    pub(super) late: Duration,
    pub(super) rng: &'a mut fastrand::Rng,
    pub(super) out: &'a mut Vec<Action>,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) desired: SessionDesired,

    // §6.8.1, less what belongs to Demand mode of our own and to authentication.
    /// bfd.SessionState
    session_state: State,
    /// bfd.RemoteSessionState
    remote_session_state: State,
    /// bfd.LocalDiscr
    local_discr: u32,
    /// bfd.RemoteDiscr; 0 while unknown.
    remote_discr: u32,
    /// bfd.LocalDiag
    local_diag: Diagnostic,
    /// bfd.DesiredMinTxInterval, microseconds
    desired_min_tx_interval: u32,
    /// bfd.RequiredMinRxInterval, microseconds
    required_min_rx_interval: u32,
    /// bfd.RemoteMinRxInterval, microseconds
    remote_min_rx_interval: u32,
    /// bfd.RemoteDemandMode
    remote_demand_mode: bool,
    /// bfd.DetectMult
    detect_mult: u8,

    // What the sections below §6.8.1 remember without giving it a name.
    /// Detect Mult as received; 0 before that.
    remote_detect_mult: u8,
    /// Desired Min TX Interval as received, microseconds.
    remote_desired_min_tx_interval: u32,
    /// Diagnostic as received.
    remote_diag: Diagnostic,
    poll: Poll,
    /// What we send by: bfd.DesiredMinTxInterval, or its old value while an increase waits for the end of a Poll Sequence (§6.8.3).
    tx_in_force: u32,
    /// What we expect by: bfd.RequiredMinRxInterval, or its old value while a decrease waits likewise.
    rx_in_force: u32,

    /// The interval `tx_timer` was set with; `None`: nothing is sent periodically.
    transmit_interval: Option<Duration>,
    tx_timer: Option<Instant>,
    detection_timer: Option<Instant>,
    /// When an AdminDown session has told enough.
    forget_timer: Option<Instant>,
    /// From when the Detection Time counts: the last packet received, or a wake-up so late that it proves nothing.
    silent_since: Option<Instant>,
    /// The second reason above has been used since the last packet.
    excused: bool,
    last_tx: Option<Instant>,
    /// The last packet's content, without P and F.
    told: Option<Packet>,
    /// Packets between the periodic ones that may be sent at once, and when that was counted.
    extra: (u64, Instant),
    /// Counters and the level `expired`; the rest is filled in when asked.
    status: SessionStatus,
}

impl Session {
    /// A new session; its first packet goes out with `settle`.
    pub(super) fn new(key: SessionKey, desired: SessionDesired, local_discr: u32, now: Instant) -> Self {
        let (tx, rx) = (micros(desired.desired_min_tx).max(SLOW), micros(desired.required_min_rx));
        Self {
            key,
            detect_mult: desired.detect_mult.max(1),
            desired,
            session_state: State::Down,
            remote_session_state: State::Down,
            local_discr,
            remote_discr: 0,
            local_diag: Diagnostic::NO_DIAGNOSTIC,
            desired_min_tx_interval: tx,
            required_min_rx_interval: rx,
            remote_min_rx_interval: 1,
            remote_demand_mode: false,
            remote_detect_mult: 0,
            remote_desired_min_tx_interval: 0,
            remote_diag: Diagnostic::NO_DIAGNOSTIC,
            poll: Poll::default(),
            tx_in_force: tx,
            rx_in_force: rx,
            transmit_interval: None,
            tx_timer: None,
            detection_timer: None,
            forget_timer: None,
            silent_since: None,
            excused: false,
            last_tx: None,
            told: None,
            extra: (EXTRA_PACKETS, now),
            status: SessionStatus::default(),
        }
    }

    pub(super) fn state(&self) -> State {
        self.session_state
    }

    /// When to call `fire`.
    pub(super) fn timer(&self) -> Option<Instant> {
        earliest([self.tx_timer, self.detection_timer, self.forget_timer])
    }

    /// Without `since` and `error`, which are not known here.
    pub(super) fn status(&self) -> SessionStatus {
        SessionStatus {
            state: self.session_state,
            concatenated_path_down: self.neighbour_lost_its_path(),
            detection_time: self.detection_time().unwrap_or_default(),
            ..self.status.clone()
        }
    }

    /// A packet that a rule of reception discards.
    pub(super) fn discard(&mut self) {
        self.status.discarded += 1;
    }

    /// Other parameters, at run time.
    pub(super) fn desire(&mut self, desired: &SessionDesired, turn: &mut Turn) {
        self.desired.clone_from(desired);
        if self.session_state == State::Up {
            self.local_diag = self.diagnostic_of_up();
        }
        self.set_intervals();
        self.settle(turn);
    }

    /// The session is not desired any more (§6.8.16). Returns whether it stays to tell so.
    pub(super) fn leave(&mut self, turn: &mut Turn) -> bool {
        let heard_us = matches!(self.session_state, State::Init | State::Up);
        self.enter(State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN, turn);
        self.settle(turn);
        let detection_time = self.slowest_interval() * u32::from(self.detect_mult);
        self.forget_timer = Some(turn.now + detection_time.min(LONGEST_FAREWELL));
        heard_us
    }

    /// A session under the same key takes this one's place: through another link, from another address, or desired anew.
    pub(super) fn ends_for_another(&self) -> Option<Action> {
        let (key, from, to) = (self.key.clone(), self.session_state, State::Down);
        let (diagnostic, remote) = (Diagnostic::PATH_DOWN, self.remote_diag);
        (from != to).then_some(Action::StateChanged { key, from, to, diagnostic, remote })
    }

    /// AdminDown was told for long enough, or the neighbour has heard it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.forget_timer.is_some_and(|due| due <= now)
    }

    /// §6.8.6, from where the session is selected.
    pub(super) fn receive(&mut self, packet: &Packet, turn: &mut Turn) {
        self.status.received += 1;
        let lost_path = self.neighbour_lost_its_path();
        self.remote_discr = packet.my_discriminator;
        self.remote_session_state = packet.state;
        self.remote_demand_mode = packet.demand;
        self.remote_min_rx_interval = packet.required_min_rx_interval;
        self.remote_desired_min_tx_interval = packet.desired_min_tx_interval;
        self.remote_detect_mult = packet.detect_mult;
        self.remote_diag = packet.diagnostic;
        if self.poll.received(packet.final_) {
            self.intervals_take_effect();
        }
        match (self.session_state, packet.state) {
            // "Discard the packet". Who is not Up any more has heard us.
            (State::AdminDown, State::AdminDown | State::Down) => {
                self.forget_timer = Some(turn.now);
                return self.settle(turn);
            }
            (State::AdminDown, State::Init | State::Up) => return self.settle(turn),
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                self.enter(State::Down, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN, turn);
            }
            (State::Down, State::Down) => self.enter(State::Init, Diagnostic::NO_DIAGNOSTIC, turn),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => self.enter(State::Up, self.diagnostic_of_up(), turn),
            (State::Down, State::AdminDown | State::Up) | (State::Init, State::Down) | (State::Up, State::Init | State::Up) => {}
        }
        if self.session_state == State::Up && lost_path != self.neighbour_lost_its_path() {
            turn.out.push(Action::PathChanged { key: self.key.clone(), down: !lost_path });
        }
        (self.silent_since, self.excused) = (Some(turn.now), false);
        if packet.poll && self.may_send_extra(turn.now) {
            self.send(true, turn);
        }
        self.settle(turn);
    }

    /// A wake-up so late that our silence is our own fault: whoever would have spoken meanwhile may still be heard. Once per silence:
    /// what came in the meantime waited in the socket, so a second excuse would only hide a dead neighbour.
    pub(super) fn excuse(&mut self, late: Duration, turn: &mut Turn) {
        let proves_nothing = self.detection_time().is_some_and(|detection_time| late > detection_time / 2);
        if proves_nothing && self.silent_since.is_some() && !std::mem::replace(&mut self.excused, true) {
            self.silent_since = Some(turn.now);
        }
        self.settle(turn);
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, turn: &mut Turn) {
        if self.detection_timer.is_some_and(|due| due <= turn.now) {
            self.detection_time_passed(turn);
        }
        if self.tx_timer.is_some_and(|due| due <= turn.now) {
            self.tx_timer = None;
            if self.sends_periodically() {
                self.send(false, turn);
            }
        }
        self.settle(turn);
    }

    /// §6.8.4 and, for bfd.RemoteDiscr, §6.8.1.
    fn detection_time_passed(&mut self, turn: &mut Turn) {
        let was_up = self.session_state == State::Up;
        if matches!(self.session_state, State::Init | State::Up) {
            self.enter(State::Down, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED, turn);
        }
        self.status.expired |= was_up;
        self.remote_discr = 0;
        // Whoever answers next may be another instance that knows nothing of this: what we know of the last one is forgotten. A neighbour
        // that once wanted no packets (bfd.RemoteMinRxInterval 0) would otherwise never hear of us again.
        self.remote_session_state = State::Down;
        self.remote_min_rx_interval = 1;
        self.remote_demand_mode = false;
        self.poll = Poll::default();
        self.silent_since = None;
    }

    fn enter(&mut self, to: State, diagnostic: Diagnostic, turn: &mut Turn) {
        let from = std::mem::replace(&mut self.session_state, to);
        self.local_diag = diagnostic;
        if to == State::Up {
            self.status.ups += 1;
            self.status.expired = false;
        } else if from == State::Up {
            self.status.downs += 1;
        }
        self.set_intervals();
        turn.out.push(Action::StateChanged { key: self.key.clone(), from, to, diagnostic, remote: self.remote_diag });
    }

    /// §6.8.3: what the state and the desired parameters make of our intervals. A change is told by a Poll Sequence, if there is somebody
    /// to tell it to.
    fn set_intervals(&mut self) {
        let up = self.session_state == State::Up;
        let tx = micros(self.desired.desired_min_tx).max(if up { 1 } else { SLOW });
        let rx = micros(self.desired.required_min_rx);
        if (tx, rx) != (self.desired_min_tx_interval, self.required_min_rx_interval) && self.remote_discr != 0 {
            self.poll.request();
        }
        (self.desired_min_tx_interval, self.required_min_rx_interval) = (tx, rx);
        if up {
            self.tx_in_force = self.tx_in_force.min(tx);
            self.rx_in_force = self.rx_in_force.max(rx);
        } else {
            self.intervals_take_effect();
        }
    }

    fn intervals_take_effect(&mut self) {
        self.tx_in_force = self.desired_min_tx_interval;
        self.rx_in_force = self.required_min_rx_interval;
    }

    /// bfd.LocalDiag on coming Up and while Up (§6.8.17).
    fn diagnostic_of_up(&self) -> Diagnostic {
        if self.desired.concatenated_path_down { Diagnostic::CONCATENATED_PATH_DOWN } else { Diagnostic::NO_DIAGNOSTIC }
    }

    fn neighbour_lost_its_path(&self) -> bool {
        (self.session_state, self.remote_session_state, self.remote_diag) == (State::Up, State::Up, Diagnostic::CONCATENATED_PATH_DOWN)
    }

    /// §6.8.2: "the system reporting the slower rate determines the transmission rate".
    fn slowest_interval(&self) -> Duration {
        Duration::from_micros(self.tx_in_force.max(self.remote_min_rx_interval).into())
    }

    /// §6.8.4: Detect Mult as received × the greater of bfd.RequiredMinRxInterval and the last received Desired Min TX Interval.
    /// `None` before anything was received.
    fn detection_time(&self) -> Option<Duration> {
        let interval = Duration::from_micros(self.rx_in_force.max(self.remote_desired_min_tx_interval).into());
        (self.remote_detect_mult > 0).then(|| interval * u32::from(self.remote_detect_mult))
    }

    /// The Passive role "MUST NOT transmit … if bfd.RemoteDiscr is zero" (§6.8.7).
    fn may_send(&self) -> bool {
        !(self.desired.passive && self.remote_discr == 0)
    }

    /// The other two exceptions of §6.8.7 are about periodic packets only.
    fn sends_periodically(&self) -> bool {
        let both_up = self.session_state == State::Up && self.remote_session_state == State::Up;
        let demanded_silence = self.remote_demand_mode && both_up && !self.poll.polling();
        self.may_send() && self.remote_min_rx_interval != 0 && !demanded_silence
    }

    /// Makes timers and what the neighbour was told agree with the variables.
    pub(super) fn settle(&mut self, turn: &mut Turn) {
        self.detect_mult = lateness::detect_mult(self.desired.detect_mult, turn.late, self.slowest_interval());
        let differs = self.may_send() && self.told != Some(content(self.packet(false)));
        // AdminDown is the last word: it is said in any case.
        let last_word = self.session_state == State::AdminDown && self.told.is_some_and(|told| told.state != State::AdminDown);
        if differs && (last_word || self.may_send_extra(turn.now)) {
            self.send(false, turn);
        }
        // "The transmit interval MUST be recalculated whenever …" (§6.8.7), and "the local system cannot wait longer than the new interval
        // between the previous packet transmission and the next one" (§6.8.3).
        let interval = self.sends_periodically().then(|| self.slowest_interval());
        if interval != self.transmit_interval || self.tx_timer.is_none() {
            self.transmit_interval = interval;
            let next = interval.map(|interval| self.last_tx.unwrap_or(turn.now) + self.jittered(interval, turn.rng));
            // What a shorter interval makes overdue is due now: nobody ran late.
            self.tx_timer = next.map(|next| next.max(turn.now));
        }
        let counts_from = self.silent_since.filter(|_| self.session_state != State::AdminDown);
        let end = counts_from.zip(self.detection_time()).map(|(since, detection_time)| since + detection_time);
        self.detection_timer = end.map(|end| end.max(turn.now));
    }

    /// §6.8.7: "jittered on a per-packet basis by up to 25%"; with a Detect Mult of 1 between 75 and 90 % are left.
    fn jittered(&self, interval: Duration, rng: &mut fastrand::Rng) -> Duration {
        let most = if self.detect_mult == 1 { 900 } else { 1000 };
        interval * rng.u32(750..=most) / 1000
    }

    fn may_send_extra(&mut self, now: Instant) -> bool {
        let interval = Duration::from_micros(self.desired_min_tx_interval.into()).min(EXTRA_INTERVAL);
        let (left, counted) = self.extra;
        let gained = now.since(counted).as_nanos() / interval.as_nanos().max(1);
        if gained > 0 {
            self.extra = (left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(EXTRA_PACKETS), now);
        }
        let may = self.extra.0 > 0;
        self.extra.0 = self.extra.0.saturating_sub(1);
        may
    }

    fn send(&mut self, final_: bool, turn: &mut Turn) {
        let packet = self.packet(final_);
        self.last_tx = Some(turn.now);
        self.told = Some(content(packet));
        self.status.sent += 1;
        turn.out.push(Action::Send { key: self.key.clone(), packet });
    }

    /// §6.8.7, field for field. P and F are never set both (§6.5).
    fn packet(&self, final_: bool) -> Packet {
        Packet {
            diagnostic: self.local_diag,
            state: self.session_state,
            poll: self.poll.polling() && !final_,
            final_,
            control_plane_independent: false,
            demand: false,
            detect_mult: self.detect_mult,
            my_discriminator: self.local_discr,
            your_discriminator: self.remote_discr,
            desired_min_tx_interval: self.desired_min_tx_interval,
            required_min_rx_interval: self.required_min_rx_interval,
            required_min_echo_rx_interval: 0,
        }
    }
}

/// What makes a packet worth sending between the periodic ones: anything "other than the Poll and Final bits" (§6.8.7).
fn content(packet: Packet) -> Packet {
    Packet { poll: false, final_: false, ..packet }
}

fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}
