//! What model endpoints share: which route a call takes, the attempts, the stream on its way back, the settlement.

pub mod choice;
pub mod completion;
pub mod dispatch;
pub mod ladder;
pub mod media;
pub mod provider;
pub mod settlement;
pub mod table;
pub mod tap;
pub mod video;
