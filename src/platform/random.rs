//! Randomness.

use super::glue;
use crate::ports::Random;

pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        let count = u32::try_from(buffer.len()).unwrap_or(0);
        glue::random_bytes(count).copy_to(buffer);
    }
}
