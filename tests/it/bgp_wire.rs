//! BGP on the wire: golden bytes, every error with the NOTIFICATION that RFC 4271 §6 wants for it, the three ways of RFC 7606, round
//! trips of any message, a second opinion (netgauze), and mutations of valid messages, which must neither panic nor take memory.
//!
//! `LANLORD_MUTATIONS=10000000 cargo test --test it bgp_wire` is the long form.

mod any;

use std::net::Ipv4Addr;

use lanlord::addr::Family;
use lanlord::wire::bgp::{
    AfiSafi, Attributes, Capability, Code, Codec, LONGEST, LONGEST_EXTENDED, Message, NextHop, Nlri, Notification, Open, Origin, Reachable,
    Reaction, Received, RefreshSubtype, RouteRefresh, Segment, SegmentKind, TooLong, Update,
};
use proptest::prelude::*;

use self::any::Any;

/// What two modern speakers agree on.
pub(crate) const MODERN: Codec =
    Codec { takes_extended: false, sends_extended: false, four_octet_as: true, extended_next_hop: true, internal: true };

/// The family that `update` is the End-of-RIB of.
pub(crate) fn end_of_rib(update: &Update) -> Option<Family> {
    [Family::V4, Family::V6].into_iter().find(|family| *update == Update::end_of_rib(*family))
}

fn external() -> Codec {
    Codec { internal: false, ..MODERN }
}

fn with_header(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap();
    [&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    with_header(2, &[&length(withdrawn), withdrawn, &length(attributes), attributes, nlri].concat())
}

fn decode(bytes: &[u8]) -> Received {
    Message::decode(bytes, &MODERN).unwrap()
}

fn refused(bytes: &[u8], codec: &Codec) -> (Code, Vec<u8>) {
    let error = Message::decode(bytes, codec).unwrap_err();
    (error.notification.code, error.notification.data)
}

fn open() -> Open {
    Open {
        my_as: 64512,
        hold_time: 90,
        identifier: Ipv4Addr::new(192, 0, 2, 1),
        capabilities: vec![Capability::Multiprotocol(Family::V4.into()), Capability::FourOctetAs(64512)],
    }
}

const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
const AS_PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0];
const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 192, 0, 2, 1];
/// 203.0.113.10/32
const ROUTE: [u8; 5] = [32, 203, 0, 113, 10];

fn mandatory() -> Vec<u8> {
    [&ORIGIN[..], &AS_PATH, &NEXT_HOP].concat()
}

#[test]
fn an_open_is_read_and_written_as_rfc_4271_draws_it() {
    #[rustfmt::skip]
    let bytes = with_header(1, &[
        4, 0xfc, 0x00, 0, 90, 192, 0, 2, 1,
        14, 2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xfc, 0x00,
    ]);
    assert_eq!(Message::Open(open()).encode(&MODERN).unwrap(), bytes);
    assert_eq!(decode(&bytes), Message::Open(open()).into());
    let Message::Open(open) = decode(&with_header(1, &[4, 0x5b, 0xa0, 0, 0, 192, 0, 2, 1, 8, 2, 6, 65, 4, 0, 1, 0, 0])).message else {
        panic!()
    };
    assert_eq!(open.asn(), 65536);
}

#[test]
fn an_update_is_read_and_written_as_rfc_4271_draws_it() {
    let attributes = Attributes {
        origin: Some(Origin::Igp),
        as_path: Some(vec![Segment { kind: SegmentKind::Sequence, asns: vec![64512] }]),
        next_hop: Some(Ipv4Addr::new(192, 0, 2, 1)),
        med: Some(7),
        local_pref: Some(100),
        communities: vec![0xffff_ff01],
        large_communities: vec![(1, 2, 3)],
        ..Attributes::default()
    };
    #[rustfmt::skip]
    let bytes = update(&[24, 198, 51, 100], &[
        0x40, 1, 1, 0,
        0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0,
        0x40, 3, 4, 192, 0, 2, 1,
        0x80, 4, 4, 0, 0, 0, 7,
        0x40, 5, 4, 0, 0, 0, 100,
        0xc0, 8, 4, 0xff, 0xff, 0xff, 0x01,
        0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3,
    ], &ROUTE);
    let value = Update {
        withdrawn: vec!["198.51.100.0/24".parse().unwrap()],
        attributes,
        nlri: vec!["203.0.113.10/32".parse().unwrap()],
        ..Update::default()
    };
    assert_eq!(Message::Update(value.clone()).encode(&MODERN).unwrap(), bytes);
    assert_eq!(decode(&bytes), Message::Update(value).into());
}

