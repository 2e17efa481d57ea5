//! NOTIFICATION (RFC 4271 §4.5): every code and subcode with its words, the text that comes with a shutdown (RFC 9003), and the Hard
//! Reset around another NOTIFICATION (RFC 8538 §3).
//!
//! ```text
//!  Error code │ Error subcode │ Data
//! ```
//!
//! A NOTIFICATION is never refused: nothing may answer it (§6.4), and what it says is shown as far as it can be read.

use std::fmt;

use super::{HEADER, LONGEST, NOTIFICATION};

/// The longest text of RFC 9003, in octets.
const LONGEST_TEXT: usize = 255;

/// An error code and its subcode (IANA, "BGP Error Codes"). Subcode 0 is Unspecific.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(pub u8, pub u8);

/// Declares the codes, their words, and nothing else.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $subcode:literal, $words:literal;)*) => {
        impl Code {
            $(
                #[doc = concat!($words, " (", stringify!($code), "/", stringify!($subcode), ").")]
                $(#[doc = $doc])*
                pub const $name: Self = Self($code, $subcode);
            )*

            /// Every code and subcode that has words.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The RFC's words for the subcode; for subcode 0 those for the code.
            fn words(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($words),)*
                    Self(..) => None,
                }
            }
        }
    };
}

codes! {
    /// RFC 4271 §6.1.
    MESSAGE_HEADER_ERROR = 1, 0, "Message Header Error";
    CONNECTION_NOT_SYNCHRONIZED = 1, 1, "Connection Not Synchronized";
    BAD_MESSAGE_LENGTH = 1, 2, "Bad Message Length";
    BAD_MESSAGE_TYPE = 1, 3, "Bad Message Type";
    /// RFC 4271 §6.2.
    OPEN_MESSAGE_ERROR = 2, 0, "OPEN Message Error";
    UNSUPPORTED_VERSION_NUMBER = 2, 1, "Unsupported Version Number";
    BAD_PEER_AS = 2, 2, "Bad Peer AS";
    BAD_BGP_IDENTIFIER = 2, 3, "Bad BGP Identifier";
    UNSUPPORTED_OPTIONAL_PARAMETER = 2, 4, "Unsupported Optional Parameter";
    /// Deprecated by RFC 4271; old routers still say it.
    AUTHENTICATION_FAILURE = 2, 5, "Authentication Failure";
    UNACCEPTABLE_HOLD_TIME = 2, 6, "Unacceptable Hold Time";
    /// RFC 5492 §5.
    UNSUPPORTED_CAPABILITY = 2, 7, "Unsupported Capability";
    /// RFC 9234 §4.2.
    ROLE_MISMATCH = 2, 11, "Role Mismatch";
    /// RFC 4271 §6.3.
    UPDATE_MESSAGE_ERROR = 3, 0, "UPDATE Message Error";
    MALFORMED_ATTRIBUTE_LIST = 3, 1, "Malformed Attribute List";
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 3, 2, "Unrecognized Well-known Attribute";
    MISSING_WELL_KNOWN_ATTRIBUTE = 3, 3, "Missing Well-known Attribute";
    ATTRIBUTE_FLAGS_ERROR = 3, 4, "Attribute Flags Error";
    ATTRIBUTE_LENGTH_ERROR = 3, 5, "Attribute Length Error";
    INVALID_ORIGIN_ATTRIBUTE = 3, 6, "Invalid ORIGIN Attribute";
    /// Deprecated.
    AS_ROUTING_LOOP = 3, 7, "AS Routing Loop";
    INVALID_NEXT_HOP_ATTRIBUTE = 3, 8, "Invalid NEXT_HOP Attribute";
    OPTIONAL_ATTRIBUTE_ERROR = 3, 9, "Optional Attribute Error";
    INVALID_NETWORK_FIELD = 3, 10, "Invalid Network Field";
    MALFORMED_AS_PATH = 3, 11, "Malformed AS_PATH";
    /// RFC 4271 §6.5.
    HOLD_TIMER_EXPIRED = 4, 0, "Hold Timer Expired";
    /// RFC 4271 §6.6.
    FINITE_STATE_MACHINE_ERROR = 5, 0, "Finite State Machine Error";
    /// RFC 6608 §3.
    UNEXPECTED_MESSAGE_IN_OPEN_SENT = 5, 1, "Receive Unexpected Message in OpenSent State";
    /// RFC 6608 §3.
    UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM = 5, 2, "Receive Unexpected Message in OpenConfirm State";
    /// RFC 6608 §3.
    UNEXPECTED_MESSAGE_IN_ESTABLISHED = 5, 3, "Receive Unexpected Message in Established State";
    /// RFC 4271 §6.7; the subcodes are of RFC 4486.
    CEASE = 6, 0, "Cease";
    MAXIMUM_NUMBER_OF_PREFIXES_REACHED = 6, 1, "Maximum Number of Prefixes Reached";
    ADMINISTRATIVE_SHUTDOWN = 6, 2, "Administrative Shutdown";
    PEER_DE_CONFIGURED = 6, 3, "Peer De-configured";
    ADMINISTRATIVE_RESET = 6, 4, "Administrative Reset";
    CONNECTION_REJECTED = 6, 5, "Connection Rejected";
    OTHER_CONFIGURATION_CHANGE = 6, 6, "Other Configuration Change";
    CONNECTION_COLLISION_RESOLUTION = 6, 7, "Connection Collision Resolution";
    OUT_OF_RESOURCES = 6, 8, "Out of Resources";
    /// RFC 8538 §3.
    HARD_RESET = 6, 9, "Hard Reset";
    /// RFC 9384.
    BFD_DOWN = 6, 10, "BFD Down";
    /// RFC 7313 §5.
    ROUTE_REFRESH_MESSAGE_ERROR = 7, 0, "ROUTE-REFRESH Message Error";
    INVALID_MESSAGE_LENGTH = 7, 1, "Invalid Message Length";
    /// RFC 9687.
    SEND_HOLD_TIMER_EXPIRED = 8, 0, "Send Hold Timer Expired";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(code, subcode) = *self;
        match Self(code, 0).words() {
            Some(words) => f.write_str(words)?,
            None => write!(f, "error {code}")?,
        }
        match (subcode, self.words()) {
            (0, _) => Ok(()),
            (_, Some(words)) => write!(f, "/{words}"),
            (_, None) => write!(f, "/subcode {subcode}"),
        }
    }
}

