use proptest::prelude::*;

use super::*;

fn specs(declared: &[(&str, &str)]) -> ParamSpecs {
    declared
        .iter()
        .map(|(name, text)| ((*name).to_owned(), ParamSpec::parse(text).unwrap()))
        .collect()
}

fn canonical(declared: &str, text: &str) -> Result<String, ValueError> {
    let kind = ParamSpec::parse(declared).unwrap().kind;
    kind.parse_text(text).map(|value| value.as_str().to_owned())
}

#[test]
fn each_type_has_one_spelling() {
    for (declared, text, expected) in [
        ("int", "042", "42"),
        ("int", "+42", "42"),
        ("int", "-0", "0"),
        ("int", "-9223372036854775808", "-9223372036854775808"),
        ("decimal", "12.50", "12.5"),
        ("decimal", "0012.000", "12"),
        ("decimal", "-0.0", "0"),
        ("bool", "1", "true"),
        ("bool", "false", "false"),
        ("date", "2025-01-31", "2025-01-31"),
        (
            "timestamp",
            "2025-01-31T01:00:00+01:00",
            "2025-01-31T00:00:00Z",
        ),
        (
            "timestamp",
            "2025-01-31T00:00:00.120Z",
            "2025-01-31T00:00:00.12Z",
        ),
        (
            "uuid",
            "018F4E2A7D1C7C3E8A552F6C1B0D9E44",
            "018f4e2a-7d1c-7c3e-8a55-2f6c1b0d9e44",
        ),
        ("text(3)", "äöü", "äöü"),
        ("text", "", ""),
        ("enum(day|week)", "week", "week"),
    ] {
        assert_eq!(
            canonical(declared, text).as_deref(),
            Ok(expected),
            "{declared} {text}"
        );
    }
}

#[test]
fn each_type_refuses_what_it_is_not() {
    for (declared, text) in [
        ("int", ""),
        ("int", "4.2"),
        ("int", "9223372036854775808"),
        ("int", " 42"),
        ("int", "42; DROP TABLE orders"),
        ("decimal", "1e5"),
        ("decimal", "1_000"),
        ("decimal", "NaN"),
        ("decimal", "0.00000000000000000000000000001"),
        ("bool", "TRUE"),
        ("date", "2025-02-30"),
        ("date", "2025-1-31"),
        ("date", "2025-01-31T00:00:00"),
        ("date", "0000-01-01"),
        ("timestamp", "2025-01-31T00:00:00"),
        ("timestamp", "2025-01-31T00:00:00.1234567Z"),
        ("timestamp", "2025-01-31T00:00:00Z[UTC]"),
        ("timestamp", "0000-01-01T00:00:00Z"),
        ("uuid", "42"),
        ("text(3)", "four"),
        ("text", "a\0b"),
        ("enum(day|week)", "Day"),
    ] {
        assert!(canonical(declared, text).is_err(), "{declared} {text:?}");
    }
}

#[test]
fn declarations_say_what_to_write() {
    for (text, problem) in [
        ("integer", "unknown parameter type \"integer\""),
        ("text(0)", "\"0\" is no number of characters"),
        (
            "enum(a||b)",
            "an enum lists different words, none of them empty",
        ),
        ("int = x", "the default \"x\" is not of type int"),
        ("int? = 4", "a parameter with a default is never absent"),
    ] {
        let error = ParamSpec::parse(text).unwrap_err();
        assert_eq!(error.problem, problem);
        assert!(!error.help.is_empty());
    }
}

#[test]
fn a_request_is_refused_with_a_reason() {
    let specs = specs(&[
        ("org", "int"),
        ("from", "date"),
        ("region", "text(8) = all"),
    ]);
    let path = [("org".to_owned(), "42".to_owned())];
    for (query, expected) in [
        ("", "parameter \"from\" is missing: date is required"),
        (
            "from=x",
            "parameter \"from\" must be a date such as 2025-01-31",
        ),
        (
            "from=2025-01-01&from=2025-01-01",
            "parameter \"from\" is given more than once",
        ),
        (
            "from=2025-01-01&org=43",
            "unknown parameter \"org\"; known here: from, region",
        ),
        (
            "from=2025-01-01&fromm=1",
            "unknown parameter \"fromm\"; known here: from, region",
        ),
        (
            "from=%zz",
            "a % in the query string is not followed by two hexadecimal digits",
        ),
        (
            "from=%2",
            "a % in the query string is not followed by two hexadecimal digits",
        ),
        (
            "region=%ff",
            "the query string is not UTF-8 after percent-decoding",
        ),
        (
            "from=2025-01-01&region=too+long+now",
            "parameter \"region\" must have at most 8 characters",
        ),
    ] {
        let error = Params::from_target(&specs, &path, query).unwrap_err();
        assert_eq!(error.to_string(), expected, "{query}");
    }
}

#[test]
fn a_default_written_out_makes_no_difference() {
    let specs = specs(&[("from", "date"), ("region", "text(8) = all")]);
    let implied = Params::from_target(&specs, &[], "from=2025-01-01").unwrap();
    let explicit = Params::from_target(&specs, &[], "region=all&from=2025-01-01&").unwrap();
    assert_eq!(implied, explicit);
}

