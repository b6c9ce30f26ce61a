//! Providers and models as an isolate knows them, and the providers' health.
//!
//! The table is read from the database and kept. Up to [`FRESH_MS`] it is used as it is; up to [`STALE_MS`] it is used
//! while its version (one row) is compared in the background; so a busy isolate never waits for it. Open provider keys
//! live in it as long as `keys.rs` allows.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use guildhall_domain::catalogue::{entries, reasons};
use guildhall_domain::chat::quirks::Quirks;
use guildhall_domain::chat::tool_names::ToolNames;
use guildhall_domain::ids::{ModelId, ProviderId};
use guildhall_domain::media::{ModelKind, Quantity};
use guildhall_domain::money::{MicroUsd, Rate};
use guildhall_domain::own::{KeyProvider, Origin};
use guildhall_domain::pricing::{Price, UnitPrice};
use guildhall_domain::routing::{Alias, Arm, TokenBucket};

use super::affinity::PrefixBook;
use super::health::HealthBook;
use super::keys::ProviderKeys;
use super::own::{Own, OwnTables};
use super::provider::{Endpoint, ProviderKind};
use crate::app::App;
use crate::observe::retention::ARM_DAYS;
use crate::ports::{PortError, Ports};
use crate::store::models::models::{ModelRow, find_routing_version, list_models};
use crate::store::models::providers::{ProviderRow, list_providers};
use crate::store::models::routing::{AliasRow, RoutingConfig, find_routing_config, list_aliases};
use crate::store::ops::rewards::list_reward_arms;
use crate::store::statement::run_all;

const FRESH_MS: i64 = 1_000;
const STALE_MS: i64 = 10_000;
/// How old the rewards of [`Snapshot::arm_of`] may grow.
const REWARDS_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Rows read at most; the database holds no more than an administrator registered.
const ROWS_MAX: i64 = 10_000;
/// What a call may produce when neither the client nor the model's entry says.
pub const DEFAULT_MAX_OUTPUT_TOKENS: u64 = 4_096;

/// A provider that takes traffic.
pub struct Provider {
    /// Its id.
    pub id: ProviderId,
    /// Its kind.
    pub kind: ProviderKind,
    /// Where it answers.
    pub endpoint: Endpoint,
    /// Whether it takes traffic.
    pub enabled: bool,
    /// Whether its key is there, if it needs one: the vault that has it may be locked.
    pub has_key: bool,
    /// Whose it is, where it is not the platform's.
    pub own: Option<Own>,
}

impl Provider {
    /// Whose it is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.own.as_ref().map_or(Origin::Platform, |own| own.origin)
    }
}

/// A model at a provider, with its price.
pub struct Offer {
    /// What clients call it.
    pub model_id: ModelId,
    /// What the provider calls it.
    pub upstream_model: String,
    /// Who serves it.
    pub provider: Rc<Provider>,
    /// What it does.
    pub kind: ModelKind,
    /// What a token costs; nothing while nobody has said. A price per unit stands here as the input's, so that models of a
    /// kind compare.
    pub price: Price,
    /// What a unit of its kind costs.
    pub unit_price: Option<UnitPrice>,
    /// Whether somebody has said what it costs.
    pub is_priced: bool,
    /// Which version of the price.
    pub price_version: i64,
    /// Preference, 0 to 10.
    pub weight: u8,
    /// Context window in tokens; 0 means unknown.
    pub max_context_tokens: u64,
    /// Most output tokens of one answer; 0 means unknown.
    pub max_output_tokens: u64,
    /// Whether it takes traffic.
    pub enabled: bool,
    /// The model whose price it has, where that is another: an upstream of the caller's own has none.
    pub priced_as: Option<ModelId>,
    /// The providers that take callers' keys and have this model, and what they call it.
    pub natives: Vec<(KeyProvider, &'static str)>,
    /// What is peculiar to its way of talking; most have nothing of this.
    pub quirks: Option<Rc<Quirks>>,
    /// Whether it is sent `stream_options`, which ask for usage: until it has answered a stream without them that it had
    /// refused with them. The next table begins anew.
    pub takes_stream_options: Cell<bool>,
    /// Whether it reasons, if that is known.
    pub reasons: Option<bool>,
}

impl Offer {
    /// What is charged for so much: all that it costs, or the part of it that the caller's own upstreams leave.
    #[must_use]
    pub fn cost(&self, quantity: Quantity) -> MicroUsd {
        self.provider.origin().charge(self.baseline(quantity))
    }

