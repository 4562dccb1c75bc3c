//! The two calls of bpf(2) that aya does not offer in the form needed here.
//!
//! Running a program: aya's own call needs the owner of the program; this one
//! needs its descriptor only, so that the sweep and the packets to be decided on again
//! have threads of their own while another attaches links. Detaching a link: a
//! pin that is merely removed detaches some time later, and an interface that is
//! given back must be free when the call returns.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_LINK_DETACH: libc::c_long = 34;
/// Room for a frame that comes out of a program, which may have made it longer.
const FRAME_OUT: usize = 4_096;

/// The kernel's `union bpf_attr` for this command (linux/bpf.h, `struct test`).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    program: u32,
    return_value: u32,
    data_in_len: u32,
    data_out_len: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_len: u32,
    context_out_len: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    reserved: u32,
}

/// The kernel's `struct __sk_buff` in words, with room for what later kernels add.
type Context = [u32; 64];
/// The interface a packet arrived on.
const IFINDEX: usize = 10;
/// The first word that programs may leave something in.
const CONTROL: usize = 12;

/// What a TC program made of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// What the program returned.
    pub action: i32,
    /// The interface that it noted for the frame to leave by.
    pub target: u32,
    /// The frame as it is now.
    pub frame: Vec<u8>,
}

/// A loaded program that can be run from any thread.
#[derive(Debug)]
pub struct Runnable(OwnedFd);

impl Runnable {
    /// A handle of its own on a loaded program.
    pub fn new(program: impl AsFd) -> io::Result<Self> {
        program.as_fd().try_clone_to_owned().map(Self)
    }

    /// Runs a raw tracepoint program with arguments.
    pub fn call(&self, arguments: &[u64]) -> io::Result<()> {
        self.run(Attributes {
            context_in: arguments.as_ptr() as u64,
            context_in_len: size_of_val(arguments) as u32,
            ..Default::default()
        })
        .map(drop)
    }

    /// Has a TC program decide on a frame as if it had arrived on an interface of this
    /// namespace. The frame goes nowhere.
    pub fn decide(&self, frame: &[u8], ifindex: u32) -> io::Result<Decided> {
        let (mut before, mut after): (Context, Context) = ([0; 64], [0; 64]);
        before[IFINDEX] = ifindex;
        let mut out = vec![0; FRAME_OUT];
        let attributes = self.run(Attributes {
            data_in: frame.as_ptr() as u64,
            data_in_len: frame.len() as u32,
            data_out: out.as_mut_ptr() as u64,
            data_out_len: out.len() as u32,
            context_in: &raw const before as u64,
            context_in_len: size_of::<Context>() as u32,
            context_out: &raw mut after as u64,
            context_out_len: size_of::<Context>() as u32,
            ..Default::default()
        })?;
        out.truncate(attributes.data_out_len as usize);
        Ok(Decided {
            action: attributes.return_value.cast_signed(),
            target: after[CONTROL],
            frame: out,
        })
    }

    fn run(&self, mut attributes: Attributes) -> io::Result<Attributes> {
        attributes.program = self.0.as_raw_fd() as u32;
        // SAFETY: the attributes are laid out as the kernel's, and the buffers
        // they point to are borrowed by the callers until this returns.
        unsafe { bpf(BPF_PROG_TEST_RUN, &mut attributes) }?;
        Ok(attributes)
    }
}

/// Detaches the link pinned at a path from its interface, at once. The pin stays.
pub fn detach_link(pin: &Path) -> io::Result<()> {
    #[repr(C)]
    struct Get {
        path: u64,
        fd: u32,
        flags: u32,
    }
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let mut get = Get {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: `Get` is laid out as the kernel's, and the path lives until this
    // returns.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut get) }?;
    // SAFETY: the descriptor is new and nobody else's.
    let link = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut detach = link.as_raw_fd() as u32;
    // SAFETY: the attribute of this command is one descriptor.
    unsafe { bpf(BPF_LINK_DETACH, &mut detach) }.map(drop)
}

/// # Safety
///
/// `attributes` must be laid out as the kernel's for this command, and whatever
/// it points to must be valid until the call returns.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}
