//! Random commits that a seed determines, so that whoever knows it knows every state.

use crate::control::{
    Account, Change, Entropy, Id, Key, Record, State, Time, Transaction,
    resource::{DhcpConfiguration, DhcpOptions, NetworkAcl, PrefixList, Role, Vpc},
};

/// Resources of a kind that there may be at once.
const NAMES: u64 = 6;

/// A number below another.
pub(super) const fn below(entropy: &mut Entropy, limit: u64) -> u64 {
    entropy.next_u64() % limit
}

fn id(prefix: &str, number: u64) -> Id {
    Id::new(format!("{prefix}-{number:017x}")).unwrap()
}

fn filling(entropy: &mut Entropy) -> String {
    let length = match below(entropy, 8) {
        0 => 5_000,
        _ => below(entropy, 200),
    };
    "é\"x\n".chars().cycle().take(length as usize).collect()
}

fn role(number: u64, entropy: &mut Entropy) -> Role {
    Role {
        role_name: format!("role{number}"),
        role_id: format!("AROA{:016X}", entropy.next_u64()),
        owner_id: Account::DEFAULT,
        path: "/a/path/".into(),
        description: None,
        max_session_duration: 3_600,
        assume_role_policy_document: filling(entropy),
        policies: [("p".to_owned(), filling(entropy))].into(),
        attached_policies: Vec::new(),
        create_date: Time(entropy.next_u64()),
        tags: [("Name".to_owned(), filling(entropy))].into(),
    }
}

fn list(number: u64, entropy: &mut Entropy) -> PrefixList {
    PrefixList {
        prefix_list_id: id("pl", number),
        owner_id: Account::DEFAULT,
        prefix_list_name: filling(entropy),
        max_entries: entropy.next_u64() as u32,
        version: entropy.next_u64(),
        entries: Vec::new(),
        tags: Default::default(),
    }
}

fn options(number: u64, entropy: &mut Entropy) -> DhcpOptions {
    let one = DhcpConfiguration {
        key: "domain-name".into(),
        values: vec![filling(entropy)],
    };
    DhcpOptions {
        dhcp_options_id: id("dopt", number),
        owner_id: Account::DEFAULT,
        dhcp_configurations: vec![one],
        tags: Default::default(),
    }
}

/// A VPC that refers to nothing.
pub(super) fn vpc(number: u64, dhcp_options_id: Option<Id>) -> Vpc {
    Vpc {
        vpc_id: id("vpc", number),
        owner_id: Account::DEFAULT,
        cidr_block_association_set: Vec::new(),
        dhcp_options_id,
        instance_tenancy: "default".into(),
        is_default: false,
        enable_dns_support: true,
        enable_dns_hostnames: false,
        uplink: None,
        on_link: false,
        tags: Default::default(),
    }
}

/// A network ACL of a VPC.
pub(super) fn acl(number: u64, vpc: u64) -> NetworkAcl {
    NetworkAcl {
        network_acl_id: id("acl", number),
        owner_id: Account::DEFAULT,
        vpc_id: id("vpc", vpc),
        is_default: true,
        entries: Vec::new(),
        tags: Default::default(),
    }
}

/// Puts or removes something; every reference still leads somewhere.
fn step(transaction: &mut Transaction<'_>, entropy: &mut Entropy) {
    let number = below(entropy, NAMES);
    let unused = |state: &State, key: &Key| state.referrers_of(key).next().is_none();
    match below(entropy, 8) {
        0 | 1 => transaction.put(role(number, entropy)),
        2 => transaction.put(list(number, entropy)),
        3 => transaction.put(options(number, entropy)),
        4 => {
            let set = id("dopt", number);
            let set = transaction.get::<DhcpOptions>(set.as_str()).map(|_| set);
            transaction.put(vpc(number, set));
        }
        5 if transaction.get::<Vpc>(id("vpc", number).as_str()).is_some() => {
            transaction.put(acl(number, number));
        }
        _ => {
            let keys: Vec<Key> = transaction.records().map(Record::key).collect();
            if !keys.is_empty() {
                let key = &keys[below(entropy, keys.len() as u64) as usize];
                if unused(transaction, key) {
                    transaction.remove(key.clone());
                }
            }
        }
    }
}

/// The changes of the next commit; the state has them already. Never none.
pub(super) fn next_commit(state: &mut State, entropy: &mut Entropy) -> Vec<Change> {
    let mut transaction = Transaction::new(state);
    for _ in 0..=below(entropy, 8) {
        step(&mut transaction, entropy);
    }
    while transaction.changes().is_empty() {
        step(&mut transaction, entropy);
    }
    let changes = transaction.changes();
    transaction.commit();
    changes
}

/// The state that a number of random commits lead to.
pub(super) fn random_state(seed: u64, commits: u64) -> State {
    let mut entropy = Entropy::new(seed.into());
    let mut state = State::default();
    for _ in 0..commits {
        next_commit(&mut state, &mut entropy);
    }
    state
}
