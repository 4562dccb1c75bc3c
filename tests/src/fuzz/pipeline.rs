//! The whole decision pipeline, over the double: what becomes of every frame of a story.

use std::cell::RefCell;

use vpc_common::{
    layout::Stat,
    packet_table::{Action, Counter, Host, Run},
};

use super::{
    Target,
    bytes::Bytes,
    nat::{Books, Nat},
    play::{Opening, Sent, is_sent_on, play, seeds},
    sums::{self, Transport},
};

/// Every frame has one verdict, which moves the counters it should: it is dropped for one
/// reason, handed to the agent, passed on as it was, answered, or carried. What came with
/// right checksums leaves with right ones. Replies reach the environment whose flow they
/// answer and nobody else, by its port. Every packet carried is in a record or in a slot,
/// and the tables agree with each other after every frame.
pub const TARGET: Target = Target {
    name: "pipeline",
    promise: "every frame has one verdict, on the books, with right checksums, for its own flow",
    run,
    seeds,
    len_max: 4_000,
    in_lines: false,
    needs_kernel: false,
};

thread_local! {
    /// Making the tables takes longer than most stories.
    static HOST: RefCell<Host> = RefCell::new(Host::new());
}

fn run(input: &[u8]) {
    HOST.with_borrow_mut(|host| {
        let mut bytes = Bytes::new(input);
        let opening = Opening::of(&mut bytes);
        host.tc = opening.tc;
        let (mut nat, mut books) = (Nat::default(), Books::default());
        play(host, &opening, bytes, |run, sent| {
            assert_accounted(sent);
            assert_sums(sent, opening.tc);
            nat.assert_own(run, sent);
            books.assert_balanced(run, sent);
        });
    });
}

/// One verdict, and the counters of it.
fn assert_accounted(sent: &Sent<'_>) {
    let (mut drops, mut refusals) = (0, Vec::new());
    for (counter, by) in sent.moved {
        match counter {
            Counter::Drop(..) => drops += by,
            Counter::Refused(..) | Counter::RefusedReplies(_) => refusals.push(*counter),
            _ => {}
        }
    }
    // Refusals were held against the drops and taken out.
    assert!(refusals.is_empty(), "{refusals:?}");
    let stat = |stat| sent.moved.get(&Counter::Stat(stat)).copied().unwrap_or(0);
    let (answers, handed) = (stat(Stat::Answers), stat(Stat::Punts));
    let verdict = (sent.ran.action, drops, answers, handed);
    match verdict {
        (Action::Drop, 1, 0, 0) | (Action::Drop, 0, 0, 1) => {}
        (Action::Pass, 0, 0, 0) => assert_eq!(sent.ran.frame, sent.frame, "passed on as it was"),
        (Action::Redirect, 0, 0, 0) => assert!(sent.ran.port.is_some()),
        (Action::Redirect, 0 | 1, 1, 0) => assert!(sent.ran.port.is_none()),
        _ => panic!("{verdict:?}: {:?}", sent.moved),
    }
}

/// What leaves has right sums if it came with right ones; a half-made one is completed
/// where no device will, and answers of this host are right.
fn assert_sums(sent: &Sent<'_>, tc: bool) {
    if sent.ran.action != Action::Redirect {
        return;
    }
    let Some(left) = sums::of(&sent.ran.frame) else {
        // ARP is answered, and nothing else is sent on that is not a whole IPv4 packet.
        assert_eq!(sent.ran.frame.get(12..14), Some(&[8, 6][..]));
        return;
    };
    assert!(left.network, "the IPv4 checksum of what leaves");
    let came = sums::of(sent.frame).map(|sums| sums.transport);
    let is_forward = sent.ran.port.is_some_and(|port| port.is_uplink());
    let is_made_here = !is_sent_on(sent) && !is_echo_reply(&sent.ran.frame);
    let is_completed = came == Some(Transport::HalfMade) && is_forward && !tc;
    if came == Some(Transport::Right) || is_made_here || is_completed {
        assert_eq!(left.transport, Transport::Right, "it came {came:?}");
    }
}

/// Made from the request, whose checksum is only brought up to date.
fn is_echo_reply(frame: &[u8]) -> bool {
    let header = usize::from(frame[14] & 15) * 4;
    frame[23] == 1 && frame.get(14 + header) == Some(&0)
}

impl Books {
    /// Every packet that was carried is in a slot or in a record, to the byte.
    fn assert_balanced(&mut self, run: &mut Run<'_>, sent: &Sent<'_>) {
        self.enter(sent);
        let seen = run.machine().seen();
        let open = seen.slots.iter().filter(|slot| slot.state().is_open());
        assert_eq!(self.carried, self.told(open), "carried, and on the books");
    }
}
