//! Free ports, chosen once and kept.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, TcpListener},
};

use rand::Rng;

/// Below the range from which Linux takes the local ports of connections.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The ports of a stack by what they are for.
#[derive(Debug)]
pub struct Ports {
    chosen: BTreeMap<String, u16>,
}

impl Ports {
    /// Begins with the ports of an earlier run.
    #[must_use]
    pub fn keeping(chosen: BTreeMap<String, u16>) -> Self {
        Self { chosen }
    }

    /// The port for a use: the one of before, or a free one.
    pub fn get(&mut self, name: &str) -> u16 {
        if let Some(port) = self.chosen.get(name) {
            return *port;
        }
        let taken: HashSet<u16> = self.chosen.values().copied().collect();
        let port = free(&taken);
        self.chosen.insert(name.to_owned(), port);
        port
    }

    /// Forgets the port of a process that does not run, if somebody else took it meanwhile.
    pub fn release_taken(&mut self, name: &str) {
        if self.chosen.get(name).is_some_and(|port| !is_free(*port)) {
            self.chosen.remove(name);
        }
    }

    /// All of them, to be kept.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, u16> {
        &self.chosen
    }
}

fn free(taken: &HashSet<u16>) -> u16 {
    let mut chance = rand::rng();
    loop {
        let port = chance.random_range(RANGE);
        if !taken.contains(&port) && is_free(port) {
            return port;
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_chosen_once_and_is_nobody_elses() {
        let mut ports = Ports::keeping(BTreeMap::new());
        let (one, two) = (ports.get("one"), ports.get("two"));
        assert_ne!(one, two);
        let mut again = Ports::keeping(ports.all().clone());
        assert_eq!(again.get("one"), one);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
        again.release_taken("one");
        assert_ne!(again.get("one"), one);
    }
}
