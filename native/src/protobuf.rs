//! Protocol buffers: writing what outputs send.

/// Write an unsigned integer.
pub fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes an unsigned integer takes.
pub fn varint_len(value: usize) -> usize {
    (64 - (value as u64 | 1).leading_zeros() as usize).div_ceil(7)
}

/// How many bytes a field of so many bytes takes, with a number below 16.
pub fn delimited_len(size: usize) -> usize {
    1 + varint_len(size) + size
}

/// Write the head of a field of `size` bytes.
pub fn head(number: u8, size: usize, out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(size as u64, out);
}

/// Write a field of bytes.
pub fn delimited(number: u8, data: &[u8], out: &mut Vec<u8>) {
    head(number, data.len(), out);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_is_written() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::MAX] {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!(out.len(), varint_len(value as usize), "{value}");
        }
        let mut out = Vec::new();
        delimited(5, &[7; 300], &mut out);
        assert_eq!(out.len(), delimited_len(300));
        assert_eq!(out[..3], [0x2a, 0xac, 0x02]);
    }
}
