//! What a caller's own upstreams offer for one request, and against which price it is charged.

use std::cell::Cell;
use std::rc::Rc;

use guildhall_domain::catalogue::{Capability, CatalogueEntry, entries, find_price, reasons};
use guildhall_domain::ids::ModelId;
use guildhall_domain::media::ModelKind;
use guildhall_domain::own::KeyProvider;
use guildhall_domain::pricing::{Price, TokenUsage, UnitPrice};

use super::{OwnEndpoint, OwnTable};
use crate::gateway::table::{Offer, Provider};

/// Preference among the caller's keys where no model of the platform's says another.
const WEIGHT: u8 = 5;

/// What a request asks for.
#[derive(Clone, Copy)]
pub struct OwnAsk<'a> {
    /// What the model must do.
    pub kind: ModelKind,
    /// That, as the catalogue says it.
    pub capability: Capability,
    /// The name of the model or the mode, aliases resolved.
    pub name: &'a str,
    /// Whether the name leaves the model open.
    pub is_open: bool,
    /// Every model of the platform's that does this.
    pub managed: &'a [Rc<Offer>],
    /// What the request is expected to use.
    pub expected: &'a TokenUsage,
    /// The workspace of the calling key.
    pub workspace: Option<&'a str>,
    /// Now.
    pub now_ms: i64,
}

/// A model that a caller may name because of what they brought along.
#[derive(Clone, Copy)]
pub struct OwnName<'t> {
    /// The name.
    pub id: &'t str,
    /// `local`, or the provider of the caller's key.
    pub owned_by: &'static str,
    /// Its context window in tokens; 0 means unknown.
    pub context_tokens: u64,
}

/// What the platform's own route would have cost.
struct Baseline {
    price: Price,
    unit_price: Option<UnitPrice>,
    priced_as: Option<ModelId>,
    version: i64,
}

impl OwnTable {
    /// Whether one of the account's endpoints serves this name, be it reachable now or not.
    #[must_use]
    pub fn serves(&self, name: &str, kind: ModelKind, workspace: Option<&str>) -> bool {
        let may_serve = |endpoint: &OwnEndpoint| is_open_to(endpoint.workspace_id.as_deref(), workspace);
        self.endpoints.iter().any(|endpoint| may_serve(endpoint) && endpoint.find_named(name, kind).is_some())
    }

    /// What the account's calls may name beside the platform's models: the models of its endpoints and the names mapped to
    /// them, and those of its keys' providers that chat or embed. Reachable now or not.
    #[must_use]
    pub fn list_names(&self, workspace: Option<&str>) -> Vec<OwnName<'_>> {
        let mut names = Vec::new();
        for endpoint in self.endpoints.iter().filter(|one| is_open_to(one.workspace_id.as_deref(), workspace)) {
            let mapped =
                endpoint.model_map.iter().filter(|(_, id)| endpoint.models.iter().any(|model| model.id == **id));
            let ids = endpoint.models.iter().map(|model| &model.id).chain(mapped.map(|(name, _)| name));
            names.extend(ids.map(|id| OwnName { id, owned_by: "local", context_tokens: 0 }));
        }
        for key in self.keys.iter().filter(|one| is_open_to(one.workspace_id.as_deref(), workspace)) {
            let owned_by = key.of.name();
            let is_named = |entry: &CatalogueEntry| {
                entry.provider == owned_by
                    && entry.price_note.is_empty()
                    && (entry.can(Capability::Chat) || entry.can(Capability::Embedding))
            };
            let listed = entries().filter(is_named);
            names.extend(listed.map(|entry| OwnName { id: entry.id, owned_by, context_tokens: entry.context_window }));
        }
        names
    }

    /// The offers for a request: of each endpoint the model that serves the name (for a mode: the one that its owner
    /// mapped to it, else the first that does such work), and with each key the models of its provider.
    #[must_use]
    pub fn offers(&self, ask: &OwnAsk<'_>) -> Vec<Rc<Offer>> {
        let is_usable = |provider: &Provider, workspace_id: &Option<String>| {
            let rests = provider.own.as_ref().is_none_or(|own| !own.is_usable(ask.now_ms));
            !rests && is_open_to(workspace_id.as_deref(), ask.workspace)
        };
        let mut offers = Vec::new();
        for endpoint in self.endpoints.iter().filter(|one| is_usable(&one.provider, &one.workspace_id)) {
            offers.extend(endpoint.offer(ask));
        }
        for key in self.keys.iter().filter(|one| is_usable(&one.provider, &one.workspace_id)) {
            let mut of_key = mirror(key.of, &key.provider, ask);
            if of_key.is_empty() && !ask.is_open {
                of_key.extend(offer_native(key.of, &key.provider, ask));
            }
            offers.append(&mut of_key);
        }
        offers
    }
}

/// What is bound to a workspace serves its calls alone.
fn is_open_to(bound_to: Option<&str>, workspace: Option<&str>) -> bool {
    bound_to.is_none() || bound_to == workspace
}

impl OwnEndpoint {
    fn find_named(&self, name: &str, kind: ModelKind) -> Option<&str> {
        let listed = |id: &str| self.models.iter().find(|model| model.id == id && model.kind == kind);
        let mapped = self.model_map.get(name).and_then(|id| listed(id));
        mapped.or_else(|| listed(name)).map(|model| model.id.as_str())
    }