    /// What so much costs at the platform's price.
    #[must_use]
    pub fn baseline(&self, quantity: Quantity) -> MicroUsd {
        match (quantity, &self.unit_price) {
            (Quantity::Tokens(usage), None) => self.price.cost(&usage),
            (Quantity::Steps(steps), Some(price)) => price.cost(steps),
            // What is priced by the unit is charged by nothing else, and the other way round.
            (Quantity::Tokens(_), Some(_)) | (Quantity::Steps(_), None) => MicroUsd::ZERO,
        }
    }

    /// What of a client's own limit the model can give: at most its output limit, else its context window, as far as known.
    #[must_use]
    pub const fn bound_output(&self, asked: u64) -> u64 {
        let bound = if self.max_output_tokens > 0 { self.max_output_tokens } else { self.max_context_tokens };
        if bound > 0 && bound < asked { bound } else { asked }
    }

    /// Most output tokens to reckon with when the client does not say.
    #[must_use]
    pub const fn output_tokens_cap(&self) -> u64 {
        if self.max_output_tokens > 0 { self.max_output_tokens } else { DEFAULT_MAX_OUTPUT_TOKENS }
    }
}

/// One reading of the table.
pub struct Snapshot {
    version: i64,
    loaded_ms: i64,
    /// Every model, by id.
    pub offers: Vec<Rc<Offer>>,
    /// Every provider that can be used, by id.
    pub providers: Vec<Rc<Provider>>,
    /// How many of them take traffic.
    pub adapters: usize,
    /// Names that stand for models.
    pub aliases: HashMap<String, Alias>,
    /// What holds where a request does not say.
    pub defaults: RoutingConfig,
    arms: HashMap<(String, String), Arm>,
    keys: ProviderKeys,
}

impl Snapshot {
    /// What a model earned with requests of this size.
    #[must_use]
    pub fn arm_of(&self, model: &ModelId, bucket: TokenBucket) -> Arm {
        self.arms.get(&(model.to_string(), bucket.as_str().to_owned())).copied().unwrap_or_default()
    }
}

/// The table of an isolate.
#[derive(Default)]
pub struct GatewayTable {
    snapshot: RefCell<Option<Rc<Snapshot>>>,
    checked_ms: Cell<i64>,
    checking: Cell<bool>,
    /// Raised by every change here: what was read before it is not kept after it.
    changes: Cell<u64>,
    /// How the providers are doing.
    pub health: HealthBook,
    /// Which models have answered which beginnings of prompts lately.
    pub prefixes: PrefixBook,
    /// Where each alias stands whose models take turns.
    turns: RefCell<HashMap<String, u64>>,
    /// What callers brought along.
    pub own: OwnTables,
}

impl GatewayTable {
    /// Forgets the reading, after a provider or a model changed.
    pub fn forget(&self) {
        self.changes.set(self.changes.get() + 1);
        *self.snapshot.borrow_mut() = None;
    }

    /// How often it was an alias's turn in this isolate.
    pub fn turn_of(&self, alias: &str) -> u64 {
        self.turns.borrow().get(alias).copied().unwrap_or(0)
    }

