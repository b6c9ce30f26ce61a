-- Names that stand for models, and what holds where a request does not say.

CREATE TABLE model_aliases (
  name TEXT PRIMARY KEY,
  -- JSON: [{"model_id", "weight"}]
  variants TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  sticky_by TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL
) STRICT;
CREATE TRIGGER model_aliases_inserted AFTER INSERT ON model_aliases BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER model_aliases_updated AFTER UPDATE ON model_aliases BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
CREATE TRIGGER model_aliases_deleted AFTER DELETE ON model_aliases BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;

-- One row. The defaults are TokenHub's.
CREATE TABLE routing_config (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  default_mode TEXT NOT NULL,
  default_max_budget_micros INTEGER NOT NULL,
  default_max_latency_ms INTEGER NOT NULL
) STRICT;
INSERT INTO routing_config (id, default_mode, default_max_budget_micros, default_max_latency_ms) VALUES (1, 'normal', 50000, 120000);
CREATE TRIGGER routing_config_updated AFTER UPDATE ON routing_config BEGIN UPDATE routing_state SET version = version + 1 WHERE id = 1; END;
