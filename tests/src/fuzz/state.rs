//! What holds of every state of the control plane, as far as it shows from outside.

use vpc_common::layout::Limits;
use vpc_user::{
    control::{
        ApiError, Desired, Record, Settings, State, shown,
        store::{Revision, export, import},
    },
    model::{Config, Network, ObjectName, TcAttachment},
    policy,
};

use super::config::uplink;

/// A host with two uplinks.
pub fn host() -> Config {
    let uplinks = ["blue", "green"].map(|name| uplink(ObjectName::new(name).expect("a name")));
    Config {
        pin_dir: "/sys/fs/bpf/fuzz".into(),
        socket: "/run/fuzz.sock".into(),
        limits: Limits::DEFAULT,
        tc: TcAttachment::Auto,
        uplinks: uplinks.into(),
        groups: Vec::new(),
        network: Network::default(),
        control: None,
        flow_logs: None,
    }
}

/// References lead somewhere; records are read as they were written, one by one and as a
/// whole; each can be shown; and what the host is to hold of it can be compiled.
pub fn assert_sound(state: &State, host: &Config, settings: &Settings) {
    let dangling: Vec<_> = state.dangling().collect();
    assert!(dangling.is_empty(), "{dangling:?}");
    for record in state.records() {
        let json = record.encode().expect("a record is JSON");
        let again = Record::decode(record.key().kind, &json);
        assert_eq!(again.ok().as_ref(), Some(record), "written and read");
        assert!(shown(state, record).is_object(), "{:?}", record.key());
    }
    let document = export(state, Revision(1)).expect("a state is JSON");
    let again = import(document.to_string().as_bytes()).expect("an export is imported");
    assert_eq!(&again, state, "exported and imported");
    assert_served(state, host, settings);
}

/// What the data plane is to hold can be compiled.
pub fn assert_served(state: &State, host: &Config, settings: &Settings) {
    let desired = Desired::new(state, host, settings.clone());
    let config = desired.config();
    let directory = policy::Directory::new(config);
    let sources = policy::Sources::new(config, &directory);
    let index = |name: &ObjectName| {
        let index = config.uplinks.iter().position(|one| one.name == *name)?;
        u32::try_from(index).ok()
    };
    for group in &config.groups {
        // It may be too large, which is said.
        if let Err(error) = policy::compile(&sources.source(group), &index) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// An error of AWS's shape: a code, a sentence, and a status that goes with errors.
pub fn assert_error(error: &ApiError) {
    let code = error.code.as_str();
    let is_code = code.starts_with(|c: char| c.is_ascii_uppercase())
        && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    assert!(is_code, "{code:?}");
    assert!(
        !error.message.trim().is_empty(),
        "{code} without a sentence"
    );
    assert!(
        (400..600).contains(&error.status),
        "{error}: {}",
        error.status
    );
    // What only a fault of this program would bring about.
    assert_ne!(code, "InternalError", "{error}");
}
