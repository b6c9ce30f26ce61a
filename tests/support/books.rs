//! The books of an account: what the wallet's journal says beside what the usage table says.

use durable_objects::local::LocalError;
use durable_objects::protocol::Protocol;
use durable_objects::rate_limiter::protocol::{Command as LimitCommand, RateLimiter, Reply as LimitReply, Status};
use durable_objects::wallet::protocol::{Audit, Command, Reply, Wallet};

use super::{Key, TestApp};

/// Usage by day as it is kept.
pub const DAYS: &str =
    "SELECT account_id, json_array(day, api_key_id, workspace_id, request_type, mode, model, source, requests,
    completed, input_tokens, output_tokens, cost_micros, charged_micros, latency_ms, saved_micros) AS line
  FROM usage_days ORDER BY account_id, day, api_key_id, workspace_id, request_type, mode, model, source";
/// The same as the rows of the calls have it.
pub const DAYS_BY_ROWS: &str = "SELECT account_id, json_array(created_at_ms / 86400000, api_key_id, workspace_id, request_type, mode,
    model, source, COUNT(*), SUM(outcome = 'completed'), SUM(input_tokens), SUM(output_tokens), SUM(cost_micros), SUM(charged_micros),
    SUM(latency_ms), SUM(IIF(source = 'cache' AND outcome = 'completed', COALESCE(baseline_micros - charged_micros, 0), 0))) AS line
  FROM usage GROUP BY account_id, created_at_ms / 86400000, api_key_id, workspace_id, request_type, mode, model, source";

/// One account's books, in micro-dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// Put in.
    pub credited: i64,
    /// Left.
    pub balance: i64,
    /// What the wallet was told to charge and could not.
    pub written_off: i64,
    /// What something still holds.
    pub held: i64,
    /// Rows of the usage table.
    pub calls: i64,
    /// What they say was charged.
    pub charged: i64,
}

impl TestApp {
    /// Asks an object without counting it. A fault that is meant for somebody else is left for them.
    pub fn ask<P: Protocol>(&self, name: &str, command: &P::Command) -> P::Reply {
        match self.objects.ask::<P>(name, command, self.now_ms()) {
            Err(LocalError::Fault(point)) => {
                let reply = self.ask::<P>(name, command);
                self.objects.fail_next(P::BINDING, point);
                reply
            }
            reply => reply.unwrap(),
        }
    }

    pub fn audit(&self, key: &Key) -> Audit {
        match self.ask::<Wallet>(&key.account_id, &Command::Audit) {
            Reply::Audit(audit) => audit,
            other => panic!("{other:?}"),
        }
    }

    /// What the database and the wallet say, as they stand.
    #[track_caller]
    pub fn books(&self, key: &Key) -> Books {
        let audit = self.audit(key);
        assert!(audit.consistent, "{audit:?}");
        assert!(audit.balance.0 >= 0 && audit.held.0 <= audit.balance.0, "{audit:?}");
        let account = &key.account_id;
        let number =
            |what: &str| self.database.number(&format!("SELECT {what} FROM usage WHERE account_id = '{account}'"));
        assert_eq!(self.days_of(account, DAYS_BY_ROWS), self.days_of(account, DAYS), "sums of the rows; of the days");
        Books {
            credited: audit.deposited_net.0,
            balance: audit.balance.0,
            written_off: audit.written_off.0,
            held: audit.held.0,
            calls: number("COUNT(*)"),
            charged: number("COALESCE(SUM(charged_micros), 0)"),
        }
    }

    /// Usage by day of an account, by one of the queries.
    pub fn days_of(&self, account_id: &str, sql: &str) -> String {
        self.database.text(&format!("SELECT json_group_array(line) FROM ({sql}) WHERE account_id = '{account_id}'"))
    }

    /// What was put in is what is left and what usage was charged.
    #[track_caller]
    pub fn assert_books_balance(&self, key: &Key) -> Books {
        let books = self.books(key);
        assert_eq!(books.credited, books.balance + books.charged, "{books:?}");
        assert_eq!(books.written_off, 0, "{books:?}");
        books
    }

    /// [`TestApp::assert_books_balance`], and nothing is held any more.
    #[track_caller]
    pub fn assert_books_rest(&self, key: &Key) -> Books {
        let books = self.assert_books_balance(key);
        assert_eq!(books.held, 0, "{books:?}");
        books
    }

    /// The id of the key in the database.
    pub fn key_id(&self, key: &Key) -> String {
        self.database
            .text(&format!("SELECT id FROM api_keys WHERE account_id = '{}' ORDER BY created_at_ms", key.account_id))
    }

    /// Sends a command to the key's rate limiter; gives its counters.
    pub fn limiter(&self, key: &Key, command: &LimitCommand) -> Status {
        let name = durable_objects::rate_limiter::protocol::name_of_key(&self.key_id(key));
        match self.ask::<RateLimiter>(&name, command) {
            LimitReply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }
}
