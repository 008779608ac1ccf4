//! Signatures as `minisign` makes them (case D9).

use std::fs;

use minisign::KeyPair;
use tempfile::TempDir;
use tidemill_core::name::PluginName;

use super::*;

/// From the documentation of `minisign-verify`: a key, and its signatures of `test`, pre-hashed and not.
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const PREHASHED: &str = "untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835\tfile:test\tprehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==";
const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=
trusted comment: timestamp:1555779966\tfile:test
QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==";

fn folder(content: &str, signature: Option<&str>) -> (TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.wasm"), content).unwrap();
    if let Some(signature) = signature {
        fs::write(dir.path().join("shop.wasm.minisig"), signature).unwrap();
    }
    let folder = Folder::new(dir.path());
    (dir, folder)
}

fn check(keys: &[&str], content: &str, signature: Option<&str>) -> Result<(), SignatureProblem> {
    let (_dir, folder) = folder(content, signature);
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    let file = folder.read(&PluginName::try_new("shop").unwrap()).unwrap();
    TrustedKeys::parse(&keys).unwrap().check(&folder, &file)
}

fn refusal(keys: &[&str], content: &str, signature: Option<&str>) -> String {
    check(keys, content, signature).unwrap_err().to_string()
}

fn signed(pair: &KeyPair, content: &str) -> String {
    minisign::sign(Some(&pair.pk), &pair.sk, content.as_bytes(), None, None).unwrap().into_string()
}

#[test]
fn without_keys_nothing_is_asked_for() {
    check(&[], "anything", None).unwrap();
    check(&[], "anything", Some("garbage")).unwrap();
}

#[test]
fn a_signature_by_any_trusted_key_is_enough() {
    check(&[KEY], "test", Some(PREHASHED)).unwrap();
    let mine = KeyPair::generate_unencrypted_keypair().unwrap();
    let keys = [KEY, &mine.pk.to_base64()];
    check(&keys, "build", Some(&signed(&mine, "build"))).unwrap();
    check(&keys, "test", Some(PREHASHED)).unwrap();
}

#[test]
fn an_unsigned_plugin_is_refused_with_the_command_that_signs() {
    let text = refusal(&[KEY], "test", None);
    assert!(text.starts_with("there is no signature `") && text.contains("/shop.wasm.minisig`"), "{text}");
    assert!(text.contains("`minisign -S -m shop.wasm` makes it"), "{text}");
}

#[test]
fn a_signature_by_another_key_is_refused_with_the_line_that_would_trust_it() {
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let text = refusal(&[KEY], "build", Some(&signed(&other, "build")));
    assert!(text.contains("a key that is not trusted") && text.contains("`plugins.trusted_keys`"), "{text}");
}

#[test]
fn a_signature_of_other_content_is_refused_with_the_digest() {
    let text = refusal(&[KEY], "Test", Some(PREHASHED));
    assert!(text.contains("a signature of other content"), "{text}");
    assert!(text.contains(super::super::Digest::of(b"Test").as_str()), "{text}");
}

#[test]
fn a_changed_trusted_comment_is_refused() {
    let changed = PREHASHED.replace("file:test", "file:shop");
    assert!(matches!(check(&[KEY], "test", Some(&changed)), Err(SignatureProblem::OtherContent { .. })));
}

#[test]
fn a_key_id_alone_is_not_the_key() {
    let (mine, other) =
        (KeyPair::generate_unencrypted_keypair().unwrap(), KeyPair::generate_unencrypted_keypair().unwrap());
    let mut forged = other.pk.to_bytes();
    forged[2..10].copy_from_slice(mine.pk.keynum());
    let forged = minisign::PublicKey::from_bytes(&forged).unwrap().to_base64();
    assert!(matches!(
        check(&[&forged], "build", Some(&signed(&mine, "build"))),
        Err(SignatureProblem::OtherContent { .. })
    ));
}

#[test]
fn a_signature_of_the_old_kind_is_refused() {
    assert!(refusal(&[KEY], "test", Some(LEGACY)).contains("sign it again with minisign 0.10"));
}

#[test]
fn a_signature_cut_at_any_byte_is_refused_and_never_a_panic() {
    for end in 0..PREHASHED.len() {
        let problem = check(&[KEY], "test", Some(&PREHASHED[..end])).unwrap_err();
        assert!(
            matches!(problem, SignatureProblem::Malformed { .. } | SignatureProblem::OtherContent { .. }),
            "{end}: {problem}"
        );
    }
    for garbage in ["", "\n\n\n\n", "a\nb\nc\nd", "x\nRUQ=\ntrusted comment: \nAA=="] {
        assert!(refusal(&[KEY], "test", Some(garbage)).contains("is not a minisign signature"), "{garbage:?}");
    }
}

#[test]
fn a_signature_that_is_no_small_file_inside_is_refused() {
    let (_dir, folder) = folder("test", Some(&"x".repeat(20_000)));
    let keys = TrustedKeys::parse(&[KEY.to_owned()]).unwrap();
    let file = folder.read(&PluginName::try_new("shop").unwrap()).unwrap();
    assert!(keys.check(&folder, &file).unwrap_err().to_string().contains("is larger than 16384 bytes"));

    fs::remove_file(folder.signature_path(&file.name)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.signature_path(&file.name)).unwrap();
    assert!(matches!(keys.check(&folder, &file), Err(SignatureProblem::Unreadable(FileProblem::Outside { .. }))));
}

#[test]
fn a_key_that_is_none_is_an_error_of_the_configuration() {
    for (bad, shown) in
        [("", "``"), ("RWQ", "`RWQ`"), (&KEY[..50], "`RWQf6"), ("ssh-ed25519 AAAA", "`ssh-ed25519 AAAA`")]
    {
        let text = TrustedKeys::parse(&[KEY.to_owned(), bad.to_owned()]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("`plugins.trusted_keys[1]` in runtime.yaml is {shown}")), "{text}");
        assert!(text.contains("56 characters that begin with `RW`"), "{text}");
    }
}
