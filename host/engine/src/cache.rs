//! Compiled code on disk, so that the second start is immediate.
//!
//! What is in the cache becomes machine code in this process, so an entry is believed only if it proves that this host
//! wrote it for this component and this engine: the folder is ours alone ([`folder`]), the entry carries a keyed seal
//! ([`entry`]), and the very bytes that were checked are the bytes that are used. Everything else is a miss. wasmtime's
//! own cache was not taken, because it trusts whatever lies in its folder.
//!
//! A cache never fails a load: where it cannot work, plugins are compiled, and that is said once.

mod entry;
mod folder;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use entry::{Identity, Secret};
use folder::Folder;

use crate::code::Code;

/// Below the host's cache folder.
const FOLDER: &str = "compiled";

/// The name of the file with the seal's key.
const KEY_FILE: &str = "key";

/// Entries beyond these are removed, the longest unused first.
const MOST_ENTRIES: usize = 64;
const MOST_BYTES: u64 = 1 << 30;

/// Compiled code of one engine.
pub(crate) struct Cache {
    folder: Folder,
    secret: Secret,
    engine: [u8; 32],
    /// Whether it was said that nothing can be written.
    said_full: AtomicBool,
}

/// What the cache has for a component.
pub(crate) enum Found {
    Code(Code),
    Nothing,
    /// There is something, and why it is not used.
    Unusable(String),
}

// === impl Cache ===

impl Cache {
    /// Opens or creates the cache below `dir`; `None`, with a warning that says why, if it cannot be trusted or used.
    pub(crate) fn open(dir: &Path, engine: &wasmtime::Engine) -> Option<Self> {
        match Self::try_open(dir, engine) {
            Ok(cache) => Some(cache),
            Err(why) => {
                tracing::warn!(
                    dir = %dir.display(), reason = why,
                    "Compiled code is not cached; every start compiles all plugins"
                );
                None
            }
        }
    }

    fn try_open(dir: &Path, engine: &wasmtime::Engine) -> Result<Self, String> {
        let folder = Folder::open(dir, FOLDER)?;
        let secret = secret(&folder)?;
        let engine = entry::fingerprint(&engine.precompile_compatibility_hash());
        Ok(Self { folder, secret, engine, said_full: AtomicBool::new(false) })
    }

    /// The code of a component, if there is an entry and it proves itself. It then counts as used now.
    pub(crate) fn find(&self, component: &[u8; 32]) -> Found {
        let identity = self.identity(component);
        match self.folder.read(&identity.file_name(), MOST_BYTES) {
            Ok(None) => Found::Nothing,
            Ok(Some(bytes)) => entry::open(&self.secret, &identity, bytes).map_or_else(Found::Unusable, Found::Code),
            Err(why) => Found::Unusable(why),
        }
    }

    /// Keeps code for the next start. What cannot be kept is compiled again then.
    pub(crate) fn keep(&self, component: &[u8; 32], code: &[u8]) {
        let identity = self.identity(component);
        let header = entry::header(&self.secret, &identity, code);
        if let Err(why) = self.folder.write(&identity.file_name(), &[&header, code])
            && !self.said_full.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                dir = %self.folder.path().display(), reason = why,
                "Compiled code cannot be kept; the next start compiles the plugin again"
            );
        }
        self.prune(MOST_ENTRIES, MOST_BYTES);
    }

    /// Where the code of a component is, or would be.
    pub(crate) fn path(&self, component: &[u8; 32]) -> PathBuf {
        self.folder.path().join(self.identity(component).file_name())
    }

    fn identity(&self, component: &[u8; 32]) -> Identity {
        Identity { component: *component, engine: self.engine }
    }

    /// Removes the longest unused entries beyond so many, and what an interrupted host left half-written.
    fn prune(&self, most: usize, most_bytes: u64) {
        self.folder.remove_abandoned();
        let mut entries = self.folder.files(entry::SUFFIX);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut sum = 0;
        for (index, entry) in entries.iter().enumerate() {
            sum += entry.bytes;
            if index >= most || sum > most_bytes {
                self.folder.remove(&entry.name);
            }
        }
    }
}

/// The key of the seals; a new one if there is none that only we could have read. With a new key all entries are
/// worthless, and replaced one by one.
fn secret(folder: &Folder) -> Result<Secret, String> {
    let known = match folder.read(KEY_FILE, 1 << 10) {
        Ok(known) => known.and_then(|bytes| Secret::try_from(bytes).ok()),
        Err(why) => {
            tracing::warn!(key = %folder.path().join(KEY_FILE).display(), reason = why, "The cache's key is replaced");
            None
        }
    };
    if let Some(secret) = known {
        return Ok(secret);
    }
    let mut secret: Secret = [0; 64];
    getrandom::fill(&mut secret).map_err(|why| format!("there is no randomness for a key: {why}"))?;
    folder.write(KEY_FILE, &[&secret])?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn cache(dir: &Path) -> Cache {
        Cache::open(dir, &settings::compiling().unwrap()).unwrap()
    }

    fn has(cache: &Cache, component: u8) -> bool {
        matches!(cache.find(&[component; 32]), Found::Code(_))
    }

    /// Longer than a step of the clock by which file systems note times.
    fn later() {
        std::thread::sleep(std::time::Duration::from_millis(30));
    }

    #[test]
    fn what_was_kept_is_found_also_by_the_next_host() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path()).keep(&[1; 32], b"code");
        let next = cache(dir.path());
        match next.find(&[1; 32]) {
            Found::Code(code) => assert_eq!(code.as_ref(), b"code"),
            _ => panic!("nothing usable"),
        }
        assert!(matches!(next.find(&[2; 32]), Found::Nothing));
    }

    #[test]
    fn the_longest_unused_entries_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        for component in 1..=4 {
            cache.keep(&[component; 32], &[component; 100]);
            later();
        }
        assert!(has(&cache, 1), "using it makes it the newest");
        later();
        cache.prune(2, u64::MAX);
        let left: Vec<u8> = [2, 3, 1].into_iter().filter(|component| has(&cache, *component)).collect();
        assert_eq!(left, [1]);
        later();
        assert!(has(&cache, 4), "and this one was the newest before");
        cache.prune(usize::MAX, 300);
        assert!(has(&cache, 4) && !has(&cache, 1), "4 was used last");
    }

    #[test]
    fn a_cache_of_another_setup_of_the_engine_has_entries_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        cache(dir.path()).keep(&[1; 32], b"code");
        let other = Cache::open(dir.path(), &wasmtime::Engine::default()).unwrap();
        assert!(!has(&other, 1));
    }
}
