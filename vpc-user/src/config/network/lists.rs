//! `[[prefix_list]]`.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{Checked, Scope, Table, prefixes, quotas::within};
use crate::{
    config::{Problem, error::Place, raw_network::RawPrefixList, validate::in_range},
    model::PrefixList,
};

pub(super) fn prefix_lists(scope: &Scope, raw: &[RawPrefixList]) -> Checked<Table<PrefixList>> {
    let quota = ("prefix_lists", scope.quotas.prefix_lists);
    within(quota, raw.len() as u64, "prefix lists", "the file")?;
    let mut lists = Table::default();
    for (index, raw) in raw.iter().enumerate() {
        let name = lists.name(index, &raw.name)?;
        let place = Place::named("prefix_list", &raw.name);
        let most = scope.quotas.entries_per_prefix_list.into();
        let max_entries = in_range(&place, "max_entries", raw.max_entries, 1, most)?;
        let list = PrefixList {
            entries: entries(&place, &raw.entries, max_entries)?,
            max_entries,
            name: name.clone(),
        };
        lists.push(&name, list);
    }
    Ok(lists)
}

fn entries(place: &Place, raw: &[String], max: u32) -> Checked<Vec<Ipv4Net>> {
    let count = raw.len();
    if count > max as usize {
        let problem = Problem::TooManyPrefixes { count, max };
        return Err(place.refuse_plain("entries", "[…]", problem));
    }
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(count);
    for text in raw {
        let entry = prefixes::prefix(place, "entries", text)?;
        if !seen.insert(entry) {
            return Err(place.refuse("entries", text, Problem::PrefixTwice));
        }
        entries.push(entry);
    }
    Ok(entries)
}
