//! A disk that is full: that of the state, and that of the journal of flows.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::Signal,
};
use serde_json::{Value, json};
use tests::{
    echo::{tcp_exchange, udp_exchange, udp_socket},
    flow_logs::{FORMAT, export, lines, number},
    functions::{Functions, tenant},
    plan::Plan,
    wait::{PATIENCE, eventually},
    world::{ECHO, World},
};

use vpc_user::model::{Request, Response};

use crate::{connect, counter};

/// A file system of its own, in the folder of a world, with room for `size` bytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(world: &World, size: &str) -> Self {
        let path = world.socket().with_file_name("small");
        fs::create_dir(&path).expect("make the folder");
        let options = format!("size={size},mode=0700");
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .expect("mount a small disk");
        Self(path)
    }

    /// Leaves room for nothing.
    fn fill(&self) {
        let mut file = File::create(self.0.join("ballast")).expect("make a file");
        let mut piece = 1 << 20;
        while piece != 0 {
            match file.write(&vec![1; piece]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 16,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).expect("remove the file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nothing is left to do about a failure here.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Has the agent of a world keep a file or folder of its own on a disk.
fn keep_on(world: &World, disk: &SmallDisk, what: &str) {
    let text = world.config_text();
    let (from, to) = (world.socket().with_file_name(what), disk.0.join(what));
    let [from, to] = [from, to].map(|path| format!("{path:?}"));
    assert!(text.contains(&from), "{text}");
    fs::write(world.config(), text.replace(&from, &to)).expect("write the configuration");
}

/// Everything that the agent says it holds.
fn everything(functions: &Functions) -> Value {
    let kinds = [
        "vpc",
        "subnet",
        "security-group",
        "function",
        "interface",
        "environment",
    ];
    let resources: Vec<_> = kinds.iter().map(|kind| functions.get(kind)).collect();
    json!({
        "resources": serde_json::to_value(resources).expect("JSON"),
        "environments": serde_json::to_value(functions.world.list()).expect("JSON")
            .as_array().expect("a list").iter().map(|it| it["name"].clone()).collect::<Vec<_>>(),
        "enis": functions.world.status().enis.len(),
    })
}

fn make_group(functions: &Functions, name: &str) -> Result<Value, String> {
    let vpc = functions.one("vpc", "blue").id;
    let asked = json!({ "GroupName": name, "Description": "d".repeat(250), "VpcId": vpc });
    functions.call("ec2", "CreateSecurityGroup", asked)
}

/// Makes groups until there is no room: those that were accepted, and what was said then.
fn make_groups_until_refused(functions: &Functions, prefix: &str) -> (Vec<String>, String) {
    let mut accepted = Vec::new();
    for number in 0..20_000 {
        let name = format!("{prefix}-{number}");
        match make_group(functions, &name) {
            Ok(_) => accepted.push(name),
            Err(sentence) => return (accepted, sentence),
        }
    }
    panic!("the disk is never full")
}

fn has_all(functions: &Functions, names: &[String]) -> bool {
    let groups = functions.get("security-group");
    let mut known: Vec<String> = groups
        .iter()
        .filter_map(|group| group.resource["GroupName"].as_str().map(str::to_owned))
        .collect();
    known.sort_unstable();
    names.iter().all(|name| known.binary_search(name).is_ok())
}

fn on_small_disk(size: &str) -> (Functions, SmallDisk) {
    let mut plan = Functions::plan(&["blue"], 2, "");
    plan.environments[1].name = "late".to_owned();
    let mut functions = Functions::build(plan);
    let disk = SmallDisk::mount(&functions.world, size);
    keep_on(&functions.world, &disk, "state.redb");
    functions.world.start_agent();
    functions.apply(&tenant("blue"));
    functions.await_active("blue");
    functions.attach(0, "blue");
    (functions, disk)
}

#[test]
fn a_command_that_the_disk_has_no_room_for_is_refused_and_changes_nothing() {
    let (functions, disk) = on_small_disk("8m");
    let mut stream = connect(&functions.world, 0);
    disk.fill();
    let (accepted, sentence) = make_groups_until_refused(&functions, "full");
    let before = everything(&functions);
    for words in ["state.redb", "make room on its file system", "tries again"] {
        assert!(sentence.contains(words), "{sentence}");
    }
    assert!(!sentence.contains('\n'), "one sentence: {sentence}");
    assert!(has_all(&functions, &accepted));
    for _ in 0..3 {
        let refused = make_group(&functions, "another").expect_err("there is no room");
        assert_eq!(refused, sentence);
        let attached = functions.try_attach(1, "blue");
        let refused = attached.expect_err("there is no room for its record");
        assert_eq!(refused, sentence);
        assert!(functions.world.host().filters("env1").is_empty());
        assert_eq!(everything(&functions), before, "nothing has changed");
        tcp_exchange(&mut stream, b"meanwhile").expect("echo");
    }
    let passed = functions.world.request(&Request::Reload);
    assert!(matches!(passed, Response::Reloaded { .. }), "{passed:?}");
    assert_eq!(everything(&functions), before);
    assert_eq!(counter(&functions.world, "agent_foreign_edits"), 0);
    disk.make_room();
    make_group(&functions, "another").expect("there is room");
    functions.attach(1, "blue");
    assert!(has_all(&functions, &["another".to_owned()]) && has_all(&functions, &accepted));
    tcp_exchange(&mut stream, b"afterwards").expect("echo");
    drop(connect(&functions.world, 1));
}

#[test]
fn what_was_accepted_survives_a_kill_while_the_disk_is_full() {
    let (mut functions, disk) = on_small_disk("8m");
    let mut stream = connect(&functions.world, 0);
    disk.fill();
    let (accepted, _) = make_groups_until_refused(&functions, "full");
    let before = everything(&functions);
    functions.world.stop_agent(Signal::SIGKILL);
    tcp_exchange(&mut stream, b"without an agent").expect("echo");
    // It starts, or says why not.
    let mut agent = functions.world.spawn_agent(&[]);
    if let Err(ended) = agent.wait_ready(&functions.world.socket()) {
        let said = functions.world.log_tail(1);
        eprintln!("{ended}: {said}");
        assert!(
            said.contains("state.redb") && said.contains("make room"),
            "{said}"
        );
    } else {
        assert_eq!(everything(&functions), before);
        assert!(has_all(&functions, &accepted));
        tcp_exchange(&mut stream, b"on a full disk").expect("echo");
    }
    drop(agent);
    disk.make_room();
    functions.world.start_agent();
    assert!(functions.world.status().adopted);
    assert_eq!(everything(&functions), before);
    assert!(has_all(&functions, &accepted));
    make_group(&functions, "another").expect("there is room");
    tcp_exchange(&mut stream, b"afterwards").expect("echo");
}

#[test]
fn records_wait_while_the_disk_of_the_journal_is_full_and_every_packet_is_in_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = Plan::blue(1).with_tenant(|tenant| {
        tenant.timeouts = vec![("udp_new", 1), ("udp_stream", 1)];
    });
    plan.flow_logs = Some(export(folder.path(), FORMAT));
    let mut world = World::build(plan);
    let disk = SmallDisk::mount(&world, "4m");
    keep_on(&world, &disk, "flow-logs");
    world.start_agent();
    world.attach(world.attach_request(0)).expect("attach");
    let mut sent = 0;
    let mut exchange = |world: &World| {
        let socket = world.env(0).run(|| udp_socket(ECHO)).expect("socket");
        for _ in 0..10 {
            // Nothing stalls: each is answered.
            udp_exchange(&socket, b"datagram").expect("echo");
            sent += 1;
        }
    };
    (0..10).for_each(|_| exchange(&world));
    disk.fill();
    let refused = |world: &World| counter(world, "agent_records_refused");
    let is_refused = || {
        exchange(&world);
        refused(&world) >= 5
    };
    assert!(eventually(PATIENCE, is_refused), "{}", world.log_tail(20));
    let said = world.log_tail(usize::MAX);
    let sentence = "records are not taken: they wait in the kernel";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    world.stop_agent(Signal::SIGKILL);
    (0..10).for_each(|_| exchange(&world));
    // It may not begin on a full disk; then it says why.
    let mut agent = world.spawn_agent(&[]);
    if agent.wait_ready(&world.socket()).is_err() {
        let said = world.log_tail(1);
        assert!(
            said.contains("flow-logs") && said.contains("No space"),
            "{said}"
        );
    }
    (0..10).for_each(|_| exchange(&world));
    drop(agent);
    disk.make_room();
    world.start_agent();
    (0..10).for_each(|_| exchange(&world));
    let recorded = |direction: &str| -> u64 {
        let lines = lines(folder.path()).into_iter();
        let ours =
            lines.filter(|line| line["flow-direction"] == direction && line["log-status"] == "OK");
        ours.map(|line| number(&line, "packets")).sum()
    };
    let all = || recorded("egress") == sent && recorded("ingress") == sent;
    let found = eventually(PATIENCE, all);
    assert!(
        found,
        "{} and {} of {sent}",
        recorded("egress"),
        recorded("ingress")
    );
    let skipped = lines(folder.path()).into_iter();
    let skipped = skipped.filter(|line| line["log-status"] == "SKIPDATA");
    assert_eq!(skipped.count(), 0);
    assert!(world.drop_totals().is_empty(), "{:?}", world.drop_totals());
}
