//! Vectors of texts: how near two of them are, and how they travel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most numbers of a vector.
pub const DIMENSIONS_MAX: usize = 4_096;

/// The vector of the same direction and of length one; `None` for one that has no direction, or a number that is none.
#[must_use]
#[expect(clippy::float_arithmetic, clippy::cast_possible_truncation, reason = "a direction, never money")]
pub fn normalise(vector: &[f32]) -> Option<Vec<f32>> {
    let squares: f64 = vector.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    let length = squares.sqrt();
    if !length.is_normal() {
        return None;
    }
    Some(vector.iter().map(|number| (f64::from(*number) / length) as f32).collect())
}

/// The cosine of the angle between two vectors of length one; of different dimensions it is 0.
#[must_use]
#[expect(clippy::float_arithmetic, reason = "a likeness, never money")]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return 0.0;
    }
    // Four sums side by side, which the compiler does at once.
    let mut sums = [0.0_f32; 4];
    let (a_fours, a_rest) = a.as_chunks::<4>();
    let (b_fours, b_rest) = b.as_chunks::<4>();
    for (a, b) in a_fours.iter().zip(b_fours) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// A vector as text: its little-endian 32-bit floats in base64.
#[must_use]
pub fn write_vector(vector: &[f32]) -> String {
    STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

/// Reads what [`write_vector`] wrote; `None` for anything else.
#[must_use]
pub fn read_vector(text: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_compared() {
        let unit = |vector: &[f32]| normalise(vector).unwrap();
        let near = |a: &[f32], b: &[f32], expected: f32| {
            let cosine = cosine(&unit(a), &unit(b));
            assert!((cosine - expected).abs() < 1e-6, "{cosine}");
        };
        near(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 4.0, 6.0, 8.0, 10.0], 1.0);
        near(&[1.0, 0.0], &[0.0, 7.0], 0.0);
        near(&[1.0, 1.0], &[-1.0, -1.0], -1.0);
        assert!(cosine(&[1.0], &[1.0, 0.0]).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_direction_is_none() {
        for vector in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert_eq!(normalise(vector), None, "{vector:?}");
        }
    }

    #[test]
    fn vectors_travel_as_text() {
        let vector = [0.5, -1.25, f32::MIN_POSITIVE];
        assert_eq!(read_vector(&write_vector(&vector)).unwrap(), vector);
        assert_eq!(write_vector(&[1.0]), "AACAPw==");
        assert_eq!((read_vector("AAA="), read_vector("?")), (None, None));
    }
}
