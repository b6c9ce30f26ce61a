//! What model endpoints share: which route a call takes, the attempts, the stream on its way back, the settlement.

pub mod adapter;
pub mod affinity;
pub mod bounds;
pub mod cache;
pub mod choice;
pub mod completion;
pub mod discovery;
pub mod dispatch;
pub mod face;
pub mod health;
pub mod hedge;
pub mod keys;
pub mod ladder;
pub mod media;
pub mod native;
pub mod orchestration;
pub mod own;
pub mod provider;
pub mod receipt;
pub mod relay;
pub mod report;
pub mod settlement;
pub mod table;
pub mod tap;
pub mod think;
pub mod video;
