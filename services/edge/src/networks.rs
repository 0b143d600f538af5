//! A table of networks, and whether an address is in it.

use std::net::IpAddr;

use ipnet::IpNet;

/// The table that comes with the edge: an example.
pub const EXAMPLE: &str = include_str!("../networks/mainland.example.txt");

/// Networks, read from lines of CIDR. IPv4 lies inside IPv6 as it is mapped there (RFC 4291).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// First and last address of each range; sorted, apart from each other.
    ranges: Vec<(u128, u128)>,
    /// The date that the table gives itself; empty: none.
    date: String,
}

/// The table cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworksError {
    /// A line is not a network.
    #[error("line {0} of the network table is not a network in CIDR form")]
    Line(usize),
    /// Without a date nobody knows how old it is.
    #[error("the network table has no line `date YYYY-MM-DD`")]
    Date,
    /// Nobody could pass.
    #[error("the network table is empty")]
    Empty,
}

impl Networks {
    /// Reads a table: a line `date YYYY-MM-DD`, one network a line, comments after `#`.
    pub fn parse(text: &str) -> Result<Self, NetworksError> {
        let mut date = None;
        let mut networks = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(text) = line.strip_prefix("date ") {
                let valid = chrono::NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d");
                date = Some(valid.map_err(|_| NetworksError::Date)?.to_string());
            } else if !line.is_empty() {
                let network: IpNet = line.parse().map_err(|_| NetworksError::Line(index + 1))?;
                networks.push(network);
            }
        }
        if networks.is_empty() {
            return Err(NetworksError::Empty);
        }
        let date = date.ok_or(NetworksError::Date)?;
        Ok(Self {
            date,
            ..Self::of(&networks)
        })
    }

    /// A table of these networks.
    #[must_use]
    pub fn of(networks: &[IpNet]) -> Self {
        let mut sorted: Vec<_> = networks
            .iter()
            .map(|network| (number(network.network()), number(network.broadcast())))
            .collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last)
                }
                _ => ranges.push((first, last)),
            }
        }
        Self {
            ranges,
            date: String::new(),
        }
    }

    /// The address is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }

    /// The date of the table.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.date
    }

    /// How many ranges it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// It has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_knows_a_part_of_loopback() {
        let table = Networks::parse(EXAMPLE).unwrap();
        assert_eq!(table.date(), "2026-11-23");
        let cases = [
            ("127.0.0.1", true),
            ("127.0.0.255", true),
            ("127.0.1.0", false),
            ("127.9.9.9", false),
            ("::ffff:127.0.0.1", true),
            ("::1", true),
            ("::2", false),
            ("203.0.113.7", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("8.8.8.8", false),
        ];
        for (address, inside) in cases {
            assert_eq!(
                table.contains(address.parse().unwrap()),
                inside,
                "{address}"
            );
        }
    }

    #[test]
    fn neighbours_and_nested_networks_become_one_range() {
        let networks = ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.64/26", "0.0.0.0/8"];
        let table = Networks::of(&networks.map(|text| text.parse().unwrap()));
        assert_eq!(table.len(), 2);
        assert!(table.contains("10.0.0.200".parse().unwrap()));
        assert!(!table.contains("10.0.1.0".parse().unwrap()));
        assert!(!Networks::default().contains("::".parse().unwrap()));
    }

    #[test]
    fn a_bad_table_is_refused() {
        let cases = [
            ("date 2026-01-01\n10.0.0.0/8\nchina", NetworksError::Line(3)),
            ("10.0.0.0/8", NetworksError::Date),
            ("date yesterday\n10.0.0.0/8", NetworksError::Date),
            ("date 2026-01-01\n# nothing", NetworksError::Empty),
        ];
        for (text, error) in cases {
            assert_eq!(Networks::parse(text), Err(error));
        }
    }
}