#[test]
fn multiprotocol_routes_go_first_and_have_every_form_of_next_hop() {
    let v6 = Nlri::V6(vec!["2001:db8::10/128".parse().unwrap()]);
    let v4 = Nlri::V4(vec!["203.0.113.10/32".parse().unwrap()]);
    let (global, link_local) = ("2001:db8::1".parse().unwrap(), "fe80::1".parse().unwrap());
    let attributes = Attributes { origin: Some(Origin::Igp), as_path: Some(vec![]), ..Attributes::default() };
    for (nlri, next_hop, beginning) in [
        (v6.clone(), NextHop::V6(global), [0x80, 14, 38, 0, 2, 1, 16]),
        (v6, NextHop::V6LinkLocal(global, link_local), [0x80, 14, 54, 0, 2, 1, 32]),
        (v4.clone(), NextHop::V6(link_local), [0x80, 14, 26, 0, 1, 1, 16]),
        (v4.clone(), NextHop::V6LinkLocal(global, link_local), [0x80, 14, 42, 0, 1, 1, 32]),
        (v4, NextHop::V4(Ipv4Addr::new(192, 0, 2, 1)), [0x80, 14, 14, 0, 1, 1, 4]),
    ] {
        let value = Update { reachable: Some(Reachable { next_hop, nlri }), attributes: attributes.clone(), ..Update::default() };
        let bytes = Message::Update(value.clone()).encode(&MODERN).unwrap();
        assert_eq!(bytes[23..30], beginning);
        assert_eq!(decode(&bytes), Message::Update(value.clone()).into());
        // RFC 8950: an IPv6 next hop of an IPv4 route has to be negotiated.
        let plain = Codec { extended_next_hop: false, ..MODERN };
        let expected = matches!((&value.reachable.unwrap().nlri, next_hop), (Nlri::V6(_), _) | (_, NextHop::V4(_)));
        assert_eq!(Message::decode(&bytes, &plain).is_ok(), expected);
    }
}

#[test]
fn end_of_rib_has_the_form_of_its_family() {
    for (family, bytes) in [(Family::V4, update(&[], &[], &[])), (Family::V6, update(&[], &[0x80, 15, 3, 0, 2, 1], &[]))] {
        let value = Update::end_of_rib(family);
        assert_eq!(end_of_rib(&value), Some(family));
        assert_eq!(Message::Update(value.clone()).encode(&MODERN).unwrap(), bytes);
        assert_eq!(decode(&bytes), Message::Update(value).into());
    }
    let Message::Update(long) = decode(&update(&[], &[0x80, 15, 3, 0, 1, 1], &[])).message else { panic!() };
    assert_eq!(long, Update { unreachable: Some(Nlri::none(Family::V4)), ..Update::default() });
    let Message::Update(route) = decode(&update(&[], &mandatory(), &ROUTE)).message else { panic!() };
    assert_eq!(end_of_rib(&route), None);
}

#[test]
fn capabilities_that_do_not_fit_are_in_extended_parameters() {
    let capabilities: Vec<Capability> = (128..132).map(|code| Capability::Unknown { code, value: vec![code; 100] }).collect();
    let long = Message::Open(Open { capabilities, ..open() });
    let bytes = long.encode(&MODERN).unwrap();
    // RFC 9072 §2: 255, 255, the length of all, then a parameter with two octets of length.
    assert_eq!(bytes[28..35], [255, 255, 0x01, 0x9b, 2, 0x01, 0x98]);
    assert_eq!(decode(&bytes), long.into());
    // A short one in the long form is understood, whatever its first length; 255 in another place is no parameter.
    let short = with_header(1, &[4, 0xfc, 0, 0, 90, 192, 0, 2, 1, 9, 255, 0, 5, 2, 0, 2, 2, 0]);
    assert_eq!(decode(&short), Message::Open(Open { capabilities: vec![Capability::RouteRefresh], ..open() }).into());
    let late = with_header(1, &[4, 0xfc, 0, 0, 90, 192, 0, 2, 1, 6, 2, 2, 2, 0, 255, 0]);
    assert_eq!(refused(&late, &MODERN).0, Code::UNSUPPORTED_OPTIONAL_PARAMETER);
    let endless = (0..20).map(|_| Capability::Unknown { code: 128, value: vec![0; 255] }).collect();
    assert_eq!(Message::Open(Open { capabilities: endless, ..open() }).encode(&MODERN), Err(TooLong));
}

