//! BFD Control packets (RFC 5880 §4.1), without authentication.
//!
//! ```text
//!  Vers (3) Diag (5) │ Sta (2) P F C A D M │ Detect Mult │ Length
//!  My Discriminator │ Your Discriminator │ Desired Min TX │ Required Min RX │ Required Min Echo RX      (32 bits each)
//! ```
//!
//! [`Packet::decode`] discards what the rules of reception (§6.8.6) discard by looking at the bytes alone. Intervals are microseconds.

use std::fmt;

use super::{DecodeError, Reader};

/// The protocol version, in its place above the diagnostic.
const VERSION_1: u8 = 1 << 5;

/// bfd.SessionState and the field State (Sta).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum State {
    /// 0: held down by an operator.
    AdminDown,
    /// 1: nothing heard, or not any more.
    #[default]
    Down,
    /// 2: the neighbour is heard and does not hear us yet.
    Init,
    /// 3: both hear each other.
    Up,
}

impl State {
    fn of_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Diagnostic (Diag): why the sender's session last changed its state. Five bits; the values above 8 are reserved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// 0
    pub const NO_DIAGNOSTIC: Self = Self(0);
    /// 1: the Detection Time passed without a packet.
    pub const CONTROL_DETECTION_TIME_EXPIRED: Self = Self(1);
    /// 3: the neighbour said Down or AdminDown.
    pub const NEIGHBOR_SIGNALED_SESSION_DOWN: Self = Self(3);
    /// 5: the sender's own way out is lost.
    pub const PATH_DOWN: Self = Self(5);
    /// 6: something behind the sender is lost; the session itself may be Up.
    pub const CONCATENATED_PATH_DOWN: Self = Self(6);
    /// 7
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "No Diagnostic",
            1 => "Control Detection Time Expired",
            2 => "Echo Function Failed",
            3 => "Neighbor Signaled Session Down",
            4 => "Forwarding Plane Reset",
            5 => "Path Down",
            6 => "Concatenated Path Down",
            7 => "Administratively Down",
            8 => "Reverse Concatenated Path Down",
            _ => "reserved diagnostic",
        })
    }
}

/// A BFD Control packet. Version 1, Multipoint clear, Authentication Present clear: nothing else is decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// Diagnostic (Diag).
    pub diagnostic: Diagnostic,
    /// State (Sta).
    pub state: State,
    /// Poll (P): the sender wants an answer with Final.
    pub poll: bool,
    /// Final (F): answers a Poll.
    pub final_: bool,
    /// Control Plane Independent (C).
    pub control_plane_independent: bool,
    /// Demand (D): the sender wishes no periodic packets.
    pub demand: bool,
    /// Detect Mult, not 0.
    pub detect_mult: u8,
    /// My Discriminator, not 0.
    pub my_discriminator: u32,
    /// Your Discriminator; 0 while the sender does not know it.
    pub your_discriminator: u32,
    /// Desired Min TX Interval in microseconds.
    pub desired_min_tx_interval: u32,
    /// Required Min RX Interval in microseconds; 0: wants no periodic packets.
    pub required_min_rx_interval: u32,
    /// Required Min Echo RX Interval in microseconds; 0: no Echo.
    pub required_min_echo_rx_interval: u32,
}

impl Packet {
    /// Length in bytes.
    pub const LEN: usize = 24;

    /// Reads the payload of a UDP datagram. Bytes behind the packet's own length are ignored.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let [version, flags, detect_mult, length] = reader.array()?;
        if version >> 5 != VERSION_1 >> 5 {
            return Err(DecodeError::Field("version"));
        }
        if usize::from(length) < Self::LEN {
            return Err(DecodeError::Field("length"));
        }
        if usize::from(length) > payload.len() {
            return Err(DecodeError::Truncated);
        }
        if detect_mult == 0 {
            return Err(DecodeError::Field("Detect Mult"));
        }
        if flags & 0x01 != 0 {
            return Err(DecodeError::Field("Multipoint"));
        }
        if flags & 0x04 != 0 {
            return Err(DecodeError::Field("Authentication Present"));
        }
        let mut field = || reader.array().map(u32::from_be_bytes);
        let packet = Self {
            diagnostic: Diagnostic(version & 0x1f),
            state: State::of_bits(flags >> 6),
            poll: flags & 0x20 != 0,
            final_: flags & 0x10 != 0,
            control_plane_independent: flags & 0x08 != 0,
            demand: flags & 0x02 != 0,
            detect_mult,
            my_discriminator: field()?,
            your_discriminator: field()?,
            desired_min_tx_interval: field()?,
            required_min_rx_interval: field()?,
            required_min_echo_rx_interval: field()?,
        };
        if packet.my_discriminator == 0 {
            return Err(DecodeError::Field("My Discriminator"));
        }
        if packet.your_discriminator == 0 && matches!(packet.state, State::Init | State::Up) {
            return Err(DecodeError::Field("Your Discriminator"));
        }
        Ok(packet)
    }

    /// The payload of a UDP datagram.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        bytes[0] = VERSION_1 | (self.diagnostic.0 & 0x1f);
        bytes[1] = (self.state as u8) << 6
            | flag(self.poll, 0x20)
            | flag(self.final_, 0x10)
            | flag(self.control_plane_independent, 0x08)
            | flag(self.demand, 0x02);
        bytes[2] = self.detect_mult;
        bytes[3] = 24;
        let fields = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx_interval,
            self.required_min_rx_interval,
            self.required_min_echo_rx_interval,
        ];
        for (place, field) in bytes[4..].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }
}
