//! A row group, searched: column after column, each only where those before it left rows.

use std::{net::Ipv4Addr, ops::Range};

use parquet::{data_type::ByteArray, errors::ParquetError};

use super::{
    Query,
    columns::{Columns, Number, Text, Time, millis},
    file::{Group, GroupRows, OpenFile},
    is_function,
};

/// A question, in the terms of columns. Ends are inclusive.
pub(super) struct Filter {
    from: i64,
    to: i64,
    address: Option<(u32, u32)>,
    ports: Option<(u32, u32)>,
    protocol: Option<(u32, u32)>,
    remote: Option<(u32, u32)>,
    remote_port: Option<(u32, u32)>,
    environment: Option<String>,
    function: Option<String>,
}

impl Filter {
    pub(super) fn new(query: &Query) -> Self {
        let one = |number: u32| (number, number);
        let remote = query.remote.as_ref();
        Self {
            from: millis(query.from),
            to: millis(query.to),
            address: query.address.map(Ipv4Addr::to_bits).map(one),
            ports: query
                .ports
                .as_ref()
                .map(|ports| (u32::from(*ports.start()), u32::from(*ports.end()))),
            protocol: query.protocol.map(u32::from).map(one),
            remote: remote.map(|it| (it.network().to_bits(), it.broadcast().to_bits())),
            remote_port: query.remote_port.map(u32::from).map(one),
            environment: query.environment.clone(),
            function: query.function.clone(),
        }
    }

    /// Whether a row group may have what is asked for.
    pub(super) fn admits(&self, group: &Group) -> bool {
        let (first, last) = self.address.unwrap_or((0, u32::MAX));
        group.start.0 <= self.to
            && group.end.1 >= self.from
            && group.address.0 <= last
            && group.address.1 >= first
    }

    /// Rows of a group that match and end at `floor` or later; at most `most`, the newest.
    pub(super) fn search(
        &self,
        file: &OpenFile,
        group: usize,
        floor: i64,
        most: usize,
    ) -> Result<Columns, ParquetError> {
        let mut found = Columns::default();
        if !self.dictionaries_admit(file, group)? {
            return Ok(found);
        }
        let mut rows = self.candidates(file, group)?;
        self.keep_numbers(file, group, &mut rows)?;
        self.keep_times(file, group, &mut rows, floor)?;
        self.keep_texts(file, group, &mut rows)?;
        if count(&rows) > most {
            let mut ends = Vec::new();
            file.time(group, Time::End)?.read(&rows, &mut ends)?;
            keep_newest(&mut rows, &ends, most);
        }
        if !rows.is_empty() {
            GroupRows::new(file, group)?.read(&rows, &mut found)?;
        }
        Ok(found)
    }

