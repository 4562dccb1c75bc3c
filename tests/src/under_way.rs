//! Waiting until what is under way on this host has arrived.

use std::{io::ErrorKind, net::UdpSocket, thread, time::Duration};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// A virtual device holds 256 frames and hands over 64 at a time, before or after the
/// datagram that comes by the loopback device.
const ROUNDS: usize = 8;
/// A CPU whose queue is full loses the datagram, which is sent again then.
const PATIENCE: Duration = Duration::from_millis(100);

/// Returns once every frame that was in the queue of a virtual device when it was called
/// is where it was going. A CPU hands over what it was given in the order it came, so on
/// each a datagram is sent to oneself, and what arrived before it was there before it.
pub fn arrive() {
    let work = thread::spawn(|| {
        let me = Pid::from_raw(0);
        let cpus = sched_getaffinity(me).expect("the CPUs of a thread");
        for cpu in (0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu) == Ok(true)) {
            let mut one = CpuSet::new();
            one.set(cpu).expect("a CPU");
            sched_setaffinity(me, &one).expect("a thread may keep to one of its CPUs");
            (0..ROUNDS).for_each(|_| send_to_oneself());
        }
    });
    work.join().expect("every CPU was asked");
}

fn send_to_oneself() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("bind");
    let address = socket.local_addr().expect("an address");
    socket.connect(address).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    loop {
        socket.send(b"?").expect("send");
        match socket.recv(&mut [0; 1]) {
            Ok(_) => return,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}
