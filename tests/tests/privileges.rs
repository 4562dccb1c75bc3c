//! What the agent may do: exactly what `docs/security.md` says, and that is enough.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Output,
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, chown, gettid},
};
use tests::{
    agent,
    echo::{udp_exchange, udp_socket},
    flow_logs::{FORMAT, export, lines},
    http,
    plan::Plan,
    topology::INTERFACE,
    wait::{PATIENCE, eventually},
    world::{ECHO, HTTP, World},
};
use vpc_user::{
    api,
    model::{HookWish, Request},
    privileges::{AGENT, GIVING_UP, HELPER},
};

const DOCUMENT: &str = include_str!("../../docs/security.md");
/// Nobody's user and group.
const NOBODY: u32 = 65_534;

/// The capabilities that the document's table gives to a process, as the kernel's bits.
fn documented(process: &str) -> u64 {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `CAP_")?.split_once("` | ")?;
        rest.starts_with(&format!("{process} |"))
            .then(|| format!("CAP_{name}"))
    });
    let bit = |name: String| {
        let mut known = AGENT.iter().chain(&HELPER);
        let found = known.find(|one| one.to_string() == name);
        let found = found.unwrap_or_else(|| panic!("{name} is given up"));
        found.bitmask()
    };
    rows.map(bit).fold(0, |bits, bit| bits | bit)
}

/// The status of every thread of a process.
fn threads(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    // One may end meanwhile.
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks.flatten().filter_map(status).collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    let found = found.unwrap_or_else(|| panic!("no {name} in {status}"));
    found.trim()
}

fn assert_holds_exactly(process: u32, bits: u64) {
    let (all, none) = (format!("{bits:016x}"), format!("{:016x}", 0));
    for status in threads(process) {
        let who = field(&status, "Name:");
        for list in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(field(&status, list), all, "{list} of {who}");
        }
        for list in ["CapInh:", "CapAmb:"] {
            assert_eq!(field(&status, list), none, "{list} of {who}");
        }
        assert_eq!(field(&status, "NoNewPrivs:"), "1", "{who}");
    }
}

/// The processes that a process has started.
fn children(process: u32) -> Vec<u32> {
    let ours = |id: &u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status"));
        status.is_ok_and(|status| field(&status, "PPid:") == process.to_string())
    };
    let entries = fs::read_dir("/proc").expect("there is /proc").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(ours).collect()
}

/// Two environments, and flow logs of flows that end soon.
fn whole(folder: &Path) -> Plan {
    let mut plan = Plan::blue(2).with_tenant(|tenant| {
        tenant.timeouts = vec![("closed", 1), ("udp_new", 1), ("udp_stream", 1)];
    });
    plan.flow_logs = Some(export(folder, FORMAT));
    plan
}

#[test]
fn every_thread_has_the_capabilities_of_the_document_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(whole(folder.path()));
    let agent = world.status().pid;
    let names: Vec<String> = threads(agent)
        .iter()
        .map(|status| field(status, "Name:").to_owned())
        .collect();
    for thread in ["vpc", "vpc-dataplane", "vpc-sweep", "vpc-flowlog"] {
        assert!(names.iter().any(|name| name == thread), "{names:?}");
    }
    let (agents, helpers) = (documented("agent"), documented("helper"));
    assert!(agents != 0 && helpers != 0 && agents & helpers == 0);
    assert_holds_exactly(agent, agents);
    let [helper] = children(agent)[..] else {
        panic!("one helper: {:?}", children(agent))
    };
    assert_holds_exactly(helper, helpers);
    // Whatever ends the agent ends the helper.
    world.stop_agent(Signal::SIGKILL);
    let gone = || !Path::new(&format!("/proc/{helper}")).exists();
    assert!(eventually(PATIENCE, gone), "the helper goes on");
}

fn fetch_and_send(world: &World) {
    for index in 0..2 {
        world.env(index).run(|| http::whoami(HTTP)).expect("fetch");
        let socket = world.env(index).run(|| udp_socket(ECHO)).expect("socket");
        udp_exchange(&socket, b"datagram").expect("echo");
    }
}

#[test]
fn with_so_few_everything_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut world = World::start(whole(folder.path()));
    fetch_and_send(&world);
    // The far end in another namespace, through a thread that may do more than the agent, and
    // by its name.
    world.detach("blue-1").expect("detach");
    let mut request = world.attach_request(1);
    request.hook = HookWish::Xdp;
    let through_a_thread = || {
        let (process, thread) = (std::process::id(), gettid());
        request.netns = Some(format!("/proc/{process}/task/{thread}/ns/net"));
        world.attach(request)
    };
    world.env(1).run(through_a_thread).expect("attach");
    world
        .set_hook("blue-0", HookWish::Xdp)
        .expect("set the hook");
    assert!(world.env(0).gro(INTERFACE) && world.env(1).gro(INTERFACE));
    fetch_and_send(&world);
    world.plan_mut().tenants[0].enis = 2;
    let reloaded = world.reload().expect("reload");
    assert!(reloaded.steps != 0 && reloaded.problems.is_empty());
    // By the sweep.
    let none = || world.flows().is_empty();
    assert!(eventually(PATIENCE, none), "{:?}", world.flows());
    let recorded = || !lines(folder.path()).is_empty();
    assert!(eventually(PATIENCE, recorded), "flow logs are delivered");
    world.stop_agent(Signal::SIGTERM);
    world.start_agent();
    assert!(world.status().adopted && world.list().len() == 2);
    fetch_and_send(&world);
    world
        .set_hook("blue-0", HookWish::Tc)
        .expect("set the hook");
    assert!(!world.env(0).gro(INTERFACE), "given back");
    world.detach("blue-1").expect("detach");
    assert!(!world.env(1).gro(INTERFACE), "given back");
    let log = world.log_tail(usize::MAX);
    for refusal in ["not permitted", "ermission denied"] {
        assert!(!log.contains(refusal), "{log}");
    }
}

