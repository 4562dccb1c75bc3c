//! Random histories of an index, against a list.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Binding>),
    AppendAgain,
    Compact,
    Reopen,
    /// Which of the bindings to keep, by the age of the newest.
    Retain(u64),
}

fn binding() -> impl Strategy<Value = Binding> {
    let names = (0..3_u8, 0..4_u8, 0..5_u8, prop::option::of(0..4_u8));
    let ends = (
        0..4_u32,
        prop_oneof![Just(1_024_u16), 1_024..1_034_u16, any::<u16>()],
        prop_oneof![Just(6_u8), Just(17), any::<u8>()],
        prop_oneof![0x0a00_0000..0x0a00_0010_u32, any::<u32>()],
        prop_oneof![Just(443_u16), any::<u16>()],
    );
    let duration = prop_oneof![
        8 => 0..10_000_u64,
        2 => 0..2 * 3_600_000_u64,
        1 => 3_599_999..3_600_002_u64,
        1 => 0..3 * DAY,
    ];
    let times = (duration, 10 * DAY..11 * DAY);
    let inside = (any::<u32>(), any::<u16>());
    (names, ends, times, inside).prop_map(|(names, ends, (duration, end), inside)| {
        let (vpc, interface, environment, function) = names;
        let (address, port, protocol, remote, remote_port) = ends;
        let function = function.map(|it| format!("arn:aws:lambda:x:1:function:f{}:{it}", it % 2));
        Binding {
            start: end - duration,
            end,
            vpc_id: format!("vpc-{vpc}").into(),
            interface_id: format!("eni-{vpc}{interface}").into(),
            address: Ipv4Addr::from_bits(0xc000_0000 - 2 + address),
            port,
            protocol,
            remote: remote.into(),
            remote_port,
            environment: format!("vm-{environment}").into(),
            function: function.map(Into::into),
            inside: inside.0.into(),
            inside_port: inside.1,
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(binding(), 0..30).prop_map(Step::Append),
        2 => Just(Step::AppendAgain),
        3 => Just(Step::Compact),
        1 => Just(Step::Reopen),
        1 => (0..2 * DAY).prop_map(Step::Retain),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let some = |text: &'static [&str]| prop::option::weighted(0.3, prop::sample::select(text));
    let numbers = (
        prop::option::weighted(0.6, 0..5_u32),
        prop::option::weighted(0.5, (1_020..1_040_u16, 0..8_u16)),
        prop::option::weighted(0.3, prop_oneof![Just(6_u8), Just(17)]),
        prop::option::weighted(0.3, (0x0a00_0000..0x0a00_0010_u32, 24..33_u8)),
        prop::option::weighted(0.2, Just(443_u16)),
    );
    let texts = (
        some(&["vm-0", "vm-3", "vm-9"]),
        some(&[
            "arn:aws:lambda:x:1:function:f1:3",
            "arn:aws:lambda:x:1:function:f0",
            "f1",
            "1",
            "",
        ]),
    );
    let times = prop_oneof![
        (7 * DAY..12 * DAY).prop_map(|at| (at, at)),
        (7 * DAY..12 * DAY, 0..DAY).prop_map(|(from, length)| (from, from + length)),
        Just((0, u64::MAX)),
    ];
    let limit = prop_oneof![Just(usize::MAX), 0..20_usize];
    (numbers, texts, times, limit).prop_map(|(numbers, texts, (from, to), limit)| Query {
        address: numbers
            .0
            .map(|it| Ipv4Addr::from_bits(0xc000_0000 - 2 + it)),
        ports: numbers.1.map(|(first, more)| first..=first + more),
        protocol: numbers.2,
        remote: numbers
            .3
            .map(|(it, length)| Ipv4Net::new(it.into(), length).unwrap()),
        remote_port: numbers.4,
        environment: texts.0.map(str::to_owned),
        function: texts.1.map(str::to_owned),
        from,
        to,
        limit,
    })
}

/// The question, as it is put.
fn matches(query: &Query, binding: &Binding) -> bool {
    let is_function = |wanted: &String| {
        binding.function.as_deref().is_some_and(|arn| {
            let parts: Vec<_> = arn.split(':').collect();
            arn == wanted || parts[..7].join(":") == *wanted || parts[6] == wanted
        })
    };
    binding.start <= query.to
        && binding.end >= query.from
        && query.address.is_none_or(|it| it == binding.address)
        && query
            .ports
            .as_ref()
            .is_none_or(|it| it.contains(&binding.port))
        && query.protocol.is_none_or(|it| it == binding.protocol)
        && query.remote.is_none_or(|it| it.contains(&binding.remote))
        && query.remote_port.is_none_or(|it| it == binding.remote_port)
        && query
            .environment
            .as_ref()
            .is_none_or(|it| **it == *binding.environment)
        && query.function.as_ref().is_none_or(is_function)
}

fn check(found: Found, query: &Query, all: &[Binding]) {
    let wanted = all.iter().filter(|it| matches(query, it)).cloned();
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort_unstable_by_key(|it| u64::MAX - it.end);
    assert_eq!(found.skipped, Vec::<String>::new());
    assert_eq!(found.truncated, wanted.len() > query.limit);
    assert!(found.bindings.is_sorted_by_key(|it| u64::MAX - it.end));
    // Which of those that end at the same moment are left out is not promised.
    let ends = |bindings: &[Binding]| bindings.iter().map(|it| it.end).collect::<Vec<_>>();
    let most = wanted.len().min(query.limit);
    assert_eq!(ends(&found.bindings), ends(&wanted[..most]));
    let (found, wanted) = (counted(found.bindings), counted(wanted));
    for (binding, count) in &found {
        assert!(
            wanted.get(binding).is_some_and(|it| it >= count),
            "{binding:?}"
        );
    }
}

/// What is in the index after all is removed that is not in it any more: whole files, of
/// which the index says how many bindings they had.
fn retained(index: &Index, all: &mut Vec<Binding>, now: u64, age: u64) {
    let before = all.len();
    let removed = index.retain(now).unwrap();
    *all = index.find(&everything()).unwrap().bindings;
    assert_eq!(removed.bindings, u64::try_from(before - all.len()).unwrap());
    // A file has what is young enough, or it is gone.
    let oldest = now.saturating_sub(age);
    assert!(all.is_empty() || all.iter().any(|it| it.end >= oldest));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_index_answers_as_a_list_does(
        steps in prop::collection::vec(step(), 1..60),
        queries in prop::collection::vec(query(), 30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let retention = Retention { age_secs: DAY / 1_000, bytes: u64::MAX };
        let mut index = Index::open(folder.path(), retention).unwrap();
        let (mut all, mut batch) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Append(bindings) => {
                    batch += 3;
                    prop_assert!(index.append(batch, bindings.clone()).unwrap());
                    all.extend(bindings);
                }
                Step::AppendAgain => {
                    let again = all.clone();
                    prop_assert!(batch == 0 || !index.append(batch, again).unwrap());
                }
                Step::Compact => drop(index.compact().unwrap()),
                Step::Reopen => {
                    drop(index);
                    index = Index::open(folder.path(), retention).unwrap();
                }
                Step::Retain(after) => retained(&index, &mut all, 10 * DAY + after, DAY),
            }
        }
        prop_assert_eq!(held(folder.path()), counted(all.clone()));
        for query in queries {
            check(index.find(&query).unwrap(), &query, &all);
        }
    }
}

#[test]
fn rows_beyond_a_page_and_a_row_group_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let mut all = Vec::new();
    for batch in 1..=9 {
        let bindings = minute(batch, 700);
        index.append(batch, bindings.clone()).unwrap();
        all.extend(bindings);
    }
    assert_eq!(index.compact().unwrap(), 1);
    assert_eq!(names(folder.path()).len(), 1);
    for at in (0..all.len()).step_by(41) {
        let it = &all[at];
        let query = Query {
            address: Some(it.address),
            ports: Some(it.port..=it.port),
            protocol: Some(it.protocol),
            from: it.start,
            to: it.end,
            ..Query::default()
        };
        let found = index.find(&query).unwrap();
        assert!(found.bindings.contains(it));
        check(found, &query, &all);
    }
    let query = Query {
        function: all[0].function.as_deref().map(str::to_owned),
        remote: Some("10.0.0.0/8".parse().unwrap()),
        limit: 100,
        ..Query::default()
    };
    check(index.find(&query).unwrap(), &query, &all);
    check(index.find(&everything()).unwrap(), &everything(), &all);
}

#[test]
fn times_that_do_not_fit_are_the_last_that_does() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), ALL).unwrap();
    let mut bindings = minute(1, 1);
    bindings[0].end = u64::MAX;
    bindings[0].function = Some("".into());
    index.append(u64::MAX, bindings).unwrap();
    let found = index.find(&everything()).unwrap().bindings;
    assert_eq!(found[0].end, i64::MAX.cast_unsigned());
    assert_eq!(found[0].function, None);
}
