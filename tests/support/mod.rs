//! [`TestApp`]: the whole stack from routes to SQL, in this process. SQLite with the real migrations stands for D1, the
//! objects are their own state machines, time is tokio's paused clock, and the outside is a script.

mod agents;
mod books;
mod chat;
mod client;
mod database;
mod document;
mod event;
mod keys;
mod ports;
mod stripe;
mod upstream;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use durable_objects::local::LocalObjects;
use guildhall::app::App;
use guildhall::config::Config;
use guildhall::jobs::consume;
use guildhall::ports::{Clock as _, Ports};
use guildhall::store::identity::sign_ins::insert_sign_in;
use guildhall_domain::credential::issue_token;

pub use agents::Agent;
pub use books::{Books, DAYS, DAYS_BY_ROWS};
pub use chat::{HELLO, HELLO_MICROS};
pub use client::{Answer, Call, LateBody};
pub use database::{Database, migrated_tables, migration_files, open_migrated};
pub use ports::{Cache, Fault, Faults};
pub use stripe::*;
pub use upstream::{Reply, Upstream};

pub const ADMIN_TOKEN: &str = "test-admin-token-0123456789";
/// Opens the vault in every scenario that does not take it away.
pub const VAULT_PASSWORD: &str = "test-vault-password";
const KEY_PEPPER: &str = "test-pepper-0123456789";

/// A platform with one isolate, or more.
pub struct TestApp {
    pub database: Rc<Database>,
    pub objects: Rc<LocalObjects>,
    pub upstream: Rc<Upstream>,
    pub cache: Rc<Cache>,
    pub stripe: Rc<StripeDouble>,
    pub faults: Rc<Faults>,
    pub log: Rc<RefCell<Vec<String>>>,
    /// How many background tasks the platform ended before they were done.
    pub cut_off: Rc<Cell<usize>>,
    /// The isolate that answers.
    app: RefCell<Rc<App>>,
    settings: Vec<(String, String)>,
    isolates: RefCell<u64>,
    lives: RefCell<Vec<(Rc<App>, Rc<ports::Life>)>>,
}

/// Runs a scenario on paused time: waiting costs nothing, and every run is alike.
pub fn run<F: Future<Output = ()>>(scenario: impl FnOnce(TestApp) -> F) {
    run_with(&[], scenario);
}

/// [`run`] with other settings.
pub fn run_with<F: Future<Output = ()>>(settings: &[(&str, &str)], scenario: impl FnOnce(TestApp) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        ports::begin_time();
        scenario(TestApp::new(settings)).await;
    });
}

impl TestApp {
    fn new(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let app = build_app(&settings, 1);
        Self {
            database: Rc::new(Database::new()),
            objects: Rc::new(LocalObjects::new()),
            upstream: Rc::default(),
            cache: Rc::default(),
            stripe: Rc::default(),
            faults: Rc::default(),
            log: Rc::default(),
            cut_off: Rc::default(),
            app: RefCell::new(app),
            settings,
            isolates: RefCell::new(1),
            lives: RefCell::default(),
        }
    }

    /// A second isolate beside the first: what is sent to it knows nothing of the first one's memory.
    pub fn new_isolate(&self) -> Rc<App> {
        *self.isolates.borrow_mut() += 1;
        build_app(&self.settings, *self.isolates.borrow())
    }

    /// An isolate of the same deployment after its settings changed.
    pub fn new_isolate_with(&self, changed: &[(&str, &str)]) -> Rc<App> {
        *self.isolates.borrow_mut() += 1;
        let changed = changed.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let settings: Vec<_> = changed.chain(self.settings.iter().cloned()).collect();
        build_app(&settings, *self.isolates.borrow())
    }

    /// The isolate dies, and with it all that it held in memory, its background tasks and the calls that it was
    /// answering (their status is 0); a new one takes over.
    pub fn crash_isolate(&self) {
        let app = self.new_isolate();
        let dead = self.app.replace(app);
        self.crash(&dead);
    }

