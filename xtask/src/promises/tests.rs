use std::env;

use super::*;

/// The tests of a made-up workspace.
fn tests() -> BTreeSet<String> {
    ["it_works", "it_works_twice"].map(str::to_owned).into()
}

fn found(text: &str) -> Vec<String> {
    sources::tests(text).expect("Rust").into_iter().collect()
}

/// A conformance page of these rows, with the counts that go with them.
fn page(rows: &str) -> String {
    let table = format!("## One\n\n| REQ | Status | Tests |\n| --- | --- | --- |\n{rows}");
    let counts = Counts::of(&table);
    let (begin, end) = (conformance::BEGIN, conformance::END);
    format!("# Title\n\n{begin}{counts}{end}\n\n{table}")
}

fn faults(rows: &str) -> Vec<What> {
    let faults = check_document(CONFORMANCE, &page(rows), &tests());
    faults.into_iter().map(|fault| fault.what).collect()
}

#[test]
fn the_documents_promise_what_is_so() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().expect("the workspace");
    if env::var_os("VPC_BLESS").is_some_and(|value| value == "1") {
        bless(&root.join(CONFORMANCE));
    }
    if let Err(error) = check(root) {
        panic!("{error}");
    }
}

fn bless(path: &Path) {
    let text = read(path).expect("a page");
    let (before, rest) = text.split_once(conformance::BEGIN).expect("a begin marker");
    let (_, after) = rest.split_once(conformance::END).expect("an end marker");
    let counts = Counts::of(&text).to_string();
    let (begin, end) = (conformance::BEGIN, conformance::END);
    fs::write(path, [before, begin, &counts, end, after].concat()).expect("written");
}

#[test]
fn a_name_without_a_test_is_told_with_document_line_and_row() {
    let text = "# Title\n\n| What | Held by the test |\n| --- | --- |\n\
                | This. | `it_works` |\n| That. | `it_works`, `it_worked` |\n";
    let faults = check_document("docs/made-up.md", text, &tests());
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["docs/made-up.md:6: row \"That.\": there is no test `it_worked`: correct the name"]
    );
}

#[test]
fn a_name_of_six_words_is_a_test_wherever_it_stands() {
    let text = "Kept (`it_works_as_it_should_do`), by `the_key_of_five_words`.\n\n\
                ```\n`this_is_no_name_of_any_test`\n```\n\n\
                | Key | Meaning |\n| --- | --- |\n| `key` | `so_it_is_in_tables_too` |\n";
    let faults = check_document("docs/made-up.md", text, &tests());
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line, fault.row.as_str(), &fault.what))
        .collect();
    let no_test = |name: &str| What::NoTest(name.to_owned());
    let expected = [
        no_test("it_works_as_it_should_do"),
        no_test("so_it_is_in_tables_too"),
    ];
    assert_eq!(found, [(1, "", &expected[0]), (9, "`key`", &expected[1])]);
}

#[test]
fn a_row_has_a_status_and_what_goes_with_it() {
    for (rows, expected) in [
        ("| 1 | met | `it_works` |\n", None),
        ("| 1 | met | `it_works`, `it_works_twice` |\n", None),
        ("| 1 | met, untested | |\n", None),
        ("| 1 | partly | `it_works` |\n", None),
        (
            "| 1 | deviates by AWS rule | |\n| 2 | not applicable | |\n",
            None,
        ),
        ("| 1 | met | |\n", Some(What::MetWithoutTest)),
        ("| 1 | met | it_works |\n", Some(What::NotTests)),
        ("| 1 | met | `it_works` and more |\n", Some(What::NotTests)),
        (
            "| 1 | met, untested | `it_works` |\n",
            Some(What::UntestedWithTest),
        ),
        (
            "| 1 | yes | `it_works` |\n",
            Some(What::NoStatus("yes".to_owned())),
        ),
        (
            "| 1 | | `it_works` |\n",
            Some(What::NoStatus(String::new())),
        ),
        ("| 1 | met | `it_works` | more |\n", Some(What::Cells)),
        ("| 1 | met |\n", Some(What::Cells)),
    ] {
        assert_eq!(faults(rows), Vec::from_iter(expected), "{rows}");
    }
}

