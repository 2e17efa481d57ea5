//! Wire formats: golden bytes both ways, a second opinion (etherparse), and garbage that must not panic.

use std::net::{Ipv4Addr, Ipv6Addr};

use lanlord::addr::{MacAddr, solicited_node};
use lanlord::wire::DecodeError;
use lanlord::wire::{arp, bfd, ethernet, ndp};
use proptest::prelude::*;

const A: MacAddr = MacAddr([0x02, 0, 0x5e, 0, 0x53, 0x01]);
const B: MacAddr = MacAddr([0x02, 0, 0x5e, 0, 0x53, 0x02]);

#[rustfmt::skip]
const ARP_REPLY: [u8; 42] = [
    0x02, 0x00, 0x5e, 0x00, 0x53, 0x02, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x08, 0x06,
    0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
    0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 192, 0, 2, 240,
    0x02, 0x00, 0x5e, 0x00, 0x53, 0x02, 192, 0, 2, 9,
];

/// Captured from Linux 6.18: fd77::100 (02:00:5e:00:53:02) looks for fd77::200.
#[rustfmt::skip]
const SOLICITATION: [u8; 86] = [
    0x33, 0x33, 0xff, 0x00, 0x02, 0x00, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x02, 0x86, 0xdd,
    0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
    0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0x00,
    0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff, 0x00, 0x02, 0x00,
    0x87, 0x00, 0xc6, 0xac, 0, 0, 0, 0,
    0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x00,
    0x01, 0x01, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x02,
];

/// The packet of RFC 5880 §4.1 with every field its own: Diag 1, State Up, P, C, D.
#[rustfmt::skip]
const CONTROL: [u8; 24] = [
    0x21, 0xea, 3, 24,
    0x01, 0x02, 0x03, 0x04,
    0x05, 0x06, 0x07, 0x08,
    0x00, 0x01, 0x86, 0xa0,
    0x00, 0x0f, 0x42, 0x40,
    0x00, 0x00, 0xc3, 0x50,
];

