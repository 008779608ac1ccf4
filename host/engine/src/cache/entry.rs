//! One entry: what it is for, a seal, the code.
//!
//! ```text
//! magic 16 · wasmtime version 16 · component 32 · engine 32 · length 8 · seal 32 · code
//! ```
//!
//! The seal is HMAC-SHA256 over everything before it and the code, with a key that only the host's user can read. A plain
//! digest would find damage, but whoever can write an entry can write its digest too.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::WASMTIME_VERSION;
use crate::code::Code;

const MAGIC: [u8; 16] = *b"tidemill code 1\n";
const VERSION: usize = 16;
const COMPONENT: usize = 32;
const ENGINE: usize = 64;
const LENGTH: usize = 96;
const SEAL: usize = 104;
const HEADER_BYTES: usize = 136;

/// How the names of entries end.
pub(super) const SUFFIX: &str = ".code";

/// The key of the seals: as long as a block of SHA-256, so that it is used as it is.
pub(super) type Secret = [u8; 64];

/// What code is for: digests of the component and of everything in the engine that the code depends on.
pub(super) struct Identity {
    pub(super) component: [u8; 32],
    pub(super) engine: [u8; 32],
}

// === impl Identity ===

impl Identity {
    pub(super) fn file_name(&self) -> String {
        let mut name = String::with_capacity(150);
        for byte in self.component {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name.push('-');
        for byte in self.engine {
            let _ = write!(name, "{byte:02x}");
        }
        name + "-" + WASMTIME_VERSION + SUFFIX
    }
}

/// What stands before the code in its entry.
pub(super) fn header(secret: &Secret, identity: &Identity, code: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(version());
    header.extend(identity.component);
    header.extend(identity.engine);
    header.extend((code.len() as u64).to_le_bytes());
    let seal = seal(secret, &header, code).finalize().into_bytes();
    header.extend(seal);
    header
}

/// The code of an entry that is whole, ours, and for this component and engine; else what is wrong with it.
pub(super) fn open(secret: &Secret, wanted: &Identity, bytes: Vec<u8>) -> Result<Code, String> {
    let Some((header, code)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(format!("it has {} bytes, which is less than its header", bytes.len()));
    };
    if header[..VERSION] != MAGIC {
        return Err("it does not begin as an entry of this cache does".to_owned());
    }
    if header[VERSION..COMPONENT] != version() {
        let found = String::from_utf8_lossy(&header[VERSION..COMPONENT]).trim_end_matches('\0').to_owned();
        return Err(format!("it was made by wasmtime {found:?}, and this is {WASMTIME_VERSION}"));
    }
    if header[COMPONENT..ENGINE] != wanted.component {
        return Err("it belongs to another component".to_owned());
    }
    if header[ENGINE..LENGTH] != wanted.engine {
        return Err("it was made for another machine or another setup of the engine".to_owned());
    }
    let length = header[LENGTH..SEAL].first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if length != code.len() as u64 {
        return Err(format!("it holds {} bytes of code where its header says {length}", code.len()));
    }
    // In constant time, so that a seal cannot be found out byte by byte.
    if seal(secret, &header[..SEAL], code).verify_slice(&header[SEAL..]).is_err() {
        return Err("its seal does not fit: it was changed, or sealed with another key".to_owned());
    }
    Ok(Code::after(HEADER_BYTES, bytes))
}

fn seal(secret: &Secret, header: &[u8], code: &[u8]) -> Hmac<Sha256> {
    let mut seal = <Hmac<Sha256> as Mac>::new(secret.into());
    seal.update(header);
    seal.update(code);
    seal
}

fn version() -> [u8; 16] {
    let mut version = [0; 16];
    for (to, from) in version.iter_mut().zip(WASMTIME_VERSION.bytes()) {
        *to = from;
    }
    version
}

/// SHA-256 over what a value hashes. The standard hasher has 64 bits, which is too few for a key that must not collide.
pub(super) fn fingerprint(value: &impl Hash) -> [u8; 32] {
    struct Feed(Sha256);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            self.0.clone().finalize().first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
        }
    }
    let mut feed = Feed(Sha256::new());
    value.hash(&mut feed);
    feed.0.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: Secret = [7; 64];
    const IDENTITY: Identity = Identity { component: [1; 32], engine: [2; 32] };

    fn entry() -> Vec<u8> {
        [header(&SECRET, &IDENTITY, b"machine code"), b"machine code".to_vec()].concat()
    }

    #[test]
    fn an_entry_opens_whole_and_unchanged_only() {
        assert_eq!(open(&SECRET, &IDENTITY, entry()).unwrap().as_ref(), b"machine code");
        for length in 0..entry().len() {
            assert!(open(&SECRET, &IDENTITY, entry()[..length].to_vec()).is_err(), "cut to {length}");
        }
        for at in 0..entry().len() {
            let mut changed = entry();
            changed[at] ^= 1;
            assert!(open(&SECRET, &IDENTITY, changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn an_entry_opens_with_its_key_and_for_its_component_and_engine_only() {
        assert!(open(&[8; 64], &IDENTITY, entry()).is_err());
        assert!(open(&SECRET, &Identity { component: [3; 32], ..IDENTITY }, entry()).is_err());
        assert!(open(&SECRET, &Identity { engine: [3; 32], ..IDENTITY }, entry()).is_err());
    }

    #[test]
    fn the_version_fits_its_field() {
        assert!(WASMTIME_VERSION.len() <= version().len());
    }
}
