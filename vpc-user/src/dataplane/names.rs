//! Names as the table of names holds them.

use vpc_common::layout::{NAME_LEN, Name};

/// A name in its table form; what does not fit is cut at a character.
pub fn encode(text: &str) -> Name {
    let mut name = [0; NAME_LEN];
    let mut end = text.len().min(NAME_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].copy_from_slice(&text.as_bytes()[..end]);
    name
}

/// The text before the first zero byte.
pub fn text(name: &[u8]) -> String {
    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_trip_through_the_table() {
        assert_eq!(text(&encode("blue-0")), "blue-0");
        assert_eq!(text(&encode("")), "");
        assert_eq!(text(&encode(&"ä".repeat(40))), "ä".repeat(32));
        assert_eq!(
            text(&encode(&format!("a{}", "ä".repeat(40)))),
            format!("a{}", "ä".repeat(31))
        );
    }
}
