//! Rules and routes through the loaded programs, by program test run, against what
//! AWS's text says.

use tests::{
    differential::{Hunt, Judge, carried, hunt, install, machine_differs},
    kernel::{Hook, with_kernel},
    rules::Size,
};

fn programs_do_what_aws_says(hook: Hook) {
    with_kernel(hook, |kernel| {
        let hunted = Hunt::new(Size::Usual, 450, 60);
        let mut judge = Judge::new(kernel, install);
        let tally = hunt(&hunted, carried, |config, question| {
            machine_differs(&mut judge, config, question)
        });
        let verdicts: u64 = tally.values().sum();
        eprintln!("{hook:?}: {verdicts} verdicts: {tally:?}");
        assert!(verdicts >= 10_000, "{tally:?}");
    });
}

#[test]
fn xdp_does_what_aws_says() {
    programs_do_what_aws_says(Hook::Xdp);
}

#[test]
fn tc_does_what_aws_says() {
    programs_do_what_aws_says(Hook::Tc);
}