/// A NOTIFICATION: why its sender closes the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// Why.
    pub code: Code,
    /// What belongs to it, by the code.
    pub data: Vec<u8>,
}

impl From<Code> for Notification {
    fn from(code: Code) -> Self {
        Self { code, data: Vec::new() }
    }
}

impl Notification {
    /// A NOTIFICATION with a text for the operator of the other side (RFC 9003 §2); of a longer one as much as 255 octets hold. The text
    /// belongs to Administrative Shutdown and Administrative Reset, others go without.
    pub fn with_text(code: Code, text: &str) -> Self {
        if !matches!(code, Code::ADMINISTRATIVE_SHUTDOWN | Code::ADMINISTRATIVE_RESET) {
            return code.into();
        }
        let mut end = text.len().min(LONGEST_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let length = u8::try_from(end).expect("at most 255");
        Self { code, data: [&[length], &text.as_bytes()[..end]].concat() }
    }

    /// This one inside a Hard Reset (RFC 8538 §3.1): the routes are to be dropped, whatever graceful restart would do.
    pub fn into_hard_reset(self) -> Self {
        let Code(code, subcode) = self.code;
        Self { code: Code::HARD_RESET, data: [&[code, subcode], &self.data[..]].concat() }
    }

    /// What a Hard Reset encapsulates.
    pub fn hard_reset(&self) -> Option<Self> {
        match (self.code, &self.data[..]) {
            (Code::HARD_RESET, [code, subcode, data @ ..]) => Some(Self { code: Code(*code, *subcode), data: data.to_vec() }),
            _ => None,
        }
    }

    /// The text of RFC 9003, if there is one that is UTF-8. Control characters are left out: it goes to logs and terminals.
    pub fn text(&self) -> Option<String> {
        if !matches!(self.code, Code::ADMINISTRATIVE_SHUTDOWN | Code::ADMINISTRATIVE_RESET) {
            return None;
        }
        let (length, text) = self.data.split_first()?;
        let text = std::str::from_utf8(text.get(..usize::from(*length))?).ok()?;
        Some(text.chars().filter(|c| !c.is_control()).collect::<String>()).filter(|text| !text.is_empty())
    }

    /// From a body of at least two octets, which the header promises.
    pub(super) fn decode(body: &[u8]) -> Self {
        let (code, data) = body.split_first_chunk::<2>().unwrap_or((&[0, 0], &[]));
        Self { code: Code(code[0], code[1]), data: data.to_vec() }
    }

    /// Of data that are too long, the beginning.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) -> u8 {
        let Code(code, subcode) = self.code;
        bytes.extend([code, subcode]);
        bytes.extend(&self.data[..self.data.len().min(LONGEST - HEADER - 2)]);
        NOTIFICATION
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(text) = self.text() {
            write!(f, " ({text:?})")?;
        }
        // One within another within another is somebody's joke: one level is shown.
        if let Some(inner) = self.hard_reset() {
            write!(f, " for {}", inner.code)?;
            if let Some(text) = inner.text() {
                write!(f, " ({text:?})")?;
            }
        }
        Ok(())
    }
}
