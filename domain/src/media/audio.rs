//! How long a recording is, by its container's own numbers; for money, so never less than its size makes plausible.

/// Fewest bytes of a second of audio: Opus at 6 kbit/s, the lowest rate of any codec in use for speech.
const MIN_BYTES_PER_S: u64 = 750;
/// Most bytes of a second of samples as they are: 8 channels of 32 bits at 192 kHz, 6 MB, rounded up.
const MAX_BYTES_PER_S: u64 = 8_000_000;
/// Most bytes of a second of lossless audio, and of a film: 2 channels of 24 bits at 192 kHz, rounded up.
const MAX_LOSSLESS_BYTES_PER_S: u64 = 1_200_000;
/// Most bytes of a second of lossy audio: several times the highest rates of MP3, AAC, Opus and Vorbis.
const MAX_LOSSY_BYTES_PER_S: u64 = 200_000;
/// Boxes, chunks, pages or frames that are looked at; a frame has at least 8 bytes, so this covers 32 MB.
const MAX_STEPS: usize = 4 << 20;

/// The length of a recording in milliseconds, if its container tells; never shorter than its size makes plausible.
///
/// WAV, FLAC, Ogg (Opus, Vorbis), MP3, AAC (ADTS) and MP4/M4A tell; others do not. What they tell is the client's word:
/// decoders play on where a header ends too early.
#[must_use]
pub fn measure_ms(bytes: &[u8]) -> Option<u64> {
    let body = skip_id3(bytes);
    let (ms, max_bytes_per_s) = match body {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => (measure_wav(body), MAX_BYTES_PER_S),
        [b'f', b'L', b'a', b'C', ..] => (measure_flac(body), MAX_LOSSLESS_BYTES_PER_S),
        [b'O', b'g', b'g', b'S', ..] => (measure_ogg(body), MAX_LOSSY_BYTES_PER_S),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => measure_mp4(body)?,
        [0xff, second, ..] if second & 0xf6 == 0xf0 => (measure_frames(body, read_adts), MAX_LOSSY_BYTES_PER_S),
        [0xff, second, ..] if second & 0xe0 == 0xe0 => (measure_frames(body, read_mpeg), MAX_LOSSY_BYTES_PER_S),
        _ => return None,
    };
    Some(ms?.max(body.len() as u64 * 1_000 / max_bytes_per_s))
}

/// As [`measure_ms`], in seconds, rounded up; at least one.
#[must_use]
pub fn measure_seconds(bytes: &[u8]) -> Option<u64> {
    measure_ms(bytes).map(|ms| ms.div_ceil(1_000).max(1))
}

/// Seconds that the recording can't exceed: measured, or what its size allows.
#[must_use]
pub fn seconds_upper(bytes: &[u8]) -> u64 {
    measure_seconds(bytes).unwrap_or_else(|| (bytes.len() as u64).div_ceil(MIN_BYTES_PER_S).max(1))
}

/// What a decoder reads of a recording: all behind an ID3v2 tag.
fn skip_id3(bytes: &[u8]) -> &[u8] {
    match bytes {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            let size = [a, b, c, d].into_iter().fold(0_usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
            bytes.get(10 + size..).unwrap_or_default()
        }
        _ => bytes,
    }
}

fn le32(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
}

