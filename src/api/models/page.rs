//! Paging of `TokenHub`'s lists.

pub use crate::http::page::{Page, PageQuery};
