//! `docs/CONTRACT.md` answers every black-box case of TokenHub, and no document names a test that is not there.

use std::path::Path;

/// The cases: T1 to T88, and G1 to G18.
const CASES: [(char, usize); 2] = [('T', 88), ('G', 18)];
/// Less is no reason.
const REASON_LEAST_CHARS: usize = 20;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The tests that a text names, as `file::name` between backticks.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|name| name.rsplit_once("::")).filter(|(file, _)| file.ends_with(".rs")).collect()
}

fn cells(line: &str) -> Option<[&str; 4]> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    cells.try_into().ok()
}

/// The rows of the table: the case, what is expected, the tests, why it is done otherwise.
fn rows(document: &str) -> Vec<[&str; 4]> {
    let is_case = |cell: &str| {
        cell.starts_with(CASES.map(|(letter, _)| letter)) && cell[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    document.lines().filter_map(cells).filter(|row| row[0].len() > 1 && is_case(row[0])).collect()
}

#[test]
fn every_case_has_one_row() {
    let document = read("docs/CONTRACT.md");
    let found: Vec<_> = rows(&document).into_iter().map(|[case, ..]| case.to_owned()).collect();
    let expected: Vec<_> =
        CASES.into_iter().flat_map(|(letter, last)| (1..=last).map(move |at| format!("{letter}{at}"))).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_row_names_a_test_and_a_difference_has_its_reason() {
    for [case, expected, tests, otherwise] in rows(&read("docs/CONTRACT.md")) {
        assert!(!expected.is_empty(), "{case} expects nothing");
        assert!(!named_tests(tests).is_empty() || otherwise.len() >= REASON_LEAST_CHARS, "{case}: no test, no reason");
        assert!(otherwise.is_empty() || otherwise.len() >= REASON_LEAST_CHARS, "{case}: {otherwise} is no reason");
    }
}

#[test]
fn every_named_test_exists() {
    let mut count = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap() {
        let name = format!("docs/{}", entry.unwrap().file_name().to_str().unwrap());
        if !name.ends_with(".md") {
            continue;
        }
        for (file, test) in named_tests(&read(&name)) {
            let source = read(file);
            let (before, _) = source
                .split_once(&format!("fn {test}("))
                .unwrap_or_else(|| panic!("{name} names {file}::{test}, which is not there"));
            assert!(before.trim_end().ends_with("#[test]"), "{file}::{test} is no test");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}
