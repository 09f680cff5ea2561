//! Snappy blocks: what Loki and Prometheus take. Source: "Snappy compressed format description".
//!
//! The matches are found as the reference implementation finds them: a table of where four bytes were seen last, and
//! longer steps where nothing is found.

use crate::protobuf::varint;

const BLOCK: usize = 1 << 16;
const TABLE_BITS: u32 = 14;
const LEAST: usize = 4;
const LONGEST_COPY: usize = 64;

pub fn compress(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 2 + 32);
    varint(data.len() as u64, &mut out);
    let mut table = vec![0_u16; 1 << TABLE_BITS];
    for block in data.chunks(BLOCK) {
        table.fill(0);
        compress_block(block, &mut table, &mut out);
    }
    out
}

fn four(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..at + LEAST).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes")))
}

/// Every offset in a block fits into 16 bits.
fn compress_block(block: &[u8], table: &mut [u16], out: &mut Vec<u8>) {
    let (mut at, mut literal, mut misses) = (1, 0, 0);
    while let Some(bytes) = four(block, at) {
        let slot = &mut table[(bytes.wrapping_mul(0x1e35_a7bd) >> (32 - TABLE_BITS)) as usize];
        let before = usize::from(*slot);
        *slot = at as u16;
        if four(block, before) != Some(bytes) {
            misses += 1;
            at += 1 + (misses >> 5);
            continue;
        }
        misses = 0;
        let same = block[at + LEAST..].iter().zip(&block[before + LEAST..]).take_while(|(a, b)| a == b);
        let length = LEAST + same.count();
        write_literal(&block[literal..at], out);
        write_copies(length, at - before, out);
        at += length;
        literal = at;
    }
    write_literal(&block[literal..], out);
}

fn write_literal(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        0 => return,
        n @ 1..=60 => out.push((n as u8 - 1) << 2),
        n @ 61..=256 => out.extend_from_slice(&[60 << 2, (n - 1) as u8]),
        n => {
            out.push(61 << 2);
            out.extend_from_slice(&((n - 1) as u16).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

fn write_copies(mut length: usize, back: usize, out: &mut Vec<u8>) {
    while length > 0 {
        let n = length.min(LONGEST_COPY);
        out.push((n as u8 - 1) << 2 | 2);
        out.extend_from_slice(&(back as u16).to_le_bytes());
        length -= n;
    }
}
