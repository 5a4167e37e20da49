//! Which IP addresses are public: a hand table, since `IpAddr::is_global` is unstable.
//!
//! Source: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates), and the metadata
//! addresses that the cloud providers document.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// How far an address reaches. The text is what it is called in a message, after "which is ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Globally routable unicast.
    Public,
    /// Not globally routable: the operator may list it.
    Private(&'static str),
    /// This machine: the operator may list it.
    Loopback,
    /// Not even the operator may list it.
    Never(&'static str),
}

use Reach::{Loopback, Never, Private, Public};

const LINK_LOCAL: Reach = Never("a link-local address");
const METADATA: Reach = Never("a cloud metadata address");
const MULTICAST: Reach = Never("a multicast address");
const UNSPECIFIED: Reach = Never("an unspecified address");
const PRIVATE: Reach = Private("a private address");
const RESERVED: Reach = Private("a reserved address");
const DOCUMENTATION: Reach = Private("an address reserved for documentation");
const EMBEDS: Reach = Private("an IPv6 address that embeds an IPv4 address");

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const fn one_v6(a: u16, b: u16, c: u16, g: u16, h: u16) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, g, h), 128)
}

/// The first match decides; what matches nothing is public.
const V4: &[(Ipv4Net, Reach)] = &[
    (v4(100, 100, 100, 200, 32), METADATA),
    (v4(168, 63, 129, 16, 32), METADATA),
    (v4(192, 0, 0, 192, 32), METADATA),
    (v4(169, 254, 169, 254, 32), METADATA),
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(0, 0, 0, 0, 8), UNSPECIFIED),
    (v4(127, 0, 0, 0, 8), Loopback),
    (v4(224, 0, 0, 0, 4), MULTICAST),
    (v4(255, 255, 255, 255, 32), Never("the broadcast address")),
    (v4(10, 0, 0, 0, 8), PRIVATE),
    (v4(172, 16, 0, 0, 12), PRIVATE),
    (v4(192, 168, 0, 0, 16), PRIVATE),
    (v4(100, 64, 0, 0, 10), Private("a shared (carrier-grade NAT) address")),
    (v4(192, 0, 0, 0, 24), RESERVED),
    (v4(192, 0, 2, 0, 24), DOCUMENTATION),
    (v4(198, 51, 100, 0, 24), DOCUMENTATION),
    (v4(203, 0, 113, 0, 24), DOCUMENTATION),
    (v4(192, 88, 99, 0, 24), RESERVED),
    (v4(198, 18, 0, 0, 15), Private("an address reserved for benchmarks")),
    (v4(240, 0, 0, 0, 4), RESERVED),
];

/// The first match decides; what matches nothing is public within 2000::/3, else reserved.
const V6: &[(Ipv6Net, Reach)] = &[
    (v6(0xfd00, 0xec2, 0, 32), METADATA),
    (one_v6(0xfd20, 0xce, 0, 0, 0x254), METADATA),
    (one_v6(0xfd00, 0xc1, 0, 0xa9fe, 0xa9fe), METADATA),
    (one_v6(0, 0, 0, 0, 0), UNSPECIFIED),
    (one_v6(0, 0, 0, 0, 1), Loopback),
    (v6(0xfe80, 0, 0, 10), LINK_LOCAL),
    (v6(0xff00, 0, 0, 8), MULTICAST),
    (v6(0xfc00, 0, 0, 7), PRIVATE),
    (v6(0xfec0, 0, 0, 10), PRIVATE),
    (v6(0x2001, 0xdb8, 0, 32), DOCUMENTATION),
    (v6(0x3fff, 0, 0, 20), DOCUMENTATION),
    (v6(0x2001, 0, 0, 23), RESERVED),
    (v6(0x3ffe, 0, 0, 16), RESERVED),
];

/// How far an address reaches; an IPv6 address that embeds an IPv4 address reaches no further than that one.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

/// The IPv4 address that an IPv4-mapped IPv6 address is another spelling of, else the address itself.
#[must_use]
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    V4.iter().find(|(net, _)| net.contains(&address)).map_or(Public, |(_, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if let Some(v4) = address.to_ipv4_mapped() {
        return reach_v4(v4);
    }
    let own = V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, reach)| *reach);
    match (own, embedded(address)) {
        (Some(never @ Never(_)), _) => never,
        (Some(Loopback), _) => Loopback,
        // An IPv6-only network reaches all of IPv4 through NAT64 (RFC 6052): as public as what is behind it.
        (None, Some((v4, Tunnel::Nat64))) => reach_v4(v4),
        (_, Some((v4, Tunnel::Other))) => match reach_v4(v4) {
            reach @ (Never(_) | Loopback) => reach,
            Public | Private(_) => EMBEDS,
        },
        (Some(reach), _) => reach,
        (None, None) if address.segments()[0] & 0xe000 == 0x2000 => Public,
        (None, None) => RESERVED,
    }
}

enum Tunnel {
    Nat64,
    Other,
}

/// The IPv4 address inside: NAT64 (RFC 6052, 8215), IPv4-compatible (RFC 4291), IPv4-translated (RFC 7915), 6to4
/// (RFC 3056), Teredo (RFC 4380: the client's, inverted) and ISATAP (RFC 5214).
fn embedded(address: Ipv6Addr) -> Option<(Ipv4Addr, Tunnel)> {
    let s = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((join(high, low), Tunnel::Nat64)),
        [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some((join(high, low), Tunnel::Other)),
        [0x2002, high, low, ..] => Some((join(high, low), Tunnel::Other)),
        [0x2001, 0, _, _, _, _, high, low] => Some((join(!high, !low), Tunnel::Other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3fff:1000::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert_eq!(reach(text.parse().unwrap()), Public, "{text}");
        }
    }

    #[test]
    fn the_edges_of_every_range_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.0",
            "127.255.255.255",
            "169.254.0.0",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.255",
            "192.0.2.0",
            "192.0.2.255",
            "192.88.99.0",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.0",
            "203.0.113.255",
            "224.0.0.0",
            "239.255.255.255",
            "240.0.0.0",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::2",
            "::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "100::1",
            "1fff:ffff::",
            "2001::1",
            "2001:1ff:ffff::",
            "2001:db8::",
            "2002:808:808::1",
            "3ffe::1",
            "3fff::",
            "3fff:fff:ffff::",
            "4000::",
            "64:ff9b:1::808:808",
            "2607:f8b0::5efe:808:808",
            "fc00::",
            "fdff:ffff::",
            "fe80::",
            "febf::",
            "fec0::",
            "ff02::1",
        ] {
            assert_ne!(reach(text.parse().unwrap()), Public, "{text}");
        }
    }

    #[test]
    fn no_spelling_of_a_forbidden_address_can_be_listed() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2001:0:1:2:3:4:5601:5601",
            "2607:f8b0::5efe:a9fe:a9fe",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fe80::1",
            "0.0.0.0",
            "::",
            "64:ff9b::",
            "255.255.255.255",
            "224.0.0.1",
        ] {
            assert!(matches!(reach(text.parse().unwrap()), Never(_)), "{text}");
        }
    }

    #[test]
    fn no_spelling_of_loopback_is_anything_else() {
        for text in
            ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
        {
            assert_eq!(reach(text.parse().unwrap()), Loopback, "{text}");
        }
    }
}
