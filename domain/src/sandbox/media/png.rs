//! Pictures: a mirrored pattern of 8 by 8 tiles in four colours that the prompt decides.

use super::bits::crc_png;

/// Tiles along each side.
const TILES: u32 = 8;
/// How hard the pixels are pressed: rows repeat, so a middle level finds all there is.
const LEVEL: u8 = 6;

/// A PNG of this size; the same digest gives the same picture.
pub(super) fn draw(digest: &[u8; 32], (width, height): (u32, u32)) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Two bits a pixel, each an index into the palette.
    header.extend_from_slice(&[2, 3, 0, 0, 0]);
    push_chunk(&mut file, b"IHDR", &header);
    push_chunk(&mut file, b"PLTE", digest.get(..12).unwrap_or_default());
    push_chunk(&mut file, b"IDAT", &miniz_oxide::deflate::compress_to_vec_zlib(&pixels(digest, width, height), LEVEL));
    push_chunk(&mut file, b"IEND", &[]);
    file
}

/// Rows of packed pixels, each behind its filter byte.
fn pixels(digest: &[u8; 32], width: u32, height: u32) -> Vec<u8> {
    let row_bytes = width.div_ceil(4) as usize;
    let mut rows = Vec::with_capacity((row_bytes + 1) * height as usize);
    let (mut drawn, mut row) = (None, Vec::new());
    for y in 0..height {
        let tile_y = y * TILES / height;
        if drawn.replace(tile_y) != Some(tile_y) {
            row = draw_row(digest, tile_y, width, row_bytes);
        }
        rows.extend_from_slice(&row);
    }
    rows
}

fn draw_row(digest: &[u8; 32], tile_y: u32, width: u32, row_bytes: usize) -> Vec<u8> {
    let mut row = vec![0; row_bytes + 1];
    for x in 0..width {
        let tile_x = x * TILES / width;
        let mirrored = tile_x.min(TILES - 1 - tile_x);
        let tile = digest.get((12 + (tile_y * TILES / 2 + mirrored) / 2) as usize % 32).copied().unwrap_or(0);
        let colour = tile >> (mirrored % 2 * 4) & 3;
        if let Some(byte) = row.get_mut(1 + x as usize / 4) {
            *byte |= colour << (6 - x % 4 * 2);
        }
    }
    row
}

fn push_chunk(file: &mut Vec<u8>, kind: &[u8; 4], content: &[u8]) {
    file.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(content);
    file.extend_from_slice(&crc_png([kind, content]).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_unpacks_to_its_size() {
        for (width, height) in [(1024, 1024), (64, 4096), (65, 67)] {
            let file = draw(&[0xa5; 32], (width, height));
            let data = memchr::memmem::find(&file, b"IDAT").unwrap();
            let length = u32::from_be_bytes(file[data - 4..data].try_into().unwrap()) as usize;
            let unpacked = miniz_oxide::inflate::decompress_to_vec_zlib(&file[data + 4..data + 4 + length]).unwrap();
            assert_eq!(unpacked.len(), (width.div_ceil(4) as usize + 1) * height as usize);
            assert!(file.len() < 8_192, "{} bytes", file.len());
        }
    }

    #[test]
    fn prompts_give_their_own_pictures() {
        assert_ne!(draw(&[1; 32], (64, 64)), draw(&[2; 32], (64, 64)));
        assert_eq!(draw(&[1; 32], (64, 64)), draw(&[1; 32], (64, 64)));
    }
}
