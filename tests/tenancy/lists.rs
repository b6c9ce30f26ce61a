//! What the ids of routes name. A new route that takes an id is added here.

/// What an id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A tenant's thing of this kind, which `tenants.rs` makes.
    Names(&'static str),
    /// A tenant's thing that no scenario of this test can make; the reason stands in [`UNMADE`].
    Unmade,
    /// Nobody's in particular; the reason stands in [`NOBODYS`].
    Nobodys,
}

/// The kind of thing that a path's id names; a path stands for all that begin with it.
const PATH_IDS: &[(&str, &str)] = &[
    ("/v1/api-keys/{id}", "key"),
    ("/v1/auth/sessions/{id}", "session"),
    ("/v1/billing/payments/{id}", "payment"),
    ("/v1/keys/{id}", "key"),
    ("/v1/local-endpoints/{id}", "endpoint"),
    ("/v1/provider-keys/{id}", "provider_key"),
    ("/v1/responses/{id}", "response"),
    ("/v1/usage/{id}", "usage"),
    ("/v1/videos/generations/{id}", "video"),
    ("/v1/videos/{id}", "video"),
    ("/v1/workspaces/{workspace_id}", "workspace"),
];

/// The kind of thing that a query's parameter names.
pub const QUERY_IDS: &[(&str, &str)] = &[("api_key_id", "key"), ("key_id", "key"), ("workspace_id", "workspace")];

/// Ids of tenants' things that this test cannot make, and why. They are called with every other kind's ids all the same.
const UNMADE: &[(&str, &str)] = &[];

/// Ids that are no tenant's, and why.
const NOBODYS: &[(&str, &str)] = &[("/v1/models/{*model}", "the platform's models are everybody's")];

/// Bodies with which a route looks at the id at all, where none can be made of its schema.
pub const BODIES: &[(&str, &str)] = &[];

/// What the path's id is; `None` when nobody has said.
pub fn fate_of(path: &str) -> Option<Fate> {
    let begins = |known: &str| path == known || path.starts_with(&format!("{known}/"));
    if NOBODYS.iter().any(|(known, _)| begins(known)) {
        return Some(Fate::Nobodys);
    }
    if UNMADE.iter().any(|(known, _)| begins(known)) {
        return Some(Fate::Unmade);
    }
    PATH_IDS.iter().find(|(known, _)| begins(known)).map(|(_, kind)| Fate::Names(kind))
}

/// No entry of the lists outlives its route, and every excuse has a reason.
pub fn assert_current(paths: &[&str]) {
    let known = PATH_IDS.iter().chain(UNMADE).chain(NOBODYS).chain(BODIES).map(|(path, _)| *path);
    for path in known {
        assert!(paths.iter().any(|route| route.starts_with(path)), "{path} takes no id any more");
    }
    for (path, reason) in UNMADE.iter().chain(NOBODYS) {
        assert!(reason.len() > 10, "{path}: say why");
    }
}
