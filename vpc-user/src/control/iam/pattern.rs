//! Patterns of policies: `*` is any text, `?` any character, and `${*}`, `${?}` and
//! `${$}` are those characters themselves.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

/// A part of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token {
    /// This character.
    Char(char),
    /// Any character.
    One,
    /// Any characters, or none.
    Any,
}

/// A pattern, ready to be matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern(Vec<Token>);

/// Parts of an ARN: `arn:partition:service:region:account:resource`. A resource may have
/// colons.
const ARN_PARTS: usize = 6;

impl Pattern {
    /// Reads a pattern. With `variables` (policies of version 2012-10-17), `${…}` is a
    /// variable: `None` for each that does not stand for a single character, as we
    /// resolve no others.
    pub(super) fn new(text: &str, variables: bool) -> Option<Self> {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if variables && let Some(variable) = rest.strip_prefix("${") {
                let (name, after) = variable.split_once('}')?;
                match name {
                    "*" | "?" | "$" => tokens.extend(name.chars().map(Token::Char)),
                    _ => return None,
                }
                rest = after;
                continue;
            }
            tokens.push(match first {
                '*' => Token::Any,
                '?' => Token::One,
                other => Token::Char(other),
            });
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
        Some(Self(tokens))
    }

    /// Whether a text matches, as a whole.
    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, text, |one, other| one == other)
    }

    /// Whether a text matches, the case of ASCII letters aside.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        matches(&self.0, text, |one, other| one.eq_ignore_ascii_case(&other))
    }

    /// Whether an ARN matches, part by part: a `*` does not reach into the next part. A
    /// pattern that is `*` alone matches every ARN.
    pub(super) fn matches_arn(&self, arn: &str) -> bool {
        let parts: Vec<&str> = arn.splitn(ARN_PARTS, ':').collect();
        if parts.len() != ARN_PARTS {
            return false;
        }
        if self.0 == [Token::Any] {
            return true;
        }
        let patterns: Vec<&[Token]> = self
            .0
            .splitn(ARN_PARTS, |token| *token == Token::Char(':'))
            .collect();
        let same = |one: char, other: char| one == other;
        patterns.len() == ARN_PARTS
            && patterns
                .iter()
                .zip(parts)
                .all(|(pattern, part)| matches(pattern, part, same))
    }

    /// The text itself, where `*` and `?` mean nothing else.
    pub(super) fn literal(&self) -> String {
        let character = |token: &Token| match token {
            Token::Char(one) => *one,
            Token::One => '?',
            Token::Any => '*',
        };
        self.0.iter().map(character).collect()
    }
}

/// Whether a text matches: what a `*` takes grows only if the rest does not match, and
/// only the last `*` is tried again, so the time is the product of the lengths at most.
fn matches(pattern: &[Token], text: &str, same: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern, text.chars());
    let mut retry = None;
    loop {
        let mut rest = text.clone();
        match (pattern.split_first(), rest.next()) {
            (None, None) => return true,
            (Some((Token::Any, after)), _) => {
                pattern = after;
                retry = Some((after, text.clone()));
                continue;
            }
            (Some((Token::One, after)), Some(_)) => (pattern, text) = (after, rest),
            (Some((Token::Char(one), after)), Some(other)) if same(*one, other) => {
                (pattern, text) = (after, rest);
            }
            (_, _) => {
                let Some((after, from)) = &mut retry else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (pattern, text) = (*after, from.clone());
            }
        }
    }
}
