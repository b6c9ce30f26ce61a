//! What nobody's request asks for: queue consumers and what happens every hour.

pub mod hourly;
pub mod usage;
