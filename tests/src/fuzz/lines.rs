//! Stories that consist of lines, changed by lines: what comes after what matters more to
//! them than a byte here or there.

use vpc_common::packet_table::Dice;

/// Another story, by chance: a line is put in from the stock, goes, moves, comes again, or
/// names another resource.
pub fn change(story: &[u8], stock: &[&[u8]], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let lines = story.split(|byte| *byte == b'\n');
    let mut lines: Vec<Vec<u8>> = lines
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    for _ in 0..=dice.roll(3) {
        let (at, other) = (dice.roll(lines.len() + 1), dice.roll(lines.len()));
        match dice.roll(8) {
            0..=2 if !stock.is_empty() => {
                let line = stock[dice.roll(stock.len())];
                lines.insert(at, line.to_vec());
            }
            3 if !lines.is_empty() => drop(lines.remove(other)),
            4 if !lines.is_empty() => {
                let line = lines.remove(other);
                lines.insert(at.min(lines.len()), line);
            }
            5 if !lines.is_empty() => lines.insert(at, lines[other].clone()),
            _ if !lines.is_empty() => rename(&mut lines[other], &mut dice),
            _ => {}
        }
    }
    lines.join(&b'\n')
}

/// Changes the number of a resource that a line names.
fn rename(line: &mut [u8], dice: &mut Dice) {
    let is_number = |at: &usize| line[at - 1] == b'/' && line[*at].is_ascii_digit();
    let places: Vec<usize> = (1..line.len()).filter(is_number).collect();
    if let Some(at) = places.get(dice.roll(places.len())) {
        line[*at] = b'0' + dice.roll(4) as u8;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lines_come_go_move_and_name_others() {
        let stock: &[&[u8]] = &[b"new"];
        let story = b"a @vpc/0\nb @vpc/1\nc\n";
        let made: BTreeSet<_> = (0..400).map(|seed| change(story, stock, seed)).collect();
        for expected in [
            "a @vpc/0\nc",
            "c\na @vpc/0\nb @vpc/1",
            "a @vpc/3\nb @vpc/1\nc",
        ] {
            assert!(made.contains(expected.as_bytes()), "{expected}");
        }
        assert!(made.iter().any(|story| story.starts_with(b"new\n")));
        assert_eq!(change(story, stock, 7), change(story, stock, 7));
        assert_eq!(change(b"", &[], 7), b"");
    }
}
