//! Digests and their text.

use sha2::{Digest, Sha256};

/// HMAC-SHA-256 (RFC 2104).
pub fn hmac(key: &[u8], text: &[u8]) -> sha2::digest::Output<Sha256> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize()
}

/// Bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|half| b"0123456789abcdef"[usize::from(half)]).collect()
}
