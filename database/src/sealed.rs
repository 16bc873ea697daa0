//! MessagePack with a checksum: SQLite doesn't notice when a byte of a value is another than was written.

use natter_common::wire;
use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

const CHECKSUM_BYTES: usize = 8;

/// The message, and the XXH3 of its bytes after it, little-endian.
pub(crate) fn seal<T: Serialize>(message: &T) -> Result<Vec<u8>, wire::WireError> {
    let mut bytes = wire::encode(message)?;
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    Ok(bytes)
}

/// The message back. Fails, with the reason, where the bytes are others than were sealed.
pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (message, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(|| format!("it has {} bytes, which is too few", bytes.len()))?;
    if xxh3_64(message).to_le_bytes() != *checksum {
        return Err("it does not match its checksum".to_owned());
    }
    wire::decode(message).map_err(|error| error.to_string())
}
