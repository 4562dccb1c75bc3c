//! What this kernel makes of the programs: each is loaded, none attached, nothing kept.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError},
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vpc_common::layout::{Limits, program};

use super::{cause::Cause, skb::skb_layout, spec, start_error::StartError};
use crate::{OBJECT, model::ProgramCheck};

/// Tables as small as they can be: what the verifier does is the same.
const LIMITS: Limits = Limits {
    environments: 4,
    uplinks: 4,
    enis: 4,
    next_hops: 4,
    blocks: 4,
    fragments: 64,
    policy_words: 64,
    refusals: 64,
};

/// Loads every program by itself and says what it took, by name. Lowers this process'
/// limit of open files for a moment, so nothing else may be going on in it.
///
/// # Errors
/// The kernel cannot hold the tables, or does not describe its types. A program that is
/// refused is no error: its [`ProgramCheck::refused`] says why.
pub fn check_programs() -> Result<Vec<ProgramCheck>, StartError> {
    let skb_layout = skb_layout()?;
    let mut loader = EbpfLoader::new();
    loader.override_global(program::SKB_LAYOUT, &skb_layout, true);
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for table in spec::kernel_tables(&LIMITS) {
        if let Some(entries) = table.shape.entries {
            loader.map_max_entries(table.name, entries);
        }
    }
    let load = |source| StartError::Load {
        source: Box::new(source),
    };
    let mut ebpf = loader.load(OBJECT).map_err(load)?;
    let mut names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    names.sort_unstable();
    Ok(names
        .into_iter()
        .map(|name| check(&mut ebpf, name))
        .collect())
}

fn check(ebpf: &mut Ebpf, name: String) -> ProgramCheck {
    let mut found = ProgramCheck {
        program: name,
        instructions: 0,
        frame_bytes: None,
        load_us: 0,
        refused: None,
    };
    let Some(program) = ebpf.program_mut(&found.program) else {
        found.refused = Some("it is not in the object".to_owned());
        return found;
    };
    match measure(program) {
        Ok((instructions, frame, time)) => {
            found.instructions = instructions;
            found.frame_bytes = frame;
            found.load_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        }
        Err(reason) => found.refused = Some(reason),
    }
    found
}

/// Verified instructions, the largest frame of the program and its functions in bytes if
/// the kernel tells, and how long the load took.
fn measure(program: &mut Program) -> Result<(u32, Option<u32>, Duration), String> {
    let started = Instant::now();
    load(program).map_err(|error| reason(&error))?;
    let time = started.elapsed();
    let info = program.info().map_err(|error| reason(&error))?;
    let instructions = info.verified_instruction_count().unwrap_or(0);
    unload(program).map_err(|error| reason(&error))?;
    let log = statistics(program).map_err(|error| error.to_string())?;
    Ok((instructions, largest_frame(&log), time))
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn unload(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::Xdp(program) => program.unload(),
        Program::SchedClassifier(program) => program.unload(),
        Program::RawTracePoint(program) => program.unload(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The verifier's figures on a program that it accepts. The kernel has them in the log
/// alone, and aya gives the log of a load that failed alone. So the load is made to fail
/// behind the verifier: there is no descriptor left for the program.
fn statistics(program: &mut Program) -> io::Result<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let next = File::open("/dev/null")?.as_raw_fd();
    setrlimit(Resource::RLIMIT_NOFILE, next.unsigned_abs().into(), hard)?;
    let loaded = load(program);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    match loaded {
        Err(ProgramError::LoadError {
            io_error,
            verifier_log,
        }) if io_error.raw_os_error() == Some(libc::EMFILE) => Ok(verifier_log.to_string()),
        Err(error) => Err(io::Error::other(reason(&error))),
        Ok(()) => Err(io::Error::other("the limit of open files does not hold")),
    }
}

/// The largest in `stack depth 480+0+96`, which has a number for each function.
fn largest_frame(log: &str) -> Option<u32> {
    let depths = log
        .lines()
        .find_map(|line| line.strip_prefix("stack depth "))?;
    let depths = depths
        .split(['+', ' '])
        .map_while(|depth| depth.parse().ok());
    depths.max()
}

/// What the kernel answered, and the last thing that its verifier said.
fn reason(error: &ProgramError) -> String {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    else {
        return Cause(error).to_string();
    };
    match last_words(&verifier_log.to_string()) {
        Some(words) => format!("{io_error}: {words}"),
        None => io_error.to_string(),
    }
}

fn last_words(log: &str) -> Option<&str> {
    log.lines().rfind(|line| !is_statistic(line)).map(str::trim)
}

fn is_statistic(line: &str) -> bool {
    let starts = [
        "processed ",
        "insns processed",
        "verification time ",
        "stack depth ",
    ];
    line.trim().is_empty() || starts.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_is_found_in_the_verifiers_figures() {
        let log = "verification time 5120 usec\nstack depth 88+0+312+16\n\
                   processed 4012 insns (limit 1000000) max_states_per_insn 4\n";
        assert_eq!(largest_frame(log), Some(312));
        assert_eq!(largest_frame("stack depth 0"), Some(0));
        assert_eq!(largest_frame("stack depth 8+16 max 24"), Some(16));
        assert_eq!(largest_frame("processed 2 insns"), None);
    }

    #[test]
    fn what_the_verifier_said_last_is_the_reason_of_a_refusal() {
        let log = "func#0 @0\n12: (85) call bpf_loop#181\nunknown func bpf_loop#181\n\
                   verification time 51 usec\nstack depth 8\nprocessed 12 insns (limit 1000000)\n";
        assert_eq!(last_words(log), Some("unknown func bpf_loop#181"));
        assert_eq!(last_words("processed 12 insns\n\n"), None);
    }
}
