//! Speech: a tone for every letter. The text itself rides along in the file's comment, so that the sandbox can
//! transcribe what it has spoken.

use super::bits::crc;
use crate::media::{SpeechFormat, SpeechTask};

/// How long a character is spoken at the usual speed, in milliseconds.
const CHARACTER_MS: u64 = 25;
/// Samples a second of WAV and PCM, as `OpenAI`'s.
const PCM_RATE: u32 = 24_000;
/// Samples a second of FLAC, which holds them unpacked.
const FLAC_RATE: u32 = 8_000;
/// Samples of a block of FLAC.
const FLAC_BLOCK: usize = 4_096;
/// What goes before the text in a file's comment.
const MARK: &str = "guildhall-speech:";

/// The voices that the sandbox has: `OpenAI`'s.
pub(super) const VOICES: [&str; 13] =
    ["alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"];

/// Speaks.
pub(super) fn speak(task: &SpeechTask<'_>) -> Vec<u8> {
    let comment = format!("{MARK}{}:{}", task.input.len(), task.input);
    match task.format {
        SpeechFormat::Wav => wav(&samples(task, PCM_RATE), &comment),
        SpeechFormat::Pcm => to_bytes(&samples(task, PCM_RATE)),
        SpeechFormat::Flac => flac(&samples(task, FLAC_RATE), &comment),
        SpeechFormat::Mp3 => mp3(length_ms(task), &comment),
        SpeechFormat::Aac => aac(length_ms(task), &comment),
        SpeechFormat::Opus => opus(length_ms(task), &comment),
    }
}

/// The text that a file of the sandbox's own carries.
pub(super) fn read_text(file: &[u8]) -> Option<&str> {
    let at = memchr::memmem::find(file, MARK.as_bytes())? + MARK.len();
    let rest = file.get(at..)?;
    // No text has more than 99,999 bytes.
    let digits = rest.iter().take(6).position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()?;
    std::str::from_utf8(rest.get(digits + 1..)?.get(..length)?).ok()
}

/// How long the speech is, in milliseconds.
fn length_ms(task: &SpeechTask<'_>) -> u64 {
    (task.characters() * CHARACTER_MS * 1_000 / u64::from(task.speed_thousandths.max(1))).max(1)
}

/// The tones.
fn samples(task: &SpeechTask<'_>, rate: u32) -> Vec<i16> {
    let per_character = u64::from(rate) * CHARACTER_MS / u64::from(task.speed_thousandths.max(1));
    let per_character = u32::try_from(per_character.max(1)).unwrap_or(1);
    let pitch = VOICES.iter().position(|voice| *voice == task.voice).unwrap_or(0);
    let pitch_hz = 150 + 10 * u32::try_from(pitch).unwrap_or(0);
    let mut samples = Vec::with_capacity(task.input.len() * per_character as usize);
    let mut phase = 0_u32;
    for character in task.input.chars() {
        let tone_hz = pitch_hz + u32::from(character) % 32 * 20;
        // A whole turn is 2^32.
        let step = u32::try_from((u64::from(tone_hz) << 32) / u64::from(rate)).unwrap_or(0);
        for at in 0..per_character {
            phase = phase.wrapping_add(step);
            // A triangle between -8,192 and 8,191, with a rest at the end of each character.
            let is_rest = character.is_whitespace() || at * 5 >= per_character * 4;
            let up = i32::from(u16::try_from(phase >> 16).unwrap_or(0)) - 32_768;
            let sample = if is_rest { 0 } else { up.abs() / 2 - 8_192 };
            samples.push(i16::try_from(sample).unwrap_or(0));
        }
    }
    samples
}

fn to_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

fn le32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn wav(samples: &[i16], comment: &str) -> Vec<u8> {
    let data = to_bytes(samples);
    let mut text = comment.as_bytes().to_vec();
    text.push(0);
    text.resize(text.len().next_multiple_of(2), 0);
    let mut file = b"RIFF".to_vec();
    file.extend_from_slice(&le32(4 + 24 + 20 + text.len() + 8 + data.len()));
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&PCM_RATE.to_le_bytes());
    file.extend_from_slice(&(2 * PCM_RATE).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0LIST");
    file.extend_from_slice(&le32(12 + text.len()));
    file.extend_from_slice(b"INFOICMT");
    file.extend_from_slice(&le32(text.len()));
    file.extend_from_slice(&text);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&le32(data.len()));
    file.extend_from_slice(&data);
    file
}

/// The comment of FLAC and Opus files.
fn vorbis_comment(comment: &str) -> Vec<u8> {
    let comment = format!("COMMENT={comment}");
    let mut block = le32(9).to_vec();
    block.extend_from_slice(b"guildhall\x01\0\0\0");
    block.extend_from_slice(&le32(comment.len()));
    block.extend_from_slice(comment.as_bytes());
    block
}