fn be(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// So many samples at a rate, in milliseconds.
fn to_ms(samples: u64, per_s: u64) -> Option<u64> {
    u64::try_from(u128::from(samples) * 1_000 / u128::from(Some(per_s).filter(|rate| *rate > 0)?)).ok()
}

/// By what decoders go by: the rate, the channels and their bits. They do not look at the bytes of a second.
fn measure_wav(bytes: &[u8]) -> Option<u64> {
    let mut at = 12_usize;
    let mut bits_per_s = None;
    for _ in 0..1_000 {
        let id = bytes.get(at..at + 4)?;
        let size = le32(bytes, at + 4)?;
        let content = at + 8;
        match id {
            b"fmt " => {
                let (channels, bits) = (le32(bytes, content)? >> 16, le32(bytes, content + 12)? >> 16);
                bits_per_s = Some(le32(bytes, content + 4)?.saturating_mul(channels * bits));
            }
            // A stream's header may state any size, or none: what counts is what is there.
            b"data" => {
                let there = (bytes.len() - content) as u64;
                let stated = Some(size).filter(|size| *size > 0).unwrap_or(there);
                return to_ms(stated.min(there) * 8, bits_per_s?);
            }
            _ => {}
        }
        at = content.checked_add(usize::try_from(size + size % 2).ok()?)?;
    }
    None
}

fn measure_flac(bytes: &[u8]) -> Option<u64> {
    // STREAMINFO is always first: 20 bits of rate, 3 of channels, 5 of depth, 36 of samples.
    let packed = be(bytes, 8 + 10, 8)?;
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    to_ms(Some(samples).filter(|samples| *samples > 0)?, rate)
}

fn measure_ogg(bytes: &[u8]) -> Option<u64> {
    let first = 27 + usize::from(*bytes.get(26)?);
    let packet = bytes.get(first..)?;
    let (rate, skipped) = if packet.starts_with(b"OpusHead") {
        (48_000, le32(packet, 8)? >> 16)
    } else if packet.starts_with(b"\x01vorbis") {
        (le32(packet, 12)?, 0)
    } else {
        return None;
    };
    let last = memchr::memmem::rfind(bytes, b"OggS")?;
    let granule = u64::from_le_bytes(bytes.get(last + 6..last + 14)?.try_into().ok()?);
    to_ms(Some(granule).filter(|granule| *granule != u64::MAX)?.saturating_sub(skipped), rate)
}

/// The length, and the most bytes that a second of what is in it takes.
fn measure_mp4(bytes: &[u8]) -> Option<(Option<u64>, u64)> {
    let moov = find_box(bytes, b"moov")?;
    let header = find_box(moov, b"mvhd")?;
    let (scale, duration) = if *header.first()? == 1 {
        (be(header, 20, 4)?, be(header, 24, 8)?)
    } else {
        (be(header, 12, 4)?, be(header, 16, 4)?)
    };
    let is_dense = [b"vide", b"alac"].iter().any(|kind| memchr::memmem::find(moov, *kind).is_some());
    let max_bytes_per_s = if is_dense { MAX_LOSSLESS_BYTES_PER_S } else { MAX_LOSSY_BYTES_PER_S };
    Some((to_ms(duration, scale), max_bytes_per_s))
}

fn find_box<'b>(bytes: &'b [u8], wanted: &[u8; 4]) -> Option<&'b [u8]> {
    let mut at = 0_usize;
    for _ in 0..1_000 {
        let (size, head) = match be(bytes, at, 4)? {
            0 => ((bytes.len() - at) as u64, 8),
            1 => (be(bytes, at + 8, 8)?, 16),
            size => (size, 8),
        };
        let end = at.checked_add(usize::try_from(size).ok().filter(|size| *size >= head)?)?;
        if bytes.get(at + 4..at + 8)? == wanted {
            return bytes.get(at + head..end.min(bytes.len()));
        }
        at = end;
    }
    None
}

/// A frame's length in bytes, its samples and their rate.
type Frame = (usize, u64, u64);

/// Adds up the frames of a stream; rubbish between them is passed over as decoders do.
fn measure_frames(bytes: &[u8], read: fn(&[u8]) -> Option<Frame>) -> Option<u64> {
    let (mut at, mut micros, mut found) = (0_usize, 0_u64, false);
    for _ in 0..MAX_STEPS {
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() > 7) else {
            break;
        };
        if let Some((len, samples, rate)) = read(rest) {
            micros = micros.saturating_add(samples * 1_000_000 / rate.max(1));
            found = true;
            at += len;
        } else {
            at += 1 + memchr::memchr(0xff, rest.get(1..)?).unwrap_or(rest.len());
        }
    }
    found.then_some(micros / 1_000)
}

fn read_adts(bytes: &[u8]) -> Option<Frame> {
    const RATES: [u64; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let [0xff, b1, b2, b3, b4, b5, b6, ..] = bytes else { return None };
    if b1 & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(b2 >> 2 & 15))?;
    let len = usize::from(b3 & 3) << 11 | usize::from(*b4) << 3 | usize::from(b5 >> 5);
    (len >= 7).then(|| (len, 1_024 * (u64::from(b6 & 3) + 1), rate))
}

