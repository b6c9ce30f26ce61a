//! Every query of the project: it prepares on the migrated schema, it does not scan a table, it keeps to its tenant.

use guildhall::store::ALL;
use guildhall::store::statement::{QueryInfo, Reach};

use crate::support::open_migrated;

/// Scans that are meant, by query, with the reason.
const SCANS: &[(&str, &str)] = &[
    ("providers::list_providers", "pages the whole table in the order of its key"),
    ("routing::list_aliases", "reads the whole table in the order of its key"),
    ("responses::list_turns", "walks the chain that it finds, bounded by its limit"),
    ("providers::count_providers", "counts a table of a few dozen rows"),
    ("models::list_models", "pages the whole table in the order of its key"),
    ("models::count_models", "counts a table of a few hundred rows"),
    ("keys::list_keys", "pages the whole table in the order of its index"),
    ("keys::count_keys", "counts the index of keys that are not revoked"),
    ("models::insert_models", "walks the list it is given (json_each)"),
    ("usage::list_totals", "one row per series, bounded by LIMIT"),
    ("audit::list_audit", "pages the table from its newest row on"),
    ("counters::add_counters", "walks the counts it is given (json_each)"),
    ("counters::list_counters", "one row per series, bounded by LIMIT"),
    ("logs::list_key_names", "walks the list it is given (json_each)"),
    ("logs::list_logs", "pages the table from its newest row on"),
    ("outbox::list_mails", "reads the newest of at most 200 rows, bounded by LIMIT"),
    ("rewards::list_rewards", "pages the table from its newest row on"),
    ("rewards::list_provider_attempts", "one row per provider, bounded by LIMIT"),
    ("rewards::insert_rewards", "walks the batch it is given (json_each)"),
    ("rewards::add_arms", "walks the batch it is given (json_each)"),
    ("rewards::add_provider_attempts", "walks the batch it is given (json_each)"),
    ("rollups::add_call_sums", "walks the batch it is given (json_each)"),
    ("rollups::add_key_sums", "walks the batch it is given (json_each)"),
    ("workflows::list_workflows", "pages the table in the order of its index"),
    ("usage::insert_usage", "walks the batch it is given (json_each)"),
    ("usage::add_days", "walks the sums it is given (json_each)"),
    ("usage::list_filed", "walks the batch it is given (json_each)"),
    ("reports::list_key_faces", "walks the list it is given (json_each)"),
    ("reports::list_workspace_faces", "walks the list it is given (json_each)"),
    ("payments::list_known_events", "walks the list it is given (json_each)"),
    ("usage::find_usage_ids", "walks the list it is given (json_each)"),
];

fn queries() -> impl Iterator<Item = &'static QueryInfo> {
    ALL.iter().copied().flatten()
}

fn may_scan(query: &QueryInfo) -> bool {
    SCANS.iter().any(|(name, _)| query.name.ends_with(name))
}

#[test]
fn every_query_prepares_with_its_parameters() {
    let connection = open_migrated();
    for query in queries() {
        let statement = connection.prepare(query.sql).unwrap_or_else(|e| panic!("{}: {e}", query.name));
        assert_eq!(statement.parameter_count(), query.params, "{}: parameters", query.name);
    }
}

#[test]
fn no_query_scans_a_table() {
    let connection = open_migrated();
    for query in queries().filter(|query| !may_scan(query)) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", query.sql)).unwrap();
        let nulls = vec![rusqlite::types::Null; query.params];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(nulls), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for step in plan {
            // What a subquery gives is walked; how it finds that is a step of its own.
            let is_table = !["SCAN CONSTANT ROW", "SCAN (subquery"].iter().any(|text| step.starts_with(text));
            let is_scan = step.starts_with("SCAN") && is_table;
            assert!(!is_scan, "{}: {step}", query.name);
        }
    }
}

#[test]
fn every_query_keeps_to_its_tenant() {
    for query in queries() {
        match query.reach {
            Reach::Global(reason) => assert!(reason.len() > 15, "{}: say why it may see everything", query.name),
            Reach::Tenant(column) if query.sql.starts_with("INSERT") => {
                let first = query.sql.split('(').nth(1).unwrap().trim_start();
                assert!(first.starts_with(column), "{}: the tenant comes first", query.name);
                let is_bound = ["VALUES (?1", "SELECT ?1,"].iter().any(|text| query.sql.contains(text));
                assert!(is_bound, "{}: the tenant is ?1", query.name);
            }
            Reach::Tenant(column) => {
                let bound = query.sql.contains(&format!("{column} = ?1"));
                assert!(bound, "{}: no `{column} = ?1`", query.name);
            }
        }
    }
}

#[test]
fn the_allow_list_has_no_dead_entry() {
    for (name, _) in SCANS {
        assert!(queries().any(|query| query.name.ends_with(name)), "{name} is gone");
    }
}
