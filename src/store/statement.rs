//! Statements as data: the `queries!` list, its parameters and its typed results.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::sql::{Statement, Value};
use crate::ports::{Db, PortError, RowSet};

/// Whose rows a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only rows whose column of this name equals `?1`.
    Tenant(&'static str),
    /// All rows, for the given reason.
    Global(&'static str),
}

/// One entry of a `queries!` list.
#[derive(Debug, Clone, Copy)]
pub struct QueryInfo {
    /// The function's name.
    pub name: &'static str,
    /// The text.
    pub sql: &'static str,
    /// How many parameters it takes.
    pub params: usize,
    /// Whose rows it may see.
    pub reach: Reach,
}

/// A statement that knows what it gives.
#[derive(Debug, Clone)]
pub struct Query<T> {
    /// The text and its parameters.
    pub statement: Statement,
    /// What `T` is read from the rows.
    pub result: PhantomData<T>,
}

impl<T: FromRows> Query<T> {
    /// Runs it alone.
    ///
    /// # Errors
    /// When the database fails, or a row is not of the promised shape.
    pub async fn run(self, db: &dyn Db) -> Result<T, PortError> {
        let mut sets = db.run(vec![self.statement]).await?;
        T::from_rows(sets.pop().unwrap_or_default())
    }
}

/// Several reads that make one.
pub trait Batch: Sized {
    /// What they give.
    type Rows;
    /// The statements, in order.
    fn statements(self) -> Vec<Statement>;
    /// Reads the row sets, in the same order.
    ///
    /// # Errors
    /// When one is missing, or a row is not of the promised shape.
    fn read(sets: Vec<RowSet>) -> Result<Self::Rows, PortError>;
}

macro_rules! impl_batch {
    ($($letter:ident $query:ident),+) => {
        impl<$($letter: FromRows),+> Batch for ($(Query<$letter>,)+) {
            type Rows = ($($letter,)+);

            fn statements(self) -> Vec<Statement> {
                let ($($query,)+) = self;
                vec![$($query.statement),+]
            }

            fn read(sets: Vec<RowSet>) -> Result<Self::Rows, PortError> {
                let mut sets = sets.into_iter();
                let mut next = || sets.next().ok_or_else(|| PortError("the database left out a row set".into()));
                Ok(($($letter::from_rows(next()?)?,)+))
            }
        }
    };
}

impl<T: FromRows> Batch for Vec<Query<T>> {
    type Rows = Vec<T>;

    fn statements(self) -> Vec<Statement> {
        self.into_iter().map(|query| query.statement).collect()
    }

    fn read(sets: Vec<RowSet>) -> Result<Vec<T>, PortError> {
        sets.into_iter().map(T::from_rows).collect()
    }
}

impl_batch!(A a);
impl_batch!(A a, B b);
impl_batch!(A a, B b, C c);
impl_batch!(A a, B b, C c, D d);
impl_batch!(A a, B b, C c, D d, E e);
impl_batch!(A a, B b, C c, D d, E e, F f);

/// Runs several reads in one round trip, on one state of the database.
///
/// # Errors
/// As [`Query::run`].
pub async fn run_all<B: Batch>(db: &dyn Db, batch: B) -> Result<B::Rows, PortError> {
    let statements = batch.statements();
    let wanted = statements.len();
    let sets = db.run(statements).await?;
    if sets.len() != wanted {
        return Err(PortError("the database left out a row set".into()));
    }
    B::read(sets)
}

/// What can be read from a statement's rows.
pub trait FromRows: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// When a row is not of the promised shape.
    fn from_rows(set: RowSet) -> Result<Self, PortError>;
}

/// How many rows a write changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed(pub u64);

impl FromRows for Changed {
    fn from_rows(set: RowSet) -> Result<Self, PortError> {
        Ok(Self(set.changes))
    }
}

impl<R: DeserializeOwned> FromRows for Vec<R> {
    fn from_rows(set: RowSet) -> Result<Self, PortError> {
        if set.rows_json.is_empty() {
            return Ok(Self::new());
        }
        serde_json::from_str(&set.rows_json).map_err(|e| PortError(format!("row: {e}")))
    }
}

impl<R: DeserializeOwned> FromRows for Option<R> {
    fn from_rows(set: RowSet) -> Result<Self, PortError> {
        Vec::from_rows(set).map(|rows: Vec<R>| rows.into_iter().next())
    }
}

/// What can be a parameter.
pub trait ToValue {
    /// Converts.
    fn to_value(&self) -> Value;
}

impl ToValue for i64 {
    fn to_value(&self) -> Value {
        Value::Integer(*self)
    }
}

impl ToValue for bool {
    fn to_value(&self) -> Value {
        Value::Integer(i64::from(*self))
    }
}

impl ToValue for str {
    fn to_value(&self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl ToValue for String {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToValue::to_value)
    }
}

impl<T: ToValue + ?Sized> ToValue for &T {
    fn to_value(&self) -> Value {
        (*self).to_value()
    }
}

/// SQLite has no booleans: reads 0 and 1.
///
/// # Errors
/// When the column is not an integer.
pub fn read_flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    <i64 as serde::Deserialize>::deserialize(deserializer).map(|n| n != 0)
}

/// One list of queries per table family: each line a typed function, all of them a row in `QUERIES`.
///
/// ```ignore
/// queries! {
///     /// What it finds.
///     tenant("account_id") fn find_thing(account: &str, id: &str) -> Option<Thing> =
///         "SELECT … WHERE account_id = ?1 AND id = ?2";
///     /// Why it may see everybody's rows stands in the reason.
///     global("a key is looked up before its tenant is known") fn find_key(hash: &str) -> Option<Key> = "…";
/// }
/// ```
#[macro_export]
macro_rules! queries {
    ($(
        $(#[doc = $doc:literal])+
        $reach:ident($why:literal) fn $name:ident($($param:ident: $type:ty),* $(,)?) -> $out:ty = $sql:literal;
    )+) => {
        $(
            $(#[doc = $doc])+
            #[must_use]
            #[allow(clippy::too_many_arguments, reason = "one parameter per column")]
            pub fn $name($($param: $type),*) -> $crate::store::statement::Query<$out> {
                $crate::store::statement::Query {
                    statement: $crate::store::sql::Statement {
                        sql: $sql,
                        params: vec![$($crate::store::statement::ToValue::to_value(&$param)),*],
                    },
                    result: std::marker::PhantomData,
                }
            }
        )+

        /// Every query above, as data.
        pub const QUERIES: &[$crate::store::statement::QueryInfo] = &[
            $($crate::store::statement::QueryInfo {
                name: concat!(module_path!(), "::", stringify!($name)),
                sql: $sql,
                params: { let names: &[&str] = &[$(stringify!($param)),*]; names.len() },
                reach: $crate::queries!(@reach $reach $why),
            }),+
        ];
    };
    (@reach tenant $column:literal) => { $crate::store::statement::Reach::Tenant($column) };
    (@reach global $reason:literal) => { $crate::store::statement::Reach::Global($reason) };
}
