//! A question, answered from all files.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Binding, Found, IndexError, Query,
    columns::Names,
    file::FileError,
    folder::{FileName, Listing},
    reader::Reader,
    scan::Filter,
};

/// Times that files may vanish until a folder counts as restless.
const ATTEMPTS: usize = 32;

/// Answers a question. A file that has vanished was replaced by another, or was too old: the
/// folder is looked at again, and everything is read again.
pub(super) fn find(reader: &Reader, query: &Query) -> Result<Found, IndexError> {
    for _ in 0..ATTEMPTS {
        let listing = reader.list()?;
        if let Some(found) = find_in(reader, &listing, query) {
            return Ok(found);
        }
    }
    Err(IndexError::Restless {
        path: reader.folder().to_owned(),
    })
}

/// `None`: a file has vanished.
fn find_in(reader: &Reader, listing: &Listing, query: &Query) -> Option<Found> {
    let filter = Filter::new(query);
    let mut skipped: Vec<String> = listing
        .foreign
        .iter()
        .map(|name| format!("{name} is not a file of the index and is passed over: remove it"))
        .collect();
    let mut groups = Vec::new();
    for name in &listing.files {
        match reader.summary(name) {
            Ok(summary) => {
                let admitted = summary.groups.iter().enumerate();
                let admitted = admitted.filter(|(_, group)| filter.admits(group));
                groups.extend(admitted.map(|(at, group)| (group.end.1, *name, at)));
            }
            Err(FileError::Gone) => return None,
            Err(FileError::Damaged(sentence)) => skipped.push(sentence),
        }
    }
    groups.sort_unstable_by_key(|group| Reverse(*group));
    let mut newest = Newest::new(query.limit);
    for (end, name, group) in groups {
        if end < newest.floor() {
            break;
        }
        match search(reader, &name, group, &filter, &mut newest) {
            Ok(()) => {}
            Err(FileError::Gone) => return None,
            Err(FileError::Damaged(sentence)) => {
                if !skipped.contains(&sentence) {
                    skipped.push(sentence);
                }
            }
        }
    }
    Some(newest.into_found(skipped))
}

fn search(
    reader: &Reader,
    name: &FileName,
    group: usize,
    filter: &Filter,
    newest: &mut Newest,
) -> Result<(), FileError> {
    let file = reader.open(name)?;
    let columns = filter
        .search(&file, group, newest.floor(), newest.room)
        .map_err(|error| file.damaged(error))?;
    for row in 0..columns.len() {
        let binding = newest.names.binding(&columns, row);
        let binding = binding.ok_or_else(|| file.damaged("a row is no binding"))?;
        newest.take(binding);
    }
    Ok(())
}

/// The bindings that end latest, of those that were found so far, and one more than is wanted:
/// to know whether there are more.
struct Newest {
    names: Names,
    room: usize,
    /// The one that ends first is on top.
    bindings: BinaryHeap<Reverse<(u64, Binding)>>,
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self {
            names: Names::default(),
            room: limit.saturating_add(1),
            bindings: BinaryHeap::new(),
        }
    }

    /// What ends before this is not among them.
    fn floor(&self) -> i64 {
        match self.bindings.peek() {
            Some(Reverse((end, _))) if self.bindings.len() >= self.room => {
                super::columns::millis(*end)
            }
            _ => i64::MIN,
        }
    }

    fn take(&mut self, binding: Binding) {
        self.bindings.push(Reverse((binding.end, binding)));
        if self.bindings.len() > self.room {
            self.bindings.pop();
        }
    }

    fn into_found(mut self, skipped: Vec<String>) -> Found {
        let truncated = self.bindings.len() == self.room;
        if truncated {
            self.bindings.pop();
        }
        let sorted = self.bindings.into_sorted_vec();
        Found {
            bindings: sorted
                .into_iter()
                .map(|Reverse((_, binding))| binding)
                .collect(),
            truncated,
            skipped,
        }
    }
}
