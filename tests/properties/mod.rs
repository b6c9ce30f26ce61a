//! What holds whatever happens, in whatever order.

mod books;
mod budgets;
mod last_dollar;
mod payments;
mod withdrawals;
