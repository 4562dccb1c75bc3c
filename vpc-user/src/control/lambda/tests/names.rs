//! Names of functions in each of their forms.

use super::super::name::parse;
use crate::control::{Account, Settings};

#[test]
fn a_function_is_named_in_many_ways() {
    let arn = "arn:aws:lambda:us-east-1:000000000001:function:my-f_1";
    let qualified = format!("{arn}:$LATEST");
    let table = [
        ("my-f_1", None, None),
        ("my-f_1:7", None, Some("7")),
        ("my-f_1", Some("live"), Some("live")),
        ("my-f_1:live", Some("live"), Some("live")),
        ("000000000001:function:my-f_1", None, None),
        ("000000000001:function:my-f_1:7", None, Some("7")),
        (arn, None, None),
        (&qualified, None, Some("$LATEST")),
    ];
    for (text, qualifier, expected) in table {
        let named = parse(text, qualifier, Account::DEFAULT, &Settings::default());
        let named = named.expect(text);
        assert_eq!(named.name, "my-f_1", "{text}");
        assert_eq!(named.qualifier.as_deref(), expected, "{text}");
        assert_eq!(named.arn, arn, "{text}");
    }
}

#[test]
fn what_names_no_function_is_refused() {
    let long = "f".repeat(65);
    let table = [
        ("", None, "ValidationException"),
        ("a b", None, "ValidationException"),
        ("a:b:c:d", None, "ValidationException"),
        ("f:", None, "ValidationException"),
        ("f:$latest", None, "ValidationException"),
        (long.as_str(), None, "ValidationException"),
        (
            "arn:aws:s3:us-east-1:000000000001:function:f",
            None,
            "ValidationException",
        ),
        ("f", Some("not ok"), "ValidationException"),
        ("f:1", Some("2"), "InvalidParameterValueException"),
        (
            "arn:aws:lambda:eu-west-1:000000000001:function:f",
            None,
            "ResourceNotFoundException",
        ),
        ("000000000002:function:f", None, "ResourceNotFoundException"),
    ];
    for (text, qualifier, code) in table {
        let named = parse(text, qualifier, Account::DEFAULT, &Settings::default());
        assert_eq!(named.expect_err(text).code.as_str(), code, "{text}");
    }
}

proptest::proptest! {
    /// Whatever the text, the answer is a name or an error.
    #[test]
    fn any_text_is_a_name_or_an_error(text in ".{0,80}", qualifier in ".{0,20}") {
        let _ = parse(&text, Some(&qualifier), Account::DEFAULT, &Settings::default());
    }
}
