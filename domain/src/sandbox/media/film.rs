//! Videos: colour bars that the prompt decides, in H.264 and MP4.
//!
//! The first frame is coded from a few raw macroblocks that all others copy from their neighbours, every later frame
//! says "as before": a minute of film is some kilobytes, and any decoder plays it.

use super::bits::BitWriter;
use crate::media::VideoTask;

/// Colour bars of a picture at most.
const BARS: u32 = 8;

/// The film.
pub(super) fn shoot(digest: &[u8; 32], task: &VideoTask<'_>) -> Vec<u8> {
    let size = (task.size.0.next_multiple_of(2), task.size.1.next_multiple_of(2));
    let blocks = (size.0.div_ceil(16), size.1.div_ceil(16));
    let frames = task.seconds * task.fps;
    let first = nal(0x65, picture(digest, blocks));
    let mut data = sample(&first);
    let mut sizes = vec![data.len()];
    for number in 1..frames {
        let next = sample(&nal(0x41, repetition(number, blocks.0 * blocks.1)));
        sizes.push(next.len());
        data.extend(next);
    }
    let brand = mp4_box(*b"ftyp", &[b"isom\0\0\x02\0isomiso2avc1mp41"]);
    let data = mp4_box(*b"mdat", &[&data]);
    let index = movie(size, blocks, task.fps, &sizes, brand.len() + 8);
    [brand, data, index].concat()
}