#[test]
fn without_its_helper_the_agent_goes_on_and_says_what_it_cannot() {
    let plan = Plan::blue(1).with_hooks(HookWish::Tc, HookWish::Tc);
    let world = World::start(plan);
    for helper in children(world.status().pid) {
        kill(Pid::from_raw(helper.cast_signed()), Signal::SIGKILL).expect("kill the helper");
    }
    let refused = world.set_hook("blue-0", HookWish::Xdp);
    let said = refused.expect_err("the far end is elsewhere");
    let sentence = "(the agent's helper process has ended: restart the agent)";
    assert!(said.contains(sentence), "{said}");
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
    world.detach("blue-0").expect("detach");
    world.attach(world.attach_request(0)).expect("attach");
    world.env(0).run(|| http::whoami(HTTP)).expect("fetch");
}

/// What an agent says that is started as root without one capability.
fn started_without(world: &World, number: u8) -> Output {
    let mut command = world.host().command(agent::binary());
    command.args(["agent", "--config"]).arg(world.config());
    let drop_one = move || {
        // SAFETY: no pointer is passed.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number)) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(drop_one) };
    command.output().expect("run `vpc`")
}

#[test]
fn an_agent_that_lacks_a_capability_is_refused_and_touches_nothing() {
    let world = World::build(Plan::blue(1));
    for capability in AGENT.iter().chain(&HELPER).chain(&GIVING_UP) {
        let output = started_without(&world, capability.index());
        let said = String::from_utf8_lossy(&output.stderr);
        let sentence = format!(
            "vpc: `vpc agent` needs {capability} and was started without: run it as root; in a \
             container, add them with --cap-add; in a systemd unit, name them in \
             CapabilityBoundingSet\n"
        );
        assert_eq!(said, sentence);
        assert_eq!(output.status.code(), Some(2));
    }
    assert!(!world.pins().exists() && !world.socket().exists());
    let links = world.host().says("ip", &["-details", "link", "show"]);
    assert!(!links.contains("xdp"), "{links}");
    assert!(world.host().filters("up-blue").is_empty());
}

#[test]
fn a_configuration_that_only_full_root_can_read_is_refused_at_the_start() {
    let world = World::build(Plan::blue(1));
    let config = world.config();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).expect("set the mode");
    chown(&config, Some(NOBODY.into()), None).expect("give it away");
    let status = world.spawn_agent(&[]).wait_end();
    assert_eq!(status.code(), Some(2));
    let said = world.log_tail(1);
    assert!(said.contains("agent.toml cannot be read again"), "{said}");
    assert!(said.contains("gives up CAP_DAC_OVERRIDE"), "{said}");
    assert!(!world.pins().exists());
}

#[test]
fn what_the_agent_makes_is_its_users_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plan = whole(folder.path());
    plan.control = Some(String::new());
    plan.tenants[0].enis = 0;
    plan.environments.clear();
    let world = World::start(plan);
    let mode = |path: &Path| {
        let found = fs::symlink_metadata(path);
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!((found.uid(), found.gid()), (0, 0), "{}", path.display());
        found.permissions().mode() & 0o7777
    };
    assert_eq!(mode(&world.socket()), 0o600);
    assert_eq!(mode(&world.socket().with_file_name("state.redb")), 0o600);
    assert_eq!(mode(&world.pins()), 0o700);
    for part in ["maps", "links"] {
        let part = world.pins().join(part);
        assert_eq!(mode(&part), 0o700);
        for pin in fs::read_dir(part).expect("a folder").flatten() {
            assert_eq!(mode(&pin.path()), 0o600, "{pin:?}");
        }
    }
    let flow_logs = world.socket().with_file_name("flow-logs");
    assert_eq!(mode(&flow_logs), 0o700);
    let parts = fs::read_dir(&flow_logs).expect("a folder").flatten();
    let folders: Vec<_> = parts.filter(|part| part.path().is_dir()).collect();
    assert!(folders.len() >= 2, "{folders:?}");
    for part in folders {
        assert_eq!(mode(&part.path()), 0o700, "{part:?}");
    }
}

#[test]
fn another_user_is_told_in_one_sentence() {
    let world = World::start(Plan::blue(1));
    let socket = world.socket();
    let asked = thread::spawn(move || {
        // SAFETY: no pointer is passed. What is changed is this thread's own, capabilities
        // over files included, and it ends.
        unsafe { libc::syscall(libc::SYS_setfsuid, NOBODY) };
        api::call_blocking(&socket, &Request::Status).map_err(|error| error.to_string())
    });
    let said = asked.join().expect("no panic").expect_err("refused");
    let sentence = format!(
        "the agent's socket {} may not be opened: run this as root",
        world.socket().display()
    );
    assert_eq!(said, sentence);
}