#[test]
fn a_table_of_the_conformance_page_has_statuses_and_tests() {
    let text = page("").replace("| REQ | Status | Tests |", "| REQ | State | Shown by |");
    let faults = check_document(CONFORMANCE, &text, &tests());
    let what: Vec<_> = faults.into_iter().map(|fault| fault.what).collect();
    assert_eq!(what, [What::NoColumn("Status"), What::NoColumn("Tests")]);
}

#[test]
fn counts_are_those_of_the_rows() {
    let right = page("| 1 | met | `it_works` |\n| 2 | deviates | |\n");
    assert_eq!(check_document(CONFORMANCE, &right, &tests()), []);
    let counts = "| One | 1 | 0 | 0 | 0 | 1 | 0 |\n| All | 1 | 0 | 0 | 0 | 1 | 0 |\n";
    assert!(right.contains(counts), "{right}");
    for wrong in [
        right.replace("| 2 | deviates |", "| 2 | partly |"),
        right.replace(conformance::BEGIN, ""),
        right.replace("| One | 1 |", "| One | 2 |"),
    ] {
        let faults = check_document(CONFORMANCE, &wrong, &tests());
        assert_eq!(
            faults.last().map(|fault| &fault.what),
            Some(&What::Counts),
            "{wrong}"
        );
    }
}

#[test]
fn tests_are_found_wherever_they_stand() {
    let text = r##"
        #[cfg(test)]
        mod tests {
            #[test]
            fn plain() { helper() }
            fn helper() {}
            #[tokio::test(flavor = "current_thread")]
            #[expect(clippy::unwrap_used, reason = "#[test] fn in_a_text() {}")]
            async fn awaited() {}
            /// #[test] fn in_a_comment() {}
            #[should_panic]
            #[test]
            fn after_others() {}
            proptest! {
                #![proptest_config(Config::default())]
                #[test]
                fn for_any_number(number in 0..9u8) { prop_assert!(number < 9) }
                fn of_no_test(number in 0..9u8) {}
            }
        }
        const TEXT: &str = "#[test]";
        fn after_a_text() {}
        type Way = fn(&mut World);
    "##;
    assert_eq!(
        found(text),
        ["after_others", "awaited", "for_any_number", "plain"]
    );
}

#[test]
fn a_case_of_the_packet_table_is_a_test() {
    let text = "macro_rules! cases { ($(fn $name:ident($run:ident) $body:block)+) => {} }\n\
                fn helper() {}\n\
                cases! { fn one(run) { fn inner() {} } /// Documented.\n fn two(run) {} }\n\
                fn after() {}";
    assert_eq!(found(text), ["one", "two"]);
}

#[test]
fn what_does_not_run_is_no_test() {
    let text = "#[test] #[ignore = \"slow\"] fn one() {} #[ignore] #[test] fn two() {}\n\
                #[cfg(test)] fn three() {} #[test] const FOUR: u8 = 0; fn five() {}\n\
                // #[test]\n fn six() {} /* #[test] */ fn seven() {}";
    assert_eq!(found(text), [""; 0]);
    assert!(sources::tests("fn unclosed() {").is_err());
}

#[test]
fn tables_are_read_as_they_are_shown() {
    let text = "## Two words\n\n| A | B |\n| :-- | --: |\n| 1 \\| one | |\n| 2 |\nno row\n\
                | A | B |\nno table\n\n```\n| A |\n| --- |\n```\n| C |\n|---|\n";
    let tables = tables::of(text);
    let shown: Vec<_> = tables
        .iter()
        .map(|table| {
            let rows = table
                .rows
                .iter()
                .map(|row| (row.line, row.cells.join("; ")));
            (table.line, table.head.join("; "), rows.collect::<Vec<_>>())
        })
        .collect();
    let rows = vec![(5, "1 \\| one; ".to_owned()), (6, "2".to_owned())];
    assert_eq!(
        shown,
        [
            (3, "A; B".to_owned(), rows),
            (15, "C".to_owned(), Vec::new())
        ]
    );
    assert_eq!(tables[0].section, "Two words");
    let names: Vec<_> = tables::code("a `b` c`d` `e").collect();
    assert_eq!(names, ["b", "d"]);
}
