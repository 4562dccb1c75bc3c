//! Exports and imports.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{acl, random_state, vpc};
use crate::control::{
    Record, State,
    store::{
        ImportError, LAYOUT, Revision, export,
        export::import_with,
        import,
        layout::{MIGRATIONS, RawRecords},
        write_export,
    },
};

fn read(document: &Value) -> Result<State, ImportError> {
    import(document.to_string().as_bytes())
}

/// An export of a VPC with its network ACL.
fn two() -> Value {
    let mut state = State::default();
    for record in [Record::from(vpc(1, None)), acl(1, 1).into()] {
        state.replace(&record.key(), Some(record));
    }
    export(&state, Revision(3)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_import_of_an_export_is_the_state(seed: u64, commits in 0_u64..40) {
        let state = random_state(seed, commits);
        let mut text = Vec::new();
        write_export(&state, Revision(commits), &mut text).unwrap();
        prop_assert_eq!(import(text.as_slice()).unwrap(), state.clone());
        let value = export(&state, Revision(commits)).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_damaged_export_is_refused_or_read_but_never_a_panic(
        seed in 0_u64..20, at: prop::sample::Index, byte: u8,
    ) {
        let mut text = Vec::new();
        write_export(&random_state(seed, 10), Revision(10), &mut text).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = import(text.as_slice());
        text.truncate(at);
        prop_assert!(import(text.as_slice()).is_err());
    }
}

#[test]
fn an_export_says_layout_revision_and_records_in_order() {
    let document = two();
    assert_eq!(document["Layout"], json!(LAYOUT));
    assert_eq!(document["Revision"], json!(3));
    let kinds: Vec<&Value> = document["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["Kind"])
        .collect();
    assert_eq!(kinds, [&json!("vpc"), &json!("network-acl")]);
    assert_eq!(document["Records"][0]["Id"], json!("vpc-00000000000000001"));
}

/// What is done to an export, and what the refusal says.
type Damage = (fn(&mut Value), &'static str);

#[test]
fn what_is_wrong_with_an_import_is_named() {
    let damages: &[Damage] = &[
        (
            |all| all["Layout"] = json!(LAYOUT + 1),
            "knows layouts up to",
        ),
        (|all| all["Layout"] = json!(0), "which there never was"),
        (|all| all["Extra"] = json!(1), "unknown field `Extra`"),
        (|all| all["Records"] = json!(1), "no export"),
        (
            |all| all["Records"][0]["Kind"] = json!("moon"),
            "moon/vpc-00000000000000001 in the export is no record: there is no kind \"moon\"",
        ),
        (
            |all| all["Records"][0]["Id"] = json!("vpc-2"),
            "vpc/vpc-2 in the export is no record: it is the record of vpc-00000000000000001",
        ),
        (
            |all| all["Records"][0]["Record"] = json!({}),
            "vpc/vpc-00000000000000001 in the export is no record: missing field",
        ),
        (
            |all| all["Records"][1] = all["Records"][0].clone(),
            "vpc/vpc-00000000000000001 twice",
        ),
        (
            |all| {
                all["Records"].as_array_mut().unwrap().remove(0);
            },
            "network-acl acl-00000000000000001 in the export refers to vpc vpc-00000000000000001",
        ),
    ];
    for (damage, expected) in damages {
        let mut document = two();
        damage(&mut document);
        let error = read(&document).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} has not {expected:?}");
    }
    assert!(import(&b"{} {}"[..]).is_err());
    let twice = format!("{}{}", two(), two());
    assert!(import(twice.as_bytes()).is_err());
}

#[test]
fn an_older_export_is_brought_up_to_date() {
    /// Tenancy was written large.
    fn lower(records: &mut RawRecords) -> Result<(), String> {
        for record in records.values_mut() {
            if let Some(Value::String(tenancy)) = record.get_mut("InstanceTenancy") {
                *tenancy = tenancy.to_lowercase();
            }
        }
        Ok(())
    }
    let mut document = two();
    document["Records"][0]["Record"]["InstanceTenancy"] = json!("DEFAULT");
    let text = document.to_string();
    let state = import_with(text.as_bytes(), &[lower]).unwrap();
    assert_eq!(state, read(&two()).unwrap());
    assert_ne!(import_with(text.as_bytes(), MIGRATIONS).unwrap(), state);
}
