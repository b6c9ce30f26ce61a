//! What every request passes, whatever its route.

mod bodies;
mod credentials;
mod crossing;
mod dialects;
mod evictions;
mod idempotency;
mod leases;
mod limits;
mod paths;
