//! Which files to merge. Pure.
//!
//! Files are of the size class that the logarithm of their rows gives. Eight of a class that
//! are neighbours, with smaller ones among them, become one of the next, so that a binding is
//! written once a class. A file grows until it is full or spans so much time that it could not
//! be dropped in time.

use std::ops::Range;

/// Files of a class that become one, and how much larger the files of the next class are.
const FAN: usize = 8;

/// The most rows of a file.
const MOST_ROWS: usize = 1 << 22;

/// The most files that one merge reads.
const MOST_FILES: usize = 32;

/// What is to be known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) rows: usize,
    /// The oldest and the newest end of a flow, Unix milliseconds.
    pub(super) ends: (i64, i64),
}

impl Candidate {
    fn class(&self) -> u32 {
        self.rows.max(1).ilog(FAN)
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            rows: self.rows.saturating_add(other.rows),
            ends: (self.ends.0.min(other.ends.0), self.ends.1.max(other.ends.1)),
        }
    }

    fn fits(&self, span: i64) -> bool {
        self.rows <= MOST_ROWS && self.ends.1.saturating_sub(self.ends.0) <= span
    }
}

/// The next files to merge. `None` among the files is one that must stay as it is. `span`: the
/// most time from the first end of a flow in a file to the last, milliseconds.
pub(super) fn plan(files: &[Option<Candidate>], span: i64) -> Option<Range<usize>> {
    let is_open = |file: &&Candidate| file.rows <= MOST_ROWS / 2;
    (0..=MOST_ROWS.ilog(FAN)).find_map(|class| {
        let mut first = 0;
        let belongs = |file: &Option<Candidate>| {
            let file = file.as_ref().filter(is_open);
            file.is_some_and(|file| file.class() <= class)
        };
        files
            .chunk_by(|a, b| belongs(a) == belongs(b))
            .find_map(|run| {
                let at = first;
                first += run.len();
                let run: Vec<Candidate> = run.iter().copied().flatten().collect();
                let is_run = belongs(&files[at]);
                let range = plan_run(is_run.then_some(run)?.as_slice(), class, span)?;
                Some(at + range.start..at + range.end)
            })
    })
}

/// The same of neighbours that are of a class or smaller.
fn plan_run(run: &[Candidate], class: u32, span: i64) -> Option<Range<usize>> {
    let mut first = 0;
    while first < run.len() {
        let mut sum = run[first];
        let mut next = first + 1;
        while let Some(file) = run.get(next)
            && next - first < MOST_FILES
            && sum.with(file).fits(span)
        {
            sum = sum.with(file);
            next += 1;
        }
        let group = &run[first..next];
        // A group with files behind it will not grow.
        let is_closed = next < run.len();
        let of_class = group.iter().filter(|file| file.class() == class).count();
        if group.len() > 1 && (is_closed || of_class >= FAN) {
            return Some(first..next);
        }
        first = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn merged(files: &mut Vec<Option<Candidate>>, range: Range<usize>) -> usize {
        let sum = files[range.clone()].iter().flatten().copied();
        let sum = sum.reduce(|a, b| a.with(&b)).unwrap();
        files.splice(range, [Some(sum)]);
        sum.rows
    }

    /// Minute after minute of as many flows: files at the end, and rows written per row.
    fn run(minutes: i64, rows: usize) -> (usize, usize) {
        let (mut files, mut written) = (Vec::new(), 0);
        for minute in 0..minutes {
            let ends = (minute * 60_000, minute * 60_000 + 59_999);
            files.push(Some(Candidate { rows, ends }));
            written += rows;
            while let Some(range) = plan(&files, DAY) {
                written += merged(&mut files, range);
            }
        }
        (
            files.len(),
            written / rows / usize::try_from(minutes).unwrap(),
        )
    }

    #[test]
    fn files_stay_few_and_rows_are_written_a_few_times() {
        for (rows, most_files, most_written) in [
            (1, 20, 4),
            (2_300, 25, 4),
            (100_000, 50, 4),
            (3_000_000, 1_440, 1),
        ] {
            let (files, written) = run(1_440, rows);
            assert!(files <= most_files, "{rows}: {files} files");
            assert!(written <= most_written, "{rows}: written {written} times");
        }
    }

    proptest! {
        #[test]
        fn a_plan_names_neighbours_that_fit_and_comes_to_an_end(
            sizes in prop::collection::vec(prop::option::of((0_usize..3_000_000, 0..2 * DAY)), 0..80),
            span in 0..2 * DAY,
        ) {
            let mut at = 0;
            let mut files: Vec<_> = sizes.into_iter().map(|size| {
                let (rows, length) = size?;
                at += length;
                Some(Candidate { rows, ends: (at - length, at) })
            }).collect();
            let mut before = files.len();
            while let Some(range) = plan(&files, span) {
                prop_assert!(range.len() > 1 && range.len() <= MOST_FILES);
                prop_assert!(files[range.clone()].iter().all(Option::is_some));
                prop_assert!(merged(&mut files, range) <= MOST_ROWS);
                prop_assert!(files.len() < before);
                before = files.len();
            }
        }
    }
}