#[test]
fn every_error_of_header_and_open_has_its_notification() {
    let edited = |position: usize, value: &[u8]| {
        let mut bytes = Message::Open(open()).encode(&MODERN).unwrap();
        bytes[position..position + value.len()].copy_from_slice(value);
        bytes
    };
    let plain = |parameters: &[u8]| with_header(1, &[&[4, 0xfc, 0, 0, 90, 192, 0, 2, 1][..], parameters].concat());
    let extended = Codec { takes_extended: true, ..MODERN };
    /// Name, message, codec, code, data.
    type Case<'a> = (&'a str, Vec<u8>, Codec, Code, &'a [u8]);
    #[rustfmt::skip]
    let cases: &[Case<'_>] = &[
        ("§6.1 marker", edited(7, &[0]), MODERN, Code::CONNECTION_NOT_SYNCHRONIZED, &[]),
        ("§6.1 length below 19", edited(16, &[0, 18]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 18]),
        ("§6.1 length above 4096", edited(16, &[0x10, 1]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0x10, 1]),
        ("RFC 8654 §4 OPEN stays short", edited(16, &[0x10, 1]), extended, Code::BAD_MESSAGE_LENGTH, &[0x10, 1]),
        ("§6.1 OPEN below 29", edited(16, &[0, 28]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 28]),
        ("§6.1 UPDATE below 23", with_header(2, &[0, 0, 0]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 22]),
        ("§6.1 NOTIFICATION below 21", with_header(3, &[6]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 20]),
        ("§6.1 KEEPALIVE not 19", with_header(4, &[0]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 20]),
        ("§6.1 type", with_header(9, &[]), MODERN, Code::BAD_MESSAGE_TYPE, &[9]),
        ("§6.2 version", edited(19, &[3]), MODERN, Code::UNSUPPORTED_VERSION_NUMBER, &[0, 4]),
        ("RFC 7607 AS 0", edited(20, &[0, 0]), MODERN, Code::BAD_PEER_AS, &[]),
        ("RFC 7607 AS 0 in four octets", edited(39, &[0; 4]), MODERN, Code::BAD_PEER_AS, &[]),
        ("§6.2 hold time 1", edited(22, &[0, 1]), MODERN, Code::UNACCEPTABLE_HOLD_TIME, &[]),
        ("§6.2 hold time 2", edited(22, &[0, 2]), MODERN, Code::UNACCEPTABLE_HOLD_TIME, &[]),
        ("§6.2 identifier", edited(24, &[0; 4]), MODERN, Code::BAD_BGP_IDENTIFIER, &[]),
        ("§6.2 authentication", plain(&[3, 1, 1, 0]), MODERN, Code::UNSUPPORTED_OPTIONAL_PARAMETER, &[]),
        ("§6.2 parameters too short", plain(&[4, 2, 1, 0]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("§6.2 parameters too long", plain(&[0, 2, 0]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("§6.2 capability cut short", plain(&[4, 2, 2, 65, 4]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("§6.2 multiprotocol of 3 octets", plain(&[7, 2, 5, 1, 3, 0, 1, 1]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("§6.2 route refresh with a value", plain(&[5, 2, 3, 2, 1, 0]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("§6.2 graceful restart of 1 octet", plain(&[5, 2, 3, 64, 1, 0]), MODERN, Code::OPEN_MESSAGE_ERROR, &[]),
        ("RFC 7313 §5", with_header(5, &[0, 1, 1, 1, 0]), MODERN, Code::INVALID_MESSAGE_LENGTH, &with_header(5, &[0, 1, 1, 1, 0])),
        ("§6.1 ROUTE-REFRESH", with_header(5, &[0, 1, 0]), MODERN, Code::BAD_MESSAGE_LENGTH, &[0, 22]),
    ];
    for (name, bytes, codec, code, data) in cases {
        assert_eq!(refused(bytes, codec), (*code, data.to_vec()), "{name}");
    }
}

#[test]
fn an_update_that_cannot_be_relied_upon_resets_the_session() {
    let reach = |value: &[u8]| [&[0x80, 14, u8::try_from(value.len()).unwrap()][..], value].concat();
    let short_next_hop = reach(&[0, 2, 1, 15, 0]);
    let wrong_prefix = reach(&[&[0, 2, 1, 16][..], &[0xfd; 16], &[0, 129]].concat());
    let twice = [0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1];
    let bad_origin = [0x40, 1, 1, 3];
    #[rustfmt::skip]
    let cases: &[(&str, Vec<u8>, Code, &[u8])] = &[
        ("§6.3 withdrawn too long", with_header(2, &[0, 9, 0, 0]), Code::MALFORMED_ATTRIBUTE_LIST, &[]),
        ("§6.3 attributes too long", with_header(2, &[0, 0, 0, 9]), Code::MALFORMED_ATTRIBUTE_LIST, &[]),
        ("§6.3 unknown well-known", update(&[], &[0x40, 99, 1, 7], &[]), Code::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE, &[0x40, 99, 1, 7]),
        ("RFC 7606 §5.3 prefix of 33 bits", update(&[], &mandatory(), &[33, 1, 2, 3, 4, 5]), Code::INVALID_NETWORK_FIELD, &[]),
        ("RFC 7606 §5.3 cut prefix", update(&[], &mandatory(), &[24, 1, 2]), Code::INVALID_NETWORK_FIELD, &[]),
        ("RFC 7606 §5.3 withdrawn", update(&[24, 1, 2], &[], &[]), Code::INVALID_NETWORK_FIELD, &[]),
        ("RFC 7606 §7.11 next hop", update(&[], &short_next_hop, &[]), Code::OPTIONAL_ATTRIBUTE_ERROR, &short_next_hop),
        ("RFC 7606 §7.11 prefix", update(&[], &wrong_prefix, &[]), Code::OPTIONAL_ATTRIBUTE_ERROR, &wrong_prefix),
        ("RFC 7606 §7.12", update(&[], &[0x80, 15, 2, 0, 2], &[]), Code::OPTIONAL_ATTRIBUTE_ERROR, &[0x80, 15, 2, 0, 2]),
        ("RFC 7606 §3 g", update(&[], &twice, &[]), Code::MALFORMED_ATTRIBUTE_LIST, &[]),
        ("RFC 7606 §5.2", update(&[], &bad_origin, &[]), Code::MALFORMED_ATTRIBUTE_LIST, &[]),
        ("RFC 7606 §5.2 cut attribute", update(&[], &[0x40], &[]), Code::MALFORMED_ATTRIBUTE_LIST, &[]),
    ];
    for (name, bytes, code, data) in cases {
        assert_eq!(refused(bytes, &MODERN), (*code, data.to_vec()), "{name}");
    }
}

#[test]
fn every_other_error_of_an_update_is_survived_as_rfc_7606_says() {
    let with = |attributes: &[&[u8]]| update(&[], &attributes.concat(), &ROUTE);
    let and = |more: &[u8]| with(&[&mandatory(), more]);
    use Reaction::{AttributeDiscard, TreatAsWithdraw};
    #[rustfmt::skip]
    let cases: &[(&str, Vec<u8>, Codec, u8, Reaction)] = &[
        ("§3 c flags", with(&[&[0xc0, 1, 1, 0], &AS_PATH, &NEXT_HOP]), MODERN, 1, TreatAsWithdraw),
        ("§3 d no ORIGIN", with(&[&AS_PATH, &NEXT_HOP]), MODERN, 1, TreatAsWithdraw),
        ("§3 d no AS_PATH", with(&[&ORIGIN, &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("§3 d no NEXT_HOP", with(&[&ORIGIN, &AS_PATH]), MODERN, 3, TreatAsWithdraw),
        ("§3 g twice", and(&ORIGIN), MODERN, 1, AttributeDiscard),
        ("§4 too long", and(&[0x40, 5, 5, 0]), MODERN, 0, TreatAsWithdraw),
        ("§4 too short", and(&[0x40]), MODERN, 0, TreatAsWithdraw),
        ("§7.1 length", with(&[&[0x40, 1, 0], &AS_PATH, &NEXT_HOP]), MODERN, 1, TreatAsWithdraw),
        ("§7.1 value", with(&[&[0x40, 1, 1, 3], &AS_PATH, &NEXT_HOP]), MODERN, 1, TreatAsWithdraw),
        ("§7.2 type", with(&[&ORIGIN, &[0x40, 2, 6, 9, 1, 0, 0, 0, 1], &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("§7.2 overrun", with(&[&ORIGIN, &[0x40, 2, 6, 2, 2, 0, 0, 0, 1], &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("§7.2 underrun", with(&[&ORIGIN, &[0x40, 2, 7, 2, 1, 0, 0, 0, 1, 2], &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("§7.2 empty", with(&[&ORIGIN, &[0x40, 2, 2, 2, 0], &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("RFC 7607 AS 0", with(&[&ORIGIN, &[0x40, 2, 6, 2, 1, 0, 0, 0, 0], &NEXT_HOP]), MODERN, 2, TreatAsWithdraw),
        ("RFC 5065 §5", with(&[&ORIGIN, &[0x40, 2, 6, 3, 1, 0, 0, 0, 1], &NEXT_HOP]), external(), 2, TreatAsWithdraw),
        ("§7.3 length", with(&[&ORIGIN, &AS_PATH, &[0x40, 3, 3, 192, 0, 2]]), MODERN, 3, TreatAsWithdraw),
        ("RFC 4271 §6.3 host", with(&[&ORIGIN, &AS_PATH, &[0x40, 3, 4, 224, 0, 0, 1]]), MODERN, 3, TreatAsWithdraw),
        ("§7.4", and(&[0x80, 4, 3, 0, 0, 0]), MODERN, 4, TreatAsWithdraw),
        ("§7.5 internal", and(&[0x40, 5, 3, 0, 0, 0]), MODERN, 5, TreatAsWithdraw),
        ("§7.5 external", and(&[0x40, 5, 4, 0, 0, 0, 9]), external(), 5, AttributeDiscard),
        ("§7.6", and(&[0x40, 6, 1, 0]), MODERN, 6, AttributeDiscard),
        ("§7.7", and(&[0xc0, 7, 6, 0, 1, 1, 2, 3, 4]), MODERN, 7, AttributeDiscard),
        ("RFC 7607 AS 0", and(&[0xc0, 7, 8, 0, 0, 0, 0, 1, 2, 3, 4]), MODERN, 7, AttributeDiscard),
        ("§7.8", and(&[0xc0, 8, 0]), MODERN, 8, TreatAsWithdraw),
        ("§7.8", and(&[0xc0, 8, 3, 1, 2, 3]), MODERN, 8, TreatAsWithdraw),
        ("§7.9 internal", and(&[0x80, 9, 3, 1, 2, 3]), MODERN, 9, TreatAsWithdraw),
        ("§7.9 external", and(&[0x80, 9, 4, 1, 2, 3, 4]), external(), 9, AttributeDiscard),
        ("§7.10 internal", and(&[0x80, 10, 0]), MODERN, 10, TreatAsWithdraw),
        ("§7.10 external", and(&[0x80, 10, 4, 1, 2, 3, 4]), external(), 10, AttributeDiscard),
        ("§7.14", and(&[0xc0, 16, 4, 1, 2, 3, 4]), MODERN, 16, TreatAsWithdraw),
        ("§7.15", and(&[0xc0, 25, 8, 1, 2, 3, 4, 5, 6, 7, 8]), MODERN, 25, TreatAsWithdraw),
        ("RFC 8092 §6", and(&[0xc0, 32, 4, 1, 2, 3, 4]), MODERN, 32, TreatAsWithdraw),
        ("RFC 6793 §4.1", and(&[0xc0, 17, 6, 2, 1, 0, 0, 0, 1]), MODERN, 17, AttributeDiscard),
    ];
    for (name, bytes, codec, attribute, reaction) in cases {
        let received = Message::decode(bytes, codec).unwrap();
        let [fault] = received.faults[..] else { panic!("{name}: {:?}", received.faults) };
        assert_eq!((fault.attribute, fault.reaction), (*attribute, *reaction), "{name}");
        assert!(matches!(received.message, Message::Update(update) if update.nlri.len() == 1), "{name}");
    }
}

#[test]
fn two_octets_per_as_get_as_trans_and_the_whole_path_beside_it() {
    let path = vec![Segment { kind: SegmentKind::Sequence, asns: vec![64512, 4_200_000_000] }];
    let attributes = Attributes { origin: Some(Origin::Igp), as_path: Some(path), ..Attributes::default() };
    let old = Codec { four_octet_as: false, ..MODERN };
    let bytes = Message::Update(Update { attributes, ..Update::default() }).encode(&old).unwrap();
    let as_path = [0x40, 2, 6, 2, 2, 0xfc, 0, 0x5b, 0xa0];
    let as4_path = [0xc0, 17, 10, 2, 2, 0, 0, 0xfc, 0, 0xfa, 0x56, 0xea, 0];
    assert_eq!(bytes, update(&[], &[&ORIGIN[..], &as_path, &as4_path].concat(), &[]));
}

#[test]
fn a_notification_says_its_words_and_its_text() {
    let said = |notification: &Notification| notification.to_string();
    assert_eq!(said(&Code::BAD_PEER_AS.into()), "OPEN Message Error/Bad Peer AS");
    assert_eq!(said(&Code::HOLD_TIMER_EXPIRED.into()), "Hold Timer Expired");
    assert_eq!(said(&Code(6, 77).into()), "Cease/subcode 77");
    assert_eq!(said(&Code(99, 1).into()), "error 99/subcode 1");
    let text = "going down for \u{7}maintenance at 20:00, call Zoë";
    let shutdown = Notification::with_text(Code::ADMINISTRATIVE_SHUTDOWN, text);
    assert_eq!(said(&shutdown), "Cease/Administrative Shutdown (\"going down for maintenance at 20:00, call Zoë\")");
    let hard = shutdown.clone().into_hard_reset();
    assert_eq!(hard.hard_reset(), Some(shutdown.clone()));
    assert!(said(&hard).starts_with("Cease/Hard Reset for Cease/Administrative Shutdown (\"going"));
    let bytes = Message::Notification(hard.clone()).encode(&MODERN).unwrap();
    assert_eq!((bytes[19], bytes[20], bytes[21], bytes[22]), (6, 9, 6, 2));
    assert_eq!(decode(&bytes), Message::Notification(hard).into());
    // RFC 9003 §2: 255 octets, and no character cut in two.
    let long = Notification::with_text(Code::ADMINISTRATIVE_RESET, &"ü".repeat(200));
    assert_eq!((long.data.len(), long.text().unwrap()), (255, "ü".repeat(127)));
    assert!(Notification::with_text(Code::PEER_DE_CONFIGURED, "text").data.is_empty());
    for data in [&[][..], &[5, b'a'], &[1, 0xff], &[0]] {
        assert_eq!(Notification { code: Code::ADMINISTRATIVE_SHUTDOWN, data: data.to_vec() }.text(), None);
    }
    let words: std::collections::BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), Code::ALL.len(), "two codes with the same words");
}

#[test]
fn a_stream_is_split_at_its_messages() {
    let keepalive = Message::Keepalive.encode(&MODERN).unwrap();
    let stream = [&keepalive[..], &update(&[], &mandatory(), &ROUTE)].concat();
    assert_eq!(Message::split(&stream, &MODERN).unwrap(), Some(&keepalive[..]));
    for end in 0..19 {
        assert_eq!(Message::split(&stream[..end], &MODERN).unwrap(), None);
    }
    // A wrong header is known before the rest is there, even a wrong octet of the marker.
    assert_eq!(Message::split(&[0xff, 0], &MODERN).unwrap_err().notification.code, Code::CONNECTION_NOT_SYNCHRONIZED);
    assert!(Message::decode(&stream, &MODERN).is_err() && Message::decode(&keepalive[..5], &MODERN).is_err());
}

#[test]
fn extended_messages_are_for_who_negotiated_them() {
    let nlri = (0..2000u32).map(|n| ipnet::Ipv4Net::new(Ipv4Addr::from_bits(n << 8), 24).unwrap()).collect();
    let long = Message::Update(Update { nlri, ..Update::default() });
    assert_eq!(long.encode(&MODERN), Err(TooLong));
    let extended = Codec { sends_extended: true, takes_extended: true, ..MODERN };
    let bytes = long.encode(&extended).unwrap();
    assert!(bytes.len() > LONGEST && bytes.len() <= LONGEST_EXTENDED);
    assert_eq!(Message::decode(&bytes, &extended).unwrap().message, long);
    assert_eq!(refused(&bytes, &MODERN).0, Code::BAD_MESSAGE_LENGTH);
    // Data that are too long for a NOTIFICATION are cut, so that one can always be sent.
    let notification = Message::Notification(Notification { code: Code::OPTIONAL_ATTRIBUTE_ERROR, data: vec![0; 70_000] });
    assert_eq!(notification.encode(&extended).unwrap().len(), LONGEST);
}

#[test]
fn a_route_refresh_has_a_subtype() {
    for (octet, subtype) in
        [(0, RefreshSubtype::Request), (1, RefreshSubtype::Begin), (2, RefreshSubtype::End), (7, RefreshSubtype::Unknown(7))]
    {
        let refresh = Message::RouteRefresh(RouteRefresh { family: AfiSafi { afi: 2, safi: 1 }, subtype });
        let bytes = with_header(5, &[0, 2, octet, 1]);
        assert_eq!(refresh.encode(&MODERN).unwrap(), bytes);
        assert_eq!(decode(&bytes), refresh.into());
    }
}

proptest! {
    #[test]
    fn any_message_survives_the_wire(seed in any::<u64>()) {
        let mut any = Any::new(seed);
        let codec = any.codec();
        let message = any.message(&codec);
        let bytes = message.encode(&codec).unwrap();
        let stream = [&bytes[..], &[0xff; 3]].concat();
        prop_assert_eq!(Message::split(&stream, &codec).unwrap(), Some(&bytes[..]));
        let received = Message::decode(&bytes, &codec).unwrap();
        prop_assert_eq!(&received.faults, &[]);
        prop_assert_eq!(received.message, message);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 19..200)) {
        bytes[..16].fill(0xff);
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        bytes[16..18].copy_from_slice(&length);
        bytes[18] = bytes[18] % 5 + 1;
        let _ = Message::decode(&bytes, &MODERN);
    }
}

/// Our bytes are parsed strictly by netgauze, and written by it as the same bytes.
#[test]
fn netgauze_reads_and_writes_the_same_bytes() {
    let mut any = Any::new(3);
    let mut failures = Vec::new();
    for _ in 0..3000 {
        let codec = Codec { takes_extended: false, sends_extended: false, ..any.codec() };
        let message = any.plain_message(&codec);
        let bytes = message.encode(&codec).unwrap();
        match netgauze::parse(&bytes, codec.four_octet_as) {
            Ok(theirs) if netgauze::bytes(&theirs) == bytes => {}
            theirs => failures.push(format!("{theirs:?} of {message:?}")),
        }
    }
    assert!(failures.is_empty(), "{} of 3000:\n{}", failures.len(), failures.iter().take(8).cloned().collect::<Vec<_>>().join("\n\n"));
}

/// Mutated messages that netgauze still takes strictly are taken here too, unless an RFC that it leaves out speaks against it.
#[test]
fn what_netgauze_takes_is_refused_here_only_for_a_reason() {
    const REASONS: [&str; 4] = [
        "AS 0 (RFC 7607)",
        // RFC 7606 §5.2
        "a malformed attribute and no route that it belongs to",
        // RFC 8950, not negotiated
        "a malformed MP_REACH_NLRI or MP_UNREACH_NLRI",
        // RFC 4271 §6.3
        "an unknown attribute that is not optional",
    ];
    let mut rng = fastrand::Rng::with_seed(11);
    let mut any = Any::new(12);
    let mut taken = 0;
    for _ in 0..30_000 {
        let codec = Codec { takes_extended: false, sends_extended: false, ..any.codec() };
        let mut bytes = any.plain_message(&codec).encode(&codec).unwrap();
        for _ in 0..rng.usize(1..4) {
            let position = rng.usize(18..bytes.len());
            bytes[position] = if rng.bool() { rng.u8(..) } else { rng.u8(..6) };
        }
        if netgauze::parse(&bytes, codec.four_octet_as).is_err() {
            continue;
        }
        taken += 1;
        if let Err(error) = Message::decode(&bytes, &codec) {
            assert!(REASONS.contains(&error.what), "{error}: {bytes:02x?}");
        }
    }
    assert!(taken > 10_000, "only {taken}");
}

/// Theirs: what netgauze makes of its own values is read here.
#[test]
fn what_netgauze_writes_is_read_here() {
    for (bytes, expected) in netgauze::samples() {
        let received = Message::decode(&bytes, &MODERN).unwrap();
        assert_eq!(received.faults, []);
        assert_eq!(received.message, expected);
        assert_eq!(received.message.encode(&MODERN).unwrap(), bytes);
    }
}

/// Valid messages with a few octets changed, lengths mostly repaired: no panic, and what decodes is written back as the same value.
#[test]
fn mutated_messages_never_panic_and_decode_to_what_they_encode_to() {
    let count = std::env::var("LANLORD_MUTATIONS").map_or(200_000, |count| count.parse().unwrap());
    let mut rng = fastrand::Rng::with_seed(1);
    let mut any = Any::new(2);
    let seeds: Vec<(Codec, Vec<u8>)> = (0..400)
        .map(|_| {
            let codec = any.codec();
            (codec, any.message(&codec).encode(&codec).unwrap())
        })
        .collect();
    let mut decoded = 0;
    for _ in 0..count {
        let (codec, mut bytes) = rng.choice(&seeds).unwrap().clone();
        for _ in 0..rng.usize(1..5) {
            let position = rng.usize(19.min(bytes.len() - 1)..bytes.len());
            match rng.u8(..6) {
                0 => drop(bytes.remove(position)),
                1 => bytes.insert(position, rng.u8(..)),
                2 => bytes[position] = bytes[position].wrapping_add(1),
                _ => bytes[position] = rng.u8(..),
            }
        }
        if bytes.len() >= 18 && rng.u8(..20) > 0 {
            let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
            bytes[16..18].copy_from_slice(&length);
        }
        let Ok(Received { message, .. }) = Message::decode(&bytes, &codec) else { continue };
        decoded += 1;
        // AS4_PATH is made of AS_PATH: one that came with it may make the message longer, or be another.
        if codec.four_octet_as
            && let Ok(again) = message.encode(&codec)
        {
            assert_eq!(Message::decode(&again, &codec).unwrap().message, message, "{bytes:02x?}");
        }
    }
    assert!(decoded > count / 10, "only {decoded} of {count} were anything");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 256 << 10, "{peak} KiB");
}

/// The other implementation.
mod netgauze {
    use lanlord::wire::bgp::{Capability, Message, Open};
    use netgauze_bgp_pkt::BgpMessage;
    use netgauze_bgp_pkt::capabilities::{BgpCapability, FourOctetAsCapability};
    use netgauze_bgp_pkt::open::{BgpOpenMessage, BgpOpenMessageParameter};
    use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
    use netgauze_parse_utils::WritablePdu;
    use netgauze_parse_utils::reader::SliceReader;
    use netgauze_parse_utils::traits::ParseFromWithOneInput;

    pub(super) fn parse(bytes: &[u8], four_octets: bool) -> Result<BgpMessage, String> {
        let mut context = BgpParsingContext::asn2_default();
        context.set_asn4(four_octets);
        let mut reader = SliceReader::new(bytes);
        let message = BgpMessage::parse(&mut reader, &mut context).map_err(|error| format!("{error:?}"))?;
        if reader.is_empty() { Ok(message) } else { Err("bytes are left".to_owned()) }
    }

    pub(super) fn bytes(message: &BgpMessage) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.write(&mut bytes).unwrap();
        bytes
    }

    pub(super) fn samples() -> Vec<(Vec<u8>, Message)> {
        let identifier = std::net::Ipv4Addr::new(192, 0, 2, 9);
        let capabilities = vec![BgpCapability::RouteRefresh, BgpCapability::FourOctetAs(FourOctetAsCapability::new(65_550))];
        let parameters = vec![BgpOpenMessageParameter::Capabilities(capabilities.into())];
        let open = BgpMessage::Open(BgpOpenMessage::new(23456, 180, identifier, parameters));
        let capabilities = vec![Capability::RouteRefresh, Capability::FourOctetAs(65_550)];
        let ours = Message::Open(Open { my_as: 23456, hold_time: 180, identifier, capabilities });
        vec![(bytes(&open), ours), (bytes(&BgpMessage::KeepAlive), Message::Keepalive)]
    }
}
