//! How much somebody may do per second: lines, connections.
//!
//! It belongs to the *subscriber address*, not to a connection: whoever connects again has no more of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::clock::Millis;

/// At most so many addresses are told apart; the others share one allowance.
const ADDRESSES_MAX: usize = 64 * 1024;
/// How often those are forgotten whose allowance has refilled.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How much may be done: the generic cell rate algorithm (ITU-T I.371), a leaky bucket in one number.
#[derive(Debug, Default)]
pub struct Allowance {
    /// When the bucket will have run empty, in microseconds.
    empty_at_us: u64,
}

impl Allowance {
    /// Spends one; returns from when on it may be used, which is now unless `burst` of them are spent. Those who
    /// have to wait are served in the order in which they asked, so all get the same share.
    pub fn reserve(&mut self, rate: usize, burst: usize, now: Millis) -> Millis {
        let interval_us = interval_us(rate);
        let free_at_us = self.empty_at_us.saturating_sub(interval_us * burst.saturating_sub(1) as u64);
        self.empty_at_us = self.empty_at_us.max(now.0 * 1000) + interval_us;
        Millis(free_at_us.div_ceil(1000)).max(now)
    }

    /// Gives one back that was not used.
    pub fn refund(&mut self, rate: usize) {
        self.empty_at_us = self.empty_at_us.saturating_sub(interval_us(rate));
    }

    /// Whether one may be used now.
    pub fn has_one(&self, rate: usize, burst: usize, now: Millis) -> bool {
        self.empty_at_us <= now.0 * 1000 + interval_us(rate) * burst.saturating_sub(1) as u64
    }
}

fn interval_us(rate: usize) -> u64 {
    1_000_000 / rate.max(1) as u64
}

/// The allowances of all addresses. One that has refilled is as good as none, and is forgotten.
#[derive(Debug, Default)]
pub struct Allowances {
    by_address: HashMap<IpAddr, Allowance>,
    swept_at: Millis,
}

impl Allowances {
    /// The allowance of whoever has this address.
    pub fn of(&mut self, ip: IpAddr, now: Millis) -> &mut Allowance {
        if now.since(self.swept_at) >= SWEEP_INTERVAL {
            self.swept_at = now;
            self.by_address.retain(|_, allowance| allowance.empty_at_us > now.0 * 1000);
            self.by_address.shrink_to(2 * self.by_address.len());
        }
        let address = subscriber_address(ip);
        let is_full = self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address);
        let others = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        self.by_address.entry(if is_full { others } else { address }).or_default()
    }
}

/// The address that stands for one subscriber: an IPv4 address, or an IPv6 network of 64 bits, which
/// is what one household or machine is given (RFC 6177).
#[must_use]
pub fn subscriber_address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let mut allowance = Allowance::default();
        let at: Vec<u64> = (0..14).map(|_| allowance.reserve(5, 10, Millis(1000)).0).collect();
        assert_eq!(at[..10], [1000; 10]);
        assert_eq!(at[10..], [1200, 1400, 1600, 1800]);
        allowance.refund(5);
        assert_eq!(allowance.reserve(5, 10, Millis(1100)), Millis(1800));
        assert!(!allowance.has_one(5, 10, Millis(1999)) && allowance.has_one(5, 10, Millis(2000)));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_when_it_has_refilled() {
        let mut allowances = Allowances::default();
        for address in 0..100_000_u32 {
            allowances.of(IpAddr::from(address.to_be_bytes()), Millis(1)).reserve(1, 1, Millis(1));
        }
        assert!(allowances.by_address.len() <= ADDRESSES_MAX + 1);
        let known = IpAddr::from([0, 0, 0, 1]);
        assert!(!allowances.of(known, Millis(1)).has_one(1, 1, Millis(1)), "kept until it has refilled");
        allowances.of(known, Millis(70_000));
        assert!(allowances.by_address.capacity() < 100);
    }

    #[test]
    fn a_subscriber_is_an_ipv4_address_or_64_bits_of_an_ipv6_one() {
        for (ip, address) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(subscriber_address(ip.parse().unwrap()), address.parse::<IpAddr>().unwrap());
        }
    }
}
