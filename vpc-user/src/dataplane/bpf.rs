//! The calls of bpf(2) that aya does not offer in the form needed here.
//!
//! Running a program: aya's own call needs the owner of the program; this one
//! needs its descriptor only, so that the sweep and the packets to be decided on again
//! have threads of their own while another attaches links. Detaching a link: a
//! pin that is merely removed detaches some time later, and an interface that is
//! given back must be free when the call returns. Taking an entry out of a hash: aya
//! offers it for queues only. Who runs by TCX: aya asks for more than is needed. A map of maps that belongs to no
//! program: see [`super::grace`].

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::Pod;

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_LINK_DETACH: libc::c_long = 34;
const BPF_TCX_INGRESS: u32 = 46;
/// Programs on one interface at most (`BPF_MPROG_MAX`).
const TCX_MOST: usize = 64;
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

/// Makes an array of one entry, of maps like another one if that is given.
pub fn make_array(of: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Create {
        kind: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        flags: u32,
        inner: u32,
    }
    let kind = match of {
        None => BPF_MAP_TYPE_ARRAY,
        Some(_) => BPF_MAP_TYPE_ARRAY_OF_MAPS,
    };
    let mut create = Create {
        kind,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        flags: 0,
        inner: of.map_or(0, |inner| inner.as_raw_fd() as u32),
    };
    // SAFETY: `Create` is laid out as the beginning of the kernel's, the rest of which
    // counts as 0.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut create) }?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a map into the first entry of a map of maps.
pub fn set_inner(outer: &OwnedFd, inner: &OwnedFd) -> io::Result<()> {
    #[repr(C)]
    struct Update {
        map: u32,
        reserved: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let (key, value) = (0u32, inner.as_raw_fd() as u32);
    let mut update = Update {
        map: outer.as_raw_fd() as u32,
        reserved: 0,
        key: &raw const key as u64,
        value: &raw const value as u64,
        flags: 0,
    };
    // SAFETY: `Update` is laid out as the kernel's, and key and value live until this
    // returns.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut update) }.map(drop)
}

/// Removes an entry of a hash, in one step with reading it; `None` if there is none.
///
/// The map's keys and values must be as large as `K` and `V`.
pub fn take_entry<K: Pod, V: Pod + Default>(map: impl AsFd, key: &K) -> io::Result<Option<V>> {
    #[repr(C)]
    struct Take {
        map: u32,
        reserved: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    let mut value = V::default();
    let mut take = Take {
        map: map.as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: &raw const *key as u64,
        value: &raw mut value as u64,
        flags: 0,
    };
    // SAFETY: `Take` is laid out as the kernel's; key and value live until this returns,
    // and any bytes are a value of a `Pod`.
    match unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut take) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Numbers of the programs that run at the ingress of an interface by TCX. aya's call asks
/// for each program's description too, which takes more than the agent may.
pub fn tcx_programs(ifindex: u32) -> io::Result<Vec<u32>> {
    #[repr(C)]
    #[derive(Default)]
    struct Query {
        ifindex: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        reserved: u32,
        each_attach_flags: u64,
        link_ids: u64,
        each_link_flags: u64,
        revision: u64,
    }
    let mut ids = vec![0_u32; TCX_MOST];
    let mut query = Query {
        ifindex,
        attach_type: BPF_TCX_INGRESS,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        ..Default::default()
    };
    // SAFETY: `Query` is laid out as the kernel's, and the numbers live until this returns.
    unsafe { bpf(BPF_PROG_QUERY, &mut query) }?;
    ids.truncate(query.count as usize);
    Ok(ids)
}

/// The name of a loaded program, whoever loaded it; takes CAP_SYS_ADMIN.
pub fn program_name(id: u32) -> io::Result<String> {
    #[repr(C)]
    #[derive(Default)]
    struct ById {
        id: u32,
        next: u32,
        flags: u32,
    }
    /// The beginning of `struct bpf_prog_info`.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        before: [u64; 8],
        name: [u8; 16],
    }
    #[repr(C)]
    struct Describe {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut by_id = ById {
        id,
        ..Default::default()
    };
    // SAFETY: `ById` is laid out as the kernel's and points to nothing.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id) }?;
    // SAFETY: the descriptor is new and nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = Info::default();
    let mut describe = Describe {
        fd: program.as_raw_fd() as u32,
        len: size_of::<Info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: `Describe` is laid out as the kernel's. The kernel writes at most `len` bytes to
    // `info`, any of which are a value of it; that it asks for no lists, zeros say.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut describe) }?;
    let name = info.name.split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
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