    fn offer(&self, ask: &OwnAsk<'_>) -> Option<Rc<Offer>> {
        let first = || self.models.iter().find(|model| model.kind == ask.kind).map(|model| model.id.as_str());
        let named = self.find_named(ask.name, ask.kind);
        let model = named.or_else(|| if ask.is_open { first() } else { None })?;
        let baseline = find_baseline(ask).unwrap_or_else(Baseline::unknown);
        let terms = Terms { weight: self.priority, max_context_tokens: 0, max_output_tokens: 0 };
        to_offer(ask.kind, model.parse().ok()?, model, &self.provider, baseline, terms)
    }
}

/// The platform's models that this provider has too, with the caller's key for it.
fn mirror(of: KeyProvider, provider: &Rc<Provider>, ask: &OwnAsk<'_>) -> Vec<Rc<Offer>> {
    let wanted = ask.managed.iter().filter(|offer| ask.is_open || offer.model_id.as_str() == ask.name);
    let mirrored = wanted.filter(|offer| offer.enabled).filter_map(|offer| {
        let (_, upstream_model) = offer.natives.iter().find(|(vendor, _)| *vendor == of)?;
        let terms = Terms {
            weight: offer.weight,
            max_context_tokens: offer.max_context_tokens,
            max_output_tokens: offer.max_output_tokens,
        };
        let model_id = offer.model_id.clone();
        to_offer(ask.kind, model_id, upstream_model, provider, Baseline::of(offer), terms)
    });
    mirrored.collect()
}

/// A model of the provider's that the platform does not have, asked for by its name.
fn offer_native(of: KeyProvider, provider: &Rc<Provider>, ask: &OwnAsk<'_>) -> Option<Rc<Offer>> {
    let entry = of.find_model(ask.name).filter(|entry| entry.can(ask.capability))?;
    // What is not priced by the token has no list price that its calls could be held against.
    let listed = find_price(of.name(), entry.id).filter(|_| ask.kind.unit().is_none());
    let model_id: ModelId = entry.id.parse().ok()?;
    let baseline = match listed {
        Some(listed) => Baseline::listed(listed.price, model_id.clone()),
        None => find_cheapest(ask).map(|offer| Baseline::of(offer))?,
    };
    let terms =
        Terms { weight: WEIGHT, max_context_tokens: entry.context_window, max_output_tokens: entry.max_output_tokens };
    to_offer(ask.kind, model_id, entry.id, provider, baseline, terms)
}

impl Baseline {
    fn of(offer: &Offer) -> Self {
        Self {
            price: offer.price,
            unit_price: offer.unit_price,
            priced_as: Some(offer.model_id.clone()),
            version: offer.price_version,
        }
    }

    const fn listed(price: Price, model: ModelId) -> Self {
        Self { price, unit_price: None, priced_as: Some(model), version: 0 }
    }

    /// The platform has no route for such a request: there is nothing of which a part could be charged.
    const fn unknown() -> Self {
        Self { price: Price::FREE, unit_price: None, priced_as: None, version: 0 }
    }
}

/// The price of the model that was asked for, as the platform sells it, else as its maker lists it; else of the cheapest
/// model of the platform's that could have served.
fn find_baseline(ask: &OwnAsk<'_>) -> Option<Baseline> {
    let registered = ask.managed.iter().find(|offer| offer.is_priced && offer.model_id.as_str() == ask.name);
    if let Some(offer) = registered {
        return Some(Baseline::of(offer));
    }
    if !ask.is_open && ask.kind.unit().is_none() {
        let listed = entries().filter(|entry| entry.id == ask.name && entry.price_note.is_empty());
        if let Some(entry) = listed.min_by_key(|entry| entry.price.cost_pico_usd(ask.expected)) {
            return Some(Baseline::listed(entry.price, entry.id.parse().ok()?));
        }
    }
    find_cheapest(ask).map(|offer| Baseline::of(offer))
}

fn find_cheapest<'a>(ask: &OwnAsk<'a>) -> Option<&'a Rc<Offer>> {
    let fits = |offer: &&Rc<Offer>| offer.max_context_tokens == 0 || offer.max_context_tokens >= ask.expected.input;
    let able = ask.managed.iter().filter(|offer| offer.enabled).filter(fits);
    able.min_by_key(|offer| offer.price.cost_pico_usd(ask.expected))
}

/// What is known of a model beside its price.
struct Terms {
    weight: u8,
    max_context_tokens: u64,
    max_output_tokens: u64,
}

fn to_offer(
    kind: ModelKind,
    model_id: ModelId,
    upstream_model: &str,
    provider: &Rc<Provider>,
    baseline: Baseline,
    terms: Terms,
) -> Option<Rc<Offer>> {
    Some(Rc::new(Offer {
        model_id,
        upstream_model: upstream_model.to_owned(),
        provider: Rc::clone(provider),
        kind,
        price: baseline.price,
        unit_price: baseline.unit_price,
        is_priced: true,
        price_version: baseline.version,
        priced_as: baseline.priced_as,
        weight: terms.weight,
        max_context_tokens: terms.max_context_tokens,
        max_output_tokens: terms.max_output_tokens,
        enabled: true,
        natives: Vec::new(),
        // What the same model needs elsewhere says nothing of this upstream.
        quirks: None,
        takes_stream_options: Cell::new(true),
        reasons: reasons(upstream_model),
    }))
}
