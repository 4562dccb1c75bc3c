//! Names of functions: a name, a partial ARN or an ARN, each with or without a qualifier.

use super::errors;
use crate::control::{
    Account, ApiError, Settings, State,
    resource::{Alias, Function, LATEST},
};

/// AWS's pattern, as its errors show it.
const PATTERN: &str = "Member must satisfy regular expression pattern: \
    (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso(b?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?\
    (function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?";

/// Which function, and which version or alias of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The function.
    pub name: String,
    /// `$LATEST`, the number of a version, or an alias; `None`: none was named.
    pub qualifier: Option<String>,
    /// The function's ARN, without qualifier.
    pub arn: String,
}

impl Named {
    /// The ARN with the qualifier, if one was named.
    pub fn full_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", self.arn),
            None => self.arn.clone(),
        }
    }
}

/// Reads a `FunctionName` and a `Qualifier`. A function of another account or Region does
/// not exist.
pub fn parse(
    text: &str,
    qualifier: Option<&str>,
    account: Account,
    settings: &Settings,
) -> Result<Named, ApiError> {
    let malformed = || errors::validation(text, "functionName", PATTERN);
    let parts: Vec<&str> = text.split(':').collect();
    let (region, owner, rest) = match parts.as_slice() {
        [
            "arn",
            partition,
            "lambda",
            region,
            owner,
            "function",
            rest @ ..,
        ] if partition.starts_with("aws") => (Some(*region), Some(*owner), rest),
        [owner, "function", rest @ ..] => (None, Some(*owner), rest),
        rest => (None, None, rest),
    };
    let (name, given) = match rest {
        [name] => (*name, None),
        [name, qualifier] => (*name, Some(*qualifier)),
        _ => return Err(malformed()),
    };
    if !is_word(name, 64) || !given.is_none_or(is_qualifier) {
        return Err(malformed());
    }
    if let Some(text) = qualifier
        && !is_qualifier(text)
    {
        let pattern = "Member must satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)";
        return Err(errors::validation(text, "qualifier", pattern));
    }
    if given.is_some() && qualifier.is_some() && given != qualifier {
        let message = "The derived qualifier from the function name does not match the \
                       specified qualifier.";
        return Err(errors::invalid(message));
    }
    let is_here = region.is_none_or(|region| region == settings.region)
        && owner.is_none_or(|owner| owner == account.to_string());
    if !is_here {
        return Err(errors::no_function(text));
    }
    Ok(Named {
        name: name.to_owned(),
        qualifier: qualifier.or(given).map(str::to_owned),
        arn: format!(
            "arn:aws:lambda:{}:{account}:function:{name}",
            settings.region
        ),
    })
}

/// One that must be named without a qualifier.
pub fn parse_unqualified(
    text: &str,
    account: Account,
    settings: &Settings,
) -> Result<Named, ApiError> {
    let named = parse(text, None, account, settings)?;
    match named.qualifier.as_deref() {
        None | Some(LATEST) => Ok(named),
        Some(_) => Err(errors::invalid(
            "This operation is permitted on the unqualified function only.",
        )),
    }
}

/// Letters, digits, `-` and `_`.
pub fn is_word(text: &str, most: usize) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.len() <= most && text.bytes().all(is_allowed)
}

fn is_qualifier(text: &str) -> bool {
    text == LATEST || is_word(text, 128)
}

/// The version that can change.
pub fn latest<'s>(
    state: &'s State,
    named: &Named,
    account: Account,
) -> Result<&'s Function, ApiError> {
    let id = Function::id_of(account, &named.name, LATEST);
    let function = state.get::<Function>(&id);
    function.ok_or_else(|| errors::no_function(&named.arn))
}

/// The version that is meant. An alias with a second version takes that one for its share
/// of the `draw`s, which are spread over all numbers.
pub fn resolve<'s>(
    state: &'s State,
    named: &Named,
    account: Account,
    draw: u64,
) -> Result<&'s Function, ApiError> {
    let Some(qualifier) = named.qualifier.as_deref() else {
        return latest(state, named, account);
    };
    let id = Function::id_of(account, &named.name, qualifier);
    let version = match state.get::<Alias>(&id) {
        Some(alias) => routed(alias, draw),
        None => qualifier,
    };
    let id = Function::id_of(account, &named.name, version);
    let function = state.get::<Function>(&id);
    function.ok_or_else(|| errors::no_function(&named.full_arn()))
}

fn routed(alias: &Alias, draw: u64) -> &str {
    let share = draw as f64 / u64::MAX as f64;
    let second = alias.additional_version_weights.iter().next();
    match second {
        Some((version, weight)) if share < *weight => version,
        _ => &alias.function_version,
    }
}
