//! The migrations apply to an empty database, and their numbers have no gap.

use crate::support::{DAYS, migration_files, open_migrated};

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

/// What stood in a database before a migration is read and written on as if it had always been there.
#[test]
fn what_was_used_before_is_summed_by_day() {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    let row = |id: &str, day: i64, source: &str, baseline: &str| {
        format!(
            "INSERT INTO usage (id, account_id, api_key_id, created_at_ms, request_type, mode, model, routed_model, routed_provider,
               status, outcome, input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, receipt, source, baseline_micros)
             VALUES ('{id}', 'a', 'k', {day} * 86400000 + 5, 'chat', 'auto', 'm', 'r', 'p', 200, 'completed', 1, 2, 3, 4, 5, '{{}}',
               '{source}', {baseline});"
        )
    };
    for file in migration_files() {
        if file.ends_with("0018_usage_days.sql") {
            let rows = [
                ("1", 7, "managed", "NULL"),
                ("2", 7, "managed", "NULL"),
                ("3", 7, "cache", "9"),
                ("4", 8, "cache", "NULL"),
            ];
            let text: String = rows.iter().map(|(id, day, source, baseline)| row(id, *day, source, baseline)).collect();
            connection.execute_batch(&text).unwrap();
        }
        connection.execute_batch(&std::fs::read_to_string(&file).unwrap()).unwrap();
    }
    let days = || -> String {
        connection
            .query_row(&format!("SELECT json_group_array(json(line)) FROM ({DAYS})"), [], |row| row.get(0))
            .unwrap()
    };
    let before = r#"[[7,"k","","chat","auto","m","cache",1,1,1,2,3,4,5,5],[7,"k","","chat","auto","m","managed",2,2,2,4,6,8,10,0],[8,"k","","chat","auto","m","cache",1,1,1,2,3,4,5,0]]"#;
    assert_eq!(days(), before);
    connection.execute_batch(&row("5", 8, "cache", "5")).unwrap();
    let last = r#"[8,"k","","chat","auto","m","cache",2,2,2,4,6,8,10,1]]"#;
    assert!(days().ends_with(last), "an older release writes no sums of its own: {}", days());
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
