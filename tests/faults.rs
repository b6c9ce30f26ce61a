//! Ports that fail before or after they have done their work: money and records survive.
