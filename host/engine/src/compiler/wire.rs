//! What parent and child say to each other: fixed headers, then bytes.
//!
//! ```text
//! stdin   magic 8 · address space 8 · CPU seconds 8 · length 8 · component
//! stdout  magic 8 · length 8 · SHA-256 of the code 32 · code
//! ```
//!
//! Numbers are little-endian. Both ends are the same build, so there is no version to agree on. The digest is no
//! protection against a child that lies; it finds an answer that was cut off or that something else wrote into.

use std::io::Read;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::CompileLimits;
use crate::code::Code;

const ASK: [u8; 8] = *b"tm-comp?";
const ANSWER: [u8; 8] = *b"tm-code!";

const ASK_BYTES: usize = 32;
pub(super) const ANSWER_BYTES: usize = 48;

/// The beginning of a request, as the child sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Bytes of address space.
    pub(super) memory: u64,
    /// Seconds.
    pub(super) cpu: u64,
    /// Bytes of the component, which follow.
    pub(super) length: u64,
}

// === impl Ask ===

impl Ask {
    pub(super) fn new(limits: &CompileLimits, length: usize) -> Self {
        let cpu = limits.cpu.max(Duration::from_secs(1)).as_secs();
        Self { memory: limits.memory, cpu, length: length as u64 }
    }

    pub(super) fn to_bytes(&self) -> [u8; ASK_BYTES] {
        let mut bytes = [0; ASK_BYTES];
        bytes[..8].copy_from_slice(&ASK);
        bytes[8..16].copy_from_slice(&self.memory.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.cpu.to_le_bytes());
        bytes[24..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(super) fn read(from: &mut impl Read) -> std::io::Result<Self> {
        let mut bytes = [0; ASK_BYTES];
        from.read_exact(&mut bytes)?;
        if bytes[..8] != ASK {
            let text = "this verb is for the host, which speaks to it in binary; `tidemill check` compiles plugins";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
        }
        Ok(Self { memory: number(&bytes[8..]), cpu: number(&bytes[16..]), length: number(&bytes[24..]) })
    }
}

/// What stands before the code in an answer.
pub(super) fn answer_header(code: &[u8]) -> [u8; ANSWER_BYTES] {
    let mut header = [0; ANSWER_BYTES];
    header[..8].copy_from_slice(&ANSWER);
    header[8..16].copy_from_slice(&(code.len() as u64).to_le_bytes());
    header[16..].copy_from_slice(&Sha256::digest(code));
    header
}

/// How long an answer will be, once its header is there.
pub(super) fn announced(answer: &[u8]) -> Option<u64> {
    let is_ours = answer.len() >= ANSWER_BYTES && answer.starts_with(&ANSWER);
    is_ours.then(|| number(&answer[8..]).saturating_add(ANSWER_BYTES as u64))
}

/// The code of a complete answer, or what is wrong with it.
pub(super) fn open_answer(answer: Vec<u8>) -> Result<Code, String> {
    let Some(announced) = announced(&answer) else {
        return Err(format!("{} bytes that are not an answer", answer.len()));
    };
    if announced != answer.len() as u64 {
        return Err(format!("{} bytes where it announced {announced}", answer.len()));
    }
    if answer[16..ANSWER_BYTES] != Sha256::digest(&answer[ANSWER_BYTES..])[..] {
        return Err("code that its digest does not fit".to_owned());
    }
    Ok(Code::after(ANSWER_BYTES, answer))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_arrives() {
        let ask = Ask::new(&CompileLimits::default(), 1234);
        assert_eq!(Ask::read(&mut &ask.to_bytes()[..]).unwrap(), ask);
        assert!(Ask::read(&mut &b"tidemill compile-component in a terminal"[..]).is_err());
    }

    #[test]
    fn only_a_complete_and_unchanged_answer_is_opened() {
        let answer = [&answer_header(b"machine code")[..], b"machine code"].concat();
        assert_eq!(open_answer(answer.clone()).unwrap().as_ref(), b"machine code");
        for length in 0..answer.len() {
            assert!(open_answer(answer[..length].to_vec()).is_err(), "{length}");
        }
        for at in 0..answer.len() {
            let mut changed = answer.clone();
            changed[at] ^= 1;
            assert!(open_answer(changed).is_err(), "{at}");
        }
        assert!(open_answer([&answer[..], b"more"].concat()).is_err());
    }
}
