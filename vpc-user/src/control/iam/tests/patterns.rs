//! Patterns against a model that tries everything.

use proptest::prelude::*;

use crate::control::iam::pattern::Pattern;

/// Whether a text matches, by definition.
fn model(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], text) => (0..=text.len()).any(|taken| model(rest, &text[taken..])),
        (['?', rest @ ..], [_, text @ ..]) => model(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one == other && model(rest, text),
        _ => false,
    }
}

fn arn_model(pattern: &str, arn: &str) -> bool {
    let parts = |text: &str| -> Vec<Vec<char>> {
        text.splitn(6, ':')
            .map(|part| part.chars().collect())
            .collect()
    };
    let (patterns, parts) = (parts(pattern), parts(arn));
    parts.len() == 6
        && (pattern == "*"
            || patterns.len() == 6
                && patterns
                    .iter()
                    .zip(&parts)
                    .all(|(one, part)| model(one, part)))
}

proptest! {
    #[test]
    fn a_pattern_matches_what_the_model_says(pattern in "[abé:*?]{0,10}", text in "[abé:]{0,12}") {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = model(&characters(&pattern), &characters(&text));
        let compiled = Pattern::new(&pattern, true).unwrap();
        prop_assert_eq!(compiled.matches(&text), expected);
        prop_assert_eq!(compiled.matches_ignoring_case(&text.to_ascii_uppercase()), expected);
        prop_assert_eq!(compiled.literal(), pattern);
    }

    #[test]
    fn an_arn_matches_part_by_part(pattern in "([ab*?]{0,2}:){4,6}[ab*?:]{0,3}", arn in "([ab]{0,2}:){4,6}[ab:]{0,3}") {
        let compiled = Pattern::new(&pattern, true).unwrap();
        prop_assert_eq!(compiled.matches_arn(&arn), arn_model(&pattern, &arn));
        prop_assert_eq!(Pattern::new("*", true).unwrap().matches_arn(&arn), arn_model("*", &arn));
    }

    #[test]
    fn a_pattern_of_anything_is_no_panic(pattern: String, text: String, variables: bool) {
        if let Some(pattern) = Pattern::new(&pattern, variables) {
            pattern.matches(&text);
            pattern.matches_arn(&text);
        }
    }

    #[test]
    fn an_escaped_character_is_itself(text in "[ab*?$]{0,8}", other in "[ab*?$]{0,8}") {
        let escape = |c: char| if "*?$".contains(c) { format!("${{{c}}}") } else { c.into() };
        let escaped: String = text.chars().map(escape).collect();
        let pattern = Pattern::new(&escaped, true).unwrap();
        prop_assert!(pattern.matches(&text));
        prop_assert_eq!(pattern.matches(&other), text == other);
    }
}

#[test]
fn a_hostile_pattern_takes_no_time() {
    let pattern = Pattern::new(&"a*".repeat(2_000), false).unwrap();
    assert!(!pattern.matches(&format!("{}b", "a".repeat(1_999))));
    let pattern = Pattern::new(&format!("{}b", "*a".repeat(500)), false).unwrap();
    assert!(!pattern.matches(&"a".repeat(5_000)));
}

#[test]
fn variables_are_those_of_the_newer_version() {
    assert!(Pattern::new("${aws:username}", true).is_none());
    assert!(Pattern::new("${aws:username, 'x'}", true).is_none());
    assert!(Pattern::new("${", true).is_none());
    assert!(Pattern::new("${a}", false).unwrap().matches("${a}"));
}
