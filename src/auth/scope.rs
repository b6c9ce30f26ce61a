//! What a key may do.

/// One permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Read the account's own balance, usage and models: every key may.
    Own,
    /// Call models.
    Chat,
    /// Have several models work on one request.
    Plan,
    /// Embed texts.
    Embeddings,
    /// Draw, speak, transcribe and film.
    Media,
    /// Send an agent's money to its bank.
    Payouts,
    /// Look after the account's keys, billing and settings. `ToolRouter`'s keys may unless they are scoped otherwise; all
    /// others leave it to sessions, and only a key that names this scope may.
    Manage,
}

impl Scope {
    /// Every permission that a key can be given.
    pub const GRANTABLE: [Self; 6] =
        [Self::Chat, Self::Plan, Self::Embeddings, Self::Media, Self::Payouts, Self::Manage];

    /// As keys name it; empty for what every key may.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "",
            Self::Chat => "chat",
            Self::Plan => "plan",
            Self::Embeddings => "embeddings",
            Self::Media => "media",
            Self::Payouts => "payouts",
            Self::Manage => "manage",
        }
    }
}

/// The permissions of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scopes {
    /// All of them.
    All,
    /// These, by name.
    Only(Vec<String>),
    /// None: what is stored could not be read.
    Nothing,
}

impl Scopes {
    /// Reads the stored JSON array; an empty one means all, an unreadable one nothing.
    #[must_use]
    pub fn read(stored: &str) -> Self {
        match serde_json::from_str::<Vec<String>>(stored) {
            Ok(names) if names.is_empty() => Self::All,
            Ok(names) => Self::Only(names),
            Err(_) => Self::Nothing,
        }
    }

    /// Whether these are no more than what is allowed here.
    #[must_use]
    pub fn include(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::All, _) | (_, Self::Nothing) => true,
            (Self::Only(own), Self::Only(names)) => names.iter().all(|name| own.contains(name)),
            (Self::Only(_) | Self::Nothing, _) => false,
        }
    }

    /// As they are stored: a JSON array.
    #[must_use]
    pub fn write(&self) -> String {
        match self {
            Self::All => "[]".to_owned(),
            Self::Only(names) => serde_json::Value::from(names.clone()).to_string(),
            Self::Nothing => String::new(),
        }
    }

    /// Whether this may be done.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => scope == Scope::Own || names.iter().any(|name| name == scope.name()),
            Self::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_everything_and_an_unreadable_one_nothing() {
        assert!(Scopes::read("[]").allow(Scope::Chat));
        assert!(Scopes::read(r#"["chat"]"#).allow(Scope::Chat));
        assert!(!Scopes::read(r#"["plan"]"#).allow(Scope::Chat));
        assert!(Scopes::read(r#"["plan"]"#).allow(Scope::Plan));
        assert!(Scopes::read(r#"["plan"]"#).allow(Scope::Own));
        assert!(!Scopes::read("chat").allow(Scope::Own));
    }

    #[test]
    fn what_is_given_is_never_more_than_what_is_there() {
        let [all, some, one, nothing] = ["[]", r#"["chat","manage"]"#, r#"["chat"]"#, "?"].map(Scopes::read);
        assert!([&all, &some, &one, &nothing].iter().all(|others| all.include(others)));
        assert!(some.include(&one) && some.include(&some) && some.include(&nothing));
        assert!(!some.include(&all) && !one.include(&some) && !nothing.include(&one) && !nothing.include(&all));
        for scopes in [all, some, one, nothing] {
            assert_eq!(Scopes::read(&scopes.write()), scopes);
        }
    }
}
