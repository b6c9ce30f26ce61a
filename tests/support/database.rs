//! D1, as SQLite in memory with the real migrations.

use guildhall::ports::{PortError, RowSet};
use guildhall::store::sql::{Statement, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use std::cell::RefCell;
use std::path::PathBuf;

pub struct Database {
    connection: RefCell<Connection>,
}

/// The migration files, in order.
pub fn migration_files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "sql"));
    files.sort();
    files
}

pub fn open_migrated() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    for file in migration_files() {
        let text = std::fs::read_to_string(&file).unwrap();
        connection.execute_batch(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    connection
}

/// The tables that have one of these columns.
pub fn migrated_tables(columns: &[&str]) -> Vec<String> {
    let connection = open_migrated();
    let mut tables = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let has = |table: &str, column: &str| {
        let sql = "SELECT COUNT(*) FROM pragma_table_info(?1) WHERE name = ?2";
        connection.query_row(sql, [table, column], |row| row.get::<_, i64>(0)).unwrap() > 0
    };
    names.into_iter().filter(|table| columns.iter().any(|column| has(table, column))).collect()
}

impl Database {
    pub fn new() -> Self {
        Self { connection: RefCell::new(open_migrated()) }
    }

    /// One number, for assertions.
    pub fn number(&self, sql: &str) -> i64 {
        self.connection.borrow().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// One text, for assertions.
    pub fn text(&self, sql: &str) -> String {
        self.connection.borrow().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Runs a statement of the test's own.
    pub fn execute(&self, sql: &str) {
        self.connection.borrow().execute_batch(sql).unwrap();
    }

    /// Every text of the database, for "nowhere in clear".
    pub fn dump(&self) -> String {
        let connection = self.connection.borrow();
        let mut tables = connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
        let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        names.iter().map(|name| select(&connection, &format!("SELECT * FROM {name}"), &[]).unwrap()).collect()
    }

    /// As D1: one transaction.
    pub fn run(&self, statements: &[Statement]) -> Result<Vec<RowSet>, PortError> {
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction().map_err(|e| PortError(e.to_string()))?;
        let mut sets = Vec::new();
        for statement in statements {
            let before = changes(&transaction);
            let rows_json = select(&transaction, statement.sql, &statement.params)?;
            sets.push(RowSet { rows_json, changes: changes(&transaction) - before });
        }
        transaction.commit().map_err(|e| PortError(e.to_string()))?;
        Ok(sets)
    }
}

fn changes(connection: &Connection) -> u64 {
    connection.total_changes()
}

fn select(connection: &Connection, sql: &str, params: &[Value]) -> Result<String, PortError> {
    let failed = |e: rusqlite::Error| PortError(format!("{e} in {sql}"));
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let values = params.iter().map(|value| match value {
        Value::Null => rusqlite::types::Value::Null,
        // D1 takes every number of JavaScript for a real one.
        Value::Integer(number) => rusqlite::types::Value::Real(*number as f64),
        Value::Text(text) => text.clone().into(),
    });
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    let mut list = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let mut object = serde_json::Map::new();
        for (at, name) in names.iter().enumerate() {
            let value = match row.get_ref(at).map_err(failed)? {
                ValueRef::Null => serde_json::Value::Null,
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned().into(),
            };
            object.insert(name.clone(), value);
        }
        list.push(serde_json::Value::Object(object));
    }
    Ok(serde_json::Value::Array(list).to_string())
}