fn control() -> bfd::Packet {
    bfd::Packet {
        diagnostic: bfd::Diagnostic::CONTROL_DETECTION_TIME_EXPIRED,
        state: bfd::State::Up,
        poll: true,
        final_: false,
        control_plane_independent: true,
        demand: true,
        detect_mult: 3,
        my_discriminator: 0x0102_0304,
        your_discriminator: 0x0506_0708,
        desired_min_tx_interval: 100_000,
        required_min_rx_interval: 1_000_000,
        required_min_echo_rx_interval: 50_000,
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn arp_reply() -> arp::Packet {
    let (spa, tpa) = (Ipv4Addr::new(192, 0, 2, 240), Ipv4Addr::new(192, 0, 2, 9));
    arp::Packet { operation: arp::Operation::Reply, sha: A, spa, tha: B, tpa }
}

fn advertisement(destination: &str, solicited: bool) -> ndp::Packet {
    let target = v6("fd77::200");
    let message =
        ndp::Message::NeighborAdvertisement { router: false, solicited, override_: true, target, target_link_layer_address: Some(A) };
    ndp::Packet { source: target, destination: v6(destination), message }
}

fn arp_frame(packet: &arp::Packet) -> Vec<u8> {
    let mut frame = Vec::new();
    packet.encode_frame(A, B, &mut frame);
    frame
}

fn ndp_frame(packet: &ndp::Packet) -> Vec<u8> {
    let mut frame = Vec::new();
    packet.encode_frame(A, B, &mut frame);
    frame
}

#[test]
fn an_arp_packet_is_read_and_written_as_rfc_826_draws_it() {
    assert_eq!(arp_frame(&arp_reply()), ARP_REPLY);
    let (header, packet) = arp::Packet::decode_frame(&ARP_REPLY).unwrap();
    assert_eq!(header, ethernet::Header { destination: B, source: A, ethertype: 0x0806 });
    assert_eq!(packet, arp_reply());
    let mut padded = ARP_REPLY.to_vec();
    padded.resize(60, 0);
    assert_eq!(arp::Packet::decode_frame(&padded).unwrap().1, arp_reply());
}

#[test]
fn a_solicitation_as_linux_sends_it_is_read_and_written_back() {
    let (header, packet) = ndp::Packet::decode_frame(&SOLICITATION).unwrap();
    let target = v6("fd77::200");
    let message = ndp::Message::NeighborSolicitation { target, source_link_layer_address: Some(B) };
    assert_eq!(packet, ndp::Packet { source: v6("fd77::100"), destination: solicited_node(target), message });
    let mut frame = Vec::new();
    packet.encode_frame(header.source, header.destination, &mut frame);
    assert_eq!(frame, SOLICITATION);
}

#[test]
fn what_breaks_a_rule_of_rfc_4861_section_7_1_is_refused_by_name() {
    let solicitation = |edit: &dyn Fn(&mut ndp::Packet)| {
        let (_, mut packet) = ndp::Packet::decode_frame(&SOLICITATION).unwrap();
        edit(&mut packet);
        ndp::Packet::decode_frame(&ndp_frame(&packet)).unwrap_err()
    };
    assert_eq!(
        solicitation(&|packet| packet.source = Ipv6Addr::UNSPECIFIED),
        DecodeError::Field("source link-layer address of a DAD probe")
    );
    let probe = |packet: &mut ndp::Packet, to: Ipv6Addr| {
        let message = ndp::Message::NeighborSolicitation { target: v6("fd77::200"), source_link_layer_address: None };
        *packet = ndp::Packet { source: Ipv6Addr::UNSPECIFIED, destination: to, message };
    };
    assert_eq!(solicitation(&|packet| probe(packet, v6("fd77::200"))), DecodeError::Field("destination of a DAD probe"));
    assert_eq!(solicitation(&|packet| packet.source = v6("ff02::1")), DecodeError::Field("source"));
    let flags = ndp::Packet::decode_frame(&ndp_frame(&advertisement("ff02::1", true))).unwrap_err();
    assert_eq!(flags, DecodeError::Field("solicited flag to a group"));
    let bytes = |position: usize, value: u8| {
        let mut frame = SOLICITATION;
        frame[position] = value;
        ndp::Packet::decode_frame(&frame).unwrap_err()
    };
    assert_eq!(bytes(21, 254), DecodeError::Field("hop limit"));
    assert_eq!(bytes(20, 17), DecodeError::Field("next header"));
    assert_eq!(bytes(14, 0x40), DecodeError::Field("IP version"));
    assert_eq!(bytes(19, 40), DecodeError::Truncated);
    assert_eq!(bytes(60, 1), DecodeError::Checksum);
    assert_eq!(ndp::Packet::decode_frame(&SOLICITATION[..70]).unwrap_err(), DecodeError::Truncated);
}

#[test]
fn an_option_of_length_zero_spoils_the_message_and_unknown_options_are_skipped() {
    let with_options = |options: &[u8]| {
        let mut bytes = SOLICITATION[14..78].to_vec();
        bytes.extend_from_slice(options);
        bytes[5] = u8::try_from(24 + options.len()).unwrap();
        fix_checksum(&mut bytes);
        ndp::Packet::decode(&bytes)
    };
    assert_eq!(with_options(&[14, 0, 0, 0, 0, 0, 0, 0]), Err(DecodeError::Field("option length")));
    assert_eq!(with_options(&[14, 2, 0, 0]), Err(DecodeError::Truncated));
    let nonce_first = with_options(&[14, 1, 1, 2, 3, 4, 5, 6, 1, 1, 2, 0, 0x5e, 0, 0x53, 2]).unwrap();
    let ndp::Message::NeighborSolicitation { source_link_layer_address, .. } = nonce_first.message else { panic!("a solicitation") };
    assert_eq!(source_link_layer_address, Some(B));
}

#[test]
fn a_bfd_control_packet_is_read_and_written_as_rfc_5880_draws_it() {
    assert_eq!(control().encode(), CONTROL);
    assert_eq!(bfd::Packet::decode(&CONTROL), Ok(control()));
    let mut padded = CONTROL.to_vec();
    padded.extend_from_slice(&[0xff; 9]);
    assert_eq!(bfd::Packet::decode(&padded), Ok(control()), "bytes behind the packet are not ours");
    let mut final_ = CONTROL;
    final_[1] = 0xd0;
    let expected = bfd::Packet { poll: false, final_: true, control_plane_independent: false, demand: false, ..control() };
    assert_eq!(bfd::Packet::decode(&final_), Ok(expected));
}

#[test]
fn what_section_6_8_6_of_rfc_5880_discards_is_refused_by_name() {
    let with = |edits: &[(usize, u8)]| {
        let mut bytes = CONTROL;
        edits.iter().for_each(|(position, value)| bytes[*position] = *value);
        bfd::Packet::decode(&bytes)
    };
    for version in [0, 2, 3, 7] {
        assert_eq!(with(&[(0, version << 5)]), Err(DecodeError::Field("version")));
    }
    for length in 0..24 {
        assert_eq!(with(&[(3, length)]), Err(DecodeError::Field("length")));
        assert_eq!(bfd::Packet::decode(&CONTROL[..usize::from(length)]), Err(DecodeError::Truncated));
    }
    assert_eq!(with(&[(3, 25)]), Err(DecodeError::Truncated), "longer than the payload");
    assert_eq!(with(&[(2, 0)]), Err(DecodeError::Field("Detect Mult")));
    assert_eq!(with(&[(1, 0xc1)]), Err(DecodeError::Field("Multipoint")));
    assert_eq!(with(&[(1, 0xc4)]), Err(DecodeError::Field("Authentication Present")));
    assert_eq!(with(&[(4, 0), (5, 0), (6, 0), (7, 0)]), Err(DecodeError::Field("My Discriminator")));
    let nameless = [(8, 0), (9, 0), (10, 0), (11, 0)];
    for (sta, fine) in [(0x00, true), (0x40, true), (0x80, false), (0xc0, false)] {
        let result = with(&[nameless.as_slice(), &[(1, sta)]].concat());
        assert_eq!(result.is_ok(), fine, "Your Discriminator 0 in state {sta:#x}");
    }
}

fn fix_checksum(ipv6: &mut [u8]) {
    let header = etherparse::Ipv6Header::from_slice(ipv6).unwrap().0;
    let icmp =
        etherparse::Icmpv6Type::Unknown { type_u8: ipv6[40], code_u8: ipv6[41], bytes5to8: [ipv6[44], ipv6[45], ipv6[46], ipv6[47]] };
    let sum = icmp.calc_checksum(header.source, header.destination, &ipv6[48..]).unwrap();
    ipv6[42..44].copy_from_slice(&sum.to_be_bytes());
}

fn a_mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn an_arp_packet() -> impl Strategy<Value = arp::Packet> {
    (any::<bool>(), a_mac(), any::<Ipv4Addr>(), a_mac(), any::<Ipv4Addr>()).prop_map(|(request, sha, spa, tha, tpa)| {
        let operation = if request { arp::Operation::Request } else { arp::Operation::Reply };
        arp::Packet { operation, sha, spa, tha, tpa }
    })
}

fn a_unicast() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("a unicast address", |address| !address.is_multicast() && !address.is_unspecified())
}

fn an_ndp_packet() -> impl Strategy<Value = ndp::Packet> {
    (a_unicast(), a_unicast(), a_unicast(), proptest::option::of(a_mac()), any::<[bool; 4]>()).prop_map(
        |(source, destination, target, mac, [solicitation, router, solicited, override_])| {
            let message = if solicitation {
                ndp::Message::NeighborSolicitation { target, source_link_layer_address: mac }
            } else {
                ndp::Message::NeighborAdvertisement { router, solicited, override_, target, target_link_layer_address: mac }
            };
            ndp::Packet { source, destination, message }
        },
    )
}

proptest! {
    #[test]
    fn arp_packets_survive_the_wire_and_etherparse_reads_the_same(packet in an_arp_packet()) {
        let frame = arp_frame(&packet);
        prop_assert_eq!(arp::Packet::decode_frame(&frame).unwrap().1, packet);
        let theirs = etherparse::ArpPacketSlice::from_slice(&frame[14..]).unwrap();
        prop_assert_eq!(theirs.operation().0 == 1, packet.operation == arp::Operation::Request);
        prop_assert_eq!(theirs.sender_hw_addr(), packet.sha.0);
        prop_assert_eq!(theirs.sender_protocol_addr(), packet.spa.octets());
        prop_assert_eq!(theirs.target_hw_addr(), packet.tha.0);
        prop_assert_eq!(theirs.target_protocol_addr(), packet.tpa.octets());
    }

    #[test]
    fn ndp_packets_survive_the_wire_and_etherparse_agrees_on_the_checksum(packet in an_ndp_packet()) {
        let frame = ndp_frame(&packet);
        prop_assert_eq!(ndp::Packet::decode_frame(&frame).unwrap().1, packet);
        let theirs = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = theirs.transport else { panic!("not ICMPv6") };
        prop_assert!(icmp.is_checksum_valid(packet.source.octets(), packet.destination.octets()));
    }

    #[test]
    fn what_decodes_as_bfd_is_written_back_byte_for_byte(mut bytes in any::<[u8; 24]>()) {
        // Likely ones: version 1, the right length, neither A nor M.
        (bytes[0], bytes[1], bytes[3]) = (bytes[0] & 0x1f | 0x20, bytes[1] & 0xfa, 24);
        if let Ok(packet) = bfd::Packet::decode(&bytes) {
            prop_assert_eq!(packet.encode(), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (arp::Packet::decode_frame(&bytes), ndp::Packet::decode_frame(&bytes), arp::Packet::decode(&bytes), ndp::Packet::decode(&bytes));
        let _ = bfd::Packet::decode(&bytes);
    }
}

#[test]
fn mutated_packets_never_panic() {
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..200_000 {
        let mut frame = [&ARP_REPLY[..], &SOLICITATION, &CONTROL][rng.usize(..3)].to_vec();
        for _ in 0..rng.usize(1..4) {
            let position = rng.usize(0..frame.len());
            frame[position] = rng.u8(..);
        }
        frame.truncate(rng.usize(0..=frame.len()));
        let _ = arp::Packet::decode_frame(&frame);
        let _ = ndp::Packet::decode_frame(&frame);
        let _ = bfd::Packet::decode(&frame);
        // Behind a right checksum there is more to get wrong.
        if frame.len() == SOLICITATION.len() && etherparse::Ipv6Header::from_slice(&frame[14..]).is_ok() {
            fix_checksum(&mut frame[14..]);
            let _ = ndp::Packet::decode_frame(&frame);
        }
    }
}
