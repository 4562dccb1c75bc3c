//! Generic receive offload of an interface, by ioctl, in the namespace of a socket of any
//! kind.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

const GET_GRO: u32 = 0x2b;
const SET_GRO: u32 = 0x2c;

/// The kernel's `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Whether receive offload is on.
pub fn gro(socket: impl AsFd, interface: &str) -> io::Result<bool> {
    ioctl(
        socket,
        interface,
        Value {
            command: GET_GRO,
            data: 0,
        },
    )
    .map(|data| data != 0)
}

/// Switches receive offload.
pub fn set_gro(socket: impl AsFd, interface: &str, on: bool) -> io::Result<()> {
    ioctl(
        socket,
        interface,
        Value {
            command: SET_GRO,
            data: u32::from(on),
        },
    )
    .map(drop)
}

fn ioctl(socket: impl AsFd, interface: &str, mut value: Value) -> io::Result<u32> {
    let socket = socket.as_fd();
    let name = interface.as_bytes();
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    // SAFETY: all zero is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names an interface and points to a value, both of which
    // live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value.data)
    }
}
