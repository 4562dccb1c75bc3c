//! Bindings as a busy Region would have them, for benches: the same from the same seed.

use std::{f64::consts::TAU, net::Ipv4Addr, sync::Arc};

use super::Binding;

const VPCS: u64 = 200;
const ENIS: u64 = 2_000;
const ENVIRONMENTS: u64 = 10_000;
const FUNCTIONS: u64 = 3_000;

/// Makes bindings in the order of their ends.
#[derive(Debug)]
pub struct Generator {
    random: u64,
    vpcs: Vec<Arc<str>>,
    interfaces: Vec<Arc<str>>,
    environments: Vec<Arc<str>>,
    functions: Vec<Arc<str>>,
}

impl Generator {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        let names = |count, name: fn(u64) -> String| (0..count).map(|at| name(at).into()).collect();
        Self {
            random: seed,
            vpcs: names(VPCS, |at| format!("vpc-{:017x}", mix(at) >> 4)),
            interfaces: names(ENIS, |at| format!("eni-{:017x}", mix(at) >> 3)),
            environments: names(ENVIRONMENTS, |at| format!("env-{:012x}", mix(at) >> 16)),
            functions: names(FUNCTIONS, |at| {
                format!(
                    "arn:aws:lambda:eu-central-1:123456789012:function:service-{at}:{}",
                    mix(at) % 40 + 1
                )
            }),
        }
    }

    /// As many flows as `count`, whose ends are spread over the times from `from` to `to`
    /// (Unix milliseconds).
    pub fn batch(&mut self, from: u64, to: u64, count: usize) -> Vec<Binding> {
        let mut ends: Vec<_> = (0..count).map(|_| from + self.below(to - from)).collect();
        ends.sort_unstable();
        ends.into_iter().map(|end| self.binding(end)).collect()
    }

    fn binding(&mut self, end: u64) -> Binding {
        let environment = self.below(ENVIRONMENTS);
        // An environment runs one function, in one of the VPC's subnets, behind one ENI.
        let home = mix(environment);
        let eni = home % ENIS;
        // A dozen VPCs each have their ENIs at the same addresses.
        let (vpc, host) = (eni % VPCS, eni / VPCS);
        let address = 0x0a00_0004 + low(vpc % 16) * 0x1_0000 + low(host) * 0x100;
        let (remote, remote_port, protocol) = self.remote();
        let port = 1_024 + self.below(64_512);
        let inside_port = 32_768 + self.below(28_232);
        Binding {
            start: end.saturating_sub(self.duration()),
            end,
            vpc_id: at(&self.vpcs, vpc),
            interface_id: at(&self.interfaces, eni),
            address: Ipv4Addr::from_bits(address),
            port: low(port) as u16,
            protocol,
            remote,
            remote_port,
            environment: at(&self.environments, environment),
            function: (!home.is_multiple_of(50)).then(|| at(&self.functions, home % FUNCTIONS)),
            inside: Ipv4Addr::from_bits(0xa9fe_0002 + low(environment) * 4),
            inside_port: low(inside_port) as u16,
        }
    }

    /// A few remotes have most of the flows; every tenth is anywhere in the world.
    fn remote(&mut self) -> (Ipv4Addr, u16, u8) {
        if self.below(10) == 0 {
            let address = Ipv4Addr::from_bits(low(self.next() >> 32));
            return (address, 443, 6);
        }
        let skewed = self.unit() * self.unit() * self.unit() * 20_000.0;
        let remote = mix(skewed as u64);
        let (port, protocol) = match remote % 8 {
            0 => (53, 17),
            1 | 2 => (5_432, 6),
            3 => (6_379, 6),
            _ => (443, 6),
        };
        let net =
            [0x0a00_0000, 0x0a01_0000, 0x0ac8_0000, 0xac1f_0000][low(remote >> 8) as usize % 4];
        (
            Ipv4Addr::from_bits(net | low(remote >> 16) & 0xffff),
            port,
            protocol,
        )
    }

    /// Milliseconds, log-normal: half last for less than two seconds, a hundredth for more
    /// than an hour and three in ten thousand for more than a day.
    fn duration(&mut self) -> u64 {
        let normal = (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (TAU * self.unit()).cos();
        (2_000.0 * (3.2 * normal).exp()).clamp(1.0, 5.0e8) as u64
    }

    /// From 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random)
    }
}

/// A number that looks like another: a bijection of 64 bits.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let number = (number ^ (number >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    number ^ (number >> 32)
}

const fn low(number: u64) -> u32 {
    (number & 0xffff_ffff) as u32
}

fn at(names: &[Arc<str>], at: u64) -> Arc<str> {
    names[at as usize % names.len()].clone()
}
