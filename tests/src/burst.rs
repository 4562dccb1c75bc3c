//! Many new connections at once: frames of environments of a function, each of which opens
//! a flow.

use std::{
    net::{SocketAddrV4, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crate::{
    frame::Ends,
    functions::{Functions, tenant},
    plan::Plan,
    tap::Tap,
    topology::{GATEWAY_MAC, INSIDE, INSIDE_MAC, RESOURCE},
};

/// Where the frames go: somebody is there, and does not answer.
const SINK: u16 = 9_990;
/// The first port that they come from.
const FIRST_PORT: u16 = 10_000;
/// The most flows that an environment can open here.
const PER_ENVIRONMENT: usize = (u16::MAX - FIRST_PORT) as usize;
/// Frames between two looks at the clock.
const STRIDE: usize = 25;

/// A world with room for this many flows beside a few others, and the function *blue*
/// with as many environments as they need.
pub fn world(flows: usize) -> Functions {
    world_as(flows, |_| {})
}

/// The same with another plan.
pub fn world_as(flows: usize, change: impl FnOnce(&mut Plan)) -> Functions {
    let environments = flows.div_ceil(PER_ENVIRONMENT);
    let functions = Functions::start_as(&["blue"], environments, "", |plan| {
        plan.flows = (flows as u32 * 2).next_power_of_two();
        change(plan);
    });
    functions.apply(&tenant("blue"));
    functions.await_active("blue");
    for environment in 0..environments {
        functions.attach(environment, "blue");
    }
    functions
}

/// Opens flows, one a frame, at a pace that is kept if the machine can; returns the time
/// that it took. The next hop must be known.
pub fn open(functions: &Functions, flows: usize, per_second: u32) -> Duration {
    let sink = functions.world.tenant(0);
    let sink = sink.run(|| UdpSocket::bind((RESOURCE, SINK)));
    let _sink = sink.expect("a socket nobody reads");
    let environments = 0..flows.div_ceil(PER_ENVIRONMENT);
    let taps: Vec<Tap> = environments
        .map(|environment| Tap::open(functions.world.env(environment)))
        .collect();
    let begun = Instant::now();
    for number in 0..flows {
        if number % STRIDE == 0 {
            let due = Duration::from_secs_f64(number as f64 / f64::from(per_second));
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        let port = FIRST_PORT + (number / taps.len()) as u16;
        taps[number % taps.len()].send(&frame(port));
    }
    begun.elapsed()
}

fn frame(port: u16) -> Vec<u8> {
    let ends = Ends {
        source_mac: INSIDE_MAC,
        destination_mac: GATEWAY_MAC,
        source: SocketAddrV4::new(INSIDE, port),
        destination: SocketAddrV4::new(RESOURCE, SINK),
    };
    ends.udp(b"one more")
}
