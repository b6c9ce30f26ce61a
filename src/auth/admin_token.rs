//! The admin token: the deployment's secret, or what an administrator has put in its place.
//!
//! The database holds a hash of that token beside a hash of the secret of that time. A new secret, set by whoever operates
//! the deployment, makes the row void: that is the way back in when the token is lost. Every request of an administrator
//! asks the database, so that a change is known everywhere at once; requests with a key never do.

use std::rc::Rc;

use crate::app::App;
use crate::ports::{PortError, Ports};
use crate::store::ops::admin_token::{AdminTokenRow, find_admin_token, forget_admin_token, set_admin_token};

/// The token that holds now.
pub struct EffectiveToken {
    /// Its hash: what sessions are bound to.
    pub hash: String,
    /// The secret's hash in a row that another secret has made void.
    void: Option<String>,
}

/// Reads which token holds.
///
/// # Errors
/// When the database fails.
pub async fn read_token(app: &App, ports: &Ports) -> Result<EffectiveToken, PortError> {
    Ok(match find_admin_token().run(&*ports.db).await? {
        Some(AdminTokenRow { hash, secret_hash }) if secret_hash == hash_secret(app) => {
            EffectiveToken { hash, void: None }
        }
        row => EffectiveToken {
            hash: hash_token(app, &app.config.admin_token),
            void: row.map(|AdminTokenRow { secret_hash, .. }| secret_hash),
        },
    })
}

/// Whether this is the admin token.
///
/// # Errors
/// When the database fails.
pub async fn is_admin(app: &App, ports: &Rc<Ports>, presented: &str) -> Result<bool, PortError> {
    let token = read_token(app, ports).await?;
    let is_admin = app.hasher.are_equal(&hash_token(app, presented), &token.hash);
    if let Some(void) = token.void.filter(|_| is_admin) {
        // Or it would hold again if the deployment ever got its old secret back.
        let ports_then = Rc::clone(ports);
        ports.background.spawn(Box::pin(async move {
            if let Err(error) = forget_admin_token(&void).run(&*ports_then.db).await {
                ports_then.background.log(&format!("void admin token: {error}"));
            }
        }));
    }
    Ok(is_admin)
}

/// Puts a token in the place of the one that holds.
///
/// # Errors
/// When the database fails.
pub async fn put_token(app: &App, ports: &Ports, token: &str) -> Result<(), PortError> {
    let put = set_admin_token(&hash_token(app, token), &hash_secret(app), ports.clock.now_ms());
    put.run(&*ports.db).await.map(drop)
}

fn hash_token(app: &App, token: &str) -> String {
    app.hasher.hash(&format!("admin token:{token}"))
}

fn hash_secret(app: &App) -> String {
    app.hasher.hash(&format!("admin secret:{}", app.config.admin_token))
}