#[test]
fn a_body_is_checked_member_by_member() {
    let mut specs = specs(&[
        ("org", "int"),
        ("customer", "int"),
        ("amount", "decimal?"),
        ("paid", "bool = false"),
    ]);
    let fields = self::specs(&[("product", "int"), ("quantity", "int = 1")]);
    specs.insert(
        "items".to_owned(),
        ParamSpec {
            kind: ParamType::Records(fields),
            fallback: Fallback::Required,
        },
    );
    let path = [("org".to_owned(), "42".to_owned())];
    let parse = |body: &str| Params::from_body(&specs, &path, body.as_bytes());

    let params = parse(
        r#"{"customer": 7, "amount": 19.90, "items": [{"product": 3, "quantity": 2}, {"product": "004"}]}"#,
    )
    .unwrap();
    assert_eq!(params.get("amount").unwrap().as_str(), "19.9");
    assert_eq!(params.get("paid").unwrap().as_str(), "false");
    assert_eq!(
        params.get("items").unwrap().as_str(),
        r#"[{"product":"3","quantity":"2"},{"product":"4","quantity":"1"}]"#
    );

    for (body, expected) in [
        ("", "parameter \"customer\" is missing: int is required"),
        ("[]", "the body must be a JSON object: it is something else"),
        (
            "{",
            "the body must be a JSON object: it ends too early, at line 1 column 1",
        ),
        (
            r#"{"org":1}"#,
            "unknown parameter \"org\"; known here: amount, customer, items, paid",
        ),
        (
            r#"{"customer":1,"customer":2}"#,
            "parameter \"customer\" is given more than once",
        ),
        (
            r#"{"customer":1.5}"#,
            "parameter \"customer\" must be a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        (
            r#"{"customer":1,"items":[{"product":1}],"paid":"yes"}"#,
            "parameter \"paid\" must be true or false",
        ),
        (
            r#"{"customer":[1]}"#,
            "parameter \"customer\" must be a whole number from -9223372036854775808 to 9223372036854775807",
        ),
        (
            r#"{"customer":1,"items":{}}"#,
            "parameter \"items\" must be a list of objects",
        ),
        (
            r#"{"customer":1,"items":[]}"#,
            "parameter \"items\" must list 1 to 1000 records, not 0",
        ),
        (
            r#"{"customer":1,"items":[{"product":1},{}]}"#,
            "parameter \"items\" record 1: parameter \"product\" is missing: int is required",
        ),
        (
            r#"{"customer":null,"items":[{"product":1}]}"#,
            "parameter \"customer\" is missing: int is required",
        ),
    ] {
        assert_eq!(parse(body).unwrap_err().to_string(), expected, "{body}");
    }
}

/// What a client is told ends up in its logs, and its body may be nobody's business.
#[test]
fn no_detail_repeats_what_a_body_holds() {
    let mut specs = specs(&[("amount", "decimal"), ("day", "date"), ("name", "text(3)")]);
    let items = ParamSpec {
        kind: ParamType::Records(self::specs(&[("n", "int")])),
        fallback: Fallback::Absent,
    };
    specs.insert("items".to_owned(), items);
    for body in [
        r#""secret""#,
        r#"["secret"]"#,
        r#"secret"#,
        r#"{"amount": secret}"#,
        r#"{"amount": "secret"}"#,
        r#"{"amount": ["secret"]}"#,
        r#"{"day": "secret"}"#,
        r#"{"day": {"secret": 1}}"#,
        r#"{"name": "secret"}"#,
        r#"{"name": "secret"#,
        r#"{"items": "secret"}"#,
        r#"{"items": ["secret"]}"#,
        r#"{"items": [{"n": "secret"}]}"#,
        r#"{"items": [{"n": 1}, "secret"]}"#,
        r#"{"items": [["secret"]]}"#,
    ] {
        let told = Params::from_body(&specs, &[], body.as_bytes()).unwrap_err();
        assert!(!told.to_string().contains("secret"), "{body}: {told}");
    }
}

proptest! {
    #[test]
    fn canonicalisation_is_idempotent(
        declared in prop::sample::select(vec![
            "int", "decimal", "bool", "date", "timestamp", "uuid", "text(12)", "enum(a|b|1)",
        ]),
        text in prop_oneof![
            ".{0,14}",
            "[-+]?[0-9]{1,20}(\\.[0-9]{1,9})?",
            "[0-9]{4}-[01][0-9]-[0-3][0-9]",
            "[0-9]{4}-0[1-9]-[0-2][0-9]T[01][0-9]:00:00(\\.[0-9]{1,6})?(Z|\\+0[0-9]:00)",
            "[0-9a-fA-F]{32}",
            "true|false|0|1|a|b",
        ],
    ) {
        if let Ok(once) = canonical(declared, &text) {
            prop_assert_eq!(canonical(declared, &once), Ok(once));
        }
    }

    #[test]
    fn order_makes_no_difference(
        a in any::<i64>(),
        b in "[ -~äöü]{0,20}",
        seed in 0usize..6,
    ) {
        let specs = specs(&[("a", "int"), ("b", "text"), ("c", "bool?")]);
        let encoded = percent_encoding::utf8_percent_encode(&b, percent_encoding::NON_ALPHANUMERIC);
        let mut pairs = [format!("a={a}"), format!("b={encoded}"), "c=1".to_owned()];
        let sorted = Params::from_target(&specs, &[], &pairs.join("&")).unwrap();
        pairs.rotate_left(seed % 3);
        if seed >= 3 {
            pairs.reverse();
        }
        prop_assert_eq!(Params::from_target(&specs, &[], &pairs.join("&")).unwrap(), sorted);
    }

    #[test]
    fn no_query_string_or_body_panics(query in "\\PC{0,60}", body in prop::collection::vec(any::<u8>(), 0..60)) {
        let specs = specs(&[("a", "int?"), ("b", "text?")]);
        let _ = Params::from_target(&specs, &[], &query);
        let _ = Params::from_body(&specs, &[], &body);
    }
}
