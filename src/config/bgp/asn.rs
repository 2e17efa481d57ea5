//! AS numbers (RFC 6793): plain in MetalLB's fields, with or without `AS` in front in one line, where also `64512.1` is read (RFC 5396).

use crate::config::problem::Place;
use crate::config::raw::{At, Reading};
use crate::config::tree::quoted;

/// AS_TRANS, which stands for numbers that do not fit into two octets (RFC 6793 §9).
const AS_TRANS: u32 = 23456;

/// `AS64512`, `64512` or `1.10`; never 0.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let digits = match text.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("as") => text[2..].trim_start(),
        Some(_) | None => text,
    };
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten();
    let asn = match digits.split_once('.') {
        Some((high, low)) => {
            let half = |digits: &str| number(digits).and_then(|half| u16::try_from(half).ok());
            u32::from(half(high)?) << 16 | u32::from(half(low)?)
        }
        None => number(digits)?,
    };
    (asn != 0).then_some(asn)
}

/// `asn`, or the number of a peer in one line.
pub(crate) fn read(text: &str, place: &Place, reading: &mut Reading) -> Option<At<u32>> {
    let asn = parse(text.trim());
    if asn.is_none() {
        let message = format!("{} is not an AS number", quoted(text.trim()));
        reading.problem(place, message, "write `AS` and a number from 1 to 4294967295, such as AS64513");
    }
    asn.map(|value| At { value, place: place.clone() })
}

/// What should be said about using a number, if anything.
pub(crate) fn remark(asn: u32) -> Option<String> {
    match asn {
        64496..=64511 | 65536..=65551 => Some(format!(
            "AS {asn} is for examples in documents (RFC 5398): numbers for private use are 64512 to 65534 and 4200000000 to 4294967294"
        )),
        AS_TRANS => Some(format!("AS {asn} stands for numbers an old router cannot show (RFC 6793): use the number itself")),
        65535 | u32::MAX => Some(format!("AS {asn} is reserved (RFC 7300), routers refuse it: use one for private use, such as 64512")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_numbers_are_read_as_people_write_them() {
        for text in ["AS64512", "as64512", "64512", "AS 64512", "0.64512"] {
            assert_eq!(parse(text), Some(64512), "{text}");
        }
        assert_eq!(parse("1.10"), Some(65546));
        for text in ["", "AS", "0", "AS0", "ASN64512", "4294967296", "1.65536", "-1", "+1", "1.2.3", "192.168.1.1", "é1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
