//! The `Vectors` port over Vectorize, for more vectors than an object holds. It cannot be tried locally: `wrangler dev` has no
//! Vectorize.
//!
//! All indexes share one, so namespaces and ids are digests over the index too; an id of ours travels in the metadata.
//! Vectorize forgets nothing by itself.

use guildhall_domain::hex::to_hex;
use guildhall_domain::vector::write_vector;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::JsValue;

use super::executor::JsCall;
use super::glue;
use crate::bindings;
use crate::ports::{Pending, PortError, Space, VectorItem, VectorMatch, VectorStats, Vectors};

pub struct Vectorize {
    pub env: JsValue,
}

#[derive(Serialize)]
struct Row {
    id: String,
    namespace: String,
    /// In base64; `glue.js` makes numbers of it.
    vector: String,
    metadata: Metadata,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    id: String,
    text: String,
}

#[derive(Deserialize)]
struct Found {
    score: f32,
    metadata: Metadata,
}

/// 64 characters, which is as long as Vectorize's names may be.
fn name(index: &str, part: &str) -> String {
    to_hex(&Sha256::digest(format!("{index}\n{part}")))
}

impl Vectorize {
    fn run<T: for<'de> Deserialize<'de> + 'static>(
        &self,
        method: &'static str,
        argument: &impl Serialize,
    ) -> Pending<'_, Result<T, PortError>> {
        let argument = serde_json::to_string(argument).map_err(|error| PortError(error.to_string()));
        Box::pin(async move {
            let argument = argument?;
            let call = JsCall::begin(|id| glue::run_vectorize(id, &self.env, bindings::VECTORIZE, method, &argument));
            let answer = call.await.map_err(|error| PortError(format!("Vectorize: {}", glue::text_of(&error))))?;
            let answer = answer.as_string().unwrap_or_default();
            serde_json::from_str(&answer).map_err(|error| PortError(format!("Vectorize: {error}")))
        })
    }
}

impl Vectors for Vectorize {
    fn upsert(&self, space: Space<'_>, items: Vec<VectorItem>) -> Pending<'_, Result<(), PortError>> {
        let namespace = name(space.index, space.namespace);
        let to_row = |item: VectorItem| Row {
            id: name(space.index, &item.id),
            namespace: namespace.clone(),
            vector: write_vector(&item.vector),
            metadata: Metadata { id: item.id, text: item.metadata },
        };
        self.run("upsert", &items.into_iter().map(to_row).collect::<Vec<_>>())
    }

    fn query(&self, space: Space<'_>, vector: &[f32], top_k: u32) -> Pending<'_, Result<Vec<VectorMatch>, PortError>> {
        let argument = (write_vector(vector), name(space.index, space.namespace), top_k);
        let found = self.run::<Vec<Found>>("query", &argument);
        Box::pin(async move {
            let to_match =
                |found: Found| VectorMatch { id: found.metadata.id, score: found.score, metadata: found.metadata.text };
            Ok(found.await?.into_iter().map(to_match).collect())
        })
    }

    fn delete(&self, index: &str, ids: Vec<String>) -> Pending<'_, Result<(), PortError>> {
        self.run("deleteByIds", &ids.iter().map(|id| name(index, id)).collect::<Vec<_>>())
    }

    fn stats(&self, _index: &str) -> Pending<'_, Result<VectorStats, PortError>> {
        let vectors = self.run::<u64>("describe", &());
        Box::pin(async move { Ok(VectorStats { vectors: vectors.await? }) })
    }
}
