//! Compiled rules and routes against what AWS's text says, stage by stage, with who
//! decided. Needs no kernel.

use std::{thread, time::Instant};

use tests::{
    differential::{Compiled, Hunt, Tally, host_differs, hunt},
    rules::{Size, config, show, shrink},
};
use vpc_user::{
    model::{Config, Destination, Target},
    policy::{self, Directory, Sources},
};

/// Asks about configurations; the images of one are kept until the next.
fn compare(wanted: &Hunt) -> Tally {
    let mut compiled: Vec<Compiled> = Vec::new();
    let every = |_: &Config, _: &_| true;
    hunt(wanted, every, |config, question| {
        if !compiled.first().is_some_and(|first| first.is_of(config)) {
            compiled.clear();
        }
        let known = compiled.iter().position(|c| *c.group() == question.group);
        let index = known.unwrap_or_else(|| {
            compiled.push(Compiled::new(config, &question.group));
            compiled.len() - 1
        });
        host_differs(config, &compiled[index], question)
    })
}

/// Compares on two threads. How many verdicts: one forward and one reply of each
/// question.
fn compare_all(wanted: &Hunt) -> u64 {
    let begun = Instant::now();
    let (first, middle, end) = {
        let seeds = &wanted.seeds;
        (seeds.start, seeds.start.midpoint(seeds.end), seeds.end)
    };
    let part = |seeds| Hunt {
        seeds,
        ..wanted.clone()
    };
    let tallies = thread::scope(|scope| {
        let parts = [part(first..middle), part(middle..end)];
        let workers = parts.map(|part| scope.spawn(move || compare(&part)));
        workers.map(|worker| match worker.join() {
            Ok(tally) => tally,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    let mut all = Tally::new();
    for (label, count) in tallies.into_iter().flatten() {
        *all.entry(label).or_default() += count;
    }
    let replies = ["enters", "nacl_in"].map(|label| all.get(label).copied().unwrap_or(0));
    let questions = all.values().sum::<u64>() - replies.iter().sum::<u64>();
    let took = begun.elapsed();
    eprintln!(
        "{:?}: {questions} questions in {took:?}: {all:?}",
        wanted.size
    );
    2 * questions
}

#[test]
fn compiled_rules_say_what_aws_says() {
    let verdicts = compare_all(&Hunt::new(Size::Usual, 1_500, 200));
    assert!(verdicts >= 100_000, "{verdicts} verdicts");
}

#[test]
fn hundreds_of_compiled_rules_say_what_aws_says() {
    let verdicts = compare_all(&Hunt::new(Size::Large, 24, 1_000));
    assert!(verdicts >= 10_000, "{verdicts} verdicts");
}

/// Lets every route by a peering connection cover more than the other VPC.
fn widen_peering(config: &mut Config) {
    let everywhere = Destination::Cidr(ipnet::Ipv4Net::default());
    for table in &mut config.network.route_tables {
        if table.routes.iter().any(|r| r.destination == everywhere) {
            continue;
        }
        let mut routes = table.routes.iter_mut();
        if let Some(route) = routes.find(|r| matches!(r.target, Target::Peering(_))) {
            route.destination = everywhere.clone();
        }
    }
}

#[test]
fn compiled_routes_do_not_lead_through_a_peered_vpc() {
    compare_all(&Hunt {
        change: widen_peering,
        ..Hunt::new(Size::Usual, 300, 200)
    });
}

/// Groups that a change is said not to concern must have the source they had.
fn affected_covers(before: &Config, after: &Config) {
    let affected = policy::affected(before, after);
    let known = [before, after].map(Directory::new);
    let (old, new) = (
        Sources::new(before, &known[0]),
        Sources::new(after, &known[1]),
    );
    for group in after.groups.iter().filter(|g| !affected.contains(&g.name)) {
        let known = before.groups.iter().find(|other| other.name == group.name);
        let known = known.unwrap_or_else(|| panic!("{} is new", group.name));
        assert!(
            old.source(known) == new.source(group),
            "{} is another:\n{}\nand now\n{}",
            group.name,
            show(before),
            show(after)
        );
    }
}

/// Every part of a network is left out once, and put back.
#[test]
fn a_policy_that_a_change_does_not_concern_stays_as_it_is() {
    for seed in 0..40 {
        let whole = config(seed, Size::Usual);
        shrink(&whole, &|less| {
            affected_covers(&whole, less);
            affected_covers(less, &whole);
            false
        });
    }
}
