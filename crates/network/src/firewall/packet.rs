//! Reading a packet that is to be sent once more, with the checksums that the kernel left for the hardware to compute.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const IPV6_HEADER: usize = 40;

/// A packet of a protocol with ports, from its network header on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The whole packet.
    pub(super) bytes: Vec<u8>,
    /// Its protocol's number.
    pub(super) protocol: u8,
    /// Who sent it.
    pub(super) source: SocketAddr,
    /// To whom.
    pub(super) destination: SocketAddr,
}

impl Packet {
    /// Nothing if it is cut short, a fragment, of IPv6 with extension headers, or without ports.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (header, length, protocol, source, destination) = match payload.first()? >> 4 {
            4 => {
                let header = usize::from(payload[0] & 0xf) * 4;
                let fragment = be16(payload, 6)? & 0x3fff;
                let address = |at| Some(IpAddr::V4(Ipv4Addr::from(array::<4>(payload, at)?)));
                let length = usize::from(be16(payload, 2)?);
                (fragment == 0 && header >= 20).then_some((
                    header,
                    length,
                    *payload.get(9)?,
                    address(12)?,
                    address(16)?,
                ))?
            }
            6 => {
                let address = |at| Some(IpAddr::V6(Ipv6Addr::from(array::<16>(payload, at)?)));
                let length = IPV6_HEADER + usize::from(be16(payload, 4)?);
                (IPV6_HEADER, length, *payload.get(6)?, address(8)?, address(24)?)
            }
            _ => return None,
        };
        let mut bytes = payload.get(..length)?.to_vec();
        let segment = bytes.get_mut(header..)?;
        let ports = (be16(segment, 0)?, be16(segment, 2)?);
        match protocol {
            TCP => sum(segment, 16, protocol, source, destination)?,
            // Of IPv4 a datagram need have no checksum.
            UDP if source.is_ipv4() && be16(segment, 6)? == 0 => {}
            UDP => sum(segment, 6, protocol, source, destination)?,
            // Its checksum covers no address and is there already, save between interfaces of one host.
            SCTP => {}
            _ => return None,
        }
        let source = SocketAddr::new(source, ports.0);
        let destination = SocketAddr::new(destination, ports.1);
        Some(Self { bytes, protocol, source, destination })
    }
}

/// Computes the checksum of a segment (RFC 1071, RFC 9293, RFC 768) and writes it where it belongs.
fn sum(segment: &mut [u8], at: usize, protocol: u8, source: IpAddr, destination: IpAddr) -> Option<()> {
    segment.get_mut(at..at + 2)?.fill(0);
    let mut total = u64::from(protocol) + segment.len() as u64;
    for address in [source, destination] {
        match address {
            IpAddr::V4(ip) => total += words(&ip.octets()),
            IpAddr::V6(ip) => total += words(&ip.octets()),
        }
    }
    total += words(segment);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    // Zero would mean that a datagram has none.
    let sum = match !(total as u16) {
        0 if protocol == UDP => 0xffff,
        sum => sum,
    };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    Some(())
}

/// The sum of the 16-bit words, an odd byte padded with zero.
fn words(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram "hi" from 192.0.2.1:1000 to 192.0.2.2:53; its checksum by hand: the pseudo header sums to
    /// 0x8415, ports, length (twice) and text to 0x6c98.
    fn datagram(checksum: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 30, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend([0x03, 0xe8, 0, 53, 0, 10]);
        bytes.extend(checksum.to_be_bytes());
        bytes.extend(b"hi");
        bytes
    }

    #[test]
    fn a_checksum_left_to_hardware_is_computed() {
        let packet = Packet::read(&datagram(0x1234)).unwrap();
        assert_eq!(packet.source, "192.0.2.1:1000".parse().unwrap());
        assert_eq!(packet.destination, "192.0.2.2:53".parse().unwrap());
        // Whoever sums all words, the checksum among them, gets all ones.
        let pseudo = words(&[192, 0, 2, 1, 192, 0, 2, 2, 0, 17, 0, 10]);
        let total = pseudo + words(&packet.bytes[20..]);
        assert_eq!((total & 0xffff) + (total >> 16), 0xffff);
        assert_eq!(Packet::read(&datagram(0)).unwrap().bytes, datagram(0), "none stays none");
    }

    #[test]
    fn what_follows_the_packet_is_left_out_and_what_is_cut_short_not_read() {
        let mut longer = datagram(0);
        longer.extend([9, 9]);
        assert_eq!(Packet::read(&longer).unwrap().bytes, datagram(0));
        for length in 0..datagram(0).len() {
            assert_eq!(Packet::read(&datagram(0)[..length]), None, "{length}");
        }
        let mut fragment = datagram(0);
        fragment[6] = 0x20;
        assert_eq!(Packet::read(&fragment), None);
        let mut icmp = datagram(0);
        icmp[9] = 1;
        assert_eq!(Packet::read(&icmp), None);
    }

    #[test]
    fn six_has_its_addresses_elsewhere() {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 20, TCP, 64];
        bytes.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        bytes.extend([0x30, 0x39, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0xff, 0xff, 0, 0]);
        let packet = Packet::read(&bytes).unwrap();
        assert_eq!(packet.source, "[2001:db8::2]:12345".parse().unwrap());
        assert_eq!(packet.destination, "[2001:db8::1]:8080".parse().unwrap());
        assert_ne!(be16(&packet.bytes, 56), Some(0xffff));
        bytes[6] = 60;
        assert_eq!(Packet::read(&bytes), None, "extension headers");
    }
}