/// FLAC with verbatim subframes of 8-bit samples.
fn flac(samples: &[i16], comment: &str) -> Vec<u8> {
    let mut file = b"fLaC\0\0\0\x22".to_vec();
    let block = u16::try_from(FLAC_BLOCK).unwrap_or(u16::MAX).to_be_bytes();
    file.extend_from_slice(&[block, block].concat());
    file.extend_from_slice(&[0; 6]);
    // 20 bits of rate, 3 of channels less one, 5 of depth less one, 36 of samples; the digest is left out.
    let packed = u64::from(FLAC_RATE) << 44 | 7 << 36 | samples.len() as u64;
    file.extend_from_slice(&packed.to_be_bytes());
    file.extend_from_slice(&[0; 16]);
    let tags = vorbis_comment(comment);
    file.push(0x84);
    file.extend_from_slice(le_to_be24(tags.len()).as_slice());
    file.extend_from_slice(&tags);
    for (number, block) in samples.chunks(FLAC_BLOCK).enumerate() {
        // Fixed block size, mono, 8 kHz, 8 bits; the size of the block stands behind the frame's number.
        let mut frame = vec![0xff, 0xf8, 0x74, 0x02];
        let mut number_utf8 = [0; 4];
        let number = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or_default();
        frame.extend_from_slice(number.encode_utf8(&mut number_utf8).as_bytes());
        frame.extend_from_slice(&u16::try_from(block.len() - 1).unwrap_or(u16::MAX).to_be_bytes());
        frame.push(u8::try_from(crc(&frame, 8, 0x07)).unwrap_or(0));
        frame.push(0x02);
        frame.extend(block.iter().map(|sample| sample.to_be_bytes()[0]));
        let sum = u16::try_from(crc(&frame, 16, 0x8005)).unwrap_or(0);
        frame.extend_from_slice(&sum.to_be_bytes());
        file.extend_from_slice(&frame);
    }
    file
}

fn le_to_be24(number: usize) -> [u8; 3] {
    let [a, b, c, _] = le32(number);
    [c, b, a]
}

/// An `ID3v2.4` tag with one comment.
fn id3(comment: &str) -> Vec<u8> {
    let syncsafe =
        |size: usize| [size >> 21, size >> 14, size >> 7, size].map(|part| u8::try_from(part & 0x7f).unwrap_or(0));
    let content = [b"\x03eng\0".as_slice(), comment.as_bytes()].concat();
    let mut tag = b"ID3\x04\0\0".to_vec();
    tag.extend_from_slice(&syncsafe(content.len() + 10));
    tag.extend_from_slice(b"COMM");
    tag.extend_from_slice(&syncsafe(content.len()));
    tag.extend_from_slice(&[0, 0]);
    tag.extend_from_slice(&content);
    tag
}

/// MPEG-2 layer III, 8 kbit/s, 24 kHz, mono: frames of 24 bytes and 24 ms that hold nothing, which is silence.
fn mp3(length_ms: u64, comment: &str) -> Vec<u8> {
    let mut file = id3(comment);
    for _ in 0..length_ms.div_ceil(24) {
        file.extend_from_slice(&[0xff, 0xf3, 0x14, 0xc0]);
        file.extend_from_slice(&[0; 20]);
    }
    file
}

/// AAC-LC at 24 kHz, mono, in ADTS: frames of 1,024 samples whose one channel has no band.
fn aac(length_ms: u64, comment: &str) -> Vec<u8> {
    let mut file = id3(comment);
    for _ in 0..(length_ms * 24).div_ceil(1_024) {
        file.extend_from_slice(&[0xff, 0xf1, 0x58, 0x40, 0x01, 0x7f, 0xfc, 0, 0, 0, 7]);
    }
    file
}

/// Opus in Ogg: packets of 20 ms that say "silence".
fn opus(length_ms: u64, comment: &str) -> Vec<u8> {
    const SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];
    const PACKETS_A_PAGE: u64 = 200;
    /// Samples at 48 kHz that a decoder throws away at the start, as libopus has it.
    const PRE_SKIP: u64 = 312;
    let end = PRE_SKIP + length_ms * 48;
    let packets = end.div_ceil(960);
    let mut head = b"OpusHead\x01\x01\x38\x01".to_vec();
    head.extend_from_slice(&PCM_RATE.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    let tags = [b"OpusTags".as_slice(), &vorbis_comment(comment)].concat();
    let mut file = ogg_page(2, 0, 0, &[&head]);
    file.extend(ogg_page(0, 0, 1, &[&tags]));
    let mut done = 0;
    while done < packets {
        let here = PACKETS_A_PAGE.min(packets - done);
        let number = 2 + u32::try_from(done / PACKETS_A_PAGE).unwrap_or(0);
        done += here;
        let is_last = done == packets;
        let granule = if is_last { end } else { done * 960 };
        let silence = vec![SILENCE; usize::try_from(here).unwrap_or(0)];
        file.extend(ogg_page(if is_last { 4 } else { 0 }, granule, number, &silence));
    }
    file
}

fn ogg_page(flags: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut lacing = Vec::new();
    for packet in packets {
        lacing.resize(lacing.len() + packet.len() / 255, 255);
        lacing.push(u8::try_from(packet.len() % 255).unwrap_or(0));
    }
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend_from_slice(&granule.to_le_bytes());
    page.extend_from_slice(b"GHSB");
    page.extend_from_slice(&number.to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.push(u8::try_from(lacing.len()).unwrap_or(u8::MAX));
    page.extend_from_slice(&lacing);
    page.extend(packets.iter().copied().flatten());
    let sum = crc(&page, 32, 0x04c1_1db7).to_le_bytes();
    page.splice(22..26, sum);
    page
}
