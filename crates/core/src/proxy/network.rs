//! Networks as httpd's directives write them (`apr_ipsubnet_create`), and addresses. Nothing is looked up by name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::directive::Refusal;

/// The addresses that have the bits of `mask` in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Of IPv4; those that IPv6 writes as `::ffff:a.b.c.d` too.
    V4 {
        /// The bits in common, all others 0.
        bits: u32,
        /// Which bits these are.
        mask: u32,
    },
    /// Of IPv6.
    V6 {
        /// As above.
        bits: u128,
        /// As above.
        mask: u128,
    },
}

impl Network {
    /// Reads `address`, `address/bits`, for IPv4 also `address/mask` and the first numbers of an address (`10.1`).
    ///
    /// # Errors
    /// Quotes what is none of these.
    pub fn parse(word: &[u8]) -> Result<Network, Refusal> {
        let text = String::from_utf8_lossy(word);
        read(&text).ok_or_else(|| {
            format!("'{text}' is neither an IP address nor a network: write 10.1.2.3, 10.0.0.0/8, 10.1 or fd00::/8")
        })
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Network::V4 { bits, mask }, IpAddr::V4(address)) => address.to_bits() & mask == bits,
            (Network::V6 { bits, mask }, IpAddr::V6(address)) => address.to_bits() & mask == bits,
            _ => false,
        }
    }
}

/// Whether an address is in one of the networks.
pub fn any(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The address that a text is, and nothing else than an address.
pub fn address(text: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// As [`address`], for the other end of a connection: a link-local address has its interface behind a `%`.
pub fn peer(text: &[u8]) -> Option<IpAddr> {
    address(text.split(|&b| b == b'%').next()?)
}

fn read(text: &str) -> Option<Network> {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    match address.parse() {
        Ok(IpAddr::V4(address)) => {
            let mask = match mask {
                None => u32::MAX,
                Some(mask) => match mask.parse::<Ipv4Addr>() {
                    Ok(mask) => mask.to_bits(),
                    Err(_) => ones(number(mask, 32)?, 32) as u32,
                },
            };
            Some(v4(address, mask))
        }
        Ok(IpAddr::V6(address)) => {
            let len = mask.map_or(Some(128), |mask| number(mask, 128))?;
            match (address.to_ipv4_mapped(), len.checked_sub(96)) {
                (Some(address), Some(len)) => Some(v4(address, ones(len, 32) as u32)),
                _ => Some(v6(address, ones(len, 128))),
            }
        }
        Err(_) if mask.is_none() => part(address),
        Err(_) => None,
    }
}

fn v4(address: Ipv4Addr, mask: u32) -> Network {
    Network::V4 {
        bits: address.to_bits() & mask,
        mask,
    }
}

fn v6(address: Ipv6Addr, mask: u128) -> Network {
    Network::V6 {
        bits: address.to_bits() & mask,
        mask,
    }
}

/// One to three numbers, with or without a dot behind them.
fn part(text: &str) -> Option<Network> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let numbers: Option<Vec<u8>> = text.split('.').map(|text| number(text, 255)?.try_into().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len() <= 3)?;
    let mut octets = [0; 4];
    octets[..numbers.len()].copy_from_slice(&numbers);
    let bits = u32::try_from(8 * numbers.len()).ok()?;
    Some(v4(octets.into(), ones(bits, 32) as u32))
}

/// A number of digits only.
fn number(text: &str, most: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

/// The first `len` of `width` bits.
fn ones(len: u32, width: u32) -> u128 {
    let all = u128::MAX >> (128 - width);
    all & !all.checked_shr(len).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        let network = Network::parse(network.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        super::address(address.as_bytes()).is_some_and(|address| network.contains(address))
    }

    #[test]
    fn networks() {
        for (network, inside, outside) in [
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3/8", "10.255.0.1", "11.1.2.3"),
            ("10.0.0.0/0", "192.168.0.1", "::1"),
            ("10.0.0.0/255.255.0.0", "10.0.9.9", "10.1.0.0"),
            ("10", "10.9.9.9", "11.0.0.0"),
            ("10.1", "10.1.255.0", "10.2.0.0"),
            ("192.168.7.", "192.168.7.1", "192.168.8.1"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
            ("::1", "::1", "127.0.0.1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:DB8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("fe80::/10", "febf::1", "fec0::1"),
        ] {
            assert!(holds(network, inside), "{inside} is in {network}");
            assert!(!holds(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn neither_address_nor_network() {
        for word in [
            "",
            "localhost",
            "example.org",
            "256.0.0.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8x",
            "10/8",
            "1.2.3.4.5",
            "..",
            "::1/129",
            "[::1]",
            "::1/255.0.0.0",
            "*",
            "\u{e4}",
        ] {
            let refusal = Network::parse(word.as_bytes()).unwrap_err();
            assert!(refusal.contains(&format!("'{word}'")), "{refusal}");
        }
    }

    #[test]
    fn peers() {
        assert_eq!(peer(b"fe80::1%eth0"), "fe80::1".parse().ok());
        for none in ["", "host", "10.0.0.1:80", "[::1]", "fe80::1%eth0"] {
            assert_eq!(address(none.as_bytes()), None, "{none}");
        }
    }
}
