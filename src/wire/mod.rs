//! Bytes ↔ values, one file per protocol. No state, no time, no sockets.
//!
//! The guarantee: **no input makes a decoder panic, loop or allocate more than its input's length**, and what a decoder accepts, its
//! encoder writes back. Fields are read through [`Reader`], which answers "cut short" instead of indexing past the end.

pub mod arp;
pub mod bfd;
pub mod bgp;
pub mod ethernet;
pub mod ndp;

/// Why bytes are not what they should be. A value, not a failure: the network may send anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the message does.
    #[error("cut short")]
    Truncated,
    /// A field has a value this protocol does not allow, or that no receiver has a use for.
    #[error("{0} is not acceptable")]
    Field(&'static str),
    /// The checksum does not fit the bytes.
    #[error("wrong checksum")]
    Checksum,
}

/// Reads big-endian fields one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    /// The next `length` bytes.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}
