//! The `Vectors` port over Durable Objects: exact, and there wherever the platform runs. `platform/vectorize.rs` is the other
//! one, for more than an object holds.

use std::rc::Rc;

use durable_objects::vector_index::protocol::{Command, Item, Reply, VectorIndex};
use guildhall_domain::vector::write_vector;

use crate::ports::{Objects, Pending, PortError, Space, VectorItem, VectorMatch, VectorStats, Vectors, ask};

/// Each index is an object of its own.
pub struct EmbeddedVectors {
    /// The objects.
    pub objects: Rc<dyn Objects>,
}

impl EmbeddedVectors {
    fn ask(&self, index: &str, command: Command) -> Pending<'_, Result<Reply, PortError>> {
        let index = index.to_owned();
        Box::pin(async move { ask::<VectorIndex>(&*self.objects, &index, &command).await })
    }

    fn tell(&self, index: &str, command: Command) -> Pending<'_, Result<(), PortError>> {
        let asked = self.ask(index, command);
        Box::pin(async move {
            match asked.await? {
                Reply::Done => Ok(()),
                other => Err(unexpected(&other)),
            }
        })
    }
}

fn unexpected(reply: &Reply) -> PortError {
    PortError(format!("vector index: {reply:?}"))
}

impl Vectors for EmbeddedVectors {
    fn upsert(&self, space: Space<'_>, items: Vec<VectorItem>) -> Pending<'_, Result<(), PortError>> {
        let to_item = |item: VectorItem| Item {
            id: item.id,
            namespace: space.namespace.to_owned(),
            vector: write_vector(&item.vector),
            metadata: item.metadata,
            expires_at_ms: item.expires_at_ms,
        };
        self.tell(space.index, Command::Upsert { items: items.into_iter().map(to_item).collect() })
    }

    fn query(&self, space: Space<'_>, vector: &[f32], top_k: u32) -> Pending<'_, Result<Vec<VectorMatch>, PortError>> {
        let (namespace, vector) = (space.namespace.to_owned(), write_vector(vector));
        let asked = self.ask(space.index, Command::Query { namespace, vector, top_k });
        Box::pin(async move {
            match asked.await? {
                Reply::Matches { matches } => Ok(matches
                    .into_iter()
                    .map(|found| VectorMatch { id: found.id, score: found.score, metadata: found.metadata })
                    .collect()),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn delete(&self, index: &str, ids: Vec<String>) -> Pending<'_, Result<(), PortError>> {
        self.tell(index, Command::Delete { ids })
    }

    fn stats(&self, index: &str) -> Pending<'_, Result<VectorStats, PortError>> {
        let asked = self.ask(index, Command::Stats);
        Box::pin(async move {
            match asked.await? {
                Reply::Stats { vectors, .. } => Ok(VectorStats { vectors }),
                other => Err(unexpected(&other)),
            }
        })
    }
}
