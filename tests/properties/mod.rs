//! What holds whatever happens, in whatever order.

mod books;
mod last_dollar;
