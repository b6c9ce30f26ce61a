//! The migrations apply to an empty database, and their numbers have no gap.

use crate::support::{migration_files, open_migrated};

#[test]
fn they_apply_to_an_empty_database() {
    let connection = open_migrated();
    let problems: i64 =
        connection.query_row("SELECT COUNT(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(problems, 0);
}

#[test]
fn their_numbers_have_no_gap() {
    for (at, file) in migration_files().iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{:04}_", at + 1)), "{name} should be number {}", at + 1);
    }
}

#[test]
fn every_table_is_strict() {
    let connection = open_migrated();
    let mut statement = connection
        .prepare("SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
        .unwrap();
    let tables = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))).unwrap();
    for table in tables {
        let (name, strict) = table.unwrap();
        assert!(strict || name.starts_with("sqlite_"), "{name} is not STRICT");
    }
}
