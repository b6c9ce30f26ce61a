//! A text of SQL with its parameters: what the database is given.

/// One SQL parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// An integer; below 2^53 in size, because it crosses JavaScript.
    Integer(i64),
    /// Text.
    Text(String),
}

/// A text of SQL with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Static text: nothing is ever formatted into it.
    pub sql: &'static str,
    /// `?1`, `?2` …
    pub params: Vec<Value>,
}

impl Statement {
    /// Whether it changes anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !self.sql.starts_with("SELECT")
    }
}
