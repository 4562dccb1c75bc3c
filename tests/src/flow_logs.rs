//! What the agent delivers of flow logs into a folder, read back.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;

/// A line of a flow log, by the names at the head of its file.
pub type Line = BTreeMap<String, String>;

/// Every line of every file under a folder.
pub fn lines(folder: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for path in files(folder) {
        let text = io::read_to_string(GzDecoder::new(fs::File::open(&path).expect("open")));
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut rows = text.lines();
        let names: Vec<&str> = rows.next().expect("a head").split(' ').collect();
        for row in rows {
            let values: Vec<&str> = row.split(' ').collect();
            assert_eq!(values.len(), names.len(), "{row}");
            let pairs = names.iter().zip(values);
            lines.push(
                pairs
                    .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
                    .collect(),
            );
        }
    }
    lines
}

/// How many lines all files under a folder have; `None` if one cannot be read yet.
pub fn try_lines(folder: &Path) -> Option<usize> {
    let mut lines = 0;
    for path in files(folder) {
        let file = fs::File::open(&path).ok()?;
        let text = io::read_to_string(GzDecoder::new(file)).ok()?;
        lines += text.lines().count().saturating_sub(1);
    }
    Some(lines)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "gz") {
            found.push(path);
        }
    }
    found
}

/// A number in a line.
pub fn number(line: &Line, name: &str) -> u64 {
    line[name]
        .parse()
        .unwrap_or_else(|_| panic!("{name} of {line:?}"))
}

/// Packets and bytes by what `key` says of a line.
pub fn sums<K: Ord>(lines: &[Line], key: impl Fn(&Line) -> K) -> BTreeMap<K, (u64, u64)> {
    let mut sums = BTreeMap::new();
    for line in lines.iter().filter(|line| line["log-status"] == "OK") {
        let sum: &mut (u64, u64) = sums.entry(key(line)).or_default();
        sum.0 += number(line, "packets");
        sum.1 += number(line, "bytes");
    }
    sums
}

/// The configuration of an export into a folder.
pub fn export(folder: &Path, format: &str) -> String {
    format!(
        "period_secs = 1\n[[flow_logs.export]]\nname = \"all\"\nto = \"file://{}\"\n\
         format = \"{format}\"\n",
        folder.display()
    )
}

/// Everything that tells flows apart.
pub const FORMAT: &str = "${version} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} \
                      ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status} \
                      ${flow-direction} ${tcp-flags} ${x-environment-id} ${x-inside-port} \
                      ${x-outside-port} ${x-drop-reason} ${x-skipped-packets}";
