//! Bits and checksums of the file formats that the sandbox writes.

/// Writes numbers bit by bit, the highest bit first.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits used of the last byte; 0 when it is full.
    used: u8,
}

impl BitWriter {
    /// The lowest `count` bits of a number.
    pub(super) fn put(&mut self, number: u32, count: u8) {
        for at in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(number >> at & 1 == 1) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A number as an Exp-Golomb code; below 2^16.
    pub(super) fn put_golomb(&mut self, number: u32) {
        let code = number + 1;
        let bits = 32 - u8::try_from(code.leading_zeros()).unwrap_or(0);
        self.put(0, bits - 1);
        self.put(code, bits);
    }

    /// Zeros up to the next byte.
    pub(super) fn align(&mut self) {
        self.used = 0;
    }

    /// Whole bytes, after aligning.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A checksum of `width` bits whose polynomial is written highest bit first, beginning with 0: those of Ogg and FLAC.
pub(super) fn crc(bytes: &[u8], width: u8, polynomial: u32) -> u32 {
    let polynomial = polynomial << (32 - width);
    let sum = bytes.iter().fold(0_u32, |sum, byte| {
        (0..8)
            .fold(sum ^ u32::from(*byte) << 24, |sum, _| if sum >> 31 == 1 { sum << 1 ^ polynomial } else { sum << 1 })
    });
    sum >> (32 - width)
}

/// The checksum of PNG: reflected, inverted at both ends.
pub(super) fn crc_png(parts: [&[u8]; 2]) -> u32 {
    !parts.into_iter().flatten().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_catalogue() {
        assert_eq!(crc(b"123456789", 8, 0x07), 0xf4);
        assert_eq!(crc(b"123456789", 16, 0x8005), 0xfee8);
        assert_eq!(crc_png([b"1234", b"56789"]), 0xcbf4_3926);
    }

    #[test]
    fn golomb_codes_are_prefix_codes() {
        let mut bits = BitWriter::default();
        for number in [0, 1, 2, 3, 25] {
            bits.put_golomb(number);
        }
        // 1 010 011 00100 000011010
        assert_eq!(bits.into_bytes(), [0b1010_0110, 0b0100_0000, 0b1101_0000]);
    }
}
