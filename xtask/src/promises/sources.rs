//! Which tests a Rust file has. Its tokens are looked at rather than its lines, so that neither
//! a comment nor a text passes for a test, and one inside a macro such as `proptest!` is found.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The packet table's macro: each of its functions is a case that the tests of all hooks run.
const CASES: &str = "cases";

/// The names of the tests of a file. One that is ignored is none.
pub fn tests(text: &str) -> Result<BTreeSet<String>> {
    let tokens: TokenStream = text
        .parse()
        .ok()
        .context("its tokens cannot be told apart")?;
    let mut names = BTreeSet::new();
    collect(tokens, false, &mut names);
    Ok(names)
}

fn collect(tokens: TokenStream, are_cases: bool, names: &mut BTreeSet<String>) {
    let (mut is_test, mut is_ignored) = (are_cases, false);
    let mut is_macro_of_cases = false;
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.peek() {
                    let name = attribute_name(attribute.stream());
                    is_test |= name.as_deref() == Some("test");
                    is_ignored |= name.as_deref() == Some("ignore");
                    tokens.next();
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => {
                (is_test, is_ignored) = (are_cases, false);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            TokenTree::Ident(word) if word == "fn" => {
                if let Some(TokenTree::Ident(name)) = tokens.peek()
                    && is_test
                    && !is_ignored
                {
                    names.insert(name.to_string());
                }
                (is_test, is_ignored) = (are_cases, false);
            }
            TokenTree::Ident(word) => {
                let is_call =
                    matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '!');
                is_macro_of_cases = is_call && word == CASES;
            }
            TokenTree::Group(group) => {
                let are_cases = is_macro_of_cases && group.delimiter() == Delimiter::Brace;
                collect(group.stream(), are_cases, names);
                is_macro_of_cases = false;
            }
        }
    }
}

/// The last word of an attribute's path: `test` of `#[tokio::test(…)]`, `cfg` of
/// `#[cfg(test)]`.
fn attribute_name(tokens: TokenStream) -> Option<String> {
    let mut name = None;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => name = Some(word.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Punct(_) | TokenTree::Literal(_) | TokenTree::Group(_) => break,
        }
    }
    name
}