fn read_mpeg(bytes: &[u8]) -> Option<Frame> {
    const V1_L1: [u64; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const V1_L2: [u64; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const V1_L3: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const V2_L1: [u64; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const V2_L3: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let [0xff, b1, b2, ..] = bytes else { return None };
    let (version, layer) = (b1 >> 3 & 3, b1 >> 1 & 3);
    if b1 & 0xe0 != 0xe0 || version == 1 || layer == 0 {
        return None;
    }
    let (rates, samples) = match (version == 3, layer) {
        (true, 3) => (&V1_L1, 384),
        (true, 2) => (&V1_L2, 1_152),
        (true, _) => (&V1_L3, 1_152),
        (false, 3) => (&V2_L1, 384),
        (false, 2) => (&V2_L3, 1_152),
        (false, _) => (&V2_L3, 576),
    };
    let kbps = *rates.get(usize::from(b2 >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3)).copied()?;
    let rate: u64 = match version {
        3 => rate,
        2 => rate / 2,
        _ => rate / 4,
    };
    let padding = u64::from(b2 >> 1 & 1);
    let len =
        if layer == 3 { (12 * kbps * 1_000 / rate + padding) * 4 } else { samples / 8 * kbps * 1_000 / rate + padding };
    Some((usize::try_from(len).ok().filter(|len| *len > 3)?, samples, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(data_bytes: u32, stated: u32) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&8_000_u32.to_le_bytes());
        file.extend_from_slice(&16_000_u32.to_le_bytes());
        file.extend_from_slice(&[2, 0, 16, 0]);
        file.extend_from_slice(b"data");
        file.extend_from_slice(&stated.to_le_bytes());
        file.resize(file.len() + data_bytes as usize, 0);
        file
    }

    #[test]
    fn a_wav_is_as_long_as_its_data() {
        assert_eq!(measure_ms(&wav(24_000, 24_000)), Some(1_500));
        assert_eq!(measure_ms(&wav(24_000, u32::MAX)), Some(1_500), "a stream's header");
        assert_eq!(measure_ms(&wav(24_000, 0)), Some(1_500), "a stream's header");
        assert_eq!(seconds_upper(&wav(24_000, 24_000)), 2);
        // The bytes of a second, which no decoder looks at.
        let mut lie = wav(16_000_000, 16_000_000);
        let at = memchr::memmem::find(&lie, &16_000_u32.to_le_bytes()).unwrap();
        lie[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert_eq!(measure_ms(&lie), Some(1_000_000));
        // A codec whose samples have no bits of their own.
        let mut gsm = wav(7_500, 7_500);
        let at = memchr::memmem::find(&gsm, &[2, 0, 16, 0]).unwrap();
        gsm[at + 2] = 0;
        assert_eq!((measure_ms(&gsm), seconds_upper(&gsm)), (None, 11));
    }

    #[test]
    fn mp3_frames_are_added_up() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes and 26.122 ms a frame.
        let mut frame = vec![0xff, 0xfb, 0x90, 0xc0];
        frame.resize(417, 0);
        let file = [b"ID3\x04\0\0\0\0\0\x03abc".as_slice(), &frame.repeat(100)].concat();
        assert_eq!(measure_ms(&file), Some(2_612));
    }

    #[test]
    fn what_tells_nothing_is_bounded_by_its_size() {
        assert_eq!(measure_ms(b"\x1a\x45\xdf\xa3webm"), None);
        assert_eq!(seconds_upper(&vec![0; 75_000]), 100);
        assert_eq!(seconds_upper(b""), 1);
    }

    #[test]
    fn a_container_can_not_claim_an_implausible_brevity() {
        let mut flac = b"fLaC\0\0\0\x22".to_vec();
        flac.extend_from_slice(&[0; 10]);
        flac.extend_from_slice(&(44_100_u64 << 44 | 1).to_be_bytes());
        assert_eq!(measure_ms(&flac), Some(0));
        flac.resize(24_000_000, 0);
        assert_eq!(measure_ms(&flac), Some(20_000));
        let mut ogg = b"OggS\0\x02".to_vec();
        ogg.extend_from_slice(&48_000_u64.to_le_bytes());
        ogg.extend_from_slice(&[0; 12]);
        ogg.extend_from_slice(b"\x01\x13OpusHead\x01\x01\0\0");
        assert_eq!(measure_ms(&ogg), Some(1_000));
        ogg.resize(20_000_000, 0);
        assert_eq!(measure_ms(&ogg), Some(100_000));
        let mp4 = |handler: &[u8; 4]| {
            let mut mvhd = [0; 20];
            (mvhd[15], mvhd[19]) = (1, 2);
            let mut file = b"\0\0\0\x08ftyp\0\0\0\x28moov\0\0\0\x1cmvhd".to_vec();
            file.extend_from_slice(&mvhd);
            file.extend_from_slice(handler);
            file
        };
        assert_eq!(measure_ms(&mp4(b"soun")), Some(2_000));
        let padded = |mut file: Vec<u8>| {
            file.resize(24_000_000, 0);
            measure_ms(&file)
        };
        assert_eq!(padded(mp4(b"soun")), Some(120_000));
        assert_eq!(padded(mp4(b"vide")), Some(20_000), "a film is denser");
    }

    #[test]
    fn rubbish_is_no_trap() {
        for start in [b"RIFF____WAVE".as_slice(), b"fLaC", b"OggS", b"____ftyp", &[0xff, 0xfb], &[0xff, 0xf1], b"ID3"] {
            for fill in [0, 1, 0x7f, 0xff] {
                for len in [0, 1, 8, 40, 1_000] {
                    let mut bytes = start.to_vec();
                    bytes.resize(start.len() + len, fill);
                    _ = measure_ms(&bytes);
                }
            }
        }
    }
}