    /// The same, and now it is its turn again.
    pub fn take_turn(&self, alias: &str) -> u64 {
        let turn = self.turn_of(alias);
        self.turns.borrow_mut().insert(alias.to_owned(), turn.wrapping_add(1));
        turn
    }
}

/// The current table.
///
/// # Errors
/// When the database fails and nothing young enough is known.
pub async fn read_snapshot(app: &Rc<App>, ports: &Rc<Ports>) -> Result<Rc<Snapshot>, PortError> {
    let table = &app.gateway;
    let age_ms = ports.clock.now_ms() - table.checked_ms.get();
    let known = table.snapshot.borrow().clone();
    match known {
        Some(snapshot) if age_ms < FRESH_MS => Ok(snapshot),
        Some(snapshot) if age_ms < STALE_MS => {
            if !table.checking.replace(true) {
                let (app, ports_then) = (Rc::clone(app), Rc::clone(ports));
                ports.background.spawn(Box::pin(async move {
                    if let Err(error) = check(&app, &ports_then).await {
                        ports_then.background.log(&format!("routing table: {error}"));
                    }
                    app.gateway.checking.set(false);
                }));
            }
            Ok(snapshot)
        }
        // A check that was under way when its request's time ran out must not stop all later ones.
        _ => {
            table.checking.set(false);
            check(app, ports).await
        }
    }
}

/// Compares the version and the keys, and reads the table anew when they differ.
async fn check(app: &App, ports: &Ports) -> Result<Rc<Snapshot>, PortError> {
    let table = &app.gateway;
    let known = table.snapshot.borrow().clone();
    if let Some(snapshot) = known {
        let version = find_routing_version().run(&*ports.db).await?;
        let is_current = version.is_some_and(|v| v.version == snapshot.version)
            && ports.clock.now_ms() - snapshot.loaded_ms < REWARDS_MS;
        if is_current && snapshot.keys.are_current(app, ports).await {
            table.checked_ms.set(ports.clock.now_ms());
            return Ok(snapshot);
        }
    }
    let changes = table.changes.get();
    let snapshot = Rc::new(load(app, ports).await?);
    if table.changes.get() == changes {
        *table.snapshot.borrow_mut() = Some(Rc::clone(&snapshot));
        table.checked_ms.set(ports.clock.now_ms());
    }
    Ok(snapshot)
}

async fn load(app: &App, ports: &Ports) -> Result<Snapshot, PortError> {
    let now_ms = ports.clock.now_ms();
    let (version, providers, models, aliases, defaults, arms) = run_all(
        &*ports.db,
        (
            find_routing_version(),
            list_providers(ROWS_MAX, 0),
            list_models(ROWS_MAX, 0),
            list_aliases(ROWS_MAX),
            find_routing_config(),
            list_reward_arms(now_ms.div_euclid(DAY_MS) - ARM_DAYS + 1),
        ),
    )
    .await?;
    let version = version.map_or(0, |v| v.version);
    let keys =
        ProviderKeys::read(app, ports, providers.iter().filter(|row| row.is_in_vault()).map(|row| &*row.id)).await;
    let providers: Vec<_> = providers.into_iter().filter_map(|row| open_provider(app, ports, &keys, row)).collect();
    let vendors = list_vendors();
    let offers = models.into_iter().filter_map(|row| {
        let provider = providers.iter().find(|provider| provider.id.as_str() == row.provider_id)?;
        to_offer(row, Rc::clone(provider), &vendors)
    });
    let offers = offers.collect();
    let adapters = providers.iter().filter(|provider| provider.enabled).count();
    let aliases = aliases.into_iter().filter_map(|row| read_alias(ports, row)).collect();
    let defaults = defaults.unwrap_or_default();
    let arms = arms.into_iter().map(|row| {
        (
            (row.model_id, row.bucket),
            Arm { reward_sum: row.reward_sum, count: f64::from(u32::try_from(row.count).unwrap_or(u32::MAX)) },
        )
    });
    Ok(Snapshot {
        version,
        loaded_ms: now_ms,
        offers,
        providers,
        adapters,
        aliases,
        defaults,
        arms: arms.collect(),
        keys,
    })
}

fn read_alias(ports: &Ports, row: AliasRow) -> Option<(String, Alias)> {
    match row.to_alias() {
        Ok(alias) => Some((row.name, alias)),
        Err(error) => {
            ports.background.log(&format!("alias {}: {error}", row.name));
            None
        }
    }
}

/// A provider of a kind that is refused here is left out, one whose key cannot be had takes no traffic; both are logged.
fn open_provider(app: &App, ports: &Ports, keys: &ProviderKeys, row: ProviderRow) -> Option<Rc<Provider>> {
    let refuse = |why: &str| ports.background.log(&format!("provider {}: {why}", row.id));
    let kind = ProviderKind::parse(&row.r#type, app.config.mode).map_err(|text| refuse(&text)).ok()?;
    let key = keys.open(app, &row).map_err(|why| refuse(&why));
    Some(Rc::new(Provider {
        endpoint: Endpoint::new(kind, &row.base_url, key.as_ref().ok().and_then(Option::as_ref)),
        enabled: row.enabled && key.is_ok(),
        has_key: key.is_ok(),
        own: None,
        id: row.id.parse().map_err(|_| refuse("its id is not a name")).ok()?,
        kind,
    }))
}

/// What the providers that take callers' keys call their models.
fn list_vendors() -> Vec<(KeyProvider, &'static str)> {
    entries().filter_map(|entry| Some((KeyProvider::parse(entry.provider)?, entry.id))).collect()
}

fn find_natives(name: &str, vendors: &[(KeyProvider, &'static str)]) -> Vec<(KeyProvider, &'static str)> {
    let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    vendors.iter().filter(|(_, id)| *id == name || *id == bare).copied().collect()
}

fn to_offer(row: ModelRow, provider: Rc<Provider>, vendors: &[(KeyProvider, &'static str)]) -> Option<Rc<Offer>> {
    let rate = |pico_usd| Rate::from_pico_usd_per_token(pico_usd).ok();
    let optional = |pico_usd: Option<i64>| match pico_usd {
        None => Some(None),
        Some(pico_usd) => rate(pico_usd).map(Some),
    };
    // A model whose price nobody has said cannot be enabled; it is listed as free of charge and takes no traffic.
    let is_priced = row.is_priced();
    let unit_price = match row.kind.unit() {
        Some(unit) => Some(UnitPrice { unit, rate: rate(row.unit_rate.unwrap_or(0))? }),
        None => None,
    };
    Some(Rc::new(Offer {
        price: Price {
            input: unit_price.map_or_else(|| rate(row.input_rate.unwrap_or(0)), |price| Some(price.rate))?,
            output: rate(row.output_rate.unwrap_or(0))?,
            cache_read: optional(row.cache_read_rate)?,
            cache_write: optional(row.cache_write_rate)?,
        },
        kind: row.kind,
        quirks: read_quirks(&row)?,
        takes_stream_options: Cell::new(true),
        reasons: reasons(&row.upstream_model),
        natives: find_natives(&row.upstream_model, vendors),
        priced_as: None,
        unit_price,
        is_priced,
        model_id: row.id.parse().ok()?,
        upstream_model: row.upstream_model,
        enabled: row.enabled && is_priced && provider.enabled,
        provider,
        price_version: row.price_version,
        weight: u8::try_from(row.weight).unwrap_or(0),
        max_context_tokens: u64::try_from(row.max_context_tokens).unwrap_or(0),
        max_output_tokens: u64::try_from(row.max_output_tokens).unwrap_or(0),
    }))
}

/// `None` for a row that cannot be read: to take such a model for an ordinary one would break its clients' calls.
#[expect(clippy::option_option, reason = "no quirks, and quirks that cannot be read")]
fn read_quirks(row: &ModelRow) -> Option<Option<Rc<Quirks>>> {
    let tool_names = match &row.tool_name_map {
        Some(map) => Some(ToolNames::new(&serde_json::from_str(map).ok()?).ok()?),
        None => None,
    };
    let quirks = Quirks { tool_names, is_gemma4: row.gemma4_output };
    Some(Some(quirks).filter(|quirks| *quirks != Quirks::default()).map(Rc::new))
}
