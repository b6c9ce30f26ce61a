//! Keys of an account, of whatever product.

use guildhall::store::identity::keys::insert_key;
use guildhall_domain::credential::{KeyHasher, KeyPrefix};

use super::{KEY_PEPPER, Key, Session, TestApp};

impl TestApp {
    /// A key of the account, bound to a workspace or not. Its secret is made of its id.
    pub fn issue(&self, account_id: &str, prefix: KeyPrefix, id: &str, workspace_id: Option<&str>) -> Key {
        let digits = KeyHasher::new(b"secret").hash(id);
        let key = format!("{}{}", prefix.as_str(), &digits[..64]);
        let hash = KeyHasher::new(KEY_PEPPER.as_bytes()).hash(&key);
        let (product, now_ms) = (prefix.product(), self.now_ms());
        let metadata = format!(r#"{{"made_for":"{id}"}}"#);
        let insert =
            insert_key(account_id, id, &hash, product, "masked", id, now_ms, "[]", workspace_id, None, &metadata, None);
        self.database.run(&[insert.statement]).unwrap();
        Key { key, account_id: account_id.to_owned() }
    }

    /// Somebody who has signed in and whose first key needs nothing any more.
    pub async fn sign_in_activated(&self, email: &str) -> Session {
        let session = self.sign_in(email).await;
        let id = &session.account_id;
        self.database.execute(&format!("INSERT INTO first_keys (account_id, key_id) VALUES ('{id}', 'key_first')"));
        session
    }

    /// A workspace of the account.
    pub fn open_workspace(&self, account_id: &str, workspace_id: &str) {
        self.database.execute(&format!(
            "INSERT INTO workspaces (account_id, workspace_id, id, name, status, metadata, created_at_ms, updated_at_ms)
             VALUES ('{account_id}', '{workspace_id}', 'ws_{account_id}_{workspace_id}', 'The {workspace_id}', 'active', '{{}}', 1, 1)"
        ));
    }
}
