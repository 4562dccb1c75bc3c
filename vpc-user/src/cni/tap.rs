//! Persistent taps: what a microVM's monitor opens by name.

use std::{fs::File, io, os::fd::AsRawFd as _};

/// Makes a tap that outlives this process, in this thread's namespace, unless an interface
/// has the name. `owner` may open it without being allowed to administer networks; nobody
/// else may.
pub(super) fn make(name: &str, owner: u32) -> io::Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = flags as i16;
    // SAFETY: TUNSETIFF reads and writes an ifreq, which lives across the call.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let owner = libc::c_ulong::from(owner);
    // SAFETY: TUNSETOWNER takes a number and no pointer.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOWNER, owner) })?;
    let persist: libc::c_ulong = 1;
    // SAFETY: TUNSETPERSIST takes a number and no pointer.
    done(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETPERSIST, persist) })
}

fn done(outcome: libc::c_int) -> io::Result<()> {
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
