//! The machinery of comparisons, over the host's data path.

use vpc_common::packet_table::{
    Host, Machine,
    world::{Rules, addr},
};
use vpc_user::model::ObjectName;

use super::*;

fn in_no_vpc(config: &Config, question: &Question) -> bool {
    carried(config, question) && question.group.as_str() == "bare"
}

const HUNT: Hunt = Hunt::new(Size::Usual, 200, 60);

#[test]
fn the_host_s_data_path_does_what_the_oracle_says() {
    let mut host = Host::new();
    let mut judge = Judge::new(&mut host, install);
    let tally = hunt(&HUNT, carried, |config, question| {
        machine_differs(&mut judge, config, question)
    });
    assert!(tally["leaves"] > 100 && tally["no_route"] > 10, "{tally:?}");
}

#[test]
#[should_panic(expected = "[[group]] name = \"bare\"")]
fn a_difference_is_printed_with_the_least_configuration() {
    let mut host = Host::new();
    let wrong = |machine: &mut dyn Machine, config: &Config, name: &ObjectName| {
        let (mut world, installed) = install(machine, config, name);
        world.rules[0] = Rules::new(0, [192, 0, 2, 0], addr([192, 0, 2, 2]));
        machine.configure(&world);
        (world, installed)
    };
    let mut judge = Judge::new(&mut host, wrong);
    hunt(&HUNT, in_no_vpc, |config, question| {
        machine_differs(&mut judge, config, question)
    });
}
