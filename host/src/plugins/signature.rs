//! Who made a build: minisign signatures beside the file, checked against `plugins.trusted_keys`.
//!
//! ```text
//! TrustedKeys::parse(keys: &[String]) -> Result<TrustedKeys, KeyProblem>
//! TrustedKeys::check(&self, folder: &Folder, file: &PluginFile) -> Result<(), SignatureProblem>
//! ```
//!
//! Checked are the bytes that were read, not the file again. Without keys nothing is asked for; with keys an unsigned plugin is
//! refused. Only pre-hashed signatures count, which every minisign since 0.10 makes.

use std::path::PathBuf;

use minisign_verify::{Error, PublicKey, Signature};

use super::folder::{FileProblem, Folder, PluginFile};

/// `plugins.trusted_keys`, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    keys: Vec<PublicKey>,
}

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`plugins.trusted_keys[{index}]` in runtime.yaml is `{found}`; expected the public key of minisign, 56 characters that begin with `RW`: the second line of `minisign.pub`"
)]
pub struct KeyProblem {
    index: usize,
    found: String,
}

/// Why a plugin is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureProblem {
    #[error(
        "there is no signature `{}`, and `plugins.trusted_keys` in runtime.yaml asks for one; `minisign -S -m {plugin}.wasm` makes it",
        .path.display()
    )]
    Missing { path: PathBuf, plugin: String },
    #[error(transparent)]
    Unreadable(FileProblem),
    #[error("`{}` is not a minisign signature; expected the four lines that `minisign -S -m {plugin}.wasm` writes", .path.display())]
    Malformed { path: PathBuf, plugin: String },
    #[error(
        "`{}` is a signature of the old kind, made over the file itself; sign it again with minisign 0.10 or newer",
        .path.display()
    )]
    Legacy { path: PathBuf },
    #[error(
        "`{}` was made with a key that is not trusted; if it should be, add its public key to `plugins.trusted_keys` in runtime.yaml",
        .path.display()
    )]
    UnknownKey { path: PathBuf },
    #[error(
        "`{}` is a signature of other content than that of `{}` ({digest}), or was changed itself; copy both from where they were made, or sign again",
        .path.display(), .file.display()
    )]
    OtherContent { path: PathBuf, file: PathBuf, digest: String },
}

// === impl TrustedKeys ===

impl TrustedKeys {
    /// Reads the keys as they are written in the configuration.
    pub fn parse(keys: &[String]) -> Result<Self, KeyProblem> {
        let parse = |(index, key): (usize, &String)| {
            PublicKey::from_base64(key.trim())
                .map_err(|_| KeyProblem { index, found: key.chars().filter(|c| !c.is_control()).take(80).collect() })
        };
        Ok(Self { keys: keys.iter().enumerate().map(parse).collect::<Result<_, _>>()? })
    }

    /// Whether no signature is asked for.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether `file` is signed by one of the keys. Reads `<plugin>.wasm.minisig` from the folder, if there are keys.
    pub fn check(&self, folder: &Folder, file: &PluginFile) -> Result<(), SignatureProblem> {
        if self.is_empty() {
            return Ok(());
        }
        let (path, plugin) = (folder.signature_path(&file.name), file.name.to_string());
        let Some(bytes) = folder.signature(&file.name).map_err(SignatureProblem::Unreadable)? else {
            return Err(SignatureProblem::Missing { path, plugin });
        };
        let text = str::from_utf8(&bytes).ok().map(Signature::decode);
        let Some(Ok(signature)) = text else {
            return Err(SignatureProblem::Malformed { path, plugin });
        };
        self.verify(path, &signature, file)
    }

    fn verify(&self, path: PathBuf, signature: &Signature, file: &PluginFile) -> Result<(), SignatureProblem> {
        for key in &self.keys {
            match key.verify(&file.bytes, signature, false) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => return Err(SignatureProblem::Legacy { path }),
                Err(_) => {
                    let digest = file.digest.to_string();
                    return Err(SignatureProblem::OtherContent { path, file: file.path.clone(), digest });
                }
            }
        }
        Err(SignatureProblem::UnknownKey { path })
    }
}

#[cfg(test)]
mod tests;
