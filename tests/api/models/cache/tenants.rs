//! Nobody sees anybody else's answers.

use guildhall_domain::credential::KeyPrefix;

use super::{ask, hits, question};
use crate::support::run;

#[test]
fn nobody_sees_anothers_answers() {
    run(async |app| {
        let key = app.with_busy_key().await;
        let other = app.provision("10").await;
        let known = question("a secret plan");
        assert!(!hits(&app, ask(&app, &key, &known)).await);
        assert!(!hits(&app, ask(&app, &other, &known)).await, "another account");
        assert_eq!(app.cache.len(), 2);
        for name in app.cache.names() {
            let digest = name.strip_prefix("answer:").unwrap();
            assert!(digest.len() == 64 && !name.contains(&key.account_id), "names tell nothing: {name}");
        }
        // Keys of one account share what it paid for; those of its workspaces have their own.
        let session = app.sign_in("ada@example.com").await;
        app.credit_account(&session.account_id, "10").await;
        app.open_workspace(&session.account_id, "acme");
        let issue = |id: &str, workspace| app.issue(&session.account_id, KeyPrefix::ToolRouter, id, workspace);
        let keys = [issue("key_1", None), issue("key_2", None), issue("key_3", Some("acme"))];
        assert!(!hits(&app, ask(&app, &keys[0], &known)).await);
        assert!(hits(&app, ask(&app, &keys[1], &known)).await, "the same account");
        assert!(!hits(&app, ask(&app, &keys[2], &known)).await, "another workspace");
        assert!(hits(&app, ask(&app, &keys[2], &known)).await);
    });
}