    /// One of several isolates dies; nobody takes over.
    pub fn crash(&self, isolate: &Rc<App>) {
        self.life_of(isolate).end();
    }

    /// How much work runs behind the answers of the isolate.
    pub fn background_tasks(&self) -> usize {
        self.life_of(&self.isolate()).tasks()
    }

    fn life_of(&self, isolate: &Rc<App>) -> Rc<ports::Life> {
        let mut lives = self.lives.borrow_mut();
        if let Some((_, life)) = lives.iter().find(|(app, _)| Rc::ptr_eq(app, isolate)) {
            return Rc::clone(life);
        }
        let life = Rc::<ports::Life>::default();
        lives.push((Rc::clone(isolate), Rc::clone(&life)));
        life
    }

    pub fn isolate(&self) -> Rc<App> {
        Rc::clone(&self.app.borrow())
    }

    /// Ports of no isolate's own, as the queue's consumer has.
    pub fn ports(&self) -> Rc<Ports> {
        ports::build(self, &Rc::default(), &Rc::default())
    }

    pub fn now_ms(&self) -> i64 {
        ports::PausedClock.now_ms()
    }

    /// Begins a call.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(self, method, path)
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str) -> Call<'_> {
        self.call("POST", path)
    }

    /// A call with the admin token.
    pub fn admin(&self, method: &str, path: &str) -> Call<'_> {
        self.call(method, path).bearer(ADMIN_TOKEN)
    }

    /// Lets time pass: background tasks, alarms and the queue do their work; alarms come the later the longer it is.
    pub async fn pass_ms(&self, ms: u64) {
        let since_ms = self.now_ms();
        let until_ms = since_ms + i64::try_from(ms).unwrap();
        while self.now_ms() < until_ms {
            let late_ms = ((self.now_ms() - since_ms) / 100).clamp(50, 30_000);
            let step = (until_ms - self.now_ms()).min(late_ms);
            tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(step).unwrap())).await;
            self.deliver().await;
        }
    }

    /// Nobody calls for so long that the platform evicts all objects.
    pub async fn idle(&self) {
        self.pass_ms(13_000).await;
        self.objects.restart();
    }

    /// Runs due alarms and consumes what is on the queue.
    pub async fn deliver(&self) {
        self.objects.run_due_alarms(self.now_ms());
        let messages = self.objects.drain_queue();
        let messages = messages.iter().map(String::as_str);
        if messages.len() > 0 && consume(&self.isolate(), &self.ports(), messages).await.is_err() {
            // The queue would deliver again; here the wallet's own retry does.
        }
    }

    /// A new key, with this much money beyond the free balance and no limit that a test would meet.
    pub async fn provision(&self, amount_usd: &str) -> Key {
        let answer = self.post("/v1/auth/provision").send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let key = Key {
            key: answer.json()["api_key"].as_str().unwrap().to_owned(),
            account_id: answer.json()["account_id"].as_str().unwrap().to_owned(),
        };
        if amount_usd != "0" {
            self.credit(&key, amount_usd).await;
        }
        key
    }

    /// Somebody who has signed in, with an account of their own: by a link that no mail has carried.
    pub async fn sign_in(&self, email: &str) -> Session {
        let (app, ports, now_ms) = (self.isolate(), self.ports(), self.now_ms());
        let mut random = [0; 32];
        ports.random.fill(&mut random);
        let link = issue_token(random);
        let insert = insert_sign_in(&app.hasher.hash(&link), email, None, now_ms, now_ms + 60_000);
        self.database.run(&[insert.statement]).unwrap();
        let body = serde_json::json!({ "token": link });
        let answer = self.post("/v1/auth/verify").json(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let body = answer.json();
        Session { token: text(&body["session_token"]), account_id: text(&body["account"]["id"]) }
    }

    pub async fn credit(&self, key: &Key, amount_usd: &str) {
        self.credit_account(&key.account_id, amount_usd).await;
    }

    pub async fn credit_account(&self, account_id: &str, amount_usd: &str) {
        let body = format!(r#"{{"amount_usd":{amount_usd},"reason":"test"}}"#);
        let path = format!("/admin/v1/accounts/{account_id}/credits");
        let answer = self.admin("POST", &path).body(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub async fn set_limits(&self, key: &Key, per_minute: u32, per_hour: u32, concurrent: u32) {
        let body = format!(
            r#"{{"requests_per_minute":{per_minute},"requests_per_hour":{per_hour},"concurrent":{concurrent}}}"#
        );
        let path = format!("/admin/v1/accounts/{}/limits", key.account_id);
        let answer = self.admin("PATCH", &path).body(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Registers the scripted upstream as a provider.
    pub async fn add_provider(&self, id: &str) {
        let body =
            format!(r#"{{"id":"{id}","type":"openai","base_url":"http://127.0.0.1:9/{id}","api_key":"sk-{id}"}}"#);
        let answer = self.admin("POST", "/admin/v1/providers").body(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Registers a model: $10 a million input tokens, $30 a million output tokens.
    pub async fn add_model(&self, id: &str, provider: &str, weight: u8) {
        let body = format!(
            r#"{{"id":"{id}","provider_id":"{provider}","weight":{weight},"max_context_tokens":0,"max_output_tokens":1000,
                "input_per_1k":0.01,"output_per_1k":0.03,"enabled":true}}"#
        );
        let answer = self.admin("POST", "/admin/v1/models").body(&body).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// One provider, one model `m1`, a key with $10.
    pub async fn with_model(&self) -> Key {
        self.add_provider("p1").await;
        self.add_model("m1", "p1", 5).await;
        self.provision("10").await
    }

    pub async fn balance_micros(&self, key: &Key) -> i64 {
        let answer = self.get("/v1/balance").bearer(&key.key).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let usd = answer.json()["balance_usd"].as_f64().unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::float_arithmetic, reason = "back to micro-dollars")]
        {
            (usd * 1e6).round() as i64
        }
    }

    /// The newest usage row of the key.
    pub async fn last_usage(&self, key: &Key) -> serde_json::Value {
        let answer = self.get("/v1/usage?limit=1").bearer(&key.key).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"][0].clone()
    }
}

/// A person who has signed in.
#[derive(Clone, Debug)]
pub struct Session {
    pub token: String,
    pub account_id: String,
}

/// A provisioned key.
#[derive(Clone, Debug)]
pub struct Key {
    pub key: String,
    pub account_id: String,
}

fn build_app(settings: &[(String, String)], seed: u64) -> Rc<App> {
    let is_live = settings.iter().any(|(name, value)| name == "MODE" && value == "live");
    let config = Config::read(|name| {
        if let Some((_, value)) = settings.iter().find(|(n, _)| n == name) {
            return Some(value.clone());
        }
        match name {
            "MODE" => Some("sandbox".into()),
            "ALLOW_LOOPBACK" => Some("true".into()),
            "ADMIN_TOKEN" => Some(ADMIN_TOKEN.into()),
            "KEY_PEPPER" => Some(KEY_PEPPER.into()),
            "SEAL_KEY" => Some("5e".repeat(32)),
            "VAULT_PASSWORD" => Some(VAULT_PASSWORD.into()),
            // Quick; live mode does not take it.
            "VAULT_KDF" if !is_live => Some("m=8,t=1,p=1".into()),
            "FREE_BALANCE_USD" => Some("0".into()),
            "PROVISIONS_PER_HOUR" | "SIGN_INS_PER_HOUR" => Some("1000".into()),
            _ => None,
        }
    });
    Rc::new(App::new(config.unwrap(), guildhall::api::ALL, seed).unwrap())
}

/// Runs futures at once; their results in the same order.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_over = true;
        for (future, result) in running.iter_mut().filter(|(_, result)| result.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => *result = Some(output),
                std::task::Poll::Pending => is_over = false,
            }
        }
        if is_over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().map(|(_, result)| result.unwrap()).collect()
}
