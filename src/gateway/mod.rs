//! What model endpoints share: which route a call takes, the attempts, the stream on its way back, the settlement.

pub mod completion;
pub mod dispatch;
pub mod health;
pub mod provider;
pub mod settlement;
pub mod table;
pub mod tap;
