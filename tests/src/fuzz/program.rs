//! The loaded programs, by test run, beside the host functions: the same story, the same
//! end of every frame.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{LazyLock, Mutex, PoisonError, mpsc},
    thread,
};

use vpc_common::packet_table::{Action, Host, Machine, Outcome};

use super::{
    Target,
    bytes::Bytes,
    play::{Opening, play, seeds},
    sums,
};
use crate::kernel::{Hook, with_kernel};

/// The kernel's programs do with every frame what the host functions do, byte for byte and
/// counter for counter, on either hook. Nothing leaves with a wrong IPv4 checksum, nor
/// longer than what the programs may write.
pub const TARGET: Target = Target {
    name: "program",
    promise: "the loaded programs do with every frame what the host functions do",
    run,
    seeds,
    len_max: 4_000,
    in_lines: false,
    needs_kernel: true,
};

/// Bytes by which an answer may be longer than what it answers: the headers of IPv4 and
/// ICMP before a quote.
const GROWTH: usize = 20 + 8;

fn run(input: &[u8]) {
    let hook = match opening(&mut Bytes::new(input)).tc {
        true => Hook::Tc,
        false => Hook::Xdp,
    };
    let mut host = Host::new();
    host.tc = hook == Hook::Tc;
    let expected = tell(&mut host, input);
    let found = TELLERS.tell(hook, input);
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_sound(&found);
        let (found, expected) = (without_leavings(found), without_leavings(expected));
        assert_eq!(found, expected, "frame {step}");
    }
}

/// Chance is to play no part: it falls out otherwise in the kernel.
fn opening(bytes: &mut Bytes<'_>) -> Opening {
    Opening {
        restricted: true,
        ..Opening::of(bytes)
    }
}

/// Tells the story on a machine.
fn tell(machine: &mut dyn Machine, input: &[u8]) -> Vec<Outcome> {
    let mut bytes = Bytes::new(input);
    let opening = opening(&mut bytes);
    play(machine, &opening, bytes, |_, _| {})
}

/// What is left of a dropped frame is nobody's concern.
fn without_leavings(mut outcome: Outcome) -> Outcome {
    if outcome.action == Action::Drop {
        outcome.output.clear();
    }
    outcome
}

fn assert_sound(outcome: &Outcome) {
    assert!(outcome.output.len() <= outcome.input.len() + GROWTH);
    if outcome.action == Action::Redirect {
        let sums = sums::of(&outcome.output);
        assert!(
            sums.is_none_or(|sums| sums.network),
            "the IPv4 checksum of what leaves"
        );
    }
}

/// What came of a story, or the panic in it.
type Told = Result<Vec<Outcome>, Box<dyn Any + Send>>;

/// Threads inside namespaces, one for each hook, with the programs loaded as long as the
/// process lives: loading them takes longer than thousands of stories.
struct Tellers {
    xdp: Mutex<Teller>,
    tc: Mutex<Teller>,
}

struct Teller {
    stories: mpsc::Sender<Vec<u8>>,
    told: mpsc::Receiver<Told>,
}

static TELLERS: LazyLock<Tellers> = LazyLock::new(|| Tellers {
    xdp: Mutex::new(Teller::start(Hook::Xdp)),
    tc: Mutex::new(Teller::start(Hook::Tc)),
});

impl Tellers {
    fn tell(&self, hook: Hook, story: &[u8]) -> Vec<Outcome> {
        let teller = match hook {
            Hook::Xdp => &self.xdp,
            Hook::Tc => &self.tc,
        };
        let teller = teller.lock().unwrap_or_else(PoisonError::into_inner);
        teller
            .stories
            .send(story.to_vec())
            .expect("the teller listens");
        match teller.told.recv().expect("the teller answers") {
            Ok(outcomes) => outcomes,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl Teller {
    fn start(hook: Hook) -> Self {
        let (stories, heard) = mpsc::channel::<Vec<u8>>();
        let (tell_of, told) = mpsc::channel();
        thread::spawn(move || {
            with_kernel(hook, move |kernel| {
                for story in heard {
                    let told = catch_unwind(AssertUnwindSafe(|| tell(kernel, &story)));
                    if tell_of.send(told).is_err() {
                        return;
                    }
                }
            });
        });
        Self { stories, told }
    }
}