/// A NAL unit: its header, and its bits with an end mark, in which no start code can appear.
fn nal(header: u8, mut bits: BitWriter) -> Vec<u8> {
    bits.put(1, 1);
    bits.align();
    let mut unit = vec![header];
    let mut zeros = 0;
    for byte in bits.into_bytes() {
        if zeros >= 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

/// A NAL unit behind its length.
fn sample(unit: &[u8]) -> Vec<u8> {
    [&be32(unit.len()), unit].concat()
}

fn be32(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

fn sequence_parameters(size: (u32, u32), blocks: (u32, u32)) -> Vec<u8> {
    let mut bits = BitWriter::default();
    // Constrained baseline, level 5.1.
    bits.put(0x42_c0_33, 24);
    // id, frame numbers of 4 bits, order of output = order of decoding, one reference frame.
    for number in [0, 0, 2, 1] {
        bits.put_golomb(number);
    }
    bits.put(0, 1);
    bits.put_golomb(blocks.0 - 1);
    bits.put_golomb(blocks.1 - 1);
    // Frames only, direct 8×8; then what is cut off at the right and the bottom, in pairs of pixels.
    bits.put(0b11, 2);
    let (right, bottom) = (blocks.0 * 16 - size.0, blocks.1 * 16 - size.1);
    bits.put(u32::from(right + bottom > 0), 1);
    if right + bottom > 0 {
        for pairs in [0, right / 2, 0, bottom / 2] {
            bits.put_golomb(pairs);
        }
    }
    bits.put(0, 1);
    nal(0x67, bits)
}

fn picture_parameters() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put_golomb(0);
    bits.put_golomb(0);
    // CAVLC, no field order.
    bits.put(0, 2);
    for number in [0, 0, 0] {
        bits.put_golomb(number);
    }
    bits.put(0, 3);
    for number in [0, 0, 0] {
        bits.put_golomb(number);
    }
    // Slices say whether they are deblocked.
    bits.put(0b100, 3);
    nal(0x68, bits)
}

/// The first frame.
fn picture(digest: &[u8; 32], (columns, rows): (u32, u32)) -> BitWriter {
    let mut bits = BitWriter::default();
    // First macroblock, an I slice, its parameters; frame 0, picture 0; nothing to mark; quality as set; no deblocking.
    bits.put_golomb(0);
    bits.put_golomb(7);
    bits.put_golomb(0);
    bits.put(0, 4);
    bits.put_golomb(0);
    bits.put(0, 2);
    bits.put_golomb(0);
    bits.put_golomb(1);
    let bars = BARS.min(columns);
    let begins_bar = |column: u32| column == 0 || column * bars / columns != (column - 1) * bars / columns;
    for row in 0..rows {
        for column in 0..columns {
            if row == 0 && begins_bar(column) {
                put_raw(&mut bits, digest, column * bars / columns);
                continue;
            }
            // The bar's own macroblock: the one above, or in the first row the one to the left.
            let (luma, chroma) = if row == 0 { (2, 1) } else { (1, 2) };
            bits.put_golomb(luma);
            bits.put_golomb(chroma);
            bits.put_golomb(0);
            // "No coefficients": its code depends on the neighbours, of which raw ones count as full.
            let is_by_raw = (row == 0 && begins_bar(column - 1)) || (row == 1 && begins_bar(column));
            if is_by_raw { bits.put(0b00_0011, 6) } else { bits.put(1, 1) }
        }
    }
    bits
}

/// A macroblock of one colour, as its samples stand.
fn put_raw(bits: &mut BitWriter, digest: &[u8; 32], bar: u32) {
    bits.put_golomb(25);
    let colour = |at: u32| 16 + digest.get((bar * 3 + at) as usize).copied().unwrap_or(0) % 220;
    bits.put_bytes(&[colour(0); 256]);
    bits.put_bytes(&[colour(1); 64]);
    bits.put_bytes(&[colour(2); 64]);
}

/// A frame like the one before.
fn repetition(number: u32, macroblocks: u32) -> BitWriter {
    let mut bits = BitWriter::default();
    bits.put_golomb(0);
    bits.put_golomb(5);
    bits.put_golomb(0);
    bits.put(number % 16, 4);
    // The usual references in their usual order; nothing to mark.
    bits.put(0, 3);
    bits.put_golomb(0);
    bits.put_golomb(1);
    // All macroblocks are skipped.
    bits.put_golomb(macroblocks);
    bits
}

fn mp4_box(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = [be32(size), kind].concat();
    bytes.extend(parts.iter().copied().flatten());
    bytes
}

/// Numbers of 32 bits, one behind the other.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// No rotation, no scaling.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

fn movie(size: (u32, u32), blocks: (u32, u32), fps: u32, sizes: &[usize], data_at: usize) -> Vec<u8> {
    let frames = u32::try_from(sizes.len()).unwrap_or(0);
    let header =
        [words(&[0, 0, 0, fps, frames, 0x1_0000, 0x0100_0000, 0, 0]), words(&MATRIX), words(&[0, 0, 0, 0, 0, 0, 2])];
    let track = [words(&[3, 0, 0, 1, 0, frames, 0, 0, 0, 0]), words(&MATRIX), words(&[size.0 << 16, size.1 << 16])];
    // `und`, the undetermined language.
    let media_header = mp4_box(*b"mdhd", &[&words(&[0, 0, 0, fps, frames, 0x55c4_0000])]);
    let handler = mp4_box(*b"hdlr", &[&words(&[0, 0]), b"vide", &[0; 12], b"guildhall\0"]);
    let source = mp4_box(*b"dref", &[&words(&[0, 1]), &mp4_box(*b"url ", &[&words(&[1])])]);
    let information = mp4_box(
        *b"minf",
        &[
            &mp4_box(*b"vmhd", &[&words(&[1, 0, 0])]),
            &mp4_box(*b"dinf", &[&source]),
            &sample_table(size, blocks, sizes, data_at),
        ],
    );
    let track = mp4_box(
        *b"trak",
        &[&mp4_box(*b"tkhd", &[&track.concat()]), &mp4_box(*b"mdia", &[&media_header, &handler, &information])],
    );
    mp4_box(*b"moov", &[&mp4_box(*b"mvhd", &[&header.concat()]), &track])
}

fn sample_table(size: (u32, u32), blocks: (u32, u32), sizes: &[usize], data_at: usize) -> Vec<u8> {
    let frames = u32::try_from(sizes.len()).unwrap_or(0);
    let (sequence, pictures) = (sequence_parameters(size, blocks), picture_parameters());
    let be16 = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    let decoder = mp4_box(
        *b"avcC",
        &[
            // Lengths of 4 bytes, one set of sequence parameters, one of picture parameters.
            &[1, 0x42, 0xc0, 0x33, 0xff, 0xe1],
            &be16(sequence.len()),
            &sequence,
            &[1],
            &be16(pictures.len()),
            &pictures,
        ],
    );
    let coding = mp4_box(
        *b"avc1",
        &[
            &words(&[0, 1, 0, 0, 0, 0, size.0 << 16 | size.1, 0x48_0000, 0x48_0000, 0, 1 << 16]),
            &[0; 30],
            &[0x00, 0x18, 0xff, 0xff],
            &decoder,
        ],
    );
    let entry_sizes: Vec<u8> = sizes.iter().flat_map(|size| be32(*size)).collect();
    mp4_box(
        *b"stbl",
        &[
            &mp4_box(*b"stsd", &[&words(&[0, 1]), &coding]),
            &mp4_box(*b"stts", &[&words(&[0, 1, frames, 1])]),
            &mp4_box(*b"stss", &[&words(&[0, 1, 1])]),
            &mp4_box(*b"stsc", &[&words(&[0, 1, 1, frames, 1])]),
            &mp4_box(*b"stsz", &[&words(&[0, 0, frames]), &entry_sizes]),
            &mp4_box(*b"stco", &[&words(&[0, 1]), &be32(data_at)]),
        ],
    )
}
