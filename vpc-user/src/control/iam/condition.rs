//! Conditions: an operator, a key of the request, and values.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//!
//! A key with several values and an operator without `ForAllValues` or `ForAnyValue`,
//! which AWS advises against, is asked whether any value matches.

use std::{cmp::Ordering, fmt, net::IpAddr};

use ipnet::IpNet;

use super::{Keys, date, pattern::Pattern};

/// One condition: a key with its values under an operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Condition {
    pub(super) operator: Operator,
    /// A key of the request; letter case means nothing.
    pub(super) key: String,
    /// At least one.
    pub(super) values: Vec<String>,
}

/// What is asked of the values of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Operator {
    set: Option<Set>,
    base: &'static Base,
    /// `…IfExists`: true if the key is missing.
    if_exists: bool,
}

/// Which values of a key are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Set {
    /// `ForAllValues:`, true if there is none.
    All,
    /// `ForAnyValue:`, false if there is none.
    Any,
}

/// An operator without prefix and suffix.
#[derive(PartialEq, Eq, Debug)]
struct Base {
    name: &'static str,
    test: Test,
    /// Whether it is true if no value of the policy matches.
    negated: bool,
}

/// How a value of the request is compared with one of the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Test {
    Equal,
    EqualIgnoringCase,
    Like,
    Arn,
    Bool,
    Number(Relation),
    Date(Relation),
    Address,
    /// Whether the key is missing.
    Null,
}

/// How the request's number stands to the policy's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const fn is(name: &'static str, test: Test) -> Base {
    Base {
        name,
        test,
        negated: false,
    }
}

const fn not(name: &'static str, test: Test) -> Base {
    Base {
        name,
        test,
        negated: true,
    }
}

static OPERATORS: &[Base] = &[
    is("StringEquals", Test::Equal),
    not("StringNotEquals", Test::Equal),
    is("StringEqualsIgnoreCase", Test::EqualIgnoringCase),
    not("StringNotEqualsIgnoreCase", Test::EqualIgnoringCase),
    is("StringLike", Test::Like),
    not("StringNotLike", Test::Like),
    is("ArnEquals", Test::Arn),
    not("ArnNotEquals", Test::Arn),
    is("ArnLike", Test::Arn),
    not("ArnNotLike", Test::Arn),
    is("Bool", Test::Bool),
    is("Null", Test::Null),
    is("NumericEquals", Test::Number(Relation::Equal)),
    not("NumericNotEquals", Test::Number(Relation::Equal)),
    is("NumericLessThan", Test::Number(Relation::Less)),
    is("NumericLessThanEquals", Test::Number(Relation::LessOrEqual)),
    is("NumericGreaterThan", Test::Number(Relation::Greater)),
    is(
        "NumericGreaterThanEquals",
        Test::Number(Relation::GreaterOrEqual),
    ),
    is("DateEquals", Test::Date(Relation::Equal)),
    not("DateNotEquals", Test::Date(Relation::Equal)),
    is("DateLessThan", Test::Date(Relation::Less)),
    is("DateLessThanEquals", Test::Date(Relation::LessOrEqual)),
    is("DateGreaterThan", Test::Date(Relation::Greater)),
    is(
        "DateGreaterThanEquals",
        Test::Date(Relation::GreaterOrEqual),
    ),
    is("IpAddress", Test::Address),
    not("NotIpAddress", Test::Address),
];

impl Operator {
    /// The operator of a name.
    pub(super) fn new(name: &str) -> Option<Self> {
        let (set, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Some(Set::All), rest),
            Some(("ForAnyValue", rest)) => (Some(Set::Any), rest),
            Some(_) => return None,
            None => (None, name),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let base = OPERATORS.iter().find(|one| one.name == base)?;
        let is_null = base.test == Test::Null;
        (!is_null || set.is_none() && !if_exists).then_some(Self {
            set,
            base,
            if_exists,
        })
    }

    /// What the values of a policy under this operator are to be, if one is not that.
    pub(super) fn refusal(self, value: &str) -> Option<&'static str> {
        let is_bool = || matches!(value.to_ascii_lowercase().as_str(), "true" | "false");
        match self.base.test {
            Test::Equal | Test::EqualIgnoringCase | Test::Like | Test::Arn => None,
            Test::Bool | Test::Null => (!is_bool()).then_some("true or false"),
            Test::Number(_) => number(value).is_none().then_some("a number"),
            Test::Date(_) => date::parse(value).is_none().then_some("a date of ISO 8601"),
            Test::Address => network(value).is_none().then_some("an address or a CIDR"),
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = match self.set {
            Some(Set::All) => "ForAllValues:",
            Some(Set::Any) => "ForAnyValue:",
            None => "",
        };
        let suffix = if self.if_exists { "IfExists" } else { "" };
        write!(f, "{set}{}{suffix}", self.base.name)
    }
}

impl Condition {
    /// Whether a request meets it.
    pub(super) fn is_met(&self, keys: &Keys, variables: bool) -> bool {
        let Operator {
            set,
            base,
            if_exists,
        } = self.operator;
        let asked = keys
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(&self.key))
            .flat_map(|(_, values)| values);
        let asked: Vec<&String> = asked.collect();
        if base.test == Test::Null {
            let is_missing = asked.is_empty().to_string();
            return self
                .values
                .iter()
                .any(|value| value.eq_ignore_ascii_case(&is_missing));
        }
        if asked.is_empty() {
            return if_exists
                || match set {
                    Some(Set::All) => true,
                    Some(Set::Any) => false,
                    None => base.negated,
                };
        }
        let is_listed = |asked: &&String| {
            self.values
                .iter()
                .any(|value| base.test.holds(asked, value, variables))
        };
        match set {
            Some(Set::All) => asked.iter().all(|one| is_listed(one) != base.negated),
            Some(Set::Any) => asked.iter().any(|one| is_listed(one) != base.negated),
            None => asked.iter().any(is_listed) != base.negated,
        }
    }
}

impl Test {
    /// Whether a value of the request matches one of the policy.
    fn holds(self, asked: &str, value: &str, variables: bool) -> bool {
        let pattern = || Pattern::new(value, variables);
        match self {
            Self::Equal => pattern().is_some_and(|one| one.literal() == asked),
            Self::EqualIgnoringCase => {
                pattern().is_some_and(|one| one.literal().to_lowercase() == asked.to_lowercase())
            }
            Self::Like => pattern().is_some_and(|one| one.matches(asked)),
            Self::Arn => pattern().is_some_and(|one| one.matches_arn(asked)),
            Self::Bool => asked.eq_ignore_ascii_case(value),
            Self::Number(relation) => relation.holds(number(asked), number(value)),
            Self::Date(relation) => relation.holds(date::parse(asked), date::parse(value)),
            Self::Address => match (asked.parse::<IpAddr>(), network(value)) {
                (Ok(address), Some(network)) => network.contains(&address),
                _ => false,
            },
            // Whoever asks knows whether the key is missing.
            Self::Null => false,
        }
    }
}

impl Relation {
    fn holds(self, asked: Option<f64>, value: Option<f64>) -> bool {
        let (Some(asked), Some(value)) = (asked, value) else {
            return false;
        };
        let order = asked.partial_cmp(&value);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A CIDR, or an address as the CIDR of itself.
fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}
