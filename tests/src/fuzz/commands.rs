//! Commands to the control plane, as JSON, a line each, in the words of AWS's APIs.

use serde_json::Value;
use vpc_user::control::{
    Account, Caller, Change, Command, Context, Desired, Entropy, Kind, Record, Settings, State,
    Time, Transaction, decide, next_tick,
};

use super::{Target, request, state};

/// Whatever is asked about networks in whatever order: a command is refused with an error of
/// AWS's shape and nothing changes, or it is carried out and the state is sound. Nobody
/// changes what is another account's, and what the host is to hold, kept up to date step by
/// step, is what would be made anew.
pub const EC2: Target = Target {
    name: "ec2",
    promise: "a command about networks is refused and changes nothing, or leaves a sound state",
    run: |input| run(input, &["ec2"]),
    seeds: request::ec2,
    len_max: 6_000,
    in_lines: true,
    needs_kernel: false,
};

/// The same of functions, roles, and what the host and the clock tell.
pub const LAMBDA: Target = Target {
    name: "lambda",
    promise: "a command about functions is refused and changes nothing, or leaves a sound state",
    run: |input| run(input, &["ec2", "lambda", "iam", "life"]),
    seeds: request::lambda,
    len_max: 6_000,
    in_lines: true,
    needs_kernel: false,
};

/// Lines of an input at most.
const LINES_MAX: usize = 48;
/// Whose commands say so by `"Account": 1`.
const STRANGER: &str = "000000000002";

struct World {
    state: State,
    desired: Desired,
    context: Context,
}

fn run(input: &[u8], services: &[&str]) {
    let context = Context {
        now: Time(1_700_000_000_000),
        caller: Caller::root(Account::DEFAULT),
        entropy: Entropy::new(11),
        settings: settings(),
    };
    let state = State::default();
    let mut world = World {
        desired: Desired::new(&state, &state::host(), context.settings.clone()),
        state,
        context,
    };
    for line in input.split(|byte| *byte == b'\n').take(LINES_MAX) {
        world.take(line, services);
    }
    let World {
        state,
        desired,
        context,
    } = world;
    state::assert_sound(&state, &state::host(), &context.settings);
    let anew = Desired::new(&state, &state::host(), context.settings);
    assert_eq!(sorted(&desired), sorted(&anew), "kept up to date");
}

/// Few of everything, so that commands meet quotas and each other.
fn settings() -> Settings {
    let mut settings = Settings {
        vpcs: 3,
        tags_per_resource: 3,
        enis_per_group: 2,
        hyperplane_enis_per_vpc: 4,
        addresses: 3,
        ..Settings::default()
    };
    settings.quotas.rules_per_security_group = 4;
    settings.quotas.entries_per_network_acl = 3;
    settings.quotas.routes_per_table = 4;
    settings.quotas.subnets_per_vpc = 3;
    settings.quotas.entries_per_prefix_list = 3;
    settings
}

impl World {
    /// A number lets so many seconds pass; everything else is a command, or nothing.
    fn take(&mut self, line: &[u8], services: &[&str]) {
        let Ok(mut request) = serde_json::from_slice::<Value>(line) else {
            return;
        };
        if let Some(seconds) = request.as_u64() {
            let seconds = std::time::Duration::from_secs(seconds % (1 << 32));
            self.context.now = self.context.now.after(seconds);
            return;
        }
        let account = request
            .as_object_mut()
            .and_then(|one| one.remove("Account"));
        let account = account.and_then(|_| Account::new(STRANGER));
        self.context.caller = Caller::root(account.unwrap_or_default());
        request::fill(&mut request, &self.state);
        let service = request.get("Service").and_then(Value::as_str);
        if !service.is_some_and(|service| services.contains(&service)) {
            return;
        }
        match serde_json::from_value::<Command>(request) {
            Ok(command) => self.ask(&command),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    fn ask(&mut self, command: &Command) {
        let json = serde_json::to_value(command).expect("a command is JSON");
        let again = serde_json::from_value(json).ok();
        assert_eq!(again.as_ref(), Some(command), "written and read");
        let before = self.state.clone();
        let mut transaction = Transaction::new(&mut self.state);
        let answer = decide(&mut transaction, command, &mut self.context);
        let changes = transaction.changes();
        match answer {
            Ok(answer) => {
                transaction.commit();
                match answer {
                    Ok(answer) => assert!(answer.is_object(), "{answer}"),
                    Err(error) => state::assert_error(&error),
                }
            }
            Err(error) => {
                drop(transaction);
                state::assert_error(&error);
                assert_eq!(self.state, before, "{command:?} was refused: {error}");
                return;
            }
        }
        assert_own(command, &changes, self.context.caller.account);
        assert_complete(before, &changes, &self.state);
        self.desired.update(&self.state, &changes);
        let _ = next_tick(&self.state, &self.context.settings);
    }
}

/// Changes are of the caller's resources; a peering connection belongs to two. What the
/// host tells is about anybody's.
fn assert_own(command: &Command, changes: &[Change], account: Account) {
    if matches!(command, Command::Life(_)) {
        return;
    }
    let records = changes
        .iter()
        .flat_map(|one| one.before.iter().chain(&one.after));
    let mut foreign = records.filter(|record| record.account() != account);
    let is_shared = |record: &Record| record.key().kind == Kind::Peering;
    assert!(
        foreign.all(is_shared),
        "{command:?} of {account}: {changes:?}"
    );
}

/// The changes are all there is between the two states: they are what the store keeps.
fn assert_complete(mut before: State, changes: &[Change], after: &State) {
    for Change { key, after, .. } in changes {
        before.replace(key, after.clone());
    }
    assert_eq!(&before, after, "{changes:?}");
    let keyed = |change: &Change| {
        change
            .after
            .as_ref()
            .is_none_or(|one| one.key() == change.key)
    };
    assert!(changes.iter().all(keyed));
}

/// Everything in what the host is to hold, in an order that says nothing.
fn sorted(desired: &Desired) -> Vec<String> {
    let config = desired.config();
    let network = &config.network;
    let mut all = Vec::new();
    all.extend(config.groups.iter().map(|one| format!("{one:?}")));
    all.extend(network.vpcs.iter().map(|one| format!("{one:?}")));
    all.extend(network.prefix_lists.iter().map(|one| format!("{one:?}")));
    all.extend(network.security_groups.iter().map(|one| format!("{one:?}")));
    all.extend(network.network_acls.iter().map(|one| format!("{one:?}")));
    all.extend(network.route_tables.iter().map(|one| format!("{one:?}")));
    all.extend(network.subnets.iter().map(|one| format!("{one:?}")));
    all.extend(network.interfaces.iter().map(|one| format!("{one:?}")));
    all.extend(network.peerings.iter().map(|one| format!("{one:?}")));
    all.sort_unstable();
    all
}