    /// Whether the texts that are asked for are in the group at all.
    fn dictionaries_admit(&self, file: &OpenFile, group: usize) -> Result<bool, ParquetError> {
        for (column, wanted) in self.texts() {
            let Some(wanted) = wanted else { continue };
            let dictionary = file.dictionary(group, column)?;
            if dictionary.is_some_and(|texts| !texts.iter().any(|it| is_named(column, it, wanted)))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Rows that page indexes leave, of the columns that have one.
    fn candidates(&self, file: &OpenFile, group: usize) -> Result<Vec<Range<usize>>, ParquetError> {
        let all = 0..file.footer.summary.groups[group].rows;
        let mut rows = vec![all];
        for (column, range) in [(Number::Address, self.address), (Number::Port, self.ports)] {
            if let Some(range) = range {
                rows = intersection(&rows, &file.footer.candidates(group, column, range)?);
            }
        }
        Ok(rows)
    }

    fn keep_numbers(
        &self,
        file: &OpenFile,
        group: usize,
        rows: &mut Vec<Range<usize>>,
    ) -> Result<(), ParquetError> {
        for (column, range) in [
            (Number::Address, self.address),
            (Number::Port, self.ports),
            (Number::Protocol, self.protocol),
            (Number::Remote, self.remote),
            (Number::RemotePort, self.remote_port),
        ] {
            let Some((first, last)) = range else { continue };
            if rows.is_empty() {
                break;
            }
            let mut values = Vec::new();
            file.number(group, column)?.read(rows, &mut values)?;
            keep(rows, &values, |value| {
                (first..=last).contains(&value.cast_unsigned())
            });
        }
        Ok(())
    }

    fn keep_times(
        &self,
        file: &OpenFile,
        group: usize,
        rows: &mut Vec<Range<usize>>,
        floor: i64,
    ) -> Result<(), ParquetError> {
        let Group { start, end, .. } = file.footer.summary.groups[group];
        let from = self.from.max(floor);
        let mut values = Vec::new();
        if end.0 < from && !rows.is_empty() {
            file.time(group, Time::End)?.read(rows, &mut values)?;
            keep(rows, &values, |end| *end >= from);
        }
        if start.1 > self.to && !rows.is_empty() {
            values.clear();
            file.time(group, Time::Start)?.read(rows, &mut values)?;
            keep(rows, &values, |start| *start <= self.to);
        }
        Ok(())
    }

    fn keep_texts(
        &self,
        file: &OpenFile,
        group: usize,
        rows: &mut Vec<Range<usize>>,
    ) -> Result<(), ParquetError> {
        for (column, wanted) in self.texts() {
            let Some(wanted) = wanted else { continue };
            if rows.is_empty() {
                break;
            }
            let mut values = Vec::new();
            file.text(group, column)?.read(rows, &mut values)?;
            keep(rows, &values, |value: &ByteArray| {
                is_named(column, value.data(), wanted)
            });
        }
        Ok(())
    }

    fn texts(&self) -> [(Text, Option<&str>); 2] {
        [
            (Text::Environment, self.environment.as_deref()),
            (Text::Function, self.function.as_deref()),
        ]
    }
}

/// Whether a text is the one that is wanted.
fn is_named(column: Text, text: &[u8], wanted: &str) -> bool {
    match column {
        // An empty one is none.
        Text::Function => {
            !text.is_empty() && str::from_utf8(text).is_ok_and(|text| is_function(text, wanted))
        }
        _ => text == wanted.as_bytes(),
    }
}

/// How many rows there are.
fn count(rows: &[Range<usize>]) -> usize {
    rows.iter().map(ExactSizeIterator::len).sum()
}

/// Leaves the rows whose values are to be kept. The values are those of the rows, in order.
fn keep<V>(rows: &mut Vec<Range<usize>>, values: &[V], is_kept: impl Fn(&V) -> bool) {
    let all = std::mem::take(rows);
    for (row, value) in all.into_iter().flatten().zip(values) {
        if !is_kept(value) {
            continue;
        }
        match rows.last_mut() {
            Some(last) if last.end == row => last.end = row + 1,
            _ => rows.push(row..row + 1),
        }
    }
}

/// Leaves the rows with the latest ends, at most `most` of them.
fn keep_newest(rows: &mut Vec<Range<usize>>, ends: &[i64], most: usize) {
    let Some(above) = ends.len().checked_sub(most) else {
        return;
    };
    let mut sorted = ends.to_vec();
    let (_, floor, later) = match sorted.get(above) {
        Some(_) => sorted.select_nth_unstable(above),
        None => return rows.clear(),
    };
    let floor = *floor;
    // Of those that end at the floor, as many as there is room for.
    let mut room = most.saturating_sub(later.iter().filter(|end| **end > floor).count());
    let kept: Vec<bool> = ends
        .iter()
        .map(|end| {
            let is_last = *end == floor && room > 0;
            room -= usize::from(is_last);
            *end > floor || is_last
        })
        .collect();
    keep(rows, &kept, |is_kept| *is_kept);
}

/// Rows that are in both.
fn intersection(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut rows, mut at) = (Vec::new(), 0);
    for range in a {
        while b.get(at).is_some_and(|it| it.end <= range.start) {
            at += 1;
        }
        // The last of these may reach into the next range too.
        let overlapping = b[at..].iter().take_while(|it| it.start < range.end);
        rows.extend(overlapping.map(|it| it.start.max(range.start)..it.end.min(range.end)));
    }
    rows
}
